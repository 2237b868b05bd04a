"""What only the SQLite store promises: damage is named, kill -9 loses nothing, a full disk is told."""

import os
import signal
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from llm_twin.adapters.documents_sqlite import SCHEMA, SqliteDocuments
from llm_twin.errors import InputError, TwinError
from llm_twin.types import Document


def piece(name: str, text: str = "Words.") -> Document:
    return Document(id=name, author="Ada", kind="post", title=name, text=text, source=name, digest=text)


def test_a_store_in_memory_works_and_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    store = SqliteDocuments(":memory:")
    store.save(piece("a"))
    assert [d.id for d in store.documents()] == ["a"]
    store.close()
    assert list(tmp_path.iterdir()) == []


def test_each_commit_waits_for_the_disk(tmp_path: Path) -> None:
    store = SqliteDocuments(tmp_path / "d.db")
    with store._transaction() as db:
        assert db.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        assert db.exec_driver_sql("PRAGMA synchronous").scalar() == 2
    store.close()


@pytest.mark.parametrize("content", [b"this is no database, " * 300, b"SQLite format 3\0" + b"\xff" * 5000])
def test_a_file_that_is_no_database_is_bad_input_and_left_as_it_was(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "d.db"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"d\.db is damaged") as caught:
        SqliteDocuments(path)
    assert "twin collect" in caught.value.way_out
    assert path.read_bytes() == content


def test_damage_in_the_middle_is_named_when_it_is_read_and_by_verify(tmp_path: Path) -> None:
    path = tmp_path / "d.db"
    store = SqliteDocuments(path)
    for i in range(200):
        store.save(piece(f"{i:03d}", "word " * 200))
    assert store.verify() == []
    store.close()
    content = bytearray(path.read_bytes())
    content[8192:] = os.urandom(len(content) - 8192)
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"d\.db"):
        list(SqliteDocuments(path).documents())
    damaged = SqliteDocuments(path)
    assert damaged.verify() != []
    damaged.close()


def test_a_row_that_is_no_document_is_named(tmp_path: Path) -> None:
    path = tmp_path / "d.db"
    store = SqliteDocuments(path)
    store.save(piece("a"))
    with sqlite3.connect(path) as db:
        db.execute("UPDATE document_versions SET payload = '{\"id\": 1}'")
    db.close()
    with pytest.raises(InputError, match="no document"):
        store.get("a")
    assert "no document" in store.verify()[0]
    store.close()


def test_verify_finds_a_version_stored_twice(tmp_path: Path) -> None:
    path = tmp_path / "d.db"
    store = SqliteDocuments(path)
    store.save(piece("a"))
    with sqlite3.connect(path) as db:
        db.execute(
            "INSERT INTO document_versions SELECT id, 2, author, kind, digest, payload, saved_at"
            " FROM document_versions"
        )
    db.close()
    assert store.verify() == [f"{path}: a is stored twice"]
    store.close()


def test_another_schema_or_another_programs_database_is_refused(tmp_path: Path) -> None:
    path, foreign = tmp_path / "d.db", tmp_path / "foreign.db"
    SqliteDocuments(path).close()
    for file, statement in (
        (path, f"UPDATE schema_version SET version = {SCHEMA + 1}"),
        (foreign, "CREATE TABLE bookmarks (url TEXT)"),
    ):
        with sqlite3.connect(file) as db:
            db.execute(statement)
        db.close()
    with pytest.raises(InputError, match=f"schema {SCHEMA + 1}"):
        SqliteDocuments(path)
    with pytest.raises(InputError, match="something else"):
        SqliteDocuments(foreign)


def test_a_full_disk_is_told_and_keeps_what_was_there(tmp_path: Path) -> None:
    store = SqliteDocuments(tmp_path / "d.db")
    store.save(piece("a"))
    with store._transaction() as db:
        pages = db.exec_driver_sql("PRAGMA page_count").scalar_one()
    raw = store._engine.raw_connection()
    raw.execute(f"PRAGMA max_page_count = {pages + 2}")  # type: ignore[attr-defined]
    raw.close()
    with pytest.raises(TwinError, match="no room left") as caught:
        store.save(piece("b", "word " * 20_000))
    assert not isinstance(caught.value, InputError)
    assert [d.id for d in store.documents()] == ["a"]
    store.close()


def test_a_path_that_cannot_be_made_or_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(TwinError, match="file"):
        SqliteDocuments(tmp_path / "file" / "d.db")
    with pytest.raises(TwinError, match="can't be written"):
        SqliteDocuments(tmp_path)


def test_a_store_that_may_not_be_written_is_told(tmp_path: Path) -> None:
    store = SqliteDocuments(tmp_path / "d.db")
    with store._transaction() as db:
        db.exec_driver_sql("PRAGMA query_only = ON")
    with pytest.raises(TwinError, match="can't be written"):
        store.save(piece("a"))
    store.close()


def test_threads_that_save_the_same_document_make_one_version_of_each_change(tmp_path: Path) -> None:
    store = SqliteDocuments(tmp_path / "d.db")
    said: list[str] = []

    def work() -> None:
        for i in range(20):
            said.append(store.save(piece(f"{i}", "Same.")))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (said.count("new"), said.count("same")) == (20, 60)
    store.close()


_SAVE_FOR_EVER = """
import sys
from pathlib import Path
from llm_twin.adapters.documents_sqlite import SqliteDocuments
from llm_twin.types import Document
store, i = SqliteDocuments(Path(sys.argv[1])), 0
while True:
    text = f"{i} " * 3000
    name = f"{i % 40:02d}"
    store.save(
        Document(id=name, author="A", kind="post", title="t", text=text, source="s", digest=text)
    )
    print(i, flush=True)
    i += 1
"""


@pytest.mark.parametrize(
    "after", [7, pytest.param(0, marks=pytest.mark.slow), pytest.param(60, marks=pytest.mark.slow)]
)
def test_kill_9_loses_nothing_that_was_saved(tmp_path: Path, after: int) -> None:
    path = tmp_path / "d.db"
    command = [sys.executable, "-c", _SAVE_FOR_EVER, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        told = [int(writer.stdout.readline()) for _ in range(after + 1)]
        writer.send_signal(signal.SIGKILL)
        told += [int(line) for line in writer.stdout]
    store = SqliteDocuments(path)
    assert store.verify() == []
    stored = {int(v.text.split()[0]) for d in store.documents() for v in store.versions(d.id)}
    assert set(told) <= stored
    assert len(stored) <= len(told) + 1
    store.close()
