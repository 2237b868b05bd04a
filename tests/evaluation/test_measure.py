import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from llm_twin.adapters.standins import HashEmbedder, ScriptedChat
from llm_twin.errors import InputError, MissingPart, TwinError
from llm_twin.evaluation.measure import Material, Measured, Memorisation, Notes, measure
from llm_twin.evaluation.style import Passage
from llm_twin.ports import Progress, silent
from llm_twin.types import Completion, Message, Sample, Sampling

SUBJECTS = [
    "tide",
    "lathe",
    "kernel",
    "garden",
    "lamp",
    "anchor",
    "radio",
    "kettle",
    "violin",
    "stove",
    "ferry",
    "glue",
]
STEPS = 10
"""Calls of both models together: 5 rounds of answers and 5 of reading."""


def dashed(subject: str, n: int) -> str:
    """The author: dashes, contractions, something new every time."""
    rng = random.Random(f"{subject}{n}")
    moods = ["worn", "old", "loud", "kind", "salted", "bent", "cold", "slow", "bright", "patient"]
    a, b, c, d, e, f = rng.sample(moods, 6)
    return (
        f"It's the {subject} that's {a} — and I've said so. You'd think a {subject} can't be {b}… it's {c}!\n\n"
        f"Don't ask me why — I'm {d} about the {subject}, and it's {e} by {n} o'clock — that's {f}."
    )


def formal(subject: str, n: int) -> str:
    """Anyone else: commas and full forms."""
    rng = random.Random(f"{subject}{n}")
    moods = ["useful", "modern", "complex", "reliable", "efficient", "robust", "simple", "common"]
    a, b, c, d = rng.sample(moods, 4)
    return (
        f"The {subject} is {a}, and it is also {b}. One should note that the {subject} is not {c}; "
        f"it is, however, {d}. In conclusion, the {subject} remains important for everyone, and it will be so."
    )


def sample(subject: str, n: int, side: str, write: Callable[[str, int], str] = dashed) -> Sample:
    text = write(subject, n)
    return Sample(
        id=f"{subject}{n}",
        document_id=f"doc-{subject}",
        author="Ann",
        instruction=f"What of the {subject} , part {n} ?",
        response=text,
        start=0,
        end=len(text),
        split="train" if side == "train" else "test",
        written_by="test",
    )


def material(write: Callable[[str, int], str] = dashed, passages: int = 3) -> Material:
    train = [sample(s, n, "train", write) for s in SUBJECTS[:7] for n in range(4)]
    test = [sample(s, n, "test", write) for s in SUBJECTS[7:] for n in range(passages)]
    others = [
        [Passage(f"o-{s}", formal(s, 9 + n)) for s in part for n in range(3)]
        for part in (SUBJECTS[:7], SUBJECTS[7:])
    ]
    return Material(
        author="Ann",
        train=train,
        machine=train[::2],
        test=test,
        train_texts=[s.response for s in train],
        test_texts=[s.response for s in test],
        others_train=others[0],
        others_test=others[1],
    )


class Killed(BaseException):
    """What kill -9 looks like from inside: nothing catches it."""


class Clock:
    """Counts the calls of all models and kills one of them."""

    def __init__(self, kill_at: int = 0) -> None:
        self.calls: list[tuple[str, str, Sampling | None]] = []
        self.kill_at = kill_at

    def tick(self, model: str, what: str, sampling: Sampling | None = None) -> None:
        if len(self.calls) + 1 == self.kill_at:
            raise Killed
        self.calls.append((model, what, sampling))


class Model(ScriptedChat):
    """A scripted model that is counted, and that reads: words in an order it knows are likelier."""

    def __init__(self, name: str, write: Callable[[str, int], str], clock: Clock, known: float) -> None:
        super().__init__(lambda messages: self._answer(messages[-1].content), name)
        self.write, self.clock, self.known = write, clock, known
        self.pairs = {p for s in SUBJECTS for n in range(4) for p in pairs(dashed(s, n))}

    def _answer(self, question: str) -> str:
        found = question.split()
        return self.write(found[3], int(found[-2]) + 100)

    def generate(
        self, prompts: Sequence[Sequence[Message]], sampling: Sampling, progress: Progress = silent
    ) -> list[Completion]:
        self.clock.tick(self.name, "generate", sampling)
        return super().generate(prompts, sampling, progress)

    def score(
        self, prompts: Sequence[Sequence[Message]], responses: Sequence[str], progress: Progress = silent
    ) -> list[NDArray[np.float64]]:
        self.clock.tick(self.name, "score")
        self._check_open()
        assert len(prompts) == len(responses)
        return [
            np.log([*(self.known if p in self.pairs else 0.01 for p in pairs(text)), 0.5])
            for text in responses
        ]


def pairs(text: str) -> list[tuple[str, str]]:
    found = ["", *text.split()]
    return list(pairwise(found))


def ask(sample: Sample) -> list[Message]:
    return [Message(role="user", content=sample.instruction)]


