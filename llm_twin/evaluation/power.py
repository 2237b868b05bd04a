"""Power: how many words does a verifier need to tell this author?

All held-out passages of a document are joined and cut to pieces of 20, 40, 80 … words; the AUC of the author's
pieces over those of each kind of background is measured at every length that enough pieces are left of. Not
covered: lengths between those, and whether a longer text of another kind (a letter, code) is as telling.
"""

import re
from collections.abc import Callable, Sequence

from llm_twin.evaluation.intervals import Array, Estimate
from llm_twin.evaluation.separation import Judged, separation
from llm_twin.evaluation.style import LEAST_AUC, Passage
from llm_twin.evaluation.verifiers import joined
from llm_twin.types import Value

LENGTHS = (20, 40, 80, 160, 320, 640)
SURE_AUC = 0.9
_LEAST_PIECES = 5
_SPOKEN = re.compile(r"\S*\w\S*")


class Point(Value):
    """The AUC at one length. A kind of background with under 5 pieces of it is None."""

    words: int
    texts: int
    """Pieces of the author's."""
    others: Estimate | None
    machine: Estimate | None

    @property
    def auc(self) -> float:
        """The AUC over the kind of background that is told apart least well."""
        return min(part.value for part in (self.others, self.machine) if part)


class Power(Value):
    """AUC by length, and the least lengths measured at which it is enough."""

    points: tuple[Point, ...]
    enough: int | None
    """Words from which on each AUC is 0.8 or more at every length measured; None if none."""
    sure: int | None
    """The same for 0.9."""


def power(
    value: Callable[[Sequence[str]], Array],
    own: Sequence[Passage],
    others: Sequence[Passage],
    machine: Sequence[Passage],
) -> Power:
    """Measure `value` (higher is more like the author) on held-out passages cut to each length."""
    points = []
    for length in LENGTHS:
        sides = [_pieces(side, length) for side in (own, others, machine)]
        if (point := _point(value, length, sides, (bool(others), bool(machine)))) is None:
            break
        points.append(point)
    return Power(points=tuple(points), enough=_from(points, LEAST_AUC), sure=_from(points, SURE_AUC))


def cut(text: str, length: int) -> list[str]:
    """Consecutive pieces of exactly `length` words, as they stand in the text; what is left over goes."""
    starts = [match.start() for match in _SPOKEN.finditer(text)]
    ends = [*starts[length::length], len(text)]
    whole = len(starts) // length
    return [text[starts[i * length] : ends[i]].strip() for i in range(whole)]


def count(text: str) -> int:
    """Words as `cut` counts them: runs without white space that hold a letter or a digit."""
    return len(_SPOKEN.findall(text))


def _pieces(passages: Sequence[Passage], length: int) -> list[Passage]:
    return [Passage(p.document_id, piece) for p in joined(passages) for piece in cut(p.text, length)]


def _point(
    value: Callable[[Sequence[str]], Array],
    length: int,
    sides: Sequence[Sequence[Passage]],
    wanted: tuple[bool, bool],
) -> Point | None:
    """None where the author, or a kind of background that there is, has too few pieces of this length."""
    own, *backgrounds = sides
    needed = [own, *(side for side, there in zip(backgrounds, wanted, strict=True) if there)]
    if min(map(len, needed)) < _LEAST_PIECES or len({p.document_id for p in own}) < 2:
        return None
    judged = [
        Judged(value([p.text for p in side]), tuple(p.document_id for p in side)) if side else None
        for side in sides
    ]
    others, machine = (separation(judged[0], side) if side and judged[0] else None for side in judged[1:])
    return Point(words=length, texts=len(own), others=others, machine=machine)


def _from(points: Sequence[Point], auc: float) -> int | None:
    """The least length from which on every point has `auc`."""
    found = None
    for point in reversed(points):
        if point.auc < auc:
            break
        found = point.words
    return found
