"""The engine's own process: what it does when somebody leaves, when it dies, and when its parent does."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from llm_twin import waiting
from llm_twin.adapters import openvino_apart
from llm_twin.adapters.openvino_apart import EngineApart
from llm_twin.adapters.openvino_engine import Setup
from llm_twin.adapters.openvino_streams import Stream
from llm_twin.errors import InputError, TwinError
from llm_twin.models import read_card
from llm_twin.types import Sampling

LONG = Sampling(max_tokens=2000, temperature=1.0, top_p=1.0)
PROMPT = list(range(300, 330))


@pytest.fixture
def engine(smol_model: Path) -> Iterator[EngineApart]:
    made = EngineApart(setup_of(smol_model))
    yield made
    made.close()


def setup_of(folder: Path) -> Setup:
    return Setup(name="smol", weights=folder / str(read_card(folder).serving), stop_ids=(0,))


def child_of(engine: EngineApart) -> subprocess.Popen[bytes]:
    assert engine._child is not None
    return engine._child._process


def busy(pid: int) -> int:
    """Clock ticks that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


@pytest.mark.slow
def test_when_the_engine_dies_who_reads_is_told_and_the_next_one_is_served(engine: EngineApart) -> None:
    with closing(engine.stream(PROMPT, LONG)) as stream:
        next(stream)
        child = child_of(engine)
        os.kill(child.pid, signal.SIGKILL)
        with pytest.raises(TwinError, match="engine of smol ended by signal 9") as raised:
            list(stream)
    assert raised.value.way_out
    assert engine.write([PROMPT], Sampling(max_tokens=4))[0].ids
    assert child_of(engine).pid != child.pid


@pytest.mark.slow
def test_what_nobody_reads_any_more_is_not_written_on(engine: EngineApart) -> None:
    streams = [engine.stream(PROMPT, LONG.model_copy(update={"seed": n})) for n in range(3)]
    for stream in streams:
        next(stream)
    for stream in streams:
        stream.close()

    def interrupted(done: int, total: int, note: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        engine.write([PROMPT] * 3, LONG, interrupted)
    pid = child_of(engine).pid
    time.sleep(1)
    before = busy(pid)
    time.sleep(1)
    assert busy(pid) - before < 20, "of some two hundred ticks that two cores have in a second"


@pytest.mark.slow
def test_it_ends_with_its_parent_however_that_ends(smol_model: Path) -> None:
    script = """
import sys
from pathlib import Path
from llm_twin.adapters.openvino_apart import EngineApart
from llm_twin.adapters.openvino_engine import Setup
from llm_twin.types import Sampling
engine = EngineApart(Setup.model_validate_json(sys.argv[1]))
stream = engine.stream(list(range(300, 330)), Sampling(max_tokens=2000))
next(stream)
print(engine._child._process.pid, flush=True)
list(stream)
"""
    command = [sys.executable, "-c", script, setup_of(smol_model).model_dump_json()]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout
        child = int(parent.stdout.readline())
        parent.kill()
    for _ in range(100):
        if not Path(f"/proc/{child}").exists() or " Z " in Path(f"/proc/{child}/stat").read_text():
            return
        time.sleep(0.1)
    raise AssertionError("the engine goes on for nobody")


@pytest.mark.slow
def test_weights_that_cannot_be_loaded_are_told_as_in_one_process(tmp_path: Path) -> None:
    (tmp_path / "none.gguf").write_bytes(b"GGUF\3\0\0\0")
    engine = EngineApart(Setup(name="none", weights=tmp_path / "none.gguf", stop_ids=(0,)))
    for ask in (lambda: list(engine.stream(PROMPT, LONG)), lambda: engine.write([PROMPT], LONG)):
        with pytest.raises(TwinError, match=r"cannot load .*none\.gguf") as raised:
            ask()
        assert "twin models verify" in raised.value.way_out
    engine.close()


# --- the parent's side of the line, without a child -------------------------------------------------------


def test_who_leaves_while_the_engine_is_silent_waits_no_longer_and_the_engine_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lines: list[Connection] = []

    def opened(command: list[str], pass_fds: list[int], **_: object) -> SimpleNamespace:
        lines.append(Connection(os.dup(pass_fds[0])))
        return SimpleNamespace(wait=lambda *_: 0)

    monkeypatch.setattr(openvino_apart.subprocess, "Popen", opened)
    engine, gone = EngineApart(Setup(name="silent", weights=Path("none"), stop_ids=(0,))), threading.Event()
    threading.Timer(0.3, gone.set).start()
    begun = time.monotonic()
    with waiting.until(gone), pytest.raises(waiting.Left):
        list(engine.stream(PROMPT, LONG))
    assert time.monotonic() - begun < 1.3
    (line,) = lines
    said = [json.loads(line.recv_bytes()) for _ in range(3)]
    assert [each.get("do") for each in said] == [None, "stream", "leave"]
    assert said[1]["key"] == said[2]["key"]
    line.close()


# --- the child's side of the line, over an engine whose every answer is known ----------------------------


class Known:
    """An engine that writes what it is asked to, when it is let."""

    def __init__(self, setup: Setup, deliver: Any) -> None:
        self.deliver, self.let, self.joined = deliver, threading.Event(), threading.Semaphore(0)
        self.live: list[Stream] = []

    def streaming(self) -> bool:
        return True

    def streams(self) -> "Known":
        return self

    def ordered(self, prompt: list[int], sampling: Sampling, told: bool) -> Stream:
        return Stream(prompt, None)

    def join(self, stream: Stream) -> None:
        self.live.append(stream)
        self.joined.release()

    def write(self, prompts: list[list[int]], sampling: Sampling, progress: Any) -> list[Any]:
        if sampling.json_schema:
            raise InputError("no such schema", "check it")
        assert self.let.wait(20)
        progress(1, 2, "half")
        return [(prompt, True) for prompt in prompts]

    def close(self) -> None:
        pass


@pytest.fixture
def line(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Connection, Known]]:
    """The parent's end, and the engine behind the other."""
    engines: list[Known] = []

    def made(setup: Setup, deliver: Any) -> Known:
        engines.append(Known(setup, deliver))
        return engines[-1]

    monkeypatch.setattr(openvino_apart, "Engine", made)
    ours, theirs = Pipe()
    ours.send_bytes(Setup(name="known", weights=Path("none"), stop_ids=(0,)).model_dump_json().encode())
    served = openvino_apart._Served(theirs)
    thread = threading.Thread(target=served.serve)
    thread.start()
    yield ours, engines[0]
    ours.close()
    thread.join(20)
    assert not thread.is_alive(), "it ends with the line"


