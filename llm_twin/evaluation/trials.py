"""How often a judge of support errs, on cases made from the author's own passages whose truth is known.

Supported by their passage: a sentence of it word for word, its first clause, and two of its sentences retold
as one with their contractions written out. Not supported: the sentence with a number changed, with a name
changed, with its verb denied (or its denial left out), and the sentence as it is put to the passage of another
document that shares most words with it. Not covered: free paraphrase, so a real answer's sentence is missed
somewhat more often than these say; and changes of meaning that change no word.
"""

import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice, pairwise, zip_longest

import numpy as np

from llm_twin.evaluation.intervals import Array, Draws, Estimate, draw, share
from llm_twin.evaluation.support import Claim, Supports, prose, read
from llm_twin.text import words
from llm_twin.types import Chunk, Value

KINDS = {
    "word for word": True,
    "first clause": True,
    "retold": True,
    "number changed": False,
    "name changed": False,
    "denied": False,
    "another document": False,
}
"""Each kind of case, and whether its passage supports it."""
_LEAST_WORDS, _MOST_WORDS = 6, 40
_NUMBER = re.compile(r"\d+")
_CLAUSE = re.compile(r"(?:,|;| —| –| and| but| because) ")
_NAME = re.compile(r"(?<=[a-z,] )[A-Z][a-z]{2,}\b")
_NOT = re.compile(r"(?<=[a-z])n['’]t\b| not\b(?! only)| never\b", re.IGNORECASE)
_VERB = re.compile(r" (is|are|was|were|can|could|will|would|should|has|had|does|did)\b(?! not\b|n['’]t)")
_SUBJECT = re.compile(r"\b(?:I|we|you|he|she|it|they)(?= [a-z])")
_EXPANDED = {"n't": " not", "'re": " are", "'ve": " have"}
_CONTRACTION = re.compile(r"(?<!ca)(?<!wo)n['’]t\b|['’](?:re|ve)\b", re.IGNORECASE)


@dataclass(frozen=True)
class Case:
    """A sentence made for the trial, the passage it is put to, and the document that the case counts for."""

    kind: str
    sentence: str
    passage: Chunk

    @property
    def claim(self) -> Claim:
        """What the judge is asked."""
        return self.sentence, self.passage


class Trial(Value):
    """One kind of case. `wrong` is the share that the judge got wrong, None with cases of one document or none."""

    kind: str
    supported: bool
    cases: int
    wrong: Estimate | None
    example: str
    """One of its sentences, so that a reader sees what was asked."""


class Trials(Value):
    """What a judge of support is worth on this corpus. Intervals are those of shares over documents."""

    kinds: tuple[Trial, ...]
    missed: Estimate | None
    """Share of supported sentences that it calls unsupported, each kind weighing the same."""
    let_through: Estimate | None
    """Share of unsupported sentences that it calls supported, each kind weighing the same."""


def trials(passages: Sequence[Chunk], supports: Supports, most: int = 60, seed: int = 0) -> Trials:
    """Try `supports` on at most `most` sentences, evenly over documents, in each way of KINDS that they allow."""
    cases = list(made(passages, most, seed))
    wrong = np.array(
        [yes != KINDS[c.kind] for c, yes in zip(cases, supports([c.claim for c in cases]), strict=True)],
        float,
    )
    documents = [c.passage.document_id for c in cases]
    draws = draw(documents) if documents else None
    rows = {kind: [i for i, c in enumerate(cases) if c.kind == kind] for kind in KINDS}
    found = tuple(
        Trial(
            kind=kind,
            supported=supported,
            cases=len(rows[kind]),
            wrong=_share([rows[kind]], wrong, documents, draws),
            example=cases[rows[kind][0]].sentence if rows[kind] else "",
        )
        for kind, supported in KINDS.items()
    )
    sides = ([rows[k] for k, yes in KINDS.items() if yes is side and rows[k]] for side in (True, False))
    missed, let_through = (_share(side, wrong, documents, draws) for side in sides)
    return Trials(kinds=found, missed=missed, let_through=let_through)


def _share(
    kinds: Sequence[Sequence[int]], wrong: Array, documents: Sequence[str], draws: Draws | None
) -> Estimate | None:
    """Mean over kinds of the share that is wrong; None where no two documents speak."""
    of = [documents[i] for rows in kinds for i in rows]
    if draws is None or len(set(of)) < 2:
        return None
    means = [draws.mean(wrong[list(rows)], [documents[i] for i in rows]) for rows in kinds]
    return share(np.mean(means, axis=0), len(of), len(set(of)))


