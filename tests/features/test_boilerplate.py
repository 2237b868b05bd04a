"""Interface goes by what a line says and where it stands; lines that only resemble it stay."""

from collections.abc import Callable

import pytest

from llm_twin.features.boilerplate import reasons, repeated_lines
from llm_twin.types import Document

MakeDocument = Callable[..., Document]


def kept(document: Document, repeated: dict[str, int] | None = None) -> list[str]:
    """The lines of a document that are its author's."""
    lines = document.text.split("\n")
    why = reasons([(line, True) for line in lines], document, repeated or {})
    return [line for line, reason in zip(lines, why, strict=True) if line and not reason]


@pytest.mark.parametrize(
    "line",
    [
        "Subscribe",
        "**SUBSCRIBE NOW**",
        "[Share this post](https://e.x/share?u=1)",
        "#### Discussion about this post",
        "Privacy ∙ Terms ∙ Collection notice",
        "© 2024 Ada Low",
        "(c) Ada Low, 2019. All rights reserved",
        "Copyright © 2021 Ada",
        "Copyright 2023, Ada Low",
        "We use cookies to make this site work. Accept all · Reject",
        "This website uses cookies to improve your experience.",
        "By continuing to browse this site you accept cookies.",
        "3 more comments...",
        "1 reply by Ada Low",
        "12 likes",
        "ada.substack.com",
        "Subscribe to Ada's Letters",
        "Sign up for our newsletter, it's free!",
        "Owl Notes is a reader-supported publication. To get new posts, consider becoming a paid subscriber.",
        "Home · Essays · Workbench · About",
        "Home | Blog | Contact",
        "[Home](/) • [Archive](/all) • [RSS](/feed)",
        "Letters from Stennick · Built by hand on a small island · RSS · Contact",
    ],
)
def test_interface_goes_wherever_it_stands(document: MakeDocument, line: str) -> None:
    assert kept(document(f"Owls hunt.\n\n{line}\n\nMice fear them.")) == ["Owls hunt.", "Mice fear them."]


@pytest.mark.parametrize(
    "line",
    [
        "I use cookies to bribe the crew.",
        "We use cookies instead of biscuits in this one.",
        "The EU's cookie policy was written by people who never saw a crumb.",
        "To bake cookies you want butter, and time.",
        "Copyright expired in 1998, and nobody came.",
        "Sign up for nothing you can't mend.",
        "Subscribe to nothing. Mend it yourself.",
        "12 comments I wrote in the log, and none of them read.",
        "3 shares of the boat are still Corrie's.",
        "A boat · a lamp · a stove",
        "| name | search | next |",
        "Share",
        "1",
        "— — —",
        "👾",
        "* * *",
        "I'd follow her anywhere.",
        "Read more slowly than that.",
        "## Start writing",
        "We talked about what it means to accept cookies from a stranger, and about the site where the "
        "henhouse stood, the winter that took it, and the people who built it up again without being asked.",
    ],
)
def test_an_authors_line_that_resembles_interface_stays(document: MakeDocument, line: str) -> None:
    assert kept(document(f"Owls hunt.\n\n{line}\n\nMice fear them.")) == [
        "Owls hunt.",
        line,
        "Mice fear them.",
    ]


@pytest.mark.parametrize(
    "line", ["Share", "12", "Home", "Oct 3, 2024", "Mar 7", "2024-10-03", "Ada", "On owls"]
)
def test_a_doubtful_line_goes_beside_interface_only(document: MakeDocument, line: str) -> None:
    assert kept(document(f"Owls.\n\n{line}\n\nMice.")) == ["Owls.", line, "Mice."]
    assert kept(document(f"Owls.\n\n{line}\n\nCopy link\n\nMice.")) == ["Owls.", "Mice."]
    assert kept(document(f"Owls.\n\nCopy link\n\n👾\n{line}\nMice.")) == ["Owls.", "👾", "Mice."]


