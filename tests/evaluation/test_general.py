import math
from pathlib import Path

import numpy as np
import pytest

from llm_twin.adapters.standins import ScriptedChat, echo
from llm_twin.errors import InputError, TwinError
from llm_twin.evaluation.general import general_fluency, general_passages, measure_general
from llm_twin.evaluation.measure import Notes
from llm_twin.types import Message, Sample

RNG = np.random.default_rng(0)


def scored(scale: float, sizes: tuple[int, ...]) -> list[np.ndarray]:
    return [-RNG.random(n) * scale for n in sizes]


def perplexity(rows: list[np.ndarray]) -> float:
    tokens = [float(v) for row in rows for v in row]
    return math.exp(-sum(tokens) / len(tokens))


AUTHOR = (scored(4, (5, 9, 3)), scored(2, (5, 9, 3)))
GENERAL = (scored(3, (7, 4)), scored(3.5, (7, 4)))
FOUND = general_fluency(AUTHOR, ["a", "a", "b"], GENERAL, ["x", "y"])


def test_perplexities_are_those_of_a_plain_loop() -> None:
    assert FOUND.author.twin.value == pytest.approx(perplexity(AUTHOR[1]))
    assert FOUND.general.base.value == pytest.approx(perplexity(GENERAL[0]))
    changes = [perplexity(twin) / perplexity(base) - 1 for base, twin in (GENERAL, AUTHOR)]
    assert FOUND.general.change.value == pytest.approx(changes[0])
    assert FOUND.gap.value == pytest.approx(changes[0] - changes[1])


def test_documents_are_listed_with_their_own_perplexities() -> None:
    rows = {d.document: d for d in FOUND.author_documents}
    assert (rows["a"].tokens, rows["b"].tokens) == (14, 3)
    assert rows["a"].base == pytest.approx(perplexity(AUTHOR[0][:2]))
    assert rows["b"].twin == pytest.approx(perplexity(AUTHOR[1][2:]))


def test_forgetting_is_a_change_on_general_text_that_is_surely_above_zero() -> None:
    documents = [f"t{i}" for i in range(12)]
    base = scored(3, (20,) * 12)
    worse = [row - 0.2 for row in base]
    found = general_fluency(AUTHOR, ["a", "a", "b"], (base, worse), documents)
    assert found.general.change.value == pytest.approx(math.exp(0.2) - 1)
    assert found.forgets
    assert not general_fluency(AUTHOR, ["a", "a", "b"], (base, base), documents).forgets


def test_the_passages_are_many_short_and_on_different_subjects() -> None:
    passages = general_passages()
    assert len(passages) >= 30
    assert len({p.topic for p in passages}) == len(passages)
    assert all(40 <= len(p.text.split()) <= 100 for p in passages)
    first_person = {"i", "i'm", "my", "me"}
    assert not any(first_person & set(p.text.lower().split()) for p in passages)


def held_out(*documents: str) -> list[Sample]:
    return [
        Sample(
            id=d, document_id=d, author="A", instruction=f"Tell of {d}.", response=f"A tale of {d}.",
            start=0, end=9, split="test", written_by="m",
        )
        for d in documents
    ]  # fmt: skip


def ask(sample: Sample) -> list[Message]:
    return [Message(role="user", content=sample.instruction)]


class Reader(ScriptedChat):
    """Counts how often it is asked to score."""

    calls = 0

    def score(self, *given: object) -> list[np.ndarray]:  # type: ignore[override]
        self.calls += 1
        return super().score(*given)  # type: ignore[arg-type]


def test_each_model_reads_each_kind_once_and_never_again(tmp_path: Path) -> None:
    base, twin = Reader(echo, "base"), Reader(echo, "twin")
    shown: list[str] = []
    notes = Notes(tmp_path)
    found = measure_general(base, twin, held_out("x", "y"), ask, notes, lambda d, t, what: shown.append(what))
    assert (base.calls, twin.calls) == (2, 2)
    assert {"reading base-real", "reading twin-general"} <= set(shown)
    # Of "A tale of x." the prompt has "of" and "x." only, and the end of turn is sure.
    assert found.author.base.value == pytest.approx(
        math.exp((2 * math.log(8) + 2 * math.log(2)) / 5), abs=1e-3
    )
    assert len(found.general_documents) == len(general_passages())
    again = measure_general(base, twin, held_out("x", "y"), ask, notes)
    assert again == found and (base.calls, twin.calls) == (2, 2)


def test_notes_about_other_texts_are_refused(tmp_path: Path) -> None:
    base, twin = Reader(echo), Reader(echo)
    measure_general(base, twin, held_out("x", "y"), ask, Notes(tmp_path))
    with pytest.raises(TwinError, match=r"scores-base-real in .* is about 2 texts, not 3"):
        measure_general(base, twin, held_out("x", "y", "z"), ask, Notes(tmp_path))


def test_one_held_out_document_is_too_few(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="two documents"):
        measure_general(Reader(echo), Reader(echo), held_out("x"), ask, Notes(tmp_path))
