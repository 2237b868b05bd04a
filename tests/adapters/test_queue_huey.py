"""What only the huey queue promises: no pickle, errors in words, and what lies in the folder."""

import json
import sqlite3
import sys
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from llm_twin.adapters.queue_huey import HueyQueue
from llm_twin.errors import InputError, MissingPart, TwinError
from llm_twin.types import Job


def job(name: str) -> Job:
    return Job(id=name, created=datetime.now(UTC), order='{"secret": "whsec_x"}')


def rows(folder: Path, table: str, column: str) -> list[bytes]:
    with closing(sqlite3.connect(folder / "queue.db")) as file:
        return [bytes(row[0]) for row in file.execute(f"select {column} from {table}")]


def test_what_is_stored_is_json_in_a_folder_of_ones_own(tmp_path: Path) -> None:
    with closing(HueyQueue(tmp_path / "jobs")) as queue:
        queue.submit(job("a"))
        (message,) = rows(tmp_path / "jobs", "task", "data")
        (record,) = rows(tmp_path / "jobs", "kv", "value")
    assert json.loads(message)[6] == ["a"]
    assert json.loads(record)["id"] == "a"
    assert (tmp_path / "jobs").stat().st_mode & 0o077 == 0


def test_a_message_that_is_no_json_is_never_unpickled(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    planted = b"cbuiltins\nprint\n(S'it ran'\ntR."
    with closing(HueyQueue(tmp_path / "jobs")) as queue:
        queue._store.enqueue(planted)
        with pytest.raises(ValueError):
            queue._huey.dequeue()
    assert "it ran" not in capsys.readouterr().out


def test_names_keep_queues_apart(tmp_path: Path) -> None:
    with closing(HueyQueue(tmp_path, name="a")) as one, closing(HueyQueue(tmp_path, name="b")) as two:
        one.submit(job("x"))
        assert len(one.jobs()) == 1 and two.jobs() == []


def test_a_file_that_is_no_database_is_told(tmp_path: Path) -> None:
    (tmp_path / "queue.db").write_text("my notes " * 1000)
    with pytest.raises(TwinError, match="cannot be read"):
        HueyQueue(tmp_path)


def test_an_address_of_something_else_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no address"):
        HueyQueue(tmp_path, redis="localhost")


def test_a_redis_that_does_not_answer_is_told(tmp_path: Path) -> None:
    with pytest.raises(TwinError, match="cannot be reached"):
        HueyQueue(tmp_path, redis=f"unix://{tmp_path}/none")


def test_redis_without_its_client_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "redis", None)
    with pytest.raises(MissingPart, match="needs the package redis"):
        HueyQueue(tmp_path, redis="redis://localhost:6379/0")