def ask(line: Connection, key: int, do: str, **what: Any) -> None:
    if do != "leave":
        what["sampling"] = Sampling(json_schema=what.pop("schema", None)).model_dump()
    line.send_bytes(json.dumps({"key": key, "do": do, **what}).encode())


def heard(line: Connection) -> list[list[Any]]:
    assert line.poll(20)
    said: list[list[Any]] = json.loads(line.recv_bytes())
    return said


def test_streams_of_a_step_come_in_one_message_each_with_its_key(line: tuple[Connection, Known]) -> None:
    ours, engine = line
    for key in (5, 6):
        ask(ours, key, "stream", prompt=[key], told=False)
        assert engine.joined.acquire(timeout=20)
    five, six = engine.live
    engine.deliver([(five, ([1, 2], [])), (six, ([3], [-0.5])), (six, None)])
    assert heard(ours) == [[5, "made", [[1, 2], []]], [6, "made", [[3], [-0.5]]], [6, "end", None]]
    engine.deliver([(five, RuntimeError("a.cpp:7: it fell over"))])
    ((key, kind, told),) = heard(ours)
    assert (key, kind) == (5, "error") and told[:2] == ["TwinError", "known failed: it fell over"]


def test_who_leaves_is_told_nothing_more(line: tuple[Connection, Known]) -> None:
    ours, engine = line
    ask(ours, 1, "stream", prompt=[1], told=False)
    ask(ours, 2, "stream", prompt=[2], told=False)
    ask(ours, 3, "write", prompts=[[3]])
    for _ in range(2):
        assert engine.joined.acquire(timeout=20)
    one, two = engine.live
    ask(ours, 1, "leave")
    ask(ours, 3, "leave")
    ask(ours, 4, "write", prompts=[[4]], schema="{}")
    assert heard(ours) == [[4, "error", ["InputError", "no such schema", "check it"]]]
    assert one.left and not two.left
    engine.let.set()  # the batch that was left ends at its next step
    engine.deliver([(one, ([1], [])), (two, ([2], []))])
    assert heard(ours) == [[2, "made", [[2], []]]]
    assert not ours.poll(0.2)


def test_a_batch_tells_how_far_it_is_and_what_came_of_it(line: tuple[Connection, Known]) -> None:
    ours, engine = line
    engine.let.set()
    ask(ours, 9, "write", prompts=[[7], [8]])
    expected = [[9, "progress", [1, 2, "half"]], [9, "result", [[[7], True], [[8], True]]], [9, "end", None]]
    assert [said for _ in range(3) for said in heard(ours)] == expected
