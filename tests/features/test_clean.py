"""What makes a style survives cleaning to the last mark; what a site put around it goes, each line with a reason."""

import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_twin.collect.crawl import Source, collect
from llm_twin.features.clean import clean, unwrap
from llm_twin.text import folded
from llm_twin.types import CleanDocument, Document

MakeDocument = Callable[..., Document]

EXAMPLES = Path(__file__).parents[2] / "examples"
PLANTED = {
    "Home · Essays · Workbench · About",
    "Skip to content",
    "Sign in",
    "Share this post",
    "Subscribe to the newsletter",
    "We use cookies to make this site work. Accept all · Reject",
    "Read more",
    "Letters from Stennick · Built by hand on a small island · RSS · Contact",
}
DRESSED = {chr(code) for code in range(0x1D400, 0x1D800)} | {"ℎ"}
PIECES = [
    "It’s — “odd”: 'isn't' it?! 👩‍🚀 …\n", "\n", "\n\n\n", "Subscribe\n", "Share\n", "12\n", "# On owls\n", "#\n",
    "```py\n", "```\n", "    x = 1   \n", "- a\n", "-\n", "Read more\n", "> q\n", "* * *\n", "## End\n", "Ada\n",
    "| A | Expand full commentReplyShare\n", "---|---\n", "Home · About · RSS\n", "\u00a0", "e\u0301\n", "\r\n",
    "A line of prose that is just about wide enough to have been wrapped by a\n", "© 2024 Ada\n",
    "\\- 𝗯𝗼𝗹𝗱\n", "3\\. so\n",
]  # fmt: skip


def one(document: Document) -> CleanDocument:
    (found,) = clean([document]).documents
    return found


def marks(*texts: str) -> Counter[str]:
    """How often each character that shows stands in the texts, backslashes and the dress of letters apart."""
    typed = (unicodedata.normalize("NFC", text) for text in texts)
    plain = (unicodedata.normalize("NFKC", c) if c in DRESSED else c for text in typed for c in text)
    return Counter(c for c in plain if not c.isspace() and c != "\\")


def nothing_is_lost(cleaned: CleanDocument) -> bool:
    """Every mark of the document is in the clean text or in a dropped line, and nothing was added."""
    original = cleaned.document.text.replace("\u200b", "").replace("\u200a", " ").replace("\ufeff", "")
    return marks(original) == marks(cleaned.text, *(line for line, _ in cleaned.dropped))


def test_everything_a_style_is_made_of_survives(document: MakeDocument) -> None:
    text = (
        "It’s odd — isn't it? “Quite,” she said; 'very': yes…\n\nSECOND paragraph, 41.3 m/s (or so)!\n"
        "a line of its own 👩‍🚀🧵\n\n- one\n- two\n\n> quoted – so\n\n1) first\n\n## A heading #2\n\n"
        "```python\ndef f( x ):\n    return  x   # 'quoted'\n\n\nfoo = 1 \n#\n-\n```\n\n***bold*** _it_\n\n***\n\nEnd."
    )
    assert one(document(text)).text == text
    assert one(document(text)).dropped == ()


def test_code_in_a_list_is_left_alone(document: MakeDocument) -> None:
    text = "- run this:\n\n  ```sh\n  # Subscribe\n  Subscribe\n\n\n  a  \n  ```\n\nEnd."
    assert one(document(text)).text == text


def test_only_white_space_is_brought_to_one_form(document: MakeDocument) -> None:
    text = "Cafe\u0301\u00a0noir\r\n\r\n\r\n\r\nzero\u200bwidth, soft\u00adhyphen\rnext  \n👩‍🚀"
    assert one(document(text)).text == "Café noir\n\nzerowidth, softhyphen\nnext\n👩‍🚀"


@given(st.lists(st.sampled_from(PIECES), max_size=30).map("".join))
def test_every_mark_is_kept_or_dropped_with_a_reason(document: MakeDocument, text: str) -> None:
    for cleaned in clean([document(text)]).documents:
        assert nothing_is_lost(cleaned)
        assert all(line and why for line, why in cleaned.dropped)
        assert cleaned.text == cleaned.text.strip("\n") and cleaned.text.strip()


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("\\- one\n  \\+ two", "- one\n  + two"),
        ("2024\\. That year", "2024. That year"),
        ("parts 6 & 7\\. and \\- so", "parts 6 & 7. and - so"),
        ("`3\\. x` and a\\-b, \\*, \\_ and 3\\.5", None),
        ("```re\n\\- 3\\.\n```", None),
        ("    \\- 𝗰𝗼𝗱𝗲", None),
        ("𝗧𝗼 𝘀𝘂𝗺 𝙪𝙥: 𝑡ℎ𝑒 𝟰 𝛼 and ℝ, ℎ, ²", "To sum up: the 4 α and ℝ, ℎ, ²"),
    ],
)
def test_what_a_crawler_and_a_post_without_formatting_put_in_is_undone(
    document: MakeDocument, written: str, meant: str | None
) -> None:
    text = f"It begins.\n\n{written}\n\nIt ends."
    assert one(document(text)).text == (text if meant is None else f"It begins.\n\n{meant}\n\nIt ends.")


