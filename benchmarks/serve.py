"""Tokens a second and the wait for the first one: `twin serve` against other servers of the same model: poe bench serve

One model, the same prompts, one server after the other on this machine, at 1, 8 and 32 streams at once. The twin's
chat endpoint is asked without retrieval. Peers are llama.cpp's server (`--llama-server PATH`) and vLLM for CPUs
(`--vllm PYTHON`, a Python that has it); one that is not given is reported as absent. The bare engine, the same adapter
without HTTP, is measured too, so that what serving costs is seen. Peak memory is that of the server's processes.

    poe bench serve --home my-twin --llama-server ~/llama.cpp/build/bin/llama-server

It does not measure answers with retrieval, long prompts, or GPUs.
"""

import argparse
import asyncio
import json
import os
import platform
import re
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx

from llm_twin.adapters.chat_openvino import OpenVinoChat
from llm_twin.asker import chat_folder
from llm_twin.files import write_json
from llm_twin.front import workspace_at
from llm_twin.models import read_card
from llm_twin.text import slug
from llm_twin.types import Message, Sampling

REPOSITORY = Path(__file__).parents[1]
RESULTS = Path(__file__).parent / "results" / "serve.json"
SYSTEM = "You are a careful assistant. Answer in plain prose."
PORT = 18_431
MAX_TOKENS = 64
START_SECONDS = 300
MOST_COST, MOST_WAIT_MS = 0.05, 10
"""What serving may cost over the bare engine: of its tokens a second, and until the first one of a single stream."""
_SAID, _WROTE = re.compile(rb'"content": ?"[^"]'), re.compile(rb'"completion_tokens": ?(\d+)')


@dataclass(frozen=True)
class Reply:
    """One answer: seconds to the first piece and to the last, and its tokens."""

    first: float
    seconds: float
    tokens: int


def main() -> int:
    options = _options()
    workspace = workspace_at(options.home)
    folder = chat_folder(workspace)
    twin = [sys.executable, "-m", "llm_twin", "serve", "--home", str(options.home), "--port", str(PORT)]
    twin += ["--max-concurrent", str(max(options.streams)), "--queue", "64"]
    servers = {"llm-twin": (twin, f"{slug(workspace.author)}:plain")}
    absent = {}
    if options.llama_server:
        command = [options.llama_server, "-m", str(folder / _served(folder)), "--port", str(PORT)]
        command += ["-np", str(max(options.streams)), "-c", str(1024 * max(options.streams)), "-t", "2"]
        servers["llama.cpp"] = (command, "twin")
    else:
        absent["llama.cpp"] = "no --llama-server was given"
    if options.vllm:
        command = [
            options.vllm,
            "-m",
            "vllm.entrypoints.openai.api_server",
            "--model",
            str(folder / "safetensors"),
        ]
        command += ["--port", str(PORT), "--served-model-name", "twin", "--max-model-len", "2048"]
        command += ["--dtype", "bfloat16", "--enforce-eager"]
        servers["vLLM"] = (command, "twin")
    else:
        absent["vLLM"] = "no --vllm was given"
    prompts = _prompts(options.requests)
    found: dict[str, Any] = {name: [] for name in ["bare engine", *servers]}
    for number in range(options.rounds):
        for name, (command, model) in list(servers.items())[:: 1 if number % 2 == 0 else -1]:
            with _running(command, name) as process:
                measured = {str(n): asyncio.run(_load(model, prompts, n)) for n in options.streams}
                found[name].append({"streams": measured, "peak_mb": _peak_mb(process.pid)})
            _show(name, found[name][-1])
        bare = _bare(folder, workspace.settings.ask.prompt_lookup, prompts, options.streams)
        found["bare engine"].append({"streams": bare, "peak_mb": None})
        _show("bare engine", found["bare engine"][-1])
    result = {
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": _machine(),
        "model": folder.name,
        "requests": options.requests,
        "most tokens": MAX_TOKENS,
        "rounds": options.rounds,
        "absent": absent,
        "median of rounds": _medians(found, options.streams),
        "all rounds": found,
    }
    write_json(RESULTS, result)
    print(json.dumps({k: v for k, v in result.items() if k != "all rounds"}, indent=1))
    return _judge(result["median of rounds"], options.streams)


