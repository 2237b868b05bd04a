"""Multiple-choice questions made from the author's training documents, and how a model's choice is read.

The question is a request whose answer is known, the right option a whole sentence of that answer, the others
sentences of other documents that are as long and as near to it in meaning as can be had. As often as can be,
one, two or three of them are nearer to the question than the right one is, so that topic alone does not tell.
A model chooses by the likelihood of the letters A to D, each option standing under each letter once, so that a
liking for a letter cancels. Not covered: whether a sentence from elsewhere would answer too, facts that no
sentence states by itself, and languages written without spaces.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from llm_twin import prompts
from llm_twin.evaluation.intervals import Array
from llm_twin.ports import ChatModel, Embedder, Progress, Vectors, beginning, silent
from llm_twin.text import digest, sentences, words
from llm_twin.types import Message, Sample, Value

LETTERS = "ABCD"
CHANCE = 1 / len(LETTERS)
Similarities = NDArray[np.float32]
"""Cosine of each sentence of a pool with one text."""
AskText = Callable[[str], Sequence[Message]]
"""Puts a request into the conversation that the models are asked with."""
_LEAST_WORDS, _MOST_WORDS = 6, 25  # long options make long prompts, sixteen of them a question
_SAME = 0.85
"""Cosine over which two sentences say the same: no option may be as near to another."""
_OPENING, _CLOSING, _ENDS = "\"'“‘«¿¡", "\"'”’»)]*_", tuple(".!…。！।۔")
_LENGTHS = (0.6, 1.6)
_SPARE = 4
"""Times as many samples are looked at as questions are wanted."""
_TIE = 1e-9


class Choice(Value):
    """One question with its options in the order of the first rotation; `options[right]` is the author's answer."""

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


@dataclass(frozen=True)
class _Options:
    """Rows of a pool, the right one first; `rank` of the others are nearer to the question."""

    rows: tuple[int, ...]
    rank: int


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
    made: list[Choice] = []
    ranks: Counter[int] = Counter()
    for sample, question in zip(asked, questions, strict=True):
        rarest = sorted(range(len(LETTERS)), key=lambda rank: (ranks[rank], -rank))
        options = _options(sample, pool.vectors @ question, pool, rarest)
        if options and len(made) < most:
            ranks[options.rank] += 1
            made.append(_choice(sample, options.rows, pool, seed))
    return made


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
    """The statements of `text` of 6 to 25 words that stand on one line, and begin and end as sentences do."""
    found = []
    for start, end in sentences(text):
        sentence = text[start:end]
        ends = sentence.rstrip(_CLOSING)[-1:] in _ENDS
        starts = sentence[0].isalnum() or sentence[0] in _OPENING
        if starts and ends and "\n" not in sentence and _LEAST_WORDS <= len(words(sentence)) <= _MOST_WORDS:
            found.append(sentence)
    return found


def _options(sample: Sample, to_question: Similarities, pool: _Pool, ranks: Sequence[int]) -> _Options | None:
    """Right option and distractors, of which as many are nearer to the question as the first of `ranks` that
    can be had says. The right one is of the answer's sentences among the nearer half, the nearest that will do.
    """
    own = np.flatnonzero(pool.samples == sample.id)
    own = own[np.argsort(-to_question[own], kind="stable")][: (len(own) + 1) // 2]
    for rank in ranks:
        for right in own:
            others = _distractors(int(right), rank, sample.document_id, to_question, pool)
            if len(others) == len(LETTERS) - 1:
                return _Options((int(right), *others), rank)
    return None


def _distractors(right: int, rank: int, document: str, to_question: Similarities, pool: _Pool) -> list[int]:
    """Rows of other documents, `rank` of them nearer to the question than `right` is, the others not; of each kind
    those nearest to `right` that say neither what it says nor what another says. Too few where there are no more.
    """
    to_right = pool.vectors @ pool.vectors[right]
    ratio = pool.lengths / pool.lengths[right]
    fits = (pool.documents != document) & (ratio >= _LENGTHS[0]) & (ratio <= _LENGTHS[1]) & (to_right < _SAME)
    room = {True: rank, False: len(LETTERS) - 1 - rank}
    chosen: list[int] = []
    for row in np.flatnonzero(fits)[np.argsort(-to_right[fits], kind="stable")]:
        nearer = bool(to_question[row] > to_question[right])
        apart = not chosen or (pool.vectors[chosen] @ pool.vectors[row]).max() < _SAME
        if room[nearer] and apart:
            room[nearer] -= 1
            chosen.append(int(row))
        if not any(room.values()):
            break
    return chosen


def _choice(sample: Sample, rows: Sequence[int], pool: _Pool, seed: int) -> Choice:
    """Put the right option, the first of `rows`, and the others in an order that the seed decides."""
    order = sorted(rows, key=lambda row: digest(str(seed), sample.id, pool.texts[row]))
    return Choice(
        sample_id=sample.id,
        document_id=sample.document_id,
        question=sample.instruction,
        options=tuple(pool.texts[row] for row in order),
        right=order.index(rows[0]),
    )


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