def test_a_repository_file_is_kept_as_it_is(document: MakeDocument) -> None:
    text = "```python\nSubscribe\n\n\n\nx = 1  \n```"
    assert one(document(text, kind="repository")).text == text


def test_each_dropped_line_is_told_with_its_reason(document: MakeDocument) -> None:
    text = "# On owls\n\nAda\nOct 3, 2024\n\nShare this post\n\nOwls hunt.\n\n© 2024 Ada\nSubscribe"
    found = one(document(text))
    assert found.text == "Owls hunt."
    assert found.dropped == (
        ("# On owls", "title"),
        ("Ada", "interface beside interface"),
        ("Oct 3, 2024", "interface beside interface"),
        ("Share this post", "interface"),
        ("© 2024 Ada", "copyright"),
        ("Subscribe", "interface"),
    )


def pieces(make: MakeDocument, count: int, line: str, shared_by: int, **fields: str) -> list[Document]:
    """`count` documents, of which the first `shared_by` hold `line`."""
    texts = [
        f"Number {i} begins.\n\n{line if i < shared_by else ''}\n\nIt ends as {i}." for i in range(count)
    ]
    return [make(text, title=f"Piece {i} {fields}", **fields) for i, text in enumerate(texts)]


@pytest.mark.parametrize(("count", "shared_by", "stays"), [(26, 3, True), (26, 4, False), (3, 3, True)])
def test_a_refrain_stays_and_a_footer_goes(
    document: MakeDocument, count: int, shared_by: int, stays: bool
) -> None:
    refrain = "And that was the end of the owl."
    found = clean(pieces(document, count, refrain, shared_by)).documents
    assert sum(refrain in each.text for each in found) == (shared_by if stays else 0)


def test_a_line_in_a_tenth_of_many_pieces_goes_and_in_fewer_stays(document: MakeDocument) -> None:
    found = clean(pieces(document, 60, "See you next Thursday, folks.", 6)).documents
    assert not any("Thursday" in each.text for each in found)
    found = clean(pieces(document, 60, "See you next Thursday, folks.", 5)).documents
    assert sum("Thursday" in each.text for each in found) == 5


def test_repeated_lines_are_counted_for_each_author_alone(document: MakeDocument) -> None:
    line = "All opinions are my own here."
    mine = pieces(document, 10, line, 3, author="Ada")
    others = pieces(document, 10, line, 3, author="Bea")
    assert sum(line in each.text for each in clean([*mine, *others]).documents) == 6


def test_files_of_code_do_not_hide_a_footer(document: MakeDocument) -> None:
    code = [document("```\nx\n```", title=f"f{i}.py", kind="repository") for i in range(300)]
    footer = "Written by hand on a small island."
    found = clean([*pieces(document, 8, footer, 6), *code]).documents
    assert not any(footer in each.text for each in found)


def test_short_labels_and_headings_may_recur(document: MakeDocument) -> None:
    texts = [f"## What came of it all\n\nSolution:\n\nIt was {i}." for i in range(12)]
    documents = [document(text, title=f"Piece {i}") for i, text in enumerate(texts)]
    assert [one_.text for one_ in clean(documents).documents] == [
        texts[int(each.document.title.split()[1])] for each in clean(documents).documents
    ]


def test_a_guest_post_and_a_page_without_text_are_set_aside(document: MakeDocument) -> None:
    guest = document("A guest post by Bea\n\nMice fear owls.", title="Mice")
    empty = document("Subscribe\n\nShare this post", title="Nothing")
    cleaned = clean([guest, empty, document("Owls hunt.")])
    assert [each.text for each in cleaned.documents] == ["Owls hunt."]
    assert {each.what: each.why for each in cleaned.skipped} == {
        "Mice": "says it is a guest post, so another's words",
        "Nothing": "nothing but site text",
    }


def test_the_result_does_not_depend_on_the_order(document: MakeDocument) -> None:
    documents = [*pieces(document, 9, "The same footer everywhere.", 7), document("Mice.", author="Bea")]
    assert clean(documents).documents == clean(documents[::-1]).documents


WRAPPED = (
    "The goal of this text is to stand in a column that is exactly seventy or\n"
    "so characters wide, as a crawler would have made it from a page that had\n"
    "none of these breaks, so that every line but the last of a paragraph is\n"
    "as long as it could be before the next word would not have fitted there\n"
)


