"""Chunks hold all of a document, fit the embedder's window, and cut where a reader would."""

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_twin.adapters.standins import HashEmbedder
from llm_twin.errors import InputError
from llm_twin.features.chunk import SPECIAL_TOKENS, chunks
from llm_twin.features.clean import clean
from llm_twin.ports import Embedder
from llm_twin.types import Chunk, CleanDocument, Document

Cleaned = Callable[..., CleanDocument]

PIECES = [
    "# A\n", "## B\n", "### A longer heading of several words\n", "text", "\n", "\n\n", "- item\n", "  ",
    "    code\n", "```py\n", "```\n", "x = [1, 2, 3]\n", "> q\n", "|a|b|\n|-|-|\n|1|2|\n", "<div>\n",
    "---\n", "===\n", "[x]: http://e.x\n", "1. one\n", "Is it? Yes! And so on, for a while. ", "\r\n",
    "\u00a0", "“q” — 👩‍🚀\n", "unbroken" * 9, "so many words " * 20, "\t", "\x0c", "(*&^%$#@!)",
]  # fmt: skip
MARKDOWN = st.lists(st.sampled_from(PIECES), max_size=25).map("".join) | st.text(max_size=80)


class LetterEmbedder(HashEmbedder):
    """One whose tokens depend on where a passage begins: pieces of three characters, blanks and all."""

    def token_offsets(self, text: str) -> list[tuple[int, int]]:
        return [(i, min(i + 3, len(text))) for i in range(0, len(text), 3)]


class FussyEmbedder(HashEmbedder):
    """One that makes more tokens of a short text than of a long one, so that no estimate is safe."""

    def token_offsets(self, text: str) -> list[tuple[int, int]]:
        step = 2 if len(text) < 200 else 6
        return [(i, min(i + step, len(text))) for i in range(0, len(text), step)]


def check(document: CleanDocument, embedder: Embedder, made: list[Chunk]) -> None:
    """What holds for the chunks of any document."""
    text, covered = document.text, [0] * len(document.text)
    for chunk in made:
        assert chunk.text == text[chunk.start : chunk.end] and chunk.text.strip()
        assert chunk.tokens == len(embedder.token_offsets(chunk.embedded_text)) + SPECIAL_TOKENS
        assert chunk.tokens <= embedder.window
        for i in range(chunk.start, chunk.end):
            covered[i] += 1
    assert all(times == 1 or (times == 0 and text[i].isspace()) for i, times in enumerate(covered))
    assert [chunk.start for chunk in made] == sorted(chunk.start for chunk in made)
    assert len({chunk.id for chunk in made}) == len(made)


