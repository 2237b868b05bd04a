"""The handbook's data-warehouse export."""

import json
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from llm_twin.collect import warehouse
from llm_twin.collect.reader import Piece, Tools
from llm_twin.errors import InputError
from llm_twin.types import Document, Skipped

REAL = Path(__file__).parents[2].parent / "shared" / "data" / "articles"
ARTICLE: dict[str, Any] = {
    "_id": "1",
    "content": {
        "Title": "On salt - by Nell Harrow",
        "Subtitle": None,
        "Content": "Nell Harrow\n\nMar 5, 2024\n\nIt’s a volume  knob.\n\n    weigh(salt)",
        "language": "en",
    },
    "platform": "nell.substack.com",
    "author_id": "7",
    "author_full_name": "Nell Harrow",
    "link": "https://nell.substack.com/p/salt?r=1ttoeh",
}


def read(
    folder: Path, name: str, records: object, piece_of: Callable[..., Piece], tools: Tools
) -> list[Document | Skipped]:
    (folder / name).write_text(records if isinstance(records, str) else json.dumps(records), "utf-8")
    return list(warehouse.read(piece_of(folder / name), tools))


def test_an_article(piece_of: Callable[..., Piece], tmp_path: Path, tools: Tools) -> None:
    (found,) = read(tmp_path, "ArticleDocument.json", [ARTICLE], piece_of, tools)
    assert isinstance(found, Document)
    assert found.text == ARTICLE["content"]["Content"]
    assert (found.title, found.author, found.kind) == ("On salt", "Nell Harrow", "article")
    assert (found.source, found.platform) == ("https://nell.substack.com/p/salt", "nell.substack.com")
    assert (found.published, found.language) == (date(2024, 3, 5), "en")


def test_posts_of_both_shapes(piece_of: Callable[..., Piece], tmp_path: Path, tools: Tools) -> None:
    one = {**ARTICLE, "_id": "2", "link": None, "content": "Nine spoons."}
    many = {
        **ARTICLE,
        "_id": "3",
        "link": None,
        "content": {"Post_0": {"text": "A."}, "Post_1": {"text": "B."}},
    }
    named = {**ARTICLE, "_id": "4", "link": None, "content": {"Title": "t", "Content": "C."}}
    found = read(tmp_path, "PostDocument.json", [one, many, named], piece_of, tools)
    assert [(each.text, each.source, each.kind) for each in found if isinstance(each, Document)] == [
        ("Nine spoons.", "warehouse:2", "post"),
        ("A.", "warehouse:3#Post_0", "post"),
        ("B.", "warehouse:3#Post_1", "post"),
        ("C.", "warehouse:4", "post"),
    ]


def test_a_repository_is_its_files(piece_of: Callable[..., Piece], tmp_path: Path, tools: Tools) -> None:
    record = {
        "_id": "5",
        "name": "bell",
        "link": "https://github.com/nell/bell",
        "content": {"a.py": "x = 1", "README.md": "Hi.", "b": ""},
    }
    found = read(tmp_path, "RepositoryDocument.json", [record], piece_of, tools)
    assert [(each.title, each.text, each.source) for each in found if isinstance(each, Document)] == [
        ("bell/a.py", "```python\nx = 1\n```", "https://github.com/nell/bell#a.py"),
        ("bell/README.md", "Hi.", "https://github.com/nell/bell#README.md"),
    ]


def test_names_come_from_the_table_of_users_where_a_record_has_none(
    piece_of: Callable[..., Piece], tmp_path: Path, tools: Tools
) -> None:
    users = [{"_id": "7", "first_name": "Ann", "last_name": "Other"}]
    assert read(tmp_path, "UserDocument.json", users, piece_of, tools) == []
    records = [{**ARTICLE, "author_full_name": None}, {**ARTICLE, "author_full_name": None, "author_id": "8"}]
    found = read(tmp_path, "ArticleDocument.json", records, piece_of, tools)
    assert [each.author for each in found if isinstance(each, Document)] == ["Ann Other", "Nell Harrow"]


def test_broken_records_are_skipped_by_number(
    piece_of: Callable[..., Piece], tmp_path: Path, tools: Tools
) -> None:
    records = [3, {**ARTICLE, "content": {}}, {**ARTICLE, "link": None, "_id": ""}, ARTICLE]
    found = read(tmp_path, "ArticleDocument.json", records, piece_of, tools)
    assert [each.why for each in found if isinstance(each, Skipped)] == [
        "not an object",
        "it has no Content",
        "it has neither a link nor an _id",
    ]
    assert found[0] == Skipped(what=f"{tmp_path}/ArticleDocument.json: record 1", why="not an object")
    assert isinstance(found[3], Document)


@pytest.mark.parametrize(
    ("name", "text", "why"),
    [
        ("ArticleDocument.json", "[{", "broken JSON (line 1)"),
        ("ArticleDocument.json", "[\n\n{,}]", "broken JSON (line 3)"),
        ("ArticleDocument.json", "[" * 100_000, "broken JSON (too deeply nested)"),
        ("ArticleDocument.json", "{}", "JSON, but not the data-warehouse export"),
        ("package.json", "[]", "JSON, but not the data-warehouse export"),
    ],
)
def test_other_json_is_named(
    piece_of: Callable[..., Piece], tmp_path: Path, tools: Tools, name: str, text: str, why: str
) -> None:
    with pytest.raises(InputError) as caught:
        read(tmp_path, name, text, piece_of, tools)
    assert str(caught.value) == f"{tmp_path}/{name}: {why}"


def test_an_empty_export_is_no_error(piece_of: Callable[..., Piece], tmp_path: Path, tools: Tools) -> None:
    assert read(tmp_path, "PostDocument.json", "[]", piece_of, tools) == []


@pytest.mark.skipif(not REAL.is_dir(), reason="the handbook's export is not beside this repository")
def test_the_real_export(piece_of: Callable[..., Piece], tools: Tools) -> None:
    found = list(warehouse.read(piece_of(REAL / "ArticleDocument.json"), tools))
    documents = [each for each in found if isinstance(each, Document)]
    raw = [
        record["content"]["Content"]
        for record in json.loads((REAL / "ArticleDocument.json").read_text("utf-8"))
    ]
    assert len(found) == len(documents) == len({each.id for each in documents}) == 65
    assert [each.text for each in documents] == [text.lstrip("\n").rstrip() for text in raw]
    assert sum(each.published is not None for each in documents) == 61
