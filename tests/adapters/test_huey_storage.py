"""What huey keeps is no pickle, and what its storage raises is told in words."""

import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from huey.registry import Message

from llm_twin.adapters.huey_storage import JsonMessages
from llm_twin.adapters.queue_huey import HueyQueue
from llm_twin.errors import InputError, MissingPart, TwinError


@pytest.mark.parametrize("eta", [None, datetime(2026, 1, 2, 3, 4, 5, 6, UTC)])
def test_a_message_comes_back_as_it_was(eta: datetime | None) -> None:
    empty = dict.fromkeys(Message._fields)
    given = Message(**{**empty, "id": "1", "name": "run", "eta": eta, "args": ["a", 2], "kwargs": {}})
    assert JsonMessages().deserialize(JsonMessages().serialize(given)) == given


def test_a_message_that_is_no_json_is_never_unpickled(
    capsys: pytest.CaptureFixture[str],
) -> None:
    planted = b"cbuiltins\nprint\n(S'it ran'\ntR."
    with pytest.raises(ValueError):
        JsonMessages().deserialize(planted)
    assert "it ran" not in capsys.readouterr().out


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
