"""The server under load, with a stand-in engine that writes at a steady pace: poe bench load --locust PATH

Three parts, against a real `twin serve` on the sample corpus, each user with a connection of its own:
readers (50 users who stream answers from passages for five minutes), a crowd (400 users at 100 places and a queue of
64), and leavers (200 streams whose clients hang up). Measured is the server's part of an answer: until the first
word, and over the engine's own pace. Users are locust's, in a Python that has it (`pip install locust`), on the same
machine. Exit code 1 where a goal is missed.

It does not measure a model, nor the network.
"""

import argparse
import json
import os
import platform
import re
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from load_engine import ENDLESS, SECONDS_A_WORD, WORDS

from llm_twin import pipeline
from llm_twin.files import write_json
from llm_twin.front import workspace_at

HERE = Path(__file__).parent
RESULTS = HERE / "results" / "load.json"
EXAMPLES = HERE.parent / "examples"
READERS, CROWD, PLACES, QUEUE, LEAVERS = 50, 400, 100, 64, 200
GOAL_MS = 700
SETTINGS = """
author = "Wren Marlow"
sources = [{{ location = "{articles}" }}]
[models]
chat = "smollm2-135m"
[adapters]
chat = "load_engine:open_chat"
"""
Found = dict[str, Any]


def main() -> int:
    options = _options()
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        (home / "twin.toml").write_text(SETTINGS.format(articles=EXAMPLES / "marlow" / "articles"))
        workspace = workspace_at(home)
        pipeline.collect(workspace)
        pipeline.index(workspace)
        result: Found = {
            "when": datetime.now(UTC).isoformat(timespec="seconds"),
            "machine": {"cpu": _cpu(), "cores": os.cpu_count(), "system": platform.platform()},
            "readers": _readers(home, options),
            "crowd": _crowd(home, options),
            "leavers": _leavers(home),
        }
    write_json(RESULTS, result)
    print(json.dumps(result, indent=1))
    missed = [name for name in ("readers", "crowd", "leavers") if not result[name]["met"]]
    print(f"goals: {'missed by ' + ', '.join(missed) if missed else 'met'}; wrote {RESULTS}")
    return 1 if missed else 0


def _readers(home: Path, options: argparse.Namespace) -> Found:
    with _serving(home, places=READERS, queue=READERS) as url:
        found = _locust(options.locust, "readers", "wren-marlow", url, READERS, options.seconds)
    first, over = (1000 * np.array(found[name]) for name in ("first", "over"))
    p99 = {"first word": _p(first, 99), "over the engine's pace": _p(over, 99)}
    return {
        "users": READERS,
        "seconds": options.seconds,
        "answers": len(first),
        "statuses": found["statuses"],
        "p50_ms": {"first word": _p(first, 50), "over the engine's pace": _p(over, 50)},
        "p99_ms": p99,
        "met": set(found["statuses"]) == {"200"} and max(p99.values()) < GOAL_MS,
    }


def _crowd(home: Path, options: argparse.Namespace) -> Found:
    with _serving(home, PLACES, QUEUE) as url:
        found = _locust(options.locust, "crowd", "wren-marlow:plain", url, CROWD, options.crowd_seconds)
    statuses = found["statuses"]
    kept = {"200", "429", "429 without Retry-After"}
    met = set(statuses) <= kept and statuses.get("429", 0) > 0 and not statuses.get("429 without Retry-After")
    return {"users": CROWD, "places": PLACES, "queue": QUEUE, "statuses": statuses, "met": met}


def _leavers(home: Path) -> Found:
    """Open streams, hang up on all of them, and count what still runs a second later."""
    asked = {"model": "wren-marlow:plain", "messages": [{"role": "user", "content": f"Please {ENDLESS}."}]}
    with _serving(home, LEAVERS, LEAVERS) as url, ExitStack() as open_streams:
        client = open_streams.enter_context(
            httpx.Client(timeout=120, limits=httpx.Limits(max_connections=None))
        )
        held = []  # an iterator that is let go hangs up
        for _ in range(LEAVERS):
            stream = client.stream("POST", f"{url}/v1/chat/completions", json={**asked, "stream": True})
            held.append(open_streams.enter_context(stream).iter_bytes())
            next(held[-1])
        before = _running(url)
        open_streams.close()
        time.sleep(1)
        after = _running(url)
    return {"streams": LEAVERS, "running before": before, "running a second later": after,
            "met": before == LEAVERS and after == 0}  # fmt: skip


def _running(url: str) -> int:
    metrics = httpx.get(f"{url}/metrics", timeout=30).text
    found = re.search(r"^twin_chat_running (\S+)", metrics, re.MULTILINE)
    return int(float(found[1])) if found else -1


@contextmanager
def _serving(home: Path, places: int, queue: int) -> Iterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "llm_twin", "serve", "--home", str(home), "--port", str(port)]
    command += ["--max-concurrent", str(places), "--queue", str(queue)]
    environment = {**os.environ, "PYTHONPATH": str(HERE)}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(240):
            try:
                httpx.get(f"{url}/readyz").raise_for_status()
                break
            except httpx.HTTPError:
                time.sleep(0.5)
        yield url
    finally:
        process.terminate()
        process.wait(60)


def _locust(python: str, phase: str, model: str, url: str, users: int, seconds: int) -> Found:
    with tempfile.NamedTemporaryFile(suffix=".json") as out:
        environment = {**os.environ, "LOAD_PHASE": phase, "LOAD_MODEL": model, "LOAD_OUT": out.name}
        environment |= {"LOAD_WORDS": str(WORDS), "LOAD_PACE": str(SECONDS_A_WORD)}
        command = [python, "-m", "locust", "-f", str(HERE / "load_users.py"), "--headless", "-H", url]
        command += ["-u", str(users), "-r", str(users), "-t", f"{seconds}s", "--stop-timeout", "30"]
        command += ["--only-summary", "--exit-code-on-error", "0"]
        subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)
        found: Found = json.loads(Path(out.name).read_text())
        return found


def _p(values: Any, percent: int) -> float:
    return round(float(np.percentile(values, percent)), 1) if len(values) else float("inf")


def _cpu() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.split(":")[1].strip() for line in lines if "model name" in line), "unknown")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0] if __doc__ else "")
    parser.add_argument("--locust", required=True, help="a Python that has locust and this package")
    parser.add_argument("--seconds", type=int, default=300, help="how long readers read")
    parser.add_argument("--crowd-seconds", type=int, default=60)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