def run(
    folder: Path,
    clock: Clock,
    given: Material | None = None,
    twin: Callable[[str, int], str] = dashed,
    progress: Progress = silent,
) -> Measured:
    return measure(
        given or material(),
        Model("base", formal, clock, 0.2),
        Model("twin", twin, clock, 0.4),
        HashEmbedder(128),
        ask,
        Sampling(max_tokens=200, temperature=0.7),
        Notes(folder),
        progress,
    )


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> tuple[Measured, Clock]:
    clock = Clock()
    return run(tmp_path_factory.mktemp("plain"), clock), clock


def test_a_twin_with_the_authors_habits_scores_and_the_base_model_does_not(
    plain: tuple[Measured, Clock],
) -> None:
    found, _ = plain
    assert found.refused == ""
    assert (found.documents, found.passages) == (5, 15)
    assert found.auc > 0.95 and found.auc_others is not None and found.auc_machine is not None
    assert found.base is not None and found.twin is not None and found.difference is not None
    assert found.base.style.value == pytest.approx(
        0, abs=1e-9
    )  # this base model always says the same as its floor
    assert found.twin.style.value == pytest.approx(1, abs=0.1)
    assert found.twin.fluency.value > 0.7
    assert found.base.variety.value > 0.5  # its floor is what it says, said twice
    assert found.twin.twin.low > found.base.twin.high
    assert found.difference.value == pytest.approx(found.twin.twin.value - found.base.twin.value)
    assert found.style_floor < 0.2 < 0.8 < found.style_ceiling


def test_what_makes_a_score_less_sure_is_said_and_each_auc_has_its_interval(
    plain: tuple[Measured, Clock],
) -> None:
    found, _ = plain
    assert len(found.notes) == 1 and "come from 5 documents" in found.notes[0]
    for auc, interval in (
        (found.auc, found.auc_interval),
        (found.auc_others, found.auc_others_interval),
        (found.auc_machine, found.auc_machine_interval),
    ):
        assert interval is not None and interval.value == pytest.approx(auc)
        assert 0.8 < interval.low <= interval.value <= interval.high <= 1


def test_two_held_out_documents_get_no_score_and_a_reason(tmp_path: Path) -> None:
    given = material()
    found = run(tmp_path, Clock(), replace(given, test=given.test[:6]))
    assert (found.documents, found.twin, found.difference) == (2, None, None)
    assert found.refused.startswith("no score: 2 held-out documents are too few")
    assert found.perplexity is not None


def test_what_was_left_out_of_the_background_is_counted(tmp_path: Path) -> None:
    found = run(tmp_path, Clock(), replace(material(), others_left_out=4))
    assert any(note.endswith("because they repeat another: 4") for note in found.notes)


def test_perplexity_is_that_of_the_authors_text_under_each_model(plain: tuple[Measured, Clock]) -> None:
    found, _ = plain
    real = [s.response for s in material().test]
    for name, known in (("base", 0.2), ("twin", 0.4)):
        tokens = np.concatenate(Model(name, dashed, Clock(), known).score([[]] * len(real), real))
        assert getattr(found.perplexity, name).value == pytest.approx(np.exp(-tokens.mean()), rel=1e-4)
    assert found.perplexity is not None and found.perplexity.change.high < 0


def test_examples_are_the_first_passage_of_each_document(plain: tuple[Measured, Clock]) -> None:
    found, _ = plain
    test = material().test
    first = {s.document_id: s for s in reversed(test)}
    assert [e.instruction for e in found.examples] == [first[d].instruction for d in sorted(first)]
    assert all(e.author == dashed(e.instruction.split()[3], 0) for e in found.examples)
    assert all(e.twin == dashed(e.instruction.split()[3], 100) for e in found.examples)
    assert all(e.base == formal(e.instruction.split()[3], 100) for e in found.examples)


def test_each_round_of_answers_has_a_seed_of_its_own(plain: tuple[Measured, Clock]) -> None:
    _, clock = plain
    samplings = [s for _, what, s in clock.calls if what == "generate" and s]
    assert len(clock.calls) == STEPS
    assert len({s.seed for s in samplings}) == len(samplings) == 5
    assert sorted(s.temperature for s in samplings) == [0.0, 0.7, 0.7, 0.7, 0.7]


def test_the_twin_is_done_before_the_base_model_begins_and_both_are_closed(tmp_path: Path) -> None:
    clock = Clock()
    base, twin = Model("base", formal, clock, 0.2), Model("twin", dashed, clock, 0.4)
    measure(material(), base, twin, HashEmbedder(), ask, Sampling(max_tokens=200), Notes(tmp_path))
    assert [name for name, _, _ in clock.calls] == ["twin"] * 2 + ["base"] * 8
    for model in (base, twin):
        with pytest.raises(TwinError, match="closed"):
            model.generate([ask(material().test[0])], Sampling())