@settings(deadline=None)
@given(text=MARKDOWN, title=st.text(max_size=60), window=st.integers(16, 60), kind=st.integers(0, 2))
def test_every_character_is_in_one_chunk_and_no_chunk_exceeds_the_window(
    cleaned: Cleaned, text: str, title: str, window: int, kind: int
) -> None:
    document = cleaned(text, title=title)
    embedder = (HashEmbedder, LetterEmbedder, FussyEmbedder)[kind](window=window)
    made = chunks(document, embedder, target=window // 2)
    check(document, embedder, made)
    assert made == chunks(document, embedder, target=window // 2)


def test_the_examples_whole_and_with_their_code(examples: list[Document]) -> None:
    embedder = HashEmbedder()
    for document in clean(examples).documents:
        made = chunks(document, embedder)
        check(document, embedder, made)
        assert len(made) > 1 or len(document.text) < 1500


def test_real_articles(articles: list[Document]) -> None:
    embedder = HashEmbedder()
    for document in clean(articles).documents:
        check(document, embedder, chunks(document, embedder))


@pytest.mark.slow
def test_real_articles_with_the_tokens_of_the_default_embedder(
    articles: list[Document], models_cache: object
) -> None:
    from llm_twin.adapters.embed_openvino import OpenVinoEmbedder
    from llm_twin.adapters.pull import pull

    embedder = OpenVinoEmbedder(pull("all-minilm-l6-v2", models_cache))  # type: ignore[arg-type]
    made = []
    for document in clean(articles).documents:
        found = chunks(document, embedder)
        check(document, embedder, found)
        made += found
    assert max(chunk.tokens for chunk in made) <= 256
    longest = sorted(made, key=lambda chunk: -chunk.tokens)[:8]
    assert embedder.embed([chunk.embedded_text for chunk in longest]).shape == (8, 384)


def words_of(count: int, name: str = "w") -> str:
    return " ".join(f"{name}{i}" for i in range(count))


def test_a_section_that_fits_is_one_chunk_under_the_headings_above_it(cleaned: Cleaned) -> None:
    text = "Intro.\n\n# One\n\nFirst.\n\n- a\n- b\n\n## Two\n\nSecond."
    made = chunks(cleaned(text), HashEmbedder())
    assert [(chunk.heading, chunk.text) for chunk in made] == [
        ((), "Intro."),
        ((), "# One\n\nFirst.\n\n- a\n- b"),
        (("One",), "## Two\n\nSecond."),
    ]
    assert made[2].embedded_text == "On owls > One\n## Two\n\nSecond."


def test_later_chunks_of_a_section_have_its_heading_in_their_path(cleaned: Cleaned) -> None:
    text = f"# One\n\n## Two\n\n{words_of(30)}\n\n{words_of(30, 'v')}"
    first, second = chunks(cleaned(text), HashEmbedder(window=60), target=40)
    assert (first.heading, first.text[:14]) == ((), "# One\n\n## Two\n")
    assert (second.heading, second.text[:2]) == (("One", "Two"), "v0")


@given(size=st.integers(1, 120), level=st.integers(1, 6), before=st.integers(0, 40))
def test_a_heading_is_never_parted_from_what_follows(
    cleaned: Cleaned, size: int, level: int, before: int
) -> None:
    text = f"{words_of(before, 'b')}\n\n{'#' * level} The heading\n\n{words_of(size)}"
    made = chunks(cleaned(text), HashEmbedder(window=50), target=30)
    (holding,) = [chunk for chunk in made if "The heading" in chunk.text]
    assert "w0" in holding.text and holding.text.startswith("#")


def test_neighbouring_paragraphs_are_packed_up_to_the_target(cleaned: Cleaned) -> None:
    text = "\n\n".join(words_of(12, name) for name in "abcdefghij")
    made = chunks(cleaned(text), HashEmbedder(window=60), target=40)
    assert [chunk.text[:2] for chunk in made] == ["a0", "d0", "g0"]
    assert "\n\nj0" in made[2].text  # what is left fits: no chunk of a few words at the end


def test_code_that_fits_stays_whole_even_beyond_the_target(cleaned: Cleaned) -> None:
    code = "```\n" + "\n\n".join(f"line {i}" for i in range(20)) + "\n```"
    text = f"{words_of(25)}\n\n{code}\n\n{words_of(25, 'v')}"
    made = chunks(cleaned(text), HashEmbedder(window=64), target=30)
    assert code in [chunk.text for chunk in made]


def test_long_code_is_cut_at_blank_lines_and_keeps_its_white_space(cleaned: Cleaned) -> None:
    functions = [f"def f{i}(x):\n    if x:\n\n        return {i}\n" for i in range(8)]
    text = "```python\n" + "\n\n".join(functions) + "```"
    made = chunks(cleaned(text), HashEmbedder(window=50), target=30)
    assert len(made) > 2
    for chunk in made[1:]:
        assert text[: chunk.start].endswith("\n\n")
        assert chunk.text.startswith(("def", "        return"))


def test_code_without_blank_lines_is_cut_at_lines(cleaned: Cleaned) -> None:
    text = "```\n" + "".join(f"    call({i}, {i})\n" for i in range(30)) + "```"
    made = chunks(cleaned(text), HashEmbedder(window=50), target=30)
    assert all(chunk.text.startswith("    call(") for chunk in made[1:])
    assert all(chunk.text.endswith(")") for chunk in made[:-1])


def test_long_paragraphs_are_cut_at_sentences(cleaned: Cleaned) -> None:
    text = " ".join(f"This is sentence number {i}, and it ends here." for i in range(12))
    made = chunks(cleaned(text), HashEmbedder(window=50), target=30)
    assert len(made) > 3
    assert all(c.text.startswith("This is") and c.text.endswith("here.") for c in made)


def test_long_lists_are_cut_between_items(cleaned: Cleaned) -> None:
    text = "\n".join(f"- Item {i} begins. It goes on\n  over a second line." for i in range(12))
    made = chunks(cleaned(text), HashEmbedder(window=50), target=33)
    assert len(made) > 2
    assert all(c.text.startswith("- Item") and c.text.endswith("line.") for c in made)


def test_a_sentence_without_end_is_cut_between_words(cleaned: Cleaned) -> None:
    text = words_of(300)
    made = chunks(cleaned(text), HashEmbedder(window=50), target=30)
    assert " ".join(chunk.text for chunk in made) == text


def test_tokens_smaller_than_words_do_not_cut_them(cleaned: Cleaned) -> None:
    text = words_of(300, "word")
    made = chunks(cleaned(text), LetterEmbedder(window=50), target=30)
    assert len(made) > 10 and " ".join(chunk.text for chunk in made) == text


def test_a_passage_of_more_tokens_than_its_document_had_there_is_cut_again(cleaned: Cleaned) -> None:
    document, embedder = (
        cleaned("\n\n".join(words_of(10, name) for name in "abcdefghijklmnop")),
        FussyEmbedder(window=40),
    )
    made = chunks(document, embedder, target=30)
    assert embedder.token_offsets(document.text)[0] == (0, 6)  # but 2 characters in a chunk
    check(document, embedder, made)


def test_a_word_without_end_is_cut_at_all(cleaned: Cleaned) -> None:
    text = "x" * 1000
    made = chunks(cleaned(text), LetterEmbedder(window=32), target=20)
    assert "".join(chunk.text for chunk in made) == text and len(made) > 10


def test_a_long_path_loses_its_outermost_headings_then_the_end_of_the_title(cleaned: Cleaned) -> None:
    text = f"# {words_of(8, 'outer')}\n\n## {words_of(8, 'inner')}\n\n### Here\n\n{words_of(60)}"
    last = chunks(cleaned(text, title="Short"), HashEmbedder(window=64), target=30)[-1]
    assert last.heading == (words_of(8, "inner"), "Here") and last.title == "Short"
    title = words_of(100, "title")
    last = chunks(cleaned(text, title=title), HashEmbedder(window=64), target=30)[-1]
    assert last.heading == () and last.title.endswith("…") and title.startswith(last.title[:-1])
    assert len(last.title) > 40


def test_an_unchanged_passage_keeps_its_id_and_a_changed_one_does_not(cleaned: Cleaned) -> None:
    before = chunks(cleaned("# A\n\nOne.\n\n# B\n\nTwo."), HashEmbedder())
    after = chunks(cleaned("# A\n\nOne.\n\n# B\n\nToo."), HashEmbedder())
    assert before[0].id == after[0].id and before[1].id != after[1].id
    assert before[0].id.startswith("c_") and len(before[0].id) == 18


@pytest.mark.parametrize(
    "fields",
    [
        {"title": "On mice"},
        {"author": "Bea"},
        {"url": "https://e.x"},
        {"published": "2024-02-29"},
        {"platform": "e.x"},
    ],
)
def test_what_is_shown_with_a_passage_is_part_of_its_id(cleaned: Cleaned, fields: dict[str, str]) -> None:
    one, other = (chunks(cleaned("Text.", id="d", **each), HashEmbedder())[0] for each in ({}, fields))
    assert one.id != other.id and one.text == other.text


def test_another_embedder_is_another_index(cleaned: Cleaned) -> None:
    small, large = (chunks(cleaned("Text."), HashEmbedder(dimension))[0] for dimension in (64, 128))
    assert small.id != large.id


def test_a_chunk_tells_where_it_comes_from(cleaned: Cleaned) -> None:
    document = cleaned(
        "Text.", url="https://e.x/1", published="2024-02-29", kind="post", language="en", platform="e.x"
    )
    (chunk,) = chunks(document, HashEmbedder())
    source = document.document
    assert (chunk.document_id, chunk.author, chunk.kind) == (source.id, "Ada", "post")
    assert (chunk.title, chunk.url, chunk.published) == ("On owls", source.url, source.published)
    assert chunk.platform == "e.x"


def test_nothing_gives_no_chunks(cleaned: Cleaned) -> None:
    assert chunks(cleaned(""), HashEmbedder()) == chunks(cleaned(" \n\n\t"), HashEmbedder()) == []


def test_a_window_too_small_for_anything_is_an_error_that_names_the_embedder(cleaned: Cleaned) -> None:
    with pytest.raises(InputError, match="hash-64 reads 8 tokens"):
        chunks(cleaned("Text."), HashEmbedder(window=8))


def test_an_embedder_for_long_texts_still_gives_passages(cleaned: Cleaned) -> None:
    text = "\n\n".join(words_of(50, name) for name in "abcdefghij")
    made = chunks(cleaned(text), HashEmbedder(window=8192))
    assert max(chunk.tokens for chunk in made) < 400


def test_the_document_is_tokenised_once(cleaned: Cleaned) -> None:
    text = "\n\n".join(f"## Part {name}\n\n{words_of(90, name)}" for name in "abcdefghijklmnop")
    seen: list[int] = []

    class Counting(HashEmbedder):
        def token_offsets(self, text: str) -> list[tuple[int, int]]:
            seen.append(len(text))
            return super().token_offsets(text)

    made = chunks(cleaned(text), Counting())
    assert len(made) == 16
    assert sum(seen) < 3 * len(text)
