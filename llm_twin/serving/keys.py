"""API keys: who may ask, and whose writing they may see. Only a hash of each lies in the workspace.

A key is 256 random bits, so a plain SHA-256 of it cannot be turned back by guessing. Not covered: expiry, and
limits on how much a key may ask.
"""

import hashlib
import hmac
import json
import secrets
from datetime import UTC, datetime
from pathlib import Path

from pydantic import AwareDatetime, Field, TypeAdapter, ValidationError

from llm_twin.errors import InputError
from llm_twin.files import write_json
from llm_twin.types import Value

PREFIX = "twin-"


class Key(Value):
    """One key, without what it takes to use it."""

    name: str = Field(min_length=1, max_length=100)
    authors: tuple[str, ...] = Field(min_length=1)
    sha256: str
    created: AwareDatetime


_KEYS: TypeAdapter[tuple[Key, ...]] = TypeAdapter(tuple[Key, ...])


class Keys:
    """The keys in the file at `path`; what another process adds or removes counts from the next request on."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._seen: tuple[int, int, int] | None = None
        self._known: tuple[Key, ...] = ()

    def any(self) -> bool:
        """Whether there is a key, and so every request needs one."""
        return bool(self.read())

    def read(self) -> tuple[Key, ...]:
        """All keys, in the order of their making; raises InputError for a damaged file."""
        try:
            stat = self.path.stat()
        except FileNotFoundError:
            return ()
        if (now := (stat.st_mtime_ns, stat.st_ino, stat.st_size)) != self._seen:
            self._known, self._seen = self._load(), now
        return self._known

    def of(self, token: str) -> Key | None:
        """The key that `token` is; every key is compared, whichever fits."""
        given = _hash(token)
        fits = [key for key in self.read() if hmac.compare_digest(key.sha256, given)]
        return fits[0] if fits else None

    def add(self, name: str, authors: tuple[str, ...]) -> str:
        """Make a key and return it: it is told this once. InputError for a name that is taken."""
        known = self.read()
        if any(key.name == name for key in known):
            raise InputError(f"there is a key {name!r}", "remove it first, or choose another name")
        token = PREFIX + secrets.token_urlsafe(32)
        self._write((*known, Key(name=name, authors=authors, sha256=_hash(token), created=datetime.now(UTC))))
        return token

    def remove(self, name: str) -> None:
        """Remove a key; InputError when there is none of this name."""
        known = self.read()
        left = tuple(key for key in known if key.name != name)
        if len(left) == len(known):
            raise InputError(f"there is no key {name!r}", "see `twin key list`")
        self._write(left)

    def _load(self) -> tuple[Key, ...]:
        try:
            return _KEYS.validate_json(self.path.read_bytes())
        except ValidationError as error:
            raise InputError(f"{self.path} is damaged", "remove it and make the keys anew") from error

    def _write(self, keys: tuple[Key, ...]) -> None:
        write_json(self.path, json.loads(_KEYS.dump_json(keys)))
        self.path.chmod(0o600)


def keys_of(home: Path) -> Keys:
    """The keys of the workspace at `home`."""
    return Keys(home / "keys.json")


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode(errors="replace")).hexdigest()