def test_a_whole_menu_goes_from_one_sure_line(document: MakeDocument) -> None:
    text = "Owls.\n\nTop\n\nLatest\n\nDiscussions\n\nNo posts\n\nEmail\n\nNote\n\nMice."
    assert kept(document(text)) == ["Owls.", "Mice."]


def test_code_is_never_judged(document: MakeDocument) -> None:
    lines = [("Subscribe", False), ("Share", False), ("#", False), ("Subscribe", True)]
    assert reasons(lines, document("x"), {"subscribe": 9})[:3] == ["", "", ""]


def test_the_title_goes_as_a_heading_and_stays_as_a_sentence(document: MakeDocument) -> None:
    text = "# On Owls!\n\nOn owls\n\nThey hunt."
    assert kept(document(text, title="On owls", author="Bea")) == ["They hunt."]
    assert kept(document("On owls\n\nThey hunt.")) == ["On owls", "They hunt."]


def test_readers_comments_are_not_the_authors(document: MakeDocument) -> None:
    text = (
        "Owls hunt.\n\n| BeaMar 23Liked by AdaExcellent article. Thanks a lot for\nposting this."
        "Expand full\ncommentReplyShare\n---|---\n\n1 reply by Ada\n\n| a | b |\n---|---\n| 1 | 2 |"
    )
    assert kept(document(text)) == ["Owls hunt.", "| a | b |", "---|---", "| 1 | 2 |"]


def test_titles_under_read_more_go_at_the_very_end(document: MakeDocument) -> None:
    text = "Owls hunt.\n\n- by night\n\nRead more\n- Mice, and why?\n- The stove and Mrs Pike\nRSS · Home · Contact"
    assert kept(document(text)) == ["Owls hunt.", "- by night"]


@pytest.mark.parametrize(
    "ending",
    [
        "- Mice\n- Owls\n\nSo — that was it.",
        "- I read more than I should have, and then I stopped.\n- Owls",
        "- this one has far more words than any title of a piece that I ever saw, so it is prose",
        "Mice",
    ],
)
def test_a_list_that_is_not_titles_at_the_end_stays(document: MakeDocument, ending: str) -> None:
    expected = [line for line in ending.split("\n") if line]
    assert kept(document(f"Owls hunt.\n\nRead more\n{ending}")) == ["Owls hunt.", *expected]


def test_a_list_without_read_more_stays(document: MakeDocument) -> None:
    assert kept(document("Owls.\n\n- Mice\n- Voles\n\nSubscribe")) == ["Owls.", "- Mice", "- Voles"]


def test_marks_without_content_and_what_ends_over_nothing_go(document: MakeDocument) -> None:
    text = "#\n\nOwls.\n\n-\n\n* __\n\n* * *\n\n## Part\n\nMice.\n\n* * *\n\n## More from me\n\n### Images\n\nCopy link"
    assert kept(document(text)) == ["Owls.", "* * *", "## Part", "Mice."]


def test_a_last_heading_over_which_nothing_was_dropped_stays(document: MakeDocument) -> None:
    assert kept(document("Owls.\n\nCopy link\n\n## The end")) == ["Owls.", "## The end"]
    assert kept(document("A heading\n-\n\nOwls.")) == ["A heading", "-", "Owls."]


def test_repeated_lines_are_prose_of_more_than_two_words_told_with_their_number() -> None:
    lines = [
        "See you on Thursday!",
        "## See you soon then",
        "Step 1",
        "a lone line here",
        "see you, on thursday",
    ]
    pieces = [[(line, True) for line in lines[: 3 + (i == 0)]] for i in range(5)]
    pieces.append([(lines[4], True), ("x = see_you(1, 2)", False)])
    assert repeated_lines(pieces) == {"see you on thursday": 6}


def test_a_repeated_line_goes_with_the_number_of_its_documents(document: MakeDocument) -> None:
    (why,) = reasons([("See you — on Thursday!", True)], document("x"), {"see you on thursday": 6})
    assert why == "repeated in 6 documents"
