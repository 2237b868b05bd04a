"""What stands beside the ports: the rule by which texts of any length are compared."""

from llm_twin.adapters.standins import HashEmbedder
from llm_twin.ports import beginning


def test_a_long_text_is_compared_by_the_beginning_that_fits() -> None:
    embedder = HashEmbedder(window=10)
    assert beginning("a b c", embedder) == "a b c"
    text = "one two three, four five six seven eight nine ten"
    assert beginning(text, embedder) == "one two three, four five six seven"
    embedder.embed([beginning("word " * 500, embedder), beginning("", embedder)])  # raises over the window
