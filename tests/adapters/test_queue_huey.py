"""What only the huey queue promises: what lies in the folder, and whose it is."""

import json
import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

from llm_twin.adapters.queue_huey import HueyQueue
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


def test_names_keep_queues_apart(tmp_path: Path) -> None:
    with closing(HueyQueue(tmp_path, name="a")) as one, closing(HueyQueue(tmp_path, name="b")) as two:
        one.submit(job("x"))
        assert len(one.jobs()) == 1 and two.jobs() == []
