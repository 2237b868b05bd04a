"""RSS and Atom feeds."""

from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from llm_twin.collect import feed, page
from llm_twin.collect.reader import Piece, Tools
from llm_twin.errors import InputError
from llm_twin.types import Document, Skipped


def test_a_feed_is_its_entries(piece_of: Callable[..., Piece], data: Path, tools: Tools, web: Any) -> None:
    salt, bread, note, gone = feed.read(piece_of(data / "rss.xml"), tools)
    assert isinstance(salt, Document) and isinstance(bread, Document) and isinstance(note, Document)
    assert salt.text == (
        "Salt isn’t a flavour — it’s a volume knob.\n\n```sh\nweigh salt \\\n  --grams 9\n\ntaste\n```\n\nHm."
    )
    assert (salt.title, salt.author, salt.kind) == ("Salt & patience", "Nell Harrow", "article")
    assert (salt.source, salt.url) == ("https://nell.example/salt", "https://nell.example/salt")
    assert (salt.published, salt.language, salt.platform) == (date(2024, 3, 5), "en", "nell.example")
    assert bread.text.startswith("# On bread\n\nI don’t trust") and "Only a summary" not in bread.text
    assert (note.kind, note.title, note.text) == (
        "post",
        "The kettle won again. 🫖",
        "The kettle won again. 🫖",
    )
    assert gone == Skipped(what="https://nell.example/gone", why="the server answered 404 Not Found")
    assert web.asked == ["https://nell.example/on-bread", "https://nell.example/gone"]


def test_atom(piece_of: Callable[..., Piece], data: Path, tools: Tools) -> None:
    (found,) = feed.read(piece_of(data / "atom.xml"), tools)
    assert isinstance(found, Document)
    assert (found.title, found.author) == ("A small spoon", "Nell Harrow")
    assert (found.text, found.published) == ("I own nine spoons, and I’d save one.", date(2024, 2, 1))


def test_an_article_is_one_document_by_feed_and_by_page(
    piece_of: Callable[..., Piece], data: Path, tools: Tools
) -> None:
    by_feed = [each for each in feed.read(piece_of(data / "rss.xml"), tools) if isinstance(each, Document)]
    (by_page,) = page.read(piece_of(data / "page.html"), tools)
    assert by_page.id in {each.id for each in by_feed}


@pytest.mark.parametrize(
    "ending", ["[…]", "[...]", "<a href='https://x.example/a'>Read more</a>", "Continue reading →"]
)
def test_a_teaser_called_content_is_not_the_article(
    piece_of: Callable[..., Piece], data: Path, tools: Tools, web: Any, ending: str
) -> None:
    body = (data / "rss.xml").read_text("utf-8").replace("<p>Hm.</p>", f"<p>And so {ending}</p>")
    first = next(feed.from_bytes(piece_of("https://nell.example/feed"), body.encode(), "", tools))
    assert isinstance(first, Skipped) and web.asked == ["https://nell.example/salt?source=rss-1234------2"]


def test_a_summary_without_a_page_is_all_there_is(piece_of: Callable[..., Piece], tools: Tools) -> None:
    body = b"<rss version='2.0'><channel><item><description>Nine spoons.</description></item></channel></rss>"
    (found,) = feed.from_bytes(piece_of("https://Nell.example/feed#x"), body, "", tools)
    assert isinstance(found, Document)
    assert (found.text, found.source) == ("Nine spoons.", "https://nell.example/feed#Nine spoons.")


@pytest.mark.parametrize(
    "body",
    [b"<rss version='2.0'><channel></channel></rss>", b"<html><body>no feed</body></html>", b"{}", b"<rss"],
)
def test_what_is_no_feed_is_refused(piece_of: Callable[..., Piece], tools: Tools, body: bytes) -> None:
    with pytest.raises(InputError, match=r"without entries|not an RSS or Atom feed"):
        list(feed.from_bytes(piece_of("https://nell.example/feed"), body, "", tools))


def test_a_feed_that_is_cut_off_gives_what_it_has(
    piece_of: Callable[..., Piece], data: Path, tools: Tools
) -> None:
    body = (data / "rss.xml").read_bytes()
    cut = body[: body.index(b"<title>On bread")]
    whole, rest = feed.from_bytes(piece_of("https://x.example/f"), cut, "", tools)
    assert isinstance(whole, Document) and whole.title == "Salt & patience"
    assert isinstance(rest, Skipped)


def test_entities_do_not_swell(piece_of: Callable[..., Piece], tools: Tools) -> None:
    laughs = "".join(f'<!ENTITY l{n + 1} "{f"&l{n};" * 10}">' for n in range(9))
    rss = '<rss version="2.0"><channel><item><title>&l9;</title></item></channel></rss>'
    body = f'<!DOCTYPE rss [<!ENTITY l0 "ha">{laughs}]>{rss}'
    try:
        found = list(feed.from_bytes(piece_of("https://x.example/f"), body.encode(), "", tools))
    except InputError:
        return
    assert sum(len(str(each)) for each in found) < 10_000


@pytest.mark.parametrize(
    ("content_type", "body", "answer"),
    [
        ("application/rss+xml; charset=utf-8", b"", True),
        ("application/atom+xml", b"", True),
        ("text/xml", b"<?xml version='1.0'?>\n<!-- x --><rss version='2.0'>", True),
        ("", b"<feed xmlns='http://www.w3.org/2005/Atom'>", True),
        ("text/html", b"<html><body>&lt;rss&gt; <rss>", False),
        ("text/xml", b"<svg>", False),
    ],
)
def test_feeds_are_told_from_pages(content_type: str, body: bytes, answer: bool) -> None:
    assert feed.is_feed(content_type, body) is answer


def test_the_page_of_an_entry_may_be_no_page(
    piece_of: Callable[..., Piece], data: Path, tools: Tools, web: Any
) -> None:
    web.pages["https://nell.example/on-bread"] = ("audio/mpeg", b"ID3")
    found = list(
        feed.from_bytes(piece_of("https://nell.example/feed"), (data / "rss.xml").read_bytes(), "", tools)
    )
    assert isinstance(found[1], Skipped) and "audio/mpeg" in found[1].why
    assert isinstance(found[2], Document)
