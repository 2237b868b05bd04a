"""Multiple-choice questions made from the author's training documents, and how a model's choice is read.

The question is a request whose answer is known, the right option a whole sentence of that answer, the others
sentences of other documents that are as long and as near in meaning as can be had. A model chooses by the
likelihood of the letters A to D, each option standing under each letter once, so that a liking for a letter
cancels. Not covered: facts that no sentence states by itself, and languages written without spaces.
"""

import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from llm_twin import prompts
from llm_twin.evaluation.intervals import Array
from llm_twin.ports import ChatModel, Embedder, Progress, Vectors, beginning, silent
from llm_twin.text import digest, sentences, words
from llm_twin.types import Message, Sample

LETTERS = "ABCD"
CHANCE = 1 / len(LETTERS)
AskText = Callable[[str], Sequence[Message]]
"""Puts a request into the conversation that the models are asked with."""
_LEAST_WORDS, _MOST_WORDS = 6, 40
_SAME = 0.85
"""Cosine over which two sentences say the same: no option may be as near to another."""
_LENGTHS = (0.6, 1.6)
_SPARE = 2
_TIE = 1e-9


class Choice(BaseModel):
    """One question with its options in the order of the first rotation; `options[right]` is the author's answer."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    sample_id: str
    document_id: str
    question: str
    options: tuple[str, ...]
    right: int


@dataclass(frozen=True)
class _Pool:
    """Every sentence that may be an option; `vectors` has one unit row a sentence."""

    texts: Sequence[str]
    samples: NDArray[np.str_]
    documents: NDArray[np.str_]
    lengths: NDArray[np.int64]
    vectors: Vectors


# --- making them ------------------------------------------------------------------------------------------------


def mcq(samples: Sequence[Sample], embedder: Embedder, most: int, seed: int = 0) -> list[Choice]:
    """At most `most` questions, spread over the documents; the same for the same samples and `seed`.

    Requests by the template name their source and are left out, and so is a sample that has no whole sentence
    of prose or finds fewer than three others that could stand beside it.
    """
    asked = [s for s in samples if s.written_by != "template"]
    asked = _spread(asked, most * _SPARE, seed)
    pool = _pool(asked, embedder)
    if pool is None:
        return []
    questions = embedder.embed([beginning(s.instruction, embedder) for s in asked])
    made = (_choice(s, q, pool, seed) for s, q in zip(asked, questions, strict=True))
    return [choice for choice in made if choice is not None][:most]


def _spread(samples: Sequence[Sample], most: int, seed: int) -> list[Sample]:
    """At most `most` samples: one of each document, then a second of each, in an order that `seed` decides."""
    place: dict[str, int] = {}
    ranked = []
    for sample in sorted(samples, key=lambda s: digest(str(seed), s.id)):
        place[sample.document_id] = place.get(sample.document_id, -1) + 1
        ranked.append((place[sample.document_id], sample))
    return [sample for _, sample in sorted(ranked, key=lambda pair: pair[0])[:most]]


def _pool(samples: Sequence[Sample], embedder: Embedder) -> _Pool | None:
    found = [(s, text) for s in samples for text in whole_sentences(s.response)]
    if not found:
        return None
    return _Pool(
        texts=[text for _, text in found],
        samples=np.array([s.id for s, _ in found]),
        documents=np.array([s.document_id for s, _ in found]),
        lengths=np.array([len(words(text)) for _, text in found]),
        vectors=embedder.embed([beginning(text, embedder) for _, text in found]),
    )


def whole_sentences(text: str) -> list[str]:
    """The statements of `text` that stand on one line, end as a sentence ends, and have 6 to 40 words."""
    found = []
    for start, end in sentences(text):
        sentence = text[start:end]
        ends = unicodedata.category(sentence[-1]).startswith("P") and sentence[-1] not in ",;:-–—?？"
        if ends and "\n" not in sentence and _LEAST_WORDS <= len(words(sentence)) <= _MOST_WORDS:
            found.append(sentence)
    return found


def _choice(sample: Sample, question: Vectors, pool: _Pool, seed: int) -> Choice | None:
    own = np.flatnonzero(pool.samples == sample.id)
    if not len(own):
        return None
    to_question = pool.vectors @ question
    right = int(own[np.argmax(to_question[own])])
    others = _distractors(right, sample.document_id, to_question, pool)
    if len(others) < len(LETTERS) - 1:
        return None
    order = sorted([right, *others], key=lambda row: digest(str(seed), sample.id, pool.texts[row]))
    return Choice(
        sample_id=sample.id,
        document_id=sample.document_id,
        question=sample.instruction,
        options=tuple(pool.texts[row] for row in order),
        right=order.index(right),
    )


def _distractors(right: int, document: str, to_question: Vectors, pool: _Pool) -> list[int]:
    """Three rows of other documents, nearest to right answer and question together, none saying what another says."""
    to_right = pool.vectors @ pool.vectors[right]
    ratio = pool.lengths / pool.lengths[right]
    fits = (pool.documents != document) & (ratio >= _LENGTHS[0]) & (ratio <= _LENGTHS[1])
    chosen: list[int] = []
    for row in np.argsort(-(to_right + to_question), kind="stable"):
        if fits[row] and (pool.vectors[[right, *chosen]] @ pool.vectors[row]).max() < _SAME:
            chosen.append(int(row))
        if len(chosen) == len(LETTERS) - 1:
            break
    return chosen


# --- answering them ---------------------------------------------------------------------------------------------


def letters(
    model: ChatModel, choices: Sequence[Choice], ask: AskText, progress: Progress = silent
) -> list[list[float]]:
    """For each option of each choice the mean natural-log probability of the letter that it stands under.

    The mean is over all rotations of the options, so a constant that a model adds to a letter is the same for
    every option. One batched call of 16 short replies a question; the end of the turn is not counted.
    """
    n = len(LETTERS)
    asked = [_conversation(choice, turn, ask) for choice in choices for turn in range(n)]
    scored = model.score([a for a in asked for _ in LETTERS], [*LETTERS] * len(asked), progress)
    likelihood = np.array([tokens[:-1].sum() for tokens in scored]).reshape(len(choices), n, n)
    turns = np.arange(n)
    by_option = [likelihood[:, turns, (option - turns) % n].mean(axis=1) for option in range(n)]
    return [[float(value) for value in row] for row in np.stack(by_option, axis=1)]


def _conversation(choice: Choice, turn: int, ask: AskText) -> Sequence[Message]:
    turned = choice.options[turn:] + choice.options[:turn]
    shown = list(zip(LETTERS, turned, strict=True))
    return ask(prompts.render("choice.v1", question=choice.question, options=shown))


def resemblance(choices: Sequence[Choice], embedder: Embedder) -> list[list[float]]:
    """Cosine of each option with its question: what choosing by topic alone, without knowing, amounts to."""
    questions = embedder.embed([beginning(c.question, embedder) for c in choices])
    options = embedder.embed([beginning(option, embedder) for c in choices for option in c.options])
    cosines = (options.reshape(len(choices), len(LETTERS), -1) * questions[:, None, :]).sum(axis=2)
    return [[float(value) for value in row] for row in cosines]


def chosen_right(scores: Sequence[Sequence[float]], right: Sequence[int]) -> Array:
    """1 where the right option has the highest score, 0 where not; options that tie share the 1 evenly."""
    values = np.asarray(scores, np.float64)
    best = values >= values.max(axis=1, keepdims=True) - _TIE
    hit = best[np.arange(len(values)), np.asarray(right, np.int64)]
    return np.asarray(hit / best.sum(axis=1), np.float64)
