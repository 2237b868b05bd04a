"""The engine in a process of its own, so that a server's work and the engine's steps share no interpreter lock.

The engine holds Python's lock for a whole step, and in one process everything that happens to a request waits for
such steps. Here a child process runs `openvino_engine.Engine`; the two speak JSON over a socket pair, the child once a
step for all its streams. The child ends when its parent does, however that ends. When the child ends by itself (the
kernel takes the memory back, the engine crashes), what it was asked fails with the reason, and the next request starts
another one. Not covered: machines beyond this one (`twin serve-llm` is for those), and Windows.
"""

import itertools
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Generator, Sequence
from contextlib import closing, suppress
from functools import partial
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

from llm_twin import waiting
from llm_twin.adapters.openvino_engine import Engine, Prompt, Reply, Setup, explained
from llm_twin.errors import InputError, TwinError
from llm_twin.ports import Progress, silent
from llm_twin.types import Sampling

if TYPE_CHECKING:
    from llm_twin.adapters.openvino_streams import Made, Stream

_END_SECONDS = 5
Said = tuple[str, Any]
"""A kind ("made", "progress", "result", "end", "error") and what goes with it."""


class EngineApart:
    """A TokenModel whose engine runs in a child process, started when it is first asked."""

    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        self._guard = threading.Lock()
        self._child: _Child | None = None
        self._closed = False

    def write(
        self, prompts: Sequence[Prompt], sampling: Sampling, progress: Progress = silent
    ) -> list[Reply]:
        """One reply a prompt, batched."""
        found = self._result("write", progress, prompts=prompts, sampling=sampling.model_dump())
        return [Reply(ids, stopped) for ids, stopped in found]

    def stream(self, prompt: Prompt, sampling: Sampling, told: bool = False) -> "Generator[Made, None, None]":
        """New tokens as they come; closing it cancels."""
        said = self._running().said("stream", prompt=prompt, sampling=sampling.model_dump(), told=told)
        with closing(said):
            for _, (ids, scores) in said:
                yield ids, scores

    def score(
        self, pairs: Sequence[tuple[Prompt, list[int]]], progress: Progress = silent
    ) -> list[list[float]]:
        """Log probabilities of each second half."""
        found: list[list[float]] = self._result("score", progress, pairs=pairs)
        return found

    def close(self) -> None:
        """End the process; streams that are being written are let finish first."""
        self._closed = True
        with self._guard:
            if self._child is not None:
                self._child.close()
                self._child = None

    def _result(self, do: str, progress: Progress, **what: Any) -> Any:
        result = None
        with closing(self._running().said(do, **what)) as said:
            for kind, value in said:
                if kind == "progress":
                    progress(*value)
                else:
                    result = value
        return result

    def _running(self) -> "_Child":
        with self._guard:
            if self._closed:
                raise TwinError(f"{self._setup.name} was closed")
            if self._child is None or self._child.ended:
                self._child = _Child(self._setup)
            return self._child


