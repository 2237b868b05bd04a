"""Instruction samples: the answer is a verbatim span of the author, the request is written by a model.

A request is kept when the span answers it better than other spans do (embedding rank), when it copies neither the
span nor the prompt's examples, and when no earlier sample asks the same. A span that gets no such request in
three tries takes the titled-section template, and says so in `written_by`; without a model all do.
Not covered: judging whether a request is well put.
"""

import json
import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import cache

import numpy as np

from llm_twin import prompts
from llm_twin.datasets.spans import Span
from llm_twin.ports import ChatModel, Embedder, Progress, Vectors, beginning, silent
from llm_twin.text import digest, folded, ngrams, words
from llm_twin.types import Sample, Sampling, Split

SCHEMA = json.dumps(
    {
        "type": "object",
        "properties": {"instruction": {"type": "string", "minLength": 15, "maxLength": 240}},
        "required": ["instruction"],
        "additionalProperties": False,
    }
)
PROMPT = "instruction.v1"
BATCH = 16
TEMPLATE = "template"
Request = tuple[str, str]
"""(instruction, who wrote it)"""
Draft = tuple[list[Request], dict[str, int]]
"""A batch's requests, and how many were refused for which reason on the way to them."""
_TRIES = 3
_COPIED_WORDS = 8
_SAME_REQUEST = 0.97
_BEST_RANKS, _BEST_SHARE = 5, 0.05
_MENTIONS = (
    "passage",
    "the text",
    "the author",
    "this text",
    "the writer",
    "instruction",
    "excerpt",
    "main topic",
)


class Checks:
    """What makes a request acceptable for a span, and counts of what did not pass."""

    def __init__(self, spans: Sequence[Span], embedder: Embedder) -> None:
        self.embedder = embedder
        self.vectors = embedder.embed([beginning(s.text, embedder) for s in spans])
        self.documents = np.array([s.document.document.id for s in spans])
        self.accepted: list[Vectors] = []
        self.seen: set[str] = set()
        self.refused: Counter[str] = Counter()

    def accept(self, request: str, number: int, span: Span) -> bool:
        """Whether `request`, written by a model, may stand for span `number`."""
        vector = self.embedder.embed([request])[0]
        why = self._form(request, span) or self._answerable(vector, number) or self._asked(request, vector)
        return self._noted(request, vector, why)

    def accept_template(self, request: str) -> bool:
        """Whether a template's request was not made before; it is true to its span by construction."""
        why = "asked before" if folded(request) in self.seen else ""
        return self._noted(request, None, why)

    def remember(self, draft: Draft) -> None:
        """Take in what an earlier run accepted and refused, as if it had happened now."""
        requests, refused = draft
        self.refused.update(refused)
        self.seen.update(folded(request) for request, _ in requests if request)
        written = [request for request, writer in requests if writer not in ("", TEMPLATE)]
        self.accepted.extend(self.embedder.embed(written))

    def _noted(self, request: str, vector: Vectors | None, why: str) -> bool:
        if why:
            self.refused[why] += 1
            return False
        self.seen.add(folded(request))
        if vector is not None:
            self.accepted.append(vector)
        return True

    def _form(self, request: str, span: Span) -> str:
        found = words(request)
        if not 4 <= len(found) <= 45:
            return "too short or too long"
        if any(mention in request.lower() for mention in _MENTIONS):
            return "speaks of the passage"
        of_span = words(span.text)
        if (_exemplary() & set(found)) - set(of_span):
            return "is about an example of the prompt"
        copied = set(ngrams(of_span, _COPIED_WORDS))
        return "copies the span" if any(g in copied for g in ngrams(found, _COPIED_WORDS)) else ""

    def _answerable(self, vector: Vectors, number: int) -> str:
        """Few spans of other documents may lie closer to the request than its own."""
        similarity = self.vectors @ vector
        closer = (similarity > similarity[number]) & (self.documents != self.documents[number])
        allowed = max(_BEST_RANKS, _BEST_SHARE * len(similarity))
        return "" if closer.sum() < allowed else "other documents answer it better"

    def _asked(self, request: str, vector: Vectors) -> str:
        near = any(float(other @ vector) > _SAME_REQUEST for other in self.accepted)
        return "asked before" if near or folded(request) in self.seen else ""