def made(passages: Sequence[Chunk], most: int, seed: int = 0) -> Iterator[Case]:
    """The cases: the same passages and seed give the same."""
    chance = random.Random(seed)
    corpus = _Corpus(passages)
    for chunk, sentence, following in _sentences(passages, most, chance):
        yield Case("word for word", sentence, chunk)
        for kind, changed in (
            ("first clause", _first_clause(sentence)),
            ("retold", _retold(sentence, following)),
            ("number changed", _number_changed(sentence, chunk)),
            ("name changed", corpus.name_changed(sentence, chunk, chance)),
            ("denied", _denied(sentence)),
        ):
            if changed:
                yield Case(kind, changed, chunk)
        if other := corpus.likest(sentence, chunk.document_id):
            yield Case("another document", sentence, other)


def _sentences(
    passages: Sequence[Chunk], most: int, chance: random.Random
) -> Iterator[tuple[Chunk, str, str]]:
    """Sentences that state something, each with the one after ("" at the end), as many of each document as can be."""
    by_document: dict[str, list[tuple[Chunk, str, str]]] = {}
    for chunk in passages:
        found = prose(chunk.text)
        rows = [
            (chunk, sentence, after if _states(after) else "")
            for sentence, after in pairwise([*found, ""])
            if _states(sentence)
        ]
        by_document.setdefault(chunk.document_id, []).extend(rows)
    for rows in by_document.values():
        chance.shuffle(rows)
    rounds = (row for each in zip_longest(*by_document.values()) for row in each if row)
    yield from islice(rounds, most)


def _states(sentence: str) -> bool:
    whole = sentence.endswith(".") and sentence[:1].isupper() and "|" not in sentence
    return whole and _LEAST_WORDS <= len(words(sentence)) <= _MOST_WORDS and len(read(sentence).words) >= 3


def _first_clause(sentence: str) -> str:
    """The sentence up to the first comma, dash, "and", "but" or "because" that leaves five words; "" without one."""
    for found in _CLAUSE.finditer(sentence):
        clause = sentence[: found.start()]
        if len(words(clause)) >= 5 and len(read(clause).words) >= 2:
            return f"{clause}."
    return ""


def _retold(sentence: str, following: str) -> str:
    if not following:
        return ""
    joined = f"I wrote that {_lower(sentence.rstrip('.'))}, and that {_lower(following)}"
    return _CONTRACTION.sub(lambda found: _EXPANDED[found.group().lower().replace("’", "'")], joined)


def _lower(sentence: str) -> str:
    return sentence if sentence.startswith(("I ", "I'", "I’")) else sentence[0].lower() + sentence[1:]


def _number_changed(sentence: str, chunk: Chunk) -> str:
    """The first number made larger, so that it stands nowhere in the passage."""
    found = _NUMBER.search(sentence)
    if not found:
        return ""
    changed = int(found.group()) + 3
    while re.search(rf"(?<!\d){changed}(?!\d)", chunk.embedded_text):
        changed += 4
    return f"{sentence[: found.start()]}{changed}{sentence[found.end() :]}"


def _denied(sentence: str) -> str:
    """The sentence without its denial, or with one behind its auxiliary or before its verb; "" where neither is."""
    denial = _NOT.search(sentence)
    if denial:
        bare = sentence[: denial.start()]
        bare = re.sub(r"\bca$", "can", re.sub(r"\bwo$", "will", bare))
        return bare + sentence[denial.end() :]
    if verb := _VERB.search(sentence):
        return f"{sentence[: verb.end()]} not{sentence[verb.end() :]}"
    if subject := _SUBJECT.search(sentence):
        return f"{sentence[: subject.end()]} never{sentence[subject.end() :]}"
    return ""


class _Corpus:
    """All passages, to find in other documents what a case needs."""

    def __init__(self, passages: Sequence[Chunk]) -> None:
        self._passages = [(chunk, read(chunk.text).words) for chunk in passages]
        self._names = sorted({name for chunk in passages for name in _NAME.findall(chunk.text)})

    def name_changed(self, sentence: str, chunk: Chunk, chance: random.Random) -> str:
        """The sentence with a name that its passage lacks in place of its own; "" where there is none to change."""
        found = _NAME.search(sentence)
        lacking = [name for name in self._names if name.lower() not in chunk.embedded_text.lower()]
        if not found or not lacking:
            return ""
        return f"{sentence[: found.start()]}{chance.choice(lacking)}{sentence[found.end() :]}"

    def likest(self, sentence: str, document_id: str) -> Chunk | None:
        """The passage of another document that shares most telling words with `sentence` without repeating it."""
        told, plain = read(sentence).words, " ".join(words(sentence))
        others = [
            (len(told & known), chunk)
            for chunk, known in self._passages
            if chunk.document_id != document_id and plain not in " ".join(words(chunk.text))
        ]
        return max(others, key=lambda pair: pair[0])[1] if others else None