class _Child:
    """The process and the line to it, as its parent sees them."""

    def __init__(self, setup: Setup) -> None:
        self.ended = False
        self._name = setup.name
        self._line, theirs = Pipe()
        with theirs:
            number = theirs.fileno()
            command = [sys.executable, "-m", __spec__.name, str(number)]
            # What the engine prints would be taken for answers where stdout is a protocol (`twin mcp`).
            self._process = subprocess.Popen(command, pass_fds=[number], stdin=subprocess.DEVNULL, stdout=2)
        self._keys = itertools.count()
        self._guard = threading.Lock()
        self._asked: dict[int, SimpleQueue[Said]] = {}
        self._tell(setup.model_dump(mode="json"))
        threading.Thread(target=self._listen, name="engine-apart", daemon=True).start()

    def said(self, do: str, **what: Any) -> Generator[Said, None, None]:
        """What the engine says to a request, up to its end; raises its error. Closing it cancels the request."""
        heard: SimpleQueue[Said] = SimpleQueue()
        key = next(self._keys)
        self._asked[key] = heard
        try:
            if self.ended or not self._tell({"key": key, "do": do, **what}):
                raise self._why()
            while (said := waiting.taken(heard))[0] not in ("end", "error"):
                yield said
            if said[0] == "error":
                raise _error(*said[1])
        finally:
            if self._asked.pop(key, None) is not None:
                self._tell({"key": key, "do": "leave"})

    def close(self) -> None:
        """Let the streams that there are come to their end, then the process."""
        self._tell({"do": "close"})
        try:
            self._process.wait(None if self._asked else _END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _tell(self, thing: Any) -> bool:
        try:
            with self._guard:
                self._line.send_bytes(json.dumps(thing).encode())
        except OSError:
            return False
        return True

    def _listen(self) -> None:
        """Hand out what comes, until nothing more will."""
        with suppress(EOFError, OSError):
            while True:
                for key, kind, value in json.loads(self._line.recv_bytes()):
                    asked = self._asked.pop(key, None) if kind in ("end", "error") else self._asked.get(key)
                    if asked is not None:
                        asked.put((kind, value))
        self.ended = True
        self._process.wait()
        for asked in list(self._asked.values()):
            asked.put(("error", _sent(self._why())))
        self._line.close()

    def _why(self) -> TwinError:
        code = self._process.wait()
        how = f"by signal {-code}" if code < 0 else f"with {code}"
        return TwinError(f"the engine of {self._name} ended {how}", "ask again: another one is started")


def _error(kind: str, message: str, way_out: str) -> TwinError:
    return (InputError if kind == "InputError" else TwinError)(message, way_out)


class _Served:
    """The engine in the child, as the line asks it. Streams share a message a step; other work has a thread each."""

    def __init__(self, line: Connection) -> None:
        self._line, self._guard, self._voice = line, threading.Lock(), threading.Lock()
        self._setup = Setup.model_validate_json(line.recv_bytes())
        self._engine = Engine(self._setup, self._deliver)
        self._keys: dict[Stream, int] = {}
        self._streams: dict[int, Stream] = {}
        self._left: set[int] = set()

    def serve(self) -> None:
        """Until the line ends: nobody is there any more, whatever else still runs."""
        with suppress(EOFError, OSError):
            while (asked := json.loads(self._line.recv_bytes()))["do"] != "close":
                self._take(**asked)
            self._engine.close()

    def _take(self, key: int, do: str, **what: Any) -> None:
        if do == "leave":
            self._leave(key)
            return
        if "sampling" in what:
            what["sampling"] = Sampling.model_validate(what["sampling"])
        work = partial(self._do, key, do, what)
        if do == "stream" and what["sampling"].json_schema is None:
            work = partial(self._join, key, what)
            if self._engine.streaming():
                work()
                return
        threading.Thread(target=work, daemon=True).start()

    def _join(self, key: int, what: dict[str, Any]) -> None:
        """Where the weights are not there yet this takes a while."""
        try:
            streams, stream = self._engine.streams(), self._engine.ordered(**what)
        except TwinError as error:
            self._fail(key, error)
            return
        with self._guard:
            self._keys[stream], self._streams[key] = key, stream
            stream.left = key in self._left
        streams.join(stream)

    def _do(self, key: int, do: str, what: dict[str, Any]) -> None:
        try:
            if do == "stream":
                for made in self._engine.stream(**what):
                    self._check(key)
                    self._tell([(key, "made", made)])
            else:
                work = self._engine.write if do == "write" else self._engine.score
                result = work(**what, progress=partial(self._progress, key))
                self._tell([(key, "result", result)])
            self._tell([(key, "end", None)])
        except waiting.Left:
            self._left.discard(key)
        except TwinError as error:
            self._fail(key, error)
        except Exception as error:  # of whatever kind: it was this request's, and its reader waits
            self._fail(key, TwinError(f"{self._setup.name} failed: {error!r}"))

    def _progress(self, key: int, done: int, total: int, note: str) -> None:
        self._check(key)
        self._tell([(key, "progress", (done, total, note))])

    def _check(self, key: int) -> None:
        if key in self._left:
            raise waiting.Left

    def _leave(self, key: int) -> None:
        with self._guard:
            stream = self._streams.pop(key, None)
            if stream is None:
                self._left.add(key)
                return
            self._keys.pop(stream, None)
            stream.left = True

    def _deliver(self, made: list[tuple["Stream", Any]]) -> None:
        said: list[tuple[int, str, Any]] = []
        for stream, thing in made:
            key = self._keys.get(stream)
            if key is None:
                continue
            if isinstance(thing, tuple):
                said.append((key, "made", thing))
                continue
            self._keys.pop(stream, None)
            self._streams.pop(key, None)
            said.append((key, "end", None) if thing is None else (key, "error", self._explained(thing)))
        if said:
            self._tell(said)

    def _explained(self, error: Exception) -> tuple[str, str, str]:
        try:
            with explained(self._setup.name):
                raise error
        except TwinError as ours:
            return _sent(ours)

    def _fail(self, key: int, error: TwinError) -> None:
        self._tell([(key, "error", _sent(error))])

    def _tell(self, said: list[tuple[int, str, Any]]) -> None:
        with suppress(OSError), self._voice:  # whom it was for is gone; `serve` ends of it
            self._line.send_bytes(json.dumps(said).encode())


def _sent(error: TwinError) -> tuple[str, str, str]:
    return type(error).__name__, str(error), error.way_out


def main(number: int) -> None:
    """The child: serve the engine over the socket `number`."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's Ctrl-C is the parent's to answer
    _Served(Connection(number)).serve()
    os._exit(0)  # threads that still step serve nobody


if __name__ == "__main__":
    main(int(sys.argv[1]))
