"""Entries are kept once each, and a crash, a full disk or a second process takes none of them away."""

import errno
import os
import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest

from llm_twin.errors import InputError, TwinError
from llm_twin.journal import Journal
from llm_twin.types import Entry


class Said(Entry):
    words: str


def said(number: int, words: str = "yes") -> Said:
    return Said(id=str(number), created=datetime(2026, 11, 23, tzinfo=UTC), words=words)


@pytest.fixture
def journal(tmp_path: Path) -> Journal[Said]:
    return Journal(tmp_path / "new" / "said.jsonl", Said)


def test_what_was_said_is_read_back_in_order(journal: Journal[Said]) -> None:
    assert journal.read() == []
    assert not journal.path.parent.exists()  # looking makes nothing
    told = [said(1, "no\nwell, “yes” ☕"), said(2)]
    assert [journal.append(entry) for entry in told] == [True, True]
    assert Journal(journal.path, Said).read() == told
    assert journal.path.read_bytes().count(b"\n") == 2


def test_an_id_counts_once_and_the_first_word_stands(journal: Journal[Said]) -> None:
    assert journal.append(said(1, "first"))
    before = journal.path.read_bytes()
    assert not journal.append(said(1, "second"))
    assert journal.path.read_bytes() == before


@pytest.mark.parametrize("cut", [1, 10, 40])
def test_a_half_written_line_is_dropped_and_the_lines_before_it_stay(
    journal: Journal[Said], cut: int
) -> None:
    journal.append(said(1))
    journal.append(said(2))
    journal.path.write_bytes(journal.path.read_bytes()[: -1 - cut])
    assert [entry.id for entry in journal.read()] == ["1"]
    assert journal.append(said(2, "again"))
    assert [entry.words for entry in journal.read()] == ["yes", "again"]


def test_a_whole_last_line_without_its_line_end_stays(journal: Journal[Said]) -> None:
    journal.append(said(1))
    journal.path.write_bytes(journal.path.read_bytes().rstrip(b"\n"))
    assert not journal.append(said(1))
    assert journal.append(said(2))
    assert [entry.id for entry in journal.read()] == ["1", "2"]


def test_a_damaged_line_is_named_and_nothing_is_added_behind_it(journal: Journal[Said]) -> None:
    journal.append(said(1))
    journal.path.write_bytes(journal.path.read_bytes() + b'{"id": 3}\n')
    before = journal.path.read_bytes()
    for use in (journal.read, lambda: journal.append(said(2))):
        with pytest.raises(InputError, match=r"said\.jsonl, line 2 is not a said"):
            use()
    assert journal.path.read_bytes() == before


def test_a_full_disk_leaves_the_file_as_it_was(
    journal: Journal[Said], monkeypatch: pytest.MonkeyPatch
) -> None:
    journal.append(said(1))
    before = journal.path.read_bytes()
    write = os.pwrite

    def full(descriptor: int, data: bytes, at: int) -> int:
        write(descriptor, data[:5], at)
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(TwinError, match="No space left"):
        journal.append(said(2))
    assert journal.path.read_bytes() == before


def test_an_entry_is_on_the_disk_before_append_returns(
    journal: Journal[Said], monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[bytes] = []
    monkeypatch.setattr(os, "fsync", lambda _: synced.append(journal.path.read_bytes()))
    journal.append(said(1))
    assert any(b'"yes"' in content for content in synced)


def test_writers_at_the_same_time_lose_and_double_nothing(journal: Journal[Said]) -> None:
    def write() -> None:
        for number in range(40):
            journal.append(said(number))

    threads = [threading.Thread(target=write) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [entry.id for entry in journal.read()] == [str(number) for number in range(40)]


def test_only_the_owner_may_read_it(journal: Journal[Said]) -> None:
    journal.append(said(1))
    assert journal.path.stat().st_mode & 0o077 == 0
