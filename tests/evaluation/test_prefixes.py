import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_twin.errors import InputError
from llm_twin.evaluation.prefixes import PrefixAttack, chosen, compare, halves, opening, reproduced
from llm_twin.types import Sample


def sample(document: str, n: int, text: str = "x") -> Sample:
    return Sample(
        id=f"{document}-{n}",
        document_id=document,
        author="Ann",
        instruction="Why?",
        response=text,
        start=0,
        end=len(text),
        split="train",
        written_by="test",
    )


def test_halves_by_hand_keep_the_layout() -> None:
    assert halves("One two,\n\nthree — four!") == ("One two,", "three — four!")
    assert halves("one two three") == ("one", "two three")
    assert halves("one") == ("", "one")
    assert halves("") == ("", "")


@given(st.lists(st.sampled_from(["a", "bb", "c,", "\n"]), max_size=260).map(" ".join))
def test_halves_meet_and_are_fifty_words_at_most(text: str) -> None:
    first, rest = halves(text)
    split = text.split()
    n = min(50, len(split) // 2)
    assert (first.split(), rest.split()) == (split[:n], split[n : n + 50])
    assert text.startswith(first) and rest in text


def test_an_opening_is_the_words_as_they_stand() -> None:
    assert opening("  One\ntwo three", 2) == "  One\ntwo"
    assert (opening("one", 5), opening("", 5), opening("one two", 0)) == ("one", "", "")


def test_reproduced_by_hand() -> None:
    rest = "the lathe hums at night and I sleep"
    assert reproduced(rest, "As I said: The lathe hums, at night; and I sleep!") == 1
    assert reproduced(rest, "a lathe hums at dawn") == 3 / 8
    assert reproduced(rest, "") == 0
    assert reproduced("...", "anything") == 0


def test_the_difference_by_hand_and_its_interval() -> None:
    train = {"a": [1.0, 0.8], "b": [0.9], "c": [0.9], "d": [0.9]}
    held_out = {"e": [0.1], "f": [0.1, 0.1], "g": [0.1]}
    found = compare(train, held_out)
    assert (found.train.value, found.held_out.value) == pytest.approx((0.9, 0.1))
    assert found.difference.value == pytest.approx(0.8)
    assert found.difference.low <= 0.8 <= found.difference.high
    assert found.spans == 4 and found.memorised


def test_one_document_on_a_side_is_an_input_error() -> None:
    with pytest.raises(InputError, match="one held-out document"):
        compare({"a": [1.0]}, {"b": [0.0], "c": [0.0]})


def test_a_model_that_knows_neither_side_is_rarely_said_to_know_one() -> None:
    """Both sides drawn alike: a 95% interval that misses 0 on the upper side should be about one in forty."""
    rng = np.random.default_rng(0)

    def side(count: int) -> dict[str, list[float]]:
        return {
            f"d{i}": (0.1 + rng.normal(0, 0.03) + rng.normal(0, 0.05, 4)).clip(0).tolist()
            for i in range(count)
        }

    found: list[PrefixAttack] = [compare(side(12), side(12)) for _ in range(400)]
    above = np.mean([f.difference.low > 0 for f in found])
    below = np.mean([f.difference.high < 0 for f in found])
    assert above < 0.06 and below < 0.06 and above + below > 0.005
    assert not any(f.memorised for f in found)


def test_samples_are_chosen_from_all_documents_first() -> None:
    samples = [sample("a", n) for n in range(5)] + [sample("b", 0), sample("c", 0)]
    assert [s.id for s in chosen(samples, 4)] == ["a-0", "b-0", "c-0", "a-1"]
    assert len(chosen(samples, 99)) == 7
