from difflib import SequenceMatcher

from hypothesis import given
from hypothesis import strategies as st

from llm_twin.evaluation.copied import Originals
from llm_twin.text import words

KNOWN = ["One two three four five six seven eight nine ten eleven twelve thirteen fourteen.", "A b c d e."]


def test_copies_by_hand() -> None:
    originals = Originals(KNOWN)
    whole = originals.copied(KNOWN[0].upper())
    assert (whole.share, whole.longest) == (1.0, 14)
    assert originals.copied("So he said: b, c — D e! And a b c.").longest == 4
    half = originals.copied(
        "two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen"
    )
    assert (half.share, half.longest) == (0.5, 13)
    assert originals.copied("thirteen fourteen a b c d").longest == 4  # no run goes on into the next document
    assert originals.copied("one two").longest == 0 == originals.copied("").longest


SMALL = st.lists(st.sampled_from("abc"), max_size=30).map(" ".join)


@given(SMALL, st.lists(SMALL, max_size=3))
def test_the_longest_run_is_that_of_difflib(text: str, known: list[str]) -> None:
    longest = max(
        (
            SequenceMatcher(None, words(text), words(k), autojunk=False).find_longest_match().size
            for k in known
        ),
        default=0,
    )
    assert Originals(known).copied(text).longest == (longest if longest >= 3 else 0)
