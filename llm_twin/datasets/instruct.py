"""Instruction samples: the answer is a verbatim span of the author, the request is written by a model.

A request is kept when the span answers it better than other spans do (embedding rank), when it does not
copy the span, and when no earlier sample asks the same. A span that gets no such request in three tries
takes the titled-section template, and says so in `written_by`; without a model all do.
Not covered: judging whether a request is well put.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field


from llm_twin import prompts
from llm_twin.datasets.spans import Span
from llm_twin.ports import ChatModel, Embedder, Progress, Vectors, silent
from llm_twin.text import digest, folded, ngrams, words
from llm_twin.types import Message, Sample, Sampling, Split

SCHEMA = json.dumps(
    {
        "type": "object",
        "properties": {"instruction": {"type": "string", "minLength": 15, "maxLength": 240}},
        "required": ["instruction"],
        "additionalProperties": False,
    }
)
BATCH = 16
_TRIES = 3
_COPIED_WORDS = 8
_SAME_REQUEST = 0.95
_BEST_RANKS = 5
_MENTIONS = ("passage", "the text", "the author", "this text", "instruction", "excerpt")


@dataclass
class Checks:
    """What makes a request acceptable, and counts of what did not pass."""

    embedder: Embedder
    span_vectors: Vectors
    accepted: list[Vectors] = field(default_factory=list)
    seen: set[str] = field(default_factory=set)
    refused: dict[str, int] = field(default_factory=dict)

    def accept(self, request: str, number: int, span: Span, final: bool = False) -> bool:
        """Whether `request` may stand for span `number`; `final` (the template) skips all but duplicates."""
        why = "" if final else self._form(request, span)
        vector = self.embedder.embed([request])[0]
        why = why or ("" if final else self._answerable(vector, number)) or self._duplicate(request, vector)
        if why:
            self.refused[why] = self.refused.get(why, 0) + 1
            return False
        self.seen.add(folded(request))
        self.accepted.append(vector)
        return True

    def _form(self, request: str, span: Span) -> str:
        found = words(request)
        if not 4 <= len(found) <= 45:
            return "too short or too long"
        if any(mention in request.lower() for mention in _MENTIONS):
            return "speaks of the passage"
        copied = set(ngrams(words(span.text), _COPIED_WORDS))
        return "copies the span" if any(g in copied for g in ngrams(found, _COPIED_WORDS)) else ""

    def _answerable(self, vector: Vectors, number: int) -> str:
        similarity = self.span_vectors @ vector
        rank = int((similarity > similarity[number]).sum())
        return "" if rank < _BEST_RANKS else "other spans answer it better"

    def _duplicate(self, request: str, vector: Vectors) -> str:
        same = folded(request) in self.seen
        near = any(float(other @ vector) > _SAME_REQUEST for other in self.accepted)
        return "asked before" if same or near else ""


def instruct(
    spans: Sequence[tuple[Span, Split]],
    model: ChatModel | None,
    embedder: Embedder,
    seed: int = 0,
    done: Callable[[int], list[str] | None] = lambda batch: None,
    keep: Callable[[int, list[str]], None] = lambda batch, requests: None,
    progress: Progress = silent,
) -> tuple[list[Sample], dict[str, int]]:
    """Samples in the order of `spans`, and how many requests were refused for which reason.

    `done(batch)` gives a batch's requests when an earlier run already wrote them, `keep` stores them:
    so a run that was killed goes on where it stood. Spans that even the template cannot serve are left out.
    """
    checks = Checks(embedder, embedder.embed([clipped(s.text, embedder) for s, _ in spans]))
    samples: list[Sample] = []
    for number, batch in enumerate(_batches(spans)):
        requests = done(number)
        if requests is None:
            requests = _requests([s for s, _ in batch], model, checks, number * BATCH, seed)
            keep(number, requests)
        else:
            checks.seen.update(folded(r) for r in requests)
            checks.accepted.extend(embedder.embed([r for r in requests if r]))
        samples += _samples(batch, requests, model)
        progress(min(len(spans), (number + 1) * BATCH), len(spans), "requests")
    return samples, checks.refused


def _batches(spans: Sequence[tuple[Span, Split]]) -> Iterator[Sequence[tuple[Span, Split]]]:
    return (spans[i : i + BATCH] for i in range(0, len(spans), BATCH))


def _requests(spans: Sequence[Span], model: ChatModel | None, checks: Checks, first: int, seed: int) -> list[str]:
    """One request a span; "" where neither the model nor the template found an acceptable one."""
    requests = [""] * len(spans)
    for attempt in range(_TRIES if model else 0):
        open_ = [i for i, request in enumerate(requests) if not request]
        if model and open_:
            written = _written([spans[i] for i in open_], model, attempt, seed)
            for i, request in zip(open_, written, strict=True):
                if request and checks.accept(request, first + i, spans[i]):
                    requests[i] = request
    for i, span in enumerate(spans):
        candidates = [section_request(span), section_request(span, about=True)]
        if not requests[i]:
            requests[i] = next((c for c in candidates if checks.accept(c, first + i, span, final=True)), "")
    return requests


def _written(spans: Sequence[Span], model: ChatModel, attempt: int, seed: int) -> list[str]:
    asks = [
        [Message(role="user", content=prompts.render("instruction.v1", title=s.document.document.title, passage=s.text))]
        for s in spans
    ]
    sampling = Sampling(
        max_tokens=80, temperature=0.3 + 0.3 * attempt, seed=seed + 1000 * attempt, json_schema=SCHEMA
    )
    return [_instruction(c.text) for c in model.generate(asks, sampling)]


def _instruction(text: str) -> str:
    """The instruction of a model's JSON; "" when the reply was cut off before it closed."""
    try:
        return str(json.loads(text)["instruction"]).strip()
    except (json.JSONDecodeError, KeyError, TypeError):
        return ""


def section_request(span: Span, about: bool = False) -> str:
    """The titled-section request; with `about` it also names the span's three most telling words."""
    heading = span.path[-1] if span.path and folded(span.path[-1]) != folded(span.document.document.title) else ""
    telling = sorted({w for w in words(span.text) if len(w) > 5}, key=lambda w: (-len(w), w))[:3]
    return prompts.render(
        "section.v1",
        heading=heading,
        title=span.document.document.title,
        about=" and ".join(telling) if about else "",
    )


def _samples(batch: Sequence[tuple[Span, Split]], requests: Sequence[str], model: ChatModel | None) -> list[Sample]:
    made = []
    for (span, side), request in zip(batch, requests, strict=True):
        if not request:
            continue
        by_template = request in (section_request(span), section_request(span, about=True))
        document = span.document.document
        made.append(
            Sample(
                id="s_" + digest(document.id, str(span.start), str(span.end), document.digest)[:16],
                document_id=document.id,
                author=document.author,
                instruction=request,
                response=span.text,
                start=span.start,
                end=span.end,
                split=side,
                written_by="template" if by_template or model is None else model.name,
            )
        )
    return made


def clipped(text: str, embedder: Embedder) -> str:
    """The beginning of `text` that fits the embedder's window: enough to compare by, and said so here."""
    offsets = embedder.token_offsets(text)
    room = embedder.window - 2
    return text if len(offsets) <= room else text[: offsets[room - 1][1]]


