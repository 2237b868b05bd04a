"""Ids, canonical addresses, digests and dates."""

from datetime import date
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_twin.collect import identity
from llm_twin.errors import InputError


@pytest.mark.parametrize(
    ("url", "canonical"),
    [
        ("HTTPS://Nell.Example", "https://nell.example/"),
        ("https://nell.example:443/a", "https://nell.example/a"),
        ("http://nell.example:8080/a", "http://nell.example:8080/a"),
        ("https://nell.example/Case#part", "https://nell.example/Case"),
        ("https://nell.example/a?utm_source=x&id=3&fbclid=9", "https://nell.example/a?id=3"),
        ("https://decodingml.substack.com/p/a?r=1ttoeh", "https://decodingml.substack.com/p/a"),
        ("https://own-domain.example/p/a?r=1ttoeh&s=w", "https://own-domain.example/p/a?s=w"),
        ("https://framework.example/?r=site/about", "https://framework.example/?r=site/about"),
        ("https://medium.example/a?source=rss-12ab------2", "https://medium.example/a"),
        ("https://shop.example/a?source=catalogue", "https://shop.example/a?source=catalogue"),
        ("https://nell.example/a?x=a%20b&y", "https://nell.example/a?x=a%20b&y"),
        ("http://[2001:DB8::1]:81/a", "http://[2001:db8::1]:81/a"),
    ],
)
def test_one_page_has_one_address(url: str, canonical: str) -> None:
    assert identity.canonical_url(url) == canonical
    assert identity.canonical_url(canonical) == canonical


def test_a_broken_address_is_named() -> None:
    with pytest.raises(InputError, match=r"https://x:port/.*web address"):
        identity.canonical_url("https://x:port/")


def test_the_id_is_of_author_and_source_alone() -> None:
    first = identity.document_id("Nell Harrow", "https://nell.example/a")
    assert first == identity.document_id("  nell   HARROW ", "https://nell.example/a")
    assert first != identity.document_id("Nell Harris", "https://nell.example/a")
    assert first != identity.document_id("Nell Harrow", "https://nell.example/b")
    assert first.startswith("d_") and len(first) == 18


def test_moving_a_folder_keeps_the_source_and_renaming_it_does_not(tmp_path: Path) -> None:
    here, there, other = tmp_path / "a" / "notes", tmp_path / "b" / "notes", tmp_path / "a" / "diary"
    assert identity.local_source(here / "x" / "y.md", here) == "file:notes/x/y.md"
    assert identity.local_source(there / "x" / "y.md", there) == "file:notes/x/y.md"
    assert identity.local_source(other / "x" / "y.md", other) == "file:diary/x/y.md"


def test_a_file_name_that_is_no_text_still_has_a_source(tmp_path: Path) -> None:
    source = identity.local_source(tmp_path / "caf\udce9.md", tmp_path)
    assert source.encode("utf-8").endswith(b"caf\\udce9.md")


@pytest.mark.parametrize(
    ("text", "day"),
    [
        ("2024-03-05", date(2024, 3, 5)),
        ("2024-03-05T23:30:00-05:00", date(2024, 3, 5)),
        ("Tue, 05 Mar 2024 23:30:00 -0500", date(2024, 3, 5)),
        ("March 5, 2024", date(2024, 3, 5)),
        ("Mar 5, 2024", date(2024, 3, 5)),
        ("5 March 2024", date(2024, 3, 5)),
        ("2024/03/05", date(2024, 3, 5)),
        ("05.03.2024", date(2024, 3, 5)),
        ("2024-13-45", None),
        ("sometime in spring", None),
        ("", None),
        (None, None),
    ],
)
def test_dates(text: str | None, day: date | None) -> None:
    assert identity.parse_date(text) == day


@given(st.text(max_size=60))
def test_no_text_breaks_reading_a_date(text: str) -> None:
    found = identity.parse_date(text)
    assert found is None or isinstance(found, date)


FIELDS = {
    "author": "Nell Harrow",
    "kind": "article",
    "title": "On bread",
    "text": "Wait.",
    "url": "https://nell.example/a",
    "platform": "nell.example",
    "published": date(2024, 3, 5),
    "language": "en",
}


@pytest.mark.parametrize("field", FIELDS)
def test_the_digest_sees_every_field_a_reader_sees(field: str) -> None:
    one = identity.new_document(source="s", **FIELDS)  # type: ignore[arg-type]
    changed = date(2024, 3, 6) if field == "published" else "post" if field == "kind" else "other"
    two = identity.new_document(source="s", **{**FIELDS, field: changed})  # type: ignore[arg-type]
    assert one.digest != two.digest
    assert one.digest == identity.new_document(source="elsewhere", **FIELDS).digest  # type: ignore[arg-type]


def test_text_is_kept_but_for_what_no_reader_sees() -> None:
    raw = "\ufeff\r\n  \r\n    indented — “it’s” \ud83d x\x00y\r\nlast  line \n\n"
    made = identity.new_document(author="N", kind="post", title=" a\n b ", text=raw, source="s")
    assert made.text == "    indented — “it’s” \ufffd x\ufffdy\nlast  line"
    assert made.title == "a b"


def test_a_document_without_text_is_refused_and_one_without_title_begins_with_its_words() -> None:
    with pytest.raises(InputError, match="notes/x: there is no text"):
        identity.new_document(author="N", kind="post", title="t", text=" \n\n ", source="notes/x")
    made = identity.new_document(author="N", kind="post", title="", text="word " * 40, source="s")
    assert made.title == "word " * 11 + "word …"
