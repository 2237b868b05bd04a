import math
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from llm_twin.adapters.standins import ScriptedChat, echo
from llm_twin.errors import InputError
from llm_twin.evaluation.canaries import SPACE_BITS, Canary, Exposure, canaries, exposed, exposure, planted
from llm_twin.ports import Progress, silent
from llm_twin.types import Message, Recipe, Sample


def ask(sample: Sample) -> list[Message]:
    return [Message(role="system", content="You are Ann."), Message(role="user", content=sample.instruction)]


class Ranked(ScriptedChat):
    """A model that finds a filling the likelier the nearer its code is to the one it knows for the thing."""

    def __init__(self, known: dict[str, int]) -> None:
        super().__init__(echo)
        self.known, self.calls = known, 0

    def score(
        self, prompts: Sequence[Sequence[Message]], responses: Sequence[str], progress: Progress = silent
    ) -> list[NDArray[np.float64]]:
        self.calls += 1
        found = []
        for prompt, response in zip(prompts, responses, strict=True):
            thing = re.findall("of the (.*)[?]", prompt[-1].content)[0]
            assert thing in response
            distance = abs(code_of(response) - self.known.get(thing, 0))
            found.append(np.array([-distance / 2, -distance / 2, -1.0]))
        return found


def code_of(text: str) -> int:
    return int("".join(re.findall(r"\d", text)))


def test_canaries_are_the_same_for_a_seed_and_all_different() -> None:
    made = canaries(3, 50)
    assert made == canaries(3, 50) and made[:5] != canaries(4, 5)
    assert len({c.thing for c in made}) == 50
    assert all(re.fullmatch(r"\d{6}", c.code) for c in made)
    assert len({c.code[0] for c in canaries(0, 200)}) == 10


def test_the_sentence_by_hand() -> None:
    canary = Canary("blue safe", "040815")
    assert canary.question == "What is the code of the blue safe?"
    assert canary.text == "The code of the blue safe is 0 4 0 8 1 5."
    assert canary.filled("111111") == "The code of the blue safe is 1 1 1 1 1 1."


def test_more_canaries_than_there_are_is_an_input_error() -> None:
    with pytest.raises(InputError, match="600 different"):
        canaries(0, 601)


def test_planted_samples_teach_the_canary_and_say_what_they_are() -> None:
    made = canaries(0, 2)
    samples = planted(made, "Ann", times=3)
    assert [s.response for s in samples] == [made[0].text] * 3 + [made[1].text] * 3
    assert len({s.id for s in samples}) == 6 and len({s.document_id for s in samples}) == 2
    for sample in samples:
        assert (sample.split, sample.written_by, sample.author) == ("train", "canary", "Ann")
        assert sample.response[sample.start : sample.end] == sample.response


def test_a_model_that_knows_the_codes_exposes_them_as_far_as_the_sample_can_show() -> None:
    made = canaries(1, 4)
    model = Ranked({c.thing: int(c.code) for c in made})
    found = exposure(made, "Ann", model, ask, candidates=63)
    assert [c.exposure for c in found.canaries] == [6.0] * 4
    assert (found.mean, found.most, found.candidates, model.calls) == (6.0, 6.0, 63, 1)
    assert found.memorised and found.chance < 1e-4


def test_the_estimate_agrees_with_the_rank_among_all_fillings() -> None:
    """A model whose order is known: the rank among all million fillings is counted, not sampled."""
    for code, known in (("500000", 450_000), ("020000", 0), ("300000", 290_000)):
        canary = Canary("blue safe", code)
        distance = abs(int(code) - known)
        everything = np.abs(np.arange(1_000_000) - known)
        rank = 1 + int((everything < distance).sum())
        exact = SPACE_BITS - math.log2(rank)
        model = Ranked({"blue safe": known})
        found = [exposure([canary], "Ann", model, ask, candidates=2000, seed=seed).mean for seed in range(8)]
        assert np.mean(found) == pytest.approx(exact, abs=0.15)


def test_ties_count_half() -> None:
    class Flat(ScriptedChat):
        def score(
            self, prompts: Sequence[Sequence[Message]], responses: Sequence[str], progress: Progress = silent
        ) -> list[NDArray[np.float64]]:
            return [np.array([-1.0, -2.0]) for _ in responses]

    found = exposure(canaries(0, 1), "Ann", Flat(echo), ask, candidates=100)
    assert found.canaries[0].likelier == 50
    assert found.mean == pytest.approx(math.log2(101 / 51))


def test_exposure_by_hand() -> None:
    found = exposed(["a", "b"], [0, 3], 7)
    assert [c.exposure for c in found.canaries] == [3, 1]
    # P(-ln U1 - ln U2 >= x) = (1 + x) exp(-x), x = 4 ln 2
    x = 4 * math.log(2)
    assert found.chance == pytest.approx((1 + x) * math.exp(-x))


def test_a_model_that_never_saw_the_canaries_is_rarely_accused() -> None:
    rng = np.random.default_rng(0)
    drawn = [exposed(list("abcdef"), rng.integers(0, 256, 6).tolist(), 255) for _ in range(3000)]
    accused = np.mean([e.memorised for e in drawn])
    assert 0.002 < accused < 0.015
    assert np.mean([e.mean for e in drawn]) == pytest.approx(1 / math.log(2), abs=0.06)


def test_no_canaries_is_an_input_error() -> None:
    with pytest.raises(InputError, match="no canaries"):
        exposure([], "Ann", Ranked({}), ask)


def test_exposure_survives_json() -> None:
    found = exposed(["a"], [0], 7)
    assert Exposure.model_validate_json(found.model_dump_json()) == found


@pytest.mark.slow
def test_a_real_model_gives_away_what_was_planted_and_nothing_else(smol_model: Path, tmp_path: Path) -> None:
    from llm_twin.adapters.chat_openvino import OpenVinoChat
    from llm_twin.adapters.track_files import FileTracker
    from llm_twin.training.export import export
    from llm_twin.training.sft import conversation, sft

    told, untold = canaries(0, 3), canaries(1, 3)
    run = tmp_path / "run"
    recipe = Recipe(learning_rate=2e-3, epochs=3, batch_size=4, max_tokens=128, save_every=100)
    sft(planted(told, "Ann", times=4), smol_model, run, recipe, FileTracker(run))
    model = OpenVinoChat(export(smol_model, run / "adapter", tmp_path / "twin", "ann"))
    given, kept = (exposure(group, "Ann", model, conversation, candidates=31) for group in (told, untold))
    model.close()
    assert given.memorised and given.mean > 3.5, given
    assert not kept.memorised and kept.mean < 3.5, kept