@cache
def _exemplary() -> frozenset[str]:
    """What the prompt's examples are about: a small model asks for it whatever the passage says."""
    turns = prompts.conversation(PROMPT, passage="")
    passages, requests = (
        {word for turn in turns if turn.role == role for word in words(turn.content) if len(word) > 3}
        for role in ("user", "assistant")
    )
    return frozenset(passages & requests)


def instruct(
    spans: Sequence[tuple[Span, Split]],
    model: ChatModel | None,
    embedder: Embedder,
    seed: int = 0,
    done: Callable[[int], Draft | None] = lambda batch: None,
    keep: Callable[[int, Draft], None] = lambda batch, draft: None,
    progress: Progress = silent,
) -> tuple[list[Sample], dict[str, int]]:
    """Samples in the order of `spans`, and how many requests were refused for which reason.

    `done(batch)` gives a batch's requests when an earlier run already wrote them, `keep` stores them:
    so a run that was killed goes on where it stood. Spans that even the template cannot serve are left out.
    """
    checks = Checks([span for span, _ in spans], embedder)
    telling = telling_words([span for span, _ in spans])
    samples: list[Sample] = []
    for number, batch in enumerate(_batches(spans)):
        draft = done(number)
        if draft is None:
            first, before = number * BATCH, Counter(checks.refused)
            requests = _requests([s for s, _ in batch], model, checks, first, seed, telling[first:])
            keep(number, (requests, dict(checks.refused - before)))
        else:
            checks.remember(draft)
            requests = draft[0]
        samples += _samples(batch, requests)
        progress(min(len(spans), (number + 1) * BATCH), len(spans), "requests")
    return samples, dict(checks.refused)


def _batches(spans: Sequence[tuple[Span, Split]]) -> Iterator[Sequence[tuple[Span, Split]]]:
    return (spans[i : i + BATCH] for i in range(0, len(spans), BATCH))


def _requests(
    spans: Sequence[Span],
    model: ChatModel | None,
    checks: Checks,
    first: int,
    seed: int,
    telling: Sequence[Sequence[str]],
) -> list[Request]:
    """One (request, its writer) a span; ("", "") where not even the template found a new one."""
    requests: list[Request] = [("", "")] * len(spans)
    for attempt in range(_TRIES if model else 0):
        missing = [i for i, (request, _) in enumerate(requests) if not request]
        if model and missing:
            written = _written([spans[i] for i in missing], model, attempt, seed + first)
            for i, request in zip(missing, written, strict=True):
                if request and checks.accept(request, first + i, spans[i]):
                    requests[i] = (request, model.name)
    for i, span in enumerate(spans):
        if not requests[i][0]:
            candidates = (section_request(span, telling[i][:n]) for n in (0, 1, 2, 3))
            found = next((c for c in candidates if checks.accept_template(c)), "")
            requests[i] = (found, TEMPLATE if found else "")
    return requests


def _written(spans: Sequence[Span], model: ChatModel, attempt: int, seed: int) -> list[str]:
    asks = [prompts.conversation(PROMPT, passage=s.text) for s in spans]
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


def section_request(span: Span, about: Sequence[str] = ()) -> str:
    """The titled-section request: "Write about HEADING …", naming the words of `about` if there are any."""
    title = span.document.document.title
    heading = span.path[-1] if span.path and folded(span.path[-1]) != folded(title) else ""
    return prompts.render("section.v1", heading=heading, title=title, about=" and ".join(about))


def telling_words(spans: Sequence[Span]) -> list[list[str]]:
    """The three words of each span that stand in the fewest other spans (tf-idf, ties by alphabet)."""
    found = [Counter(w for w in words(s.text) if len(w) > 3 and w.isalpha() and w.isascii()) for s in spans]
    spread = Counter(word for counts in found for word in counts)
    return [
        sorted(counts, key=lambda w: (-counts[w] * math.log((1 + len(spans)) / spread[w]), w))[:3]
        for counts in found
    ]


def _samples(batch: Sequence[tuple[Span, Split]], requests: Sequence[Request]) -> list[Sample]:
    return [
        Sample(
            id="s_" + digest(span.document.document.id, str(span.start), str(span.end), span.text)[:16],
            document_id=span.document.document.id,
            author=span.document.document.author,
            instruction=request,
            response=span.text,
            start=span.start,
            end=span.end,
            split=side,
            written_by=writer,
        )
        for (span, side), (request, writer) in zip(batch, requests, strict=True)
        if request
    ]
