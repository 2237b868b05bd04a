"""The items of a blind test: a real and a generated passage for one instruction, made alike but for the words.

Both passages are plain text with straight quotation marks, begin where they began, end with a sentence, and are
about as long as each other. What stands first is random, as often the one as the other. Neither an item's id nor
what a page is given of it says which is which. Who guesses about a pair that was guessed about before, in another
order, tells little new (passages are as easy or as hard to tell as they are, and the end of a test shows which was
which), so a pair counts once. Not covered: instructions of which no such pair can be made (an answer of few words,
a verbatim copy); they are left out, and `len(samples) - len(items)` says how many.
"""

import random
import re
from collections.abc import Mapping, Sequence
from itertools import accumulate

from llm_twin.errors import InputError
from llm_twin.evaluation.people import Blind, Guess, blind_verdict
from llm_twin.text import digest, heading_text, sentences, words
from llm_twin.types import Sample, Value

LEAST_WORDS, MOST_WORDS = 20, 120
LONG_WORDS = 60
_PAIR = 16
ALIKE = 0.75
"""How long the shorter passage is at least, compared with the longer."""

Sentence = tuple[int, str]
"""The number of its paragraph, and its text."""

_LIST = re.compile(r"^\s*(?:>\s?)*(?:[-*+•]|\d{1,3}[.)])\s+|^\s*(?:>\s?)+")
_PICTURE = re.compile(r"!\[[^\]]*\]\([^)]*\)")
_LINK = re.compile(r"\[([^\]]+)\]\([^)]*\)")
_FENCE = re.compile(r"^\s*(?:```|~~~)")
_RULE = re.compile(r"^\s*(?:[-*_=]\s*){3,}$")
_ENDS = re.compile(r"[.!?…:;][\"')\]]*$")
_QUOTES = str.maketrans({"“": '"', "”": '"', "„": '"', "‘": "'", "’": "'", "…": "..."})


class BlindItem(Value):
    """Two passages for one instruction; `real_first` is never shown before the end."""

    id: str
    """The pair's, see `pair_of`, and behind it the seed's."""
    model: str
    """Who wrote the other passage."""
    kind: str
    instruction: str
    first: str
    """Paragraphs, a blank line between them."""
    second: str
    real_first: bool


def blind_items(
    samples: Sequence[Sample],
    generated: Sequence[str],
    seed: int,
    model: str = "",
    kinds: Mapping[str, str] | None = None,
    most: int = 40,
) -> list[BlindItem]:
    """At most `most` items of `samples` and the model's answers to them, in random order.

    `kinds` names the kind of each document by its id; without it passages are told apart by length. The same
    arguments give the same items, so a stopped test goes on. Raises InputError where no pair can be made, and where
    `generated` are answers to something else than `samples`.
    """
    if len(samples) != len(generated):
        raise InputError(
            f"{len(generated)} answers are not answers to {len(samples)} samples",
            "evaluate first: twin evaluate",
        )
    rng = random.Random(seed)
    pairs = []
    for sample, answer in zip(samples, generated, strict=True):
        pair = alike(sample.response, answer)
        if pair:
            kind = kinds.get(sample.document_id, "other") if kinds else _length(pair)
            pairs.append((sample.instruction, kind, pair))
    if not pairs:
        raise InputError(
            f"of {len(samples)} instructions none has two passages that can be compared",
            "collect more writing, or let the model write longer answers",
        )
    rng.shuffle(pairs)
    chosen = pairs[:most]
    sides = [place % 2 == 0 for place in range(len(chosen) + len(chosen) % 2)]
    rng.shuffle(sides)
    return [_item(model, seed, *pair, real_first=side) for pair, side in zip(chosen, sides, strict=False)]


def _item(
    model: str, seed: int, instruction: str, kind: str, pair: tuple[str, str], real_first: bool
) -> BlindItem:
    first, second = pair if real_first else pair[::-1]
    return BlindItem(
        # Of the passages in alphabetical order: whoever computes it for either order gets the same.
        id=digest(model, instruction, *sorted(pair))[:_PAIR] + digest(str(seed))[:8],
        model=model,
        kind=kind,
        instruction=instruction,
        first=first,
        second=second,
        real_first=real_first,
    )


def pair_of(item_id: str) -> str:
    """What stands for an item's two passages, whatever the seed."""
    return item_id[:_PAIR]


def first_of_each_pair(guesses: Sequence[Guess]) -> tuple[list[Guess], int]:
    """The first guess about each pair of passages, in the order given, and how many later ones were left out."""
    found: dict[str, Guess] = {}
    for guess in guesses:
        found.setdefault(pair_of(guess.id), guess)
    return list(found.values()), len(guesses) - len(found)


def verdict(guesses: Sequence[Guess]) -> Blind:
    """How often the author was recognised by the first guess about each pair; the others are its `repeats`."""
    first, repeats = first_of_each_pair(guesses)
    return blind_verdict(first).model_copy(update={"repeats": repeats})


def _length(pair: tuple[str, str]) -> str:
    shorter = min(len(words(text)) for text in pair)
    return f"{LONG_WORDS} words and more" if shorter >= LONG_WORDS else f"under {LONG_WORDS} words"


def alike(real: str, generated: str) -> tuple[str, str] | None:
    """The longest whole-sentence beginnings of both whose lengths are alike; None where there are none."""
    one, two = _sentences(real), _sentences(generated)
    lengths = [list(accumulate(len(words(text)) for _, text in which)) for which in (one, two)]
    best, cut = (0, 0.0), (0, 0)
    for i, a in enumerate(lengths[0], 1):
        for j, b in enumerate(lengths[1], 1):
            shorter, longer = min(a, b), max(a, b)
            fits = shorter >= LEAST_WORDS and longer <= MOST_WORDS and shorter >= ALIKE * longer
            if fits and (shorter, shorter / longer) > best:
                best, cut = (shorter, shorter / longer), (i, j)
    pair = _joined(one[: cut[0]]), _joined(two[: cut[1]])
    return pair if cut != (0, 0) and pair[0] != pair[1] else None


def plain(text: str) -> list[str]:
    """The paragraphs of Markdown `text` as plain text: marks, list signs, links and curly quotes gone."""
    found = []
    for line in text.splitlines():
        if _FENCE.match(line) or _RULE.match(line):
            continue
        shown = _LINK.sub(r"\1", _PICTURE.sub("", _LIST.sub("", line)))
        found.append(heading_text(shown).translate(_QUOTES))
    return [paragraph for paragraph in found if paragraph]


def _sentences(text: str) -> list[Sentence]:
    """Its sentences, without a last one that was broken off."""
    found = [
        (number, paragraph[start:end])
        for number, paragraph in enumerate(plain(text))
        for start, end in sentences(paragraph)
    ]
    return found[:-1] if len(found) > 1 and not _ENDS.search(found[-1][1]) else found


def _joined(found: Sequence[Sentence]) -> str:
    paragraphs: dict[int, list[str]] = {}
    for number, text in found:
        paragraphs.setdefault(number, []).append(text)
    return "\n\n".join(" ".join(texts) for texts in paragraphs.values())
