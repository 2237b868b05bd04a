"""Collecting as a whole: locations become documents, and nothing stops the batch."""

import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from llm_twin.collect.crawl import READERS, Source, collect
from llm_twin.errors import InputError
from llm_twin.types import Document, Skipped

ROOT = Path(__file__).parents[2]
REAL = ROOT.parent / "shared" / "data" / "articles"
EXAMPLES = ROOT / "examples" / "marlow"


def run(web: Any, *locations: object, author: str | None = None) -> tuple[list[Document], list[Skipped]]:
    found = list(collect([Source(str(each), author) for each in locations], web, "Nell Harrow"))
    return [x for x in found if isinstance(x, Document)], [x for x in found if isinstance(x, Skipped)]


def make(root: Path, files: dict[str, str | bytes]) -> Path:
    for path, text in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(text.encode() if isinstance(text, str) else text)
    return root


@pytest.fixture
def writing(tmp_path: Path, data: Path) -> Path:
    """A folder with a bit of everything, some of it broken."""
    root = make(
        tmp_path / "writing",
        {
            "a.md": "---\ntitle: Salt\nauthor: Ann Other\n---\nIt’s a knob.",
            "b.txt": "Nine spoons.",
            "photo.jpg": b"\xff\xd8\xff\x00",
            "binary.md": b"\x00\x01\x02",
            "broken.json": '{"a": ',
            "empty.md": "",
            "broken.md": "---\ntitle: [a\n---\nx",
            "not-a-feed.xml": "<svg/>",
            "fish.py": "print(1)\n",
            "clock/README.md": "# Clock\n",
            "clock/src/tick.py": "tick = 1\n",
            ".obsidian/cache.md": "hidden",
            "node_modules/x/readme.md": "vendored",
        },
    )
    shutil.copy(data / "page.html", root / "c.html")
    shutil.copy(data / "rss.xml", root / "d.xml")
    return root


def test_a_folder_may_mix_everything(writing: Path, web: Any) -> None:
    documents, skipped = run(web, writing)
    assert {(each.title, each.kind, each.author) for each in documents} == {
        ("Salt", "article", "Ann Other"),
        ("B", "article", "Nell Harrow"),
        ("On bread", "article", "Nell Harrow"),
        ("Salt & patience", "article", "Nell Harrow"),
        ("The kettle won again. 🫖", "post", "Nell Harrow"),
        ("writing/fish.py", "repository", "Nell Harrow"),
        ("clock/README.md", "repository", "Nell Harrow"),
        ("clock/src/tick.py", "repository", "Nell Harrow"),
    }
    why = {each.what.removeprefix(f"{writing}/"): each.why for each in skipped}
    assert why == {
        "photo.jpg": "not a kind of file that is read (.jpg)",
        "binary.md": "binary, not text",
        "broken.json": "broken JSON (line 1)",
        "broken.md": why["broken.md"],
        "empty.md": "empty",
        "not-a-feed.xml": "this is not an RSS or Atom feed",
        "d.xml": "already collected as https://nell.example/on-bread",
        "https://nell.example/gone": "the server answered 404 Not Found",
    }
    assert why["broken.md"].startswith("its front matter is not valid YAML")


def test_two_texts_of_one_address_are_one_document(tmp_path: Path, data: Path, web: Any) -> None:
    make(tmp_path, {"a.md": "---\nurl: https://nell.example/on-bread\n---\nMy own copy.", "b.md": "Other."})
    shutil.copy(data / "page.html", tmp_path / "c.html")
    documents, skipped = run(web, tmp_path)
    assert [each.text for each in documents] == ["My own copy.", "Other."]
    assert [each.why for each in skipped] == ["already collected as https://nell.example/on-bread"]


def test_moving_the_folder_and_collecting_again_changes_nothing(
    writing: Path, web: Any, tmp_path: Path
) -> None:
    before, _ = run(web, writing)
    moved = tmp_path / "elsewhere" / "writing"
    shutil.copytree(writing, moved)
    after, _ = run(web, moved)
    assert before == after
    (alone,), _ = run(web, moved / "b.txt")
    assert alone in before


def test_a_change_keeps_the_id_and_changes_the_digest(writing: Path, web: Any) -> None:
    (before,), _ = run(web, writing / "b.txt")
    (writing / "b.txt").write_text("Eight spoons.")
    (after,), _ = run(web, writing / "b.txt")
    assert before.id == after.id and before.digest != after.digest


def test_the_web_is_read_by_what_comes_back(web: Any, data: Path) -> None:
    web.pages |= {
        "https://nell.example/feed": ("application/rss+xml", (data / "rss.xml").read_bytes()),
        "https://nell.example/spoons.txt": ("text/plain; charset=utf-8", b"Nine spoons."),
        "https://nell.example/song": ("audio/mpeg", b"ID3\x00"),
        "https://nell.example/untyped": ("", b"<!DOCTYPE html>" + (data / "page.html").read_bytes()),
    }
    documents, skipped = run(
        web,
        "https://nell.example/on-bread",
        "https://nell.example/feed",
        "https://nell.example/spoons.txt",
        "https://nell.example/song",
        "https://nell.example/untyped",
        "https://nell.example/no-feed",
    )
    assert [each.source.removeprefix("https://nell.example/") for each in documents] == [
        "on-bread",
        "salt",
        "notes/7",
        "spoons.txt",
    ]
    assert [(each.what.removeprefix("https://nell.example/"), each.why) for each in skipped] == [
        ("feed", "already collected as https://nell.example/on-bread"),
        ("gone", "the server answered 404 Not Found"),
        ("song", "audio/mpeg, not a web page"),
        ("untyped", "already collected as https://nell.example/on-bread"),
        ("no-feed", "the server answered 404 Not Found"),
    ]


