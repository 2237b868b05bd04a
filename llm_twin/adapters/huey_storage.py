"""Where huey keeps its queues: SQLite in a folder, or Redis; records and messages are JSON, never pickle.

Not covered: a Redis cluster.
"""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from huey.registry import Message
from huey.storage import RedisStorage, SqliteStorage

from llm_twin.errors import InputError, MissingPart, TwinError


class JsonMessages:
    """huey's messages as JSON: of pickled ones, a planted one would run its own code."""

    def serialize(self, message: Message) -> bytes:
        """With its time in ISO 8601."""
        eta = message.eta.isoformat() if message.eta else None
        return json.dumps(message._replace(eta=eta)).encode()

    def deserialize(self, data: bytes) -> Message:
        """Raises ValueError for what is no JSON."""
        message = Message(*json.loads(bytes(data)))
        return message._replace(eta=datetime.fromisoformat(message.eta) if message.eta else None)


def storage_at(folder: Path, redis: str) -> dict[str, Any]:
    """What huey is told of where to keep things: Redis where an address is given, else a file of `folder`.

    InputError for what is no address, MissingPart without the extra `redis`.
    """
    if redis:
        try:
            import redis as _  # noqa: F401
        except ImportError as error:
            raise MissingPart("[jobs] redis needs the package redis", "pip install redis") from error
        if not redis.startswith(("redis://", "rediss://", "unix://")):
            raise InputError("[jobs] redis is no address", "write it like redis://localhost:6379/0")
        return {"storage_class": _Redis, "url": redis}
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)  # orders may hold secrets
    return {"storage_class": SqliteStorage, "filename": str(folder / "queue.db")}


class _Redis(RedisStorage):  # type: ignore[misc]
    def close(self) -> None:
        """Leave no connection open."""
        self.conn.close()
        self.pool.disconnect()


@contextmanager
def explained() -> Iterator[None]:
    """Turn what the storage raises into TwinError."""
    try:
        yield
    except sqlite3.Error as error:
        raise TwinError(f"the queue cannot be read or written: {error}", "see [jobs]") from error
    except Exception as error:
        if type(error).__module__.startswith("redis."):
            raise TwinError(f"the queue cannot be reached: {error}", "see [jobs] redis") from error
        raise
