"""Web pages, saved and fetched."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import pytest

from llm_twin.collect import page
from llm_twin.collect.reader import Piece, Tools
from llm_twin.errors import InputError


@dataclass
class Page:
    url: str
    content_type: str
    body: bytes


def test_a_saved_page(piece_of: Callable[..., Piece], data: Path, tools: Tools) -> None:
    (found,) = page.read(piece_of(data / "page.html"), tools)
    assert (found.title, found.author, found.language) == ("On bread", "Nell Harrow", "en")
    assert (found.url, found.platform) == ("https://nell.example/on-bread", "nell.example")
    assert (found.source, found.published) == (found.url, date(2024, 3, 5))
    assert found.text.startswith("# On bread\n\nI don’t trust a loaf that’s “perfect” — it’s")
    assert "Subscribe" not in found.text and "cookies" not in found.text


def test_saved_and_fetched_are_one_document(piece_of: Callable[..., Piece], data: Path, tools: Tools) -> None:
    (saved,) = page.read(piece_of(data / "page.html"), tools)
    body = (data / "page.html").read_bytes()
    fetched = page.from_fetched(
        piece_of("https://nell.example/x"), Page("https://nell.example/x?a=1", "text/html", body), tools
    )
    assert saved == fetched


@pytest.mark.parametrize(
    ("canonical", "source"),
    [
        ("https://www.nell.example/real", "https://www.nell.example/real"),
        ("https://elsewhere.example/real", "https://nell.example/x"),
        ("https://nell.example/", "https://nell.example/x"),
        ("javascript:alert(1)", "https://nell.example/x"),
    ],
)
def test_a_canonical_address_is_believed_on_its_own_host_only(
    piece_of: Callable[..., Piece], data: Path, tools: Tools, canonical: str, source: str
) -> None:
    body = (
        (data / "page.html")
        .read_text("utf-8")
        .replace("https://nell.example/on-bread?utm_source=feed", canonical)
    )
    fetched = Page("https://nell.example/x", "text/html", body.encode())
    assert page.from_fetched(piece_of("https://nell.example/x"), fetched, tools).source == source


def test_a_saved_page_without_address_has_a_local_source(
    piece_of: Callable[..., Piece], tmp_path: Path, tools: Tools
) -> None:
    path = tmp_path / "old" / "my-page.html"
    path.parent.mkdir()
    path.write_text("<p>" + "I kept all nine of the spoons, as anybody would. " * 9 + "</p>")
    (found,) = page.read(piece_of(path), tools)
    assert (found.source, found.url, found.title) == ("file:old/my-page.html", None, "My page")
    assert found.author == "Nell Harrow"


def test_what_is_no_page_is_refused(piece_of: Callable[..., Piece], tools: Tools) -> None:
    with pytest.raises(InputError, match=r"https://nell\.example/a: audio/mpeg, not a web page"):
        page.from_fetched(
            piece_of("https://nell.example/a"), Page("https://nell.example/a", "audio/mpeg", b"ID3"), tools
        )


@pytest.mark.parametrize(
    ("body", "content_type", "text"),
    [
        ("it’s".encode(), "", "it’s"),
        ("it’s".encode("cp1252"), "text/html; charset=windows-1252", "it’s"),
        (
            "<meta charset='windows-1252'>it’s".encode("cp1252"),
            "text/html",
            "<meta charset='windows-1252'>it’s",
        ),
        ("it’s".encode("utf-16"), "", "it’s"),
        (b"\xef\xbb\xbfwords", "text/html; charset=utf-8", "words"),
        (b"bad \xff byte", "", "bad \ufffd byte"),
    ],
)
def test_encodings(body: bytes, content_type: str, text: str) -> None:
    assert page.decode_html(body, content_type, "x") == text


def test_unknown_encodings_and_binary_data_are_named() -> None:
    with pytest.raises(InputError, match="x: its encoding `klingon`"):
        page.decode_html(b"a", "text/html; charset=klingon", "x")
    with pytest.raises(InputError, match="x: binary"):
        page.decode_html(b"%PDF\x00", "", "x")
    with pytest.raises(InputError, match="x: its encoding `hex`"):
        page.decode_html(b"61", "text/html; charset=hex", "x")
