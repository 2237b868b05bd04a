"""The number that tokens stay under: counted by hand, and against tokenizers."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer

from llm_twin.adapters.token_bound import most_in, most_tokens
from llm_twin.types import Message

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.mark.parametrize(
    ("text", "most"),
    [
        ("", 0),
        ("salt gets in", 1 + 1 + 1),
        ("bearing", 2),
        ("OilCan NASA", 1 + 1 + 2),
        ("in 2019!", 1 + (2 + 1 + 1 + 1) + 1),
        ("a\n\nb", 1 + 1 + 1),
        ("über", 2 + 1),
        ("🦉", 4),
        ("x_1", 1 + 1 + 1),
    ],
)
def test_a_text_is_counted_by_its_words_signs_and_bytes(text: str, most: int) -> None:
    assert most_in(text) == most


def test_each_turn_and_the_layout_add_to_it() -> None:
    turns = [Message(role="system", content="Be brief."), Message(role="user", content="bearing")]
    assert most_tokens(turns) == 32 + (8 + 1 + 2 + 1) + (8 + 2)


@given(st.text(), st.text())
def test_it_is_never_less_for_more_text_and_never_over_a_token_a_byte(one: str, other: str) -> None:
    both = most_in(f"{one} {other}")
    assert max(most_in(one), most_in(other)) <= both <= len(f"{one} {other}".encode())


@pytest.mark.slow
def test_no_passage_of_the_sample_corpus_has_more(smol_model: Path) -> None:
    tokenizer = Tokenizer.from_file(str(smol_model / "tokenizer.json"))
    texts = [path.read_text(encoding="utf-8") for path in sorted(EXAMPLES.rglob("*.md"))]
    texts += [
        "Die Straße nach Köln führt über grüne Hügel.",
        "Привет, как дела?",
        "今天天气很好。",
        "🦉 naïve 東京",
    ]
    pieces = [text[i : i + 900] for text in texts for i in range(0, len(text), 900)]
    assert len(pieces) > 50
    for piece in pieces:
        count = len(tokenizer.encode(piece, add_special_tokens=False).ids)
        assert count <= most_in(piece) <= max(40, 4 * count), piece