def _served(folder: Path) -> str:
    """The file that our engine reads, so that all read the same weights."""
    served = read_card(folder).serving
    if served is None:
        raise SystemExit(f"{folder} holds no GGUF to serve")
    return served


# --- load ---------------------------------------------------------------------------------------------------------


def _prompts(many: int) -> list[list[dict[str, str]]]:
    """Conversations that begin differently, of some hundred tokens, so that no cache answers for the engine."""
    texts = sorted((REPOSITORY / "examples").rglob("*.md"))
    paragraphs = [p for path in texts for p in path.read_text(encoding="utf-8").split("\n\n") if len(p) > 300]
    return [
        [
            {"role": "system", "content": SYSTEM},
            {"role": "user", "content": f"{p[:400]}\n\nSay this in your own words."},
        ]
        for p in (paragraphs[i % len(paragraphs)] for i in range(many))
    ]


async def _load(model: str, prompts: Sequence[list[dict[str, str]]], streams: int) -> dict[str, float]:
    """All prompts, `streams` at a time."""
    places = asyncio.Semaphore(streams)

    async def one(messages: list[dict[str, str]]) -> Reply:
        async with places:
            return await _ask(model, messages)

    await _ask(model, [{"role": "user", "content": "Say hello."}])  # weights and caches are there
    started = time.perf_counter()
    replies = await asyncio.gather(*(one(messages) for messages in prompts))
    return _figures(replies, time.perf_counter() - started)


async def _ask(model: str, messages: list[dict[str, str]]) -> Reply:
    """One answer. The client runs on the servers' own cores, so it looks at the bytes and parses no event."""
    body = {"model": model, "messages": messages, "max_tokens": MAX_TOKENS, "temperature": 0, "stream": True}
    sent = json.dumps({**body, "stream_options": {"include_usage": True}}).encode()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1:{PORT}\r\nConnection: close\r\n"
    head += f"Content-Type: application/json\r\nContent-Length: {len(sent)}\r\n\r\n"
    started, first, got = time.perf_counter(), 0.0, bytearray()
    reader, writer = await asyncio.open_connection("127.0.0.1", PORT)
    writer.write(head.encode() + sent)
    while piece := await reader.read(1 << 16):
        got += piece
        if not first and _SAID.search(got):
            first = time.perf_counter() - started
    seconds = time.perf_counter() - started
    writer.close()
    counted = _WROTE.findall(got)
    if not got.startswith(b"HTTP/1.1 200") or not counted:
        raise SystemExit(f"{model} did not answer: {bytes(got[:500])!r}")
    return Reply(first, seconds, int(counted[-1]))


def _bare(
    folder: Path, guessing: bool, prompts: Sequence[list[dict[str, str]]], levels: Sequence[int]
) -> dict[str, dict[str, float]]:
    """The adapter alone, set as the server has it, a thread a stream."""
    sampling = Sampling(max_tokens=MAX_TOKENS, temperature=0)
    with closing(OpenVinoChat(folder, prompt_lookup=guessing)) as model:
        model.warm()

        def one(messages: list[dict[str, str]]) -> Reply:
            turns = [Message.model_validate(m) for m in messages]
            started, first, text = time.perf_counter(), 0.0, ""
            for piece in model.stream(turns, sampling):
                first = first or time.perf_counter() - started
                text += piece
            empty, whole = (
                model.count_tokens([Message(role="user", content=content)]) for content in ("", text)
            )
            return Reply(first, time.perf_counter() - started, whole - empty)

        found = {}
        for streams in levels:
            with ThreadPoolExecutor(streams) as threads:
                started = time.perf_counter()
                replies = list(threads.map(one, prompts))
                found[str(streams)] = _figures(replies, time.perf_counter() - started)
        return found


def _figures(replies: Sequence[Reply], seconds: float) -> dict[str, float]:
    waits = sorted(1000 * r.first for r in replies)
    return {
        "tokens_per_second": round(sum(r.tokens for r in replies) / seconds, 1),
        "first_ms_p50": round(statistics.median(waits), 1),
        "first_ms_p99": round(waits[min(len(waits) - 1, int(0.99 * len(waits)))], 1),
        "tokens": sum(r.tokens for r in replies),
    }