def test_a_second_call_does_not_ask_the_models_again(tmp_path: Path) -> None:
    once = run(tmp_path, Clock())
    again = Clock()
    assert run(tmp_path, again) == once
    assert again.calls == []


@pytest.mark.parametrize("step", range(1, STEPS + 1))
def test_killed_at_any_step_it_goes_on_where_it_stood(
    tmp_path: Path, step: int, plain: tuple[Measured, Clock]
) -> None:
    killed, rest = Clock(kill_at=step), Clock()
    with pytest.raises(Killed):
        run(tmp_path, killed)
    assert run(tmp_path, rest) == plain[0]
    assert len(killed.calls) == step - 1
    assert killed.calls + rest.calls == plain[1].calls
    assert [p.name for p in tmp_path.iterdir() if p.suffix != ".json"] == []


def test_progress_names_each_step(tmp_path: Path) -> None:
    seen: list[tuple[int, int, str]] = []
    run(tmp_path, Clock(), progress=lambda *step: seen.append(step))
    assert {note for _, _, note in seen} == {
        "twin answers", "base answers", "floor answers", "greedy answers", "machine answers",
    }  # fmt: skip
    assert (15, 15, "twin answers") in seen


def test_a_twin_that_recites_its_training_texts_is_vetoed(tmp_path: Path) -> None:
    def recite(subject: str, n: int) -> str:
        return dashed("tide", 1)

    found = run(tmp_path, Clock(), twin=recite)
    assert found.memorisation.twin == 1.0
    assert found.memorisation.veto
    assert found.memorisation.base == 0.0


def test_the_veto_allows_for_the_authors_own_repetitions(plain: tuple[Measured, Clock]) -> None:
    assert not plain[0].memorisation.veto
    assert not Memorisation(twin=0.24, base=0, author=0.2).veto
    assert Memorisation(twin=0.26, base=0, author=0.2).veto


def test_a_twin_that_says_one_thing_only_has_no_variety(
    tmp_path: Path, plain: tuple[Measured, Clock]
) -> None:
    found = run(tmp_path, Clock(), twin=lambda subject, n: dashed("zither", 3))
    assert found.twin is not None and plain[0].twin is not None
    assert found.twin.variety.value < plain[0].twin.variety.value - 0.3


def test_a_model_that_says_nothing_has_no_twin_score(tmp_path: Path) -> None:
    found = run(tmp_path, Clock(), twin=lambda subject, n: "")
    assert found.twin is not None
    assert found.twin.twin.value == 0
    assert found.examples[0].twin == ""


def test_an_author_like_any_other_gets_no_score_and_a_reason(tmp_path: Path) -> None:
    found = run(tmp_path, Clock(), material(formal), twin=formal)
    assert (found.base, found.twin, found.difference) == (None, None, None)
    assert f"AUC on held-out text is {found.auc:.2f}" in found.refused
    assert "collect more" in found.refused
    assert found.perplexity is not None and found.perplexity.base.value > 1


def test_without_a_ceiling_of_relevance_there_is_no_score(tmp_path: Path) -> None:
    found = run(tmp_path, Clock(), material(passages=1))
    assert "one passage" in found.refused
    assert found.twin is None


def test_one_held_out_document_is_refused_before_any_model_works(tmp_path: Path) -> None:
    given, clock = material(), Clock()
    with pytest.raises(InputError, match="1 documents"):
        run(tmp_path, clock, replace(given, test=given.test[:3]))
    with pytest.raises(InputError, match="0 documents"):
        run(tmp_path, clock, replace(given, test=[]))
    assert clock.calls == []


def test_notes_are_made_once_and_whole(tmp_path: Path) -> None:
    made: list[Any] = []

    def make() -> Any:
        made.append(1)
        return {"é": [1.5, "—"]}

    def fail() -> Any:
        raise Killed

    notes = Notes(tmp_path / "deep" / "run")
    with pytest.raises(Killed):
        notes.once("step", fail)
    assert not (tmp_path / "deep").exists()
    assert notes.once("step", make) == notes.once("step", fail) == {"é": [1.5, "—"]}
    assert made == [1]


class Mute(Model):
    """It gives no probabilities of a given text."""

    def score(self, *given: Any, **named: Any) -> list[NDArray[np.float64]]:
        raise MissingPart("no probabilities here", "serve it with vLLM")


def test_a_twin_without_probabilities_has_scores_and_no_perplexity(
    tmp_path: Path, plain: tuple[Measured, Clock]
) -> None:
    clock = Clock()
    models = Model("base", formal, clock, 0.2), Mute("twin", dashed, clock, 0.4)
    sampling = Sampling(max_tokens=200, temperature=0.7)
    found = measure(material(), *models, HashEmbedder(128), ask, sampling, Notes(tmp_path))
    assert found.perplexity is None and "no probabilities here" in found.perplexity_missing
    assert (found.twin, found.base, found.difference) == (plain[0].twin, plain[0].base, plain[0].difference)
    assert found.rows is not None and "perplexity" not in found.rows.parts