def test_a_crawlers_hard_wrap_is_undone_and_code_is_not_touched() -> None:
    code = (
        "- item\n\n  ```\n  "
        + "call(argument_one, argument_two, argument_three, argument_four)\n  x\n  ```\n"
    )
    text = "\n\n".join([WRAPPED + "end."] * 4) + "\n\n" + code
    lines = unwrap(text).split("\n")
    assert lines[0] == (WRAPPED + "end.").replace("\n", " ")
    assert unwrap(text).endswith(code)


def test_an_authors_own_line_breaks_stay() -> None:
    poem = "The owl\nsat on the oak\nand said nothing at all.\n\n" * 6
    assert unwrap(poem) == poem
    wide = (
        "A line which is the author's and as wide as they like it to be, for that matter, yes.\nNext.\n\n"
    ) * 9
    assert unwrap(wide) == wide


def test_mediums_page_frame_is_told_among_the_dropped(document: MakeDocument) -> None:
    text = (
        "On owlsOpen in appSign upAda·Follow7 min read·Oct 3, 2024--3ListenShareOwls hunt — at night."
        "Sign up to discover human stories that deepen your understanding of the world.FreeHelpStatus"
    )
    found = one(document(text, platform="medium"))
    assert found.text == "Owls hunt — at night."
    assert [why for _, why in found.dropped] == ["page frame", "page frame"] and nothing_is_lost(found)
    assert one(document(text, platform="ghost")).text == text


def planted_out(text: str) -> list[str]:
    """The lines of an example that are its author's, by the list of what was planted."""
    lines = [line.rstrip() for line in text.split("\n") if line.strip()]
    if "Read more" in lines:
        behind = lines.index("Read more") + 1
        lines[behind:] = [line for line in lines[behind:] if not line.startswith("- ")]
    return [line for line in lines if line not in PLANTED]


@pytest.fixture(scope="module")
def cleaned_examples(examples: Sequence[Document]) -> dict[str, CleanDocument]:
    return {each.document.source.rsplit("/", 1)[1]: each for each in clean(examples).documents}


@pytest.mark.parametrize("name", sorted(path.stem for path in (EXAMPLES / "marlow").glob("*s/*.md")))
def test_each_example_loses_what_was_planted_and_none_of_its_authors_lines(
    cleaned_examples: dict[str, CleanDocument], name: str
) -> None:
    found = cleaned_examples[name]
    assert [line for line in found.text.split("\n") if line.strip()] == planted_out(found.document.text)
    assert nothing_is_lost(found)
    if found.document.kind == "article":
        assert found.text.split("\n")[-1].startswith("So — ")


@pytest.mark.parametrize(
    "path", sorted((EXAMPLES / "marlow" / "articles").glob("*.md")), ids=lambda p: p.stem
)
def test_an_example_on_its_own_is_cleaned_as_well(path: Path, document: MakeDocument) -> None:
    body = path.read_text(encoding="utf-8").split("---\n", 2)[2]
    found = one(document(body))
    assert [line for line in found.text.split("\n") if line.strip()] == planted_out(body)


def test_examples_without_boilerplate_are_not_touched() -> None:
    sources = [Source(str(EXAMPLES / "background"))]
    documents = [each for each in collect(sources, None, "Ada") if isinstance(each, Document)]  # type: ignore[arg-type]
    cleaned = clean(documents)
    assert len(cleaned.documents) == len(documents) == 12
    assert all(each.dropped == () and each.text == each.document.text for each in cleaned.documents)


INTERFACE = {
    "subscribe", "start writingget the app", "share this post", "copy link", "sign in", "subscribesign in",
    "discussion about this post", "ready for more", "privacy terms collection notice", "no posts",
    "previousnext", "commentreplyshare", "read full story",
}  # fmt: skip


def test_real_articles_keep_every_mark_and_lose_the_interface(articles: Sequence[Document]) -> None:
    cleaned = clean(articles)
    before = Counter(folded(line) for each in articles for line in each.text.split("\n"))
    assert min(before[line] for line in ("subscribe", "share this post", "start writingget the app")) > 50
    for each in cleaned.documents:
        assert not INTERFACE & {folded(line) for line in each.text.split("\n")}
        assert "ReplyShare" not in each.text
        assert nothing_is_lost(each)
    kept = marks(*(each.text for each in cleaned.documents))
    given_ = marks(*(each.document.text for each in cleaned.documents))
    assert all(kept[mark] > 0.75 * given_[mark] > 10 for mark in "’'“\"—–-:;!?…")
    assert len(cleaned.documents) + len(cleaned.skipped) == len(articles)
