"""GET /traces: how the newest answers came about, step by step, for who asked for them.

They lie in a file of the workspace, a line each, and the oldest go when there are too many. A crash may lose the
newest; nothing else depends on them. Not covered: several servers over one workspace (the index allows one).
"""

import threading
from collections import deque
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import ValidationError

from llm_twin.errors import InputError
from llm_twin.files import add_line, write_lines
from llm_twin.inference.tracing import Trace
from llm_twin.serving.refusals import Refusal, declared
from llm_twin.serving.visitor import Owner
from llm_twin.types import Value

_MINE = 0o600
"""Nobody else on this machine may read what was asked."""


class Kept(Trace):
    """A trace and who asked; `owner` is None where there are no keys."""

    owner: str | None


class TracePage(Value):
    """Some traces, newest first; `total` is how many there are."""

    total: int
    traces: tuple[Trace, ...]


class Traces:
    """The newest `most` traces, in memory and in `path`; with 0, none are kept."""

    def __init__(self, path: Path, most: int) -> None:
        self._path, self._most = path, most
        self._lock = threading.Lock()
        if path.exists():
            path.chmod(_MINE)
        lines = path.read_text(encoding="utf-8").splitlines() if most and path.exists() else []
        self._kept = deque(_read(lines, path), maxlen=most)
        self._lines = len(lines)
        if self._lines > len(self._kept):
            self._write_anew()

    def add(self, trace: Trace, owner: str | None) -> None:
        """Keep a trace that `owner` asked for."""
        if not self._most:
            return
        kept = Kept(**dict(trace), owner=owner)
        line = kept.model_dump_json()  # one that cannot be told is not kept either
        with self._lock:
            self._kept.append(kept)
            if self._lines >= 2 * self._most:
                self._write_anew()
                return
            add_line(self._path, line, _MINE)
            self._lines += 1

    def of(self, owner: str | None) -> list[Trace]:
        """Newest first; with an owner, only what that owner asked."""
        with self._lock:
            mine = [each for each in self._kept if each.owner == owner or owner is None]
        return [Trace(**each.model_dump(exclude={"owner"})) for each in reversed(mine)]

    def _write_anew(self) -> None:
        write_lines(self._path, (each.model_dump_json() for each in self._kept), _MINE)
        self._lines = len(self._kept)


def _read(lines: list[str], path: Path) -> list[Kept]:
    """All but a last line that a crash cut off."""
    found = []
    for number, line in enumerate(lines, 1):
        try:
            found.append(Kept.model_validate_json(line))
        except ValidationError as error:
            if number < len(lines):
                raise InputError(f"{path}, line {number} is not a trace", "remove the file") from error
    return found


def trace_routes(traces: Traces) -> APIRouter:
    """The routes over `traces`."""
    router = APIRouter(tags=["traces"])

    @router.get("/traces", responses=declared())
    async def newest(
        owner: Owner,
        limit: Annotated[int, Query(ge=1, le=200)] = 50,
        offset: Annotated[int, Query(ge=0, le=10_000_000)] = 0,
    ) -> TracePage:
        """How your newest answers came about."""
        found = traces.of(owner)
        return TracePage(total=len(found), traces=tuple(found[offset : offset + limit]))

    @router.get("/traces/{trace_id}", responses=declared(404))
    async def one(trace_id: str, owner: Owner) -> Trace:
        """One of them."""
        found = next((each for each in traces.of(owner) if each.id == trace_id), None)
        if found is None:
            raise Refusal(404, f"there is no trace {trace_id!r}", "trace_not_found", "trace_id")
        return found

    return router
