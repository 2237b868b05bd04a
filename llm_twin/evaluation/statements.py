"""An answer as statements with the passages that each cites, and whether it is an answer at all.

A citation belongs to the sentence that it stands behind; one within code belongs to none. A statement is a
sentence that needs a source: prose, no question, and at least three telling words. Not covered: a statement
whose source is named in words.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from llm_twin.evaluation.support import read
from llm_twin.text import blocks, sentences, words
from llm_twin.types import Answer, Chunk

_LEAST_TELLING = 3
_MARKER = re.compile(r"[ \t]*\[(\d+)\](?!\()")
_DECLINES = re.compile(
    r"\bI (?:haven't|have not|never|didn't|did not) (?:written|wrote|write|said|say|covered?|mention(?:ed)?)\b"
    r"|\bI (?:don't|do not|cannot|can't) (?:know|say|tell|answer)\b"
    r"|\b(?:passages?|texts?|articles?|writing)\b[^.]*\b(?:do(?:es)? not|don't|doesn't)\b[^.]*"
    r"\b(?:mention|say|answer|contain|cover|provide|discuss)\b",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Sentence:
    """One sentence of an answer without its citations.

    `cited` has an entry a citation: the passage, None where the number stands for nothing that was retrieved.
    `states` says whether it needs a source.
    """

    text: str
    cited: tuple[Chunk | None, ...]
    states: bool


def read_answer(answer: Answer) -> list[Sentence]:
    """The sentences of an answer's prose, in order."""
    text, marks = _without_marks(answer)
    chunks = {hit.chunk.id: hit.chunk for hit in answer.hits}
    passages = {c.number: chunks.get(c.chunk_id) for c in answer.citations}
    spans = list(_spans(text))
    code = [(b.start, b.end) for b in blocks(text) if b.kind == "code"]
    cited: list[list[Chunk | None]] = [[] for _ in spans]
    for place, number in marks:
        before = [i for i, (start, _) in enumerate(spans) if start < place]
        if before and not any(start < place <= end for start, end in code):
            cited[before[-1]].append(passages.get(number))
    return [
        Sentence(text[start:end], tuple(found), _needs_source(text[start:end]))
        for (start, end), found in zip(spans, cited, strict=True)
    ]


def abstains(answer: Answer) -> bool:
    """Whether it says that there is no answer: nothing was found, or its first sentence, uncited, says so in words."""
    if not answer.found:
        return True
    first = next(iter(read_answer(answer)), None)
    return first is not None and not first.cited and bool(_DECLINES.search(first.text.replace("’", "'")))


def plain(answer: Answer) -> str:
    """The answer's text without its citations."""
    return _without_marks(answer)[0]


def _without_marks(answer: Answer) -> tuple[str, list[tuple[int, int]]]:
    """The text without citations, and (offset in it, number) of each. A bracketed number in code is no citation."""
    kept, marks, at, length = [], [], 0, 0
    for found in _MARKER.finditer(answer.text):
        if answer.text.count("`", 0, found.start()) % 2:
            continue
        kept.append(answer.text[at : found.start()])
        length += len(kept[-1])
        marks.append((length, int(found[1])))
        at = found.end()
    return "".join([*kept, answer.text[at:]]), marks


def _spans(text: str) -> Iterator[tuple[int, int]]:
    for block in blocks(text):
        if block.kind in ("code", "html", "rule", "heading"):
            continue
        for start, end in sentences(text[block.start : block.end]):
            if words(text[block.start + start : block.start + end]):
                yield block.start + start, block.start + end


def _needs_source(sentence: str) -> bool:
    return not sentence.rstrip("*_\"'”’ ").endswith("?") and len(read(sentence).words) >= _LEAST_TELLING
