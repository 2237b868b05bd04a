"""A child process with limits, in which everything that came from strangers is parsed.

Hostile HTML or XML can hang or swell any parser, so parsing happens in one child with a time limit for
each call and a memory limit for all of them. A call that goes over either ends as InputError, the
child is thrown away, and the next call starts a new one. The child also counts processor time, so it
ends by itself when its parent was killed in the middle of a call.

Not covered: this limits accidents and denial of service; it is no sandbox against code that escapes
from a parser. Linux only (`resource`).
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from llm_twin.errors import InputError, TwinError

_PACKAGE_PARENT = str(Path(__file__).resolve().parents[2])


class LimitedChild:
    """Calls functions of this package by name in a limited child process, one at a time.

    Arguments and results travel as JSON. Use it as a context manager; no process starts before the
    first call.
    """

    def __init__(self, seconds: float = 20.0, memory_bytes: int = 2**30) -> None:
        self._seconds = seconds
        self._memory_bytes = memory_bytes
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> LimitedChild:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def call(self, function: str, **arguments: Any) -> Any:
        """What `function` ("package.module:function") returns for `arguments`.

        Raises InputError when the function did, or when it went over the time or memory limit.
        """
        reply = self._answer({"function": function, "arguments": arguments})
        if "error" in reply:
            if reply["over"]:
                self.close()
            raise InputError(str(reply["error"]), "Leave it out, or save its text as a Markdown file.")
        return reply["result"]

    def close(self) -> None:
        """End the child; calling it twice is harmless."""
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        process.communicate()

    def _answer(self, request: dict[str, Any]) -> dict[str, Any]:
        process = self._running()
        assert process.stdin is not None and process.stdout is not None
        try:
            process.stdin.write(json.dumps(request).encode("ascii") + b"\n")
            process.stdin.flush()
            line = self._line(process.stdout.fileno())
        except BaseException:
            self.close()  # whatever comes out of it later would answer the wrong question
            raise
        reply: dict[str, Any] = json.loads(line)
        return reply

    def _line(self, pipe: int) -> bytes:
        """One line from the child, within the time limit."""
        end = time.monotonic() + self._seconds
        pieces: list[bytes] = []
        while not pieces or not pieces[-1].endswith(b"\n"):
            ready, _, _ = select.select([pipe], [], [], max(0.0, end - time.monotonic()))
            if not ready:
                raise InputError(
                    f"parsing took longer than {self._seconds:g} s",
                    "Leave it out, or save its text as a Markdown file.",
                )
            piece = os.read(pipe, 2**16)
            if not piece:
                raise InputError(
                    "parsing it ended the parser (out of memory or time)",
                    "Leave it out, or save its text as a Markdown file.",
                )
            pieces.append(piece)
        return b"".join(pieces)

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            command = [sys.executable, "-m", __name__, str(self._memory_bytes), str(self._seconds)]
            inherited = {name: os.environ[name] for name in ("PATH", "LANG", "LC_ALL") if name in os.environ}
            try:
                self._process = subprocess.Popen(
                    command,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.DEVNULL,
                    env={**inherited, "PYTHONPATH": _PACKAGE_PARENT},
                )
            except OSError as error:
                raise TwinError(f"the parsing process cannot start ({error})", "Free some memory.") from error
        return self._process


def _serve(memory_bytes: int, seconds: float) -> None:
    """The child's side: answer requests from standard input until it ends."""
    import resource

    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with os.fdopen(os.dup(1), "wb") as replies:
        os.dup2(2, 1)  # a stray print of some library must not look like a reply
        for line in sys.stdin.buffer:
            used = resource.getrusage(resource.RUSAGE_SELF)
            cpu = int(used.ru_utime + used.ru_stime + seconds) + 2
            resource.setrlimit(resource.RLIMIT_CPU, (cpu, resource.RLIM_INFINITY))
            replies.write(json.dumps(_reply(line)).encode("ascii") + b"\n")
            replies.flush()


def _reply(line: bytes) -> dict[str, Any]:
    from importlib import import_module

    try:
        request = json.loads(line)
        module, _, name = request["function"].partition(":")
        return {"result": getattr(import_module(module), name)(**request["arguments"])}
    except InputError as error:
        return {"error": str(error), "over": False}
    except (MemoryError, RecursionError) as error:
        return {"error": f"too large or too deeply nested ({type(error).__name__})", "over": True}
    except Exception as error:  # any parser bug on one input is that input's problem, not the batch's
        return {"error": f"cannot be parsed ({type(error).__name__}: {error})"[:300], "over": False}


if __name__ == "__main__":
    _serve(int(sys.argv[1]), float(sys.argv[2]))