class Untouchable:
    """A Fetcher that must not be used."""

    def fetch(self, url: str) -> Any:
        raise AssertionError(f"{url} was fetched")


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ("{tmp}/absent", "{tmp}/absent: there is no such file or folder"),
        ("{tmp}/empty", "{tmp}/empty: an empty folder"),
        ("{tmp}/hidden", "{tmp}/hidden: an empty folder"),
        ("{tmp}/pipe", "{tmp}/pipe: neither a file nor a folder"),
        ("", "(nothing): there is no such file or folder"),
        ("ftp://nell.example/", "ftp://nell.example/: only http and https addresses are read"),
        ("git@github.com:nell/bell.git", "only http and https addresses are read"),
        ("https://", "https://: names no host"),
        ("https://me:secret@nell.example/", "holds a user name or password"),
        ("a\0b", "not a path"),
    ],
)
def test_bad_locations_are_errors_before_anything_is_read(tmp_path: Path, bad: str, message: str) -> None:
    make(tmp_path, {"hidden/.git/x": "x", "empty/x": "x"})
    (tmp_path / "empty" / "x").unlink()
    subprocess.run(["mkfifo", str(tmp_path / "pipe")], check=True)
    sources = [Source("https://nell.example/"), Source(bad.format(tmp=tmp_path))]
    with pytest.raises(InputError) as caught:
        collect(sources, Untouchable(), "Nell Harrow")
    assert message.format(tmp=tmp_path) in str(caught.value)
    assert caught.value.way_out


def test_two_folders_of_one_name_are_refused_unless_the_authors_differ(tmp_path: Path) -> None:
    one, two = make(tmp_path / "x" / "posts", {"a.md": "A."}), make(tmp_path / "y" / "posts", {"a.md": "B."})
    with pytest.raises(InputError, match="two folders of one name"):
        collect([Source(str(one)), Source(str(two))], Untouchable(), "Nell Harrow")
    found = list(
        collect(
            [Source(str(one), "Ann"), Source(str(two), "Bea"), Source(str(one), "Ann")], Untouchable(), "N"
        )
    )
    assert [type(each).__name__ for each in found] == ["Document", "Document", "Skipped"]


def test_no_author_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no author"):
        collect([], Untouchable(), " ")


def test_progress_counts_pieces(tmp_path: Path) -> None:
    make(tmp_path, {"a.md": "A.", "b.md": "B."})
    seen: list[tuple[int, int, str]] = []
    list(collect([Source(str(tmp_path))], Untouchable(), "N", lambda *call: seen.append(call)))
    assert seen == [(0, 2, str(tmp_path / "a.md")), (1, 2, str(tmp_path / "b.md")), (2, 2, "")]


def test_a_folder_that_may_not_be_read_is_skipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from llm_twin.collect import repository

    def forbidden(piece: object, tools: object) -> Sequence[Document]:
        raise PermissionError(13, "Permission denied")

    make(tmp_path, {"a.md": "A.", "clock/README.md": "x", "clock/c.py": "x = 1"})
    readers = tuple((fits, forbidden if read is repository.read_folder else read) for fits, read in READERS)
    monkeypatch.setattr("llm_twin.collect.crawl.READERS", readers)
    document, skipped = collect([Source(str(tmp_path))], Untouchable(), "N")
    assert isinstance(document, Document)
    assert isinstance(skipped, Skipped) and "Permission denied" in skipped.why


@pytest.mark.skipif(not REAL.is_dir(), reason="the handbook's export is not beside this repository")
def test_the_handbook_s_articles(web: Any) -> None:
    documents, skipped = run(web, REAL)
    assert len(documents) == 65 and not skipped
    assert {each.author for each in documents} == {"Paul Iusztin", "Maxime Labonne"}


def test_the_sample_author(web: Any) -> None:
    documents, skipped = run(web, EXAMPLES)
    code = [each for each in documents if each.kind == "repository"]
    assert {each.title.split("/")[0] for each in code} == {"tide-clock"} and len(code) >= 3
    written = [each for each in documents if each.kind != "repository"]
    assert len(written) == len(list(EXAMPLES.glob("articles/*.md")) + list(EXAMPLES.glob("posts/*.md")))
    assert all(each.published and each.title for each in written)
    assert all(each.what.startswith("tide-clock: ") for each in skipped)


def test_importing_is_free() -> None:
    script = "import sys, llm_twin.collect.crawl; print(sorted(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    for heavy in (
        "numpy",
        "pydantic",
        "trafilatura",
        "lxml",
        "bs4",
        "feedparser",
        "yaml",
        "httpx",
        "pathspec",
    ):
        assert f"'{heavy}'" not in loaded