def _medians(found: dict[str, Any], levels: Sequence[int]) -> dict[str, Any]:
    medians: dict[str, Any] = {}
    for name, rounds in found.items():
        streams = {
            str(n): {
                figure: statistics.median(r["streams"][str(n)][figure] for r in rounds)
                for figure in ("tokens_per_second", "first_ms_p50", "first_ms_p99")
            }
            for n in levels
        }
        peaks = [r["peak_mb"] for r in rounds if r["peak_mb"]]
        medians[name] = {"streams": streams, "peak_mb": max(peaks) if peaks else None}
    return medians


def _judge(medians: dict[str, Any], levels: Sequence[int]) -> int:
    """Ours against the best peer, in words; 1 where a goal is missed, 0 where all that could be checked are met."""
    ours, bare = medians["llm-twin"]["streams"], medians["bare engine"]["streams"]
    peers = {name: m["streams"] for name, m in medians.items() if name not in ("llm-twin", "bare engine")}
    missed = 0
    for n in map(str, levels):
        cost = 1 - ours[n]["tokens_per_second"] / bare[n]["tokens_per_second"]
        wait = ours[n]["first_ms_p50"] - bare[n]["first_ms_p50"]
        met = cost < MOST_COST and (n != "1" or wait < MOST_WAIT_MS)
        missed += not met
        print(f"{n} streams: serving costs {cost:+.1%} of the bare engine's tokens/s and {wait:+.1f} ms", met)
        for name, peer in peers.items():
            speed = ours[n]["tokens_per_second"] / peer[n]["tokens_per_second"]
            first = ours[n]["first_ms_p50"] / peer[n]["first_ms_p50"]
            met = first < 1 if n == "1" else speed >= 1
            missed += not met
            print(f"{n} streams, {name}: {speed:.2f}x its tokens/s, {first:.2f}x its first token", met)
    return 1 if missed else 0


# --- servers ------------------------------------------------------------------------------------------------------


@contextmanager
def _running(command: Sequence[str], name: str) -> Iterator[subprocess.Popen[bytes]]:
    """The server, once it answers."""
    log = (RESULTS.parent / f"{slug(name)}.log").open("wb")
    process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
    try:
        _wait(process, name)
        yield process
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        log.close()
        Path(log.name).unlink()


def _wait(process: subprocess.Popen[bytes], name: str) -> None:
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until:
        if process.poll() is not None:
            raise SystemExit(f"{name} ended with {process.returncode}: {' '.join(map(str, process.args))}")  # type: ignore[arg-type]
        try:
            if httpx.get(f"http://127.0.0.1:{PORT}/v1/models").status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.5)
    raise SystemExit(f"{name} did not answer for {START_SECONDS} s")


def _peak_mb(pid: int) -> float:
    """Of the process and those it started, from the kernel's own high-water marks."""
    total = 0.0
    for status in Path("/proc").glob("[0-9]*/status"):
        try:
            text = status.read_text()
            if os.getsid(int(status.parent.name)) == os.getsid(pid):
                total += next((float(line.split()[1]) for line in text.splitlines() if "VmHWM" in line), 0.0)
        except (OSError, ProcessLookupError):
            continue
    return round(total / 1024, 1)


def _show(name: str, measured: dict[str, Any]) -> None:
    print(name, json.dumps(measured), file=sys.stderr)


def _machine() -> dict[str, Any]:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    cpu = next((line.split(":")[1].strip() for line in lines if "model name" in line), "unknown")
    return {"cpu": cpu, "cores": os.cpu_count(), "system": platform.platform()}


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0] if __doc__ else "")
    parser.add_argument("--home", type=Path, required=True, help="a workspace with an index and a twin")
    parser.add_argument("--llama-server", help="llama.cpp's server binary")
    parser.add_argument("--vllm", help="a Python that has vLLM")
    parser.add_argument("--streams", type=int, nargs="+", default=[1, 8, 32])
    parser.add_argument("--requests", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=2)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
