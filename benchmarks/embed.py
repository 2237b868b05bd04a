"""Chunks a second: our embedder against sentence-transformers as it comes, on the same chunks: poe bench embed

Both run in this process, in alternating rounds, on chunks of 200 to 254 tokens of real text: the articles
beside the repository where they lie there, else the sample corpus. What else the machine does slows both, so
the ratio is taken round by round, and chunks per second of CPU time stand beside chunks per second. Loading,
converting and a first batch are not timed. Exit code 1 where the goal is missed.

It does not measure short texts, single queries, or GPUs.
"""

import argparse
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from llm_twin.adapters.embed_openvino import OpenVinoEmbedder
from llm_twin.adapters.pull import pull
from llm_twin.files import write_json
from llm_twin.ports import Embedder, Vectors

REPOSITORY = Path(__file__).parents[1]
ARTICLES = REPOSITORY.parent / "shared" / "data" / "articles" / "ArticleDocument.json"
RESULTS = Path(__file__).parent / "results" / "embed.json"
GOAL_RATIO, GOAL_COSINE = 3.5, 0.999

Embed = Callable[[list[str]], Vectors]


def main() -> int:
    options = _options()
    folder = options.model or pull("all-minilm-l6-v2", _models())
    ours = OpenVinoEmbedder(folder)
    source, text = _text()
    chunks = _chunks(ours, text, options.chunks)
    reference = _sentence_transformers(folder)
    result = {
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": _machine(),
        "model": ours.name,
        "chunks": {"count": len(chunks), "source": source, "tokens": _tokens(ours, chunks)},
        **_race({"llm-twin": ours.embed, "sentence-transformers": reference}, chunks, options.rounds),
    }
    write_json(RESULTS, result)
    print(json.dumps(result, indent=1, ensure_ascii=False))
    met = result["ratio"]["median"] >= GOAL_RATIO and result["cosine"]["min"] >= GOAL_COSINE
    print(f"goal (ratio {GOAL_RATIO}, cosine {GOAL_COSINE}): {'met' if met else 'MISSED'}; wrote {RESULTS}")
    return 0 if met else 1


def _race(contestants: dict[str, Embed], chunks: list[str], rounds: int) -> dict[str, Any]:
    """Rates of each, the ratio of the first to the second, and how near their vectors are."""
    vectors = {name: embed(chunks[:16]) for name, embed in contestants.items()}
    wall: dict[str, list[float]] = {name: [] for name in contestants}
    cpu: dict[str, list[float]] = {name: [] for name in contestants}
    others: dict[str, list[float]] = {name: [] for name in contestants}
    for number in range(rounds):
        # Each goes first in every other round.
        for name in list(contestants)[:: 1 if number % 2 else -1]:
            began, own_began, busy_began = time.perf_counter(), time.process_time(), _busy_seconds()
            vectors[name] = contestants[name](chunks)
            own, busy = time.process_time() - own_began, _busy_seconds() - busy_began
            seconds = time.perf_counter() - began
            wall[name].append(len(chunks) / seconds)
            cpu[name].append(len(chunks) / own)
            others[name].append(max(0.0, busy - own) / seconds)
            print(f"round {number + 1}: {name} {wall[name][-1]:.1f} chunks/s", file=sys.stderr)
    first, second = contestants
    cosine = (vectors[first] * vectors[second]).sum(1)
    return {
        "rounds": rounds,
        "chunks_per_second": {name: _spread(rates) for name, rates in wall.items()},
        "chunks_per_cpu_second": {name: _spread(rates) for name, rates in cpu.items()},
        "cores_that_other_programs_took": {name: _spread(cores) for name, cores in others.items()},
        "ratio": _spread([a / b for a, b in zip(wall[first], wall[second], strict=True)]),
        "ratio_of_cpu_time": _spread([a / b for a, b in zip(cpu[first], cpu[second], strict=True)]),
        "cosine": {"min": round(float(cosine.min()), 6), "mean": round(float(cosine.mean()), 6)},
    }


def _sentence_transformers(folder: Path) -> Embed:
    """The library's own defaults: float32, batches of 32, whatever threads torch takes."""
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(folder), device="cpu")
    return lambda texts: np.asarray(model.encode(texts))


def _text() -> tuple[str, str]:
    if ARTICLES.is_file():
        rows = json.loads(ARTICLES.read_text(encoding="utf-8"))
        return "articles", "\n\n".join(str(row["content"]["Content"]) for row in rows)
    files = sorted((REPOSITORY / "examples").rglob("*.md"))
    return "sample corpus", "\n\n".join(file.read_text(encoding="utf-8") for file in files)


def _chunks(embedder: Embedder, text: str, count: int) -> list[str]:
    """`count` passages of 200 to 254 tokens, spread over the text."""
    offsets = embedder.token_offsets(text)
    rng = np.random.default_rng(0)
    chunks, at = [], 0
    while at + embedder.window < len(offsets):
        size = int(rng.integers(200, embedder.window - 1))
        chunks.append(text[offsets[at][0] : offsets[at + size - 1][1]])
        at += size
    # A cut inside a word can make a token more than there was.
    fitting = [chunk for chunk in chunks if len(embedder.token_offsets(chunk)) <= embedder.window - 2]
    step = max(1, len(fitting) // count)
    return fitting[::step][:count]


def _tokens(embedder: Embedder, chunks: list[str]) -> dict[str, float]:
    return _spread([len(embedder.token_offsets(chunk)) + 2 for chunk in chunks])


def _spread(values: list[float]) -> dict[str, float]:
    middle = statistics.median(values)
    return {"min": round(min(values), 2), "median": round(middle, 2), "max": round(max(values), 2)}


def _machine() -> dict[str, Any]:
    packages = ("openvino", "tokenizers", "numpy", "sentence-transformers", "transformers", "torch")
    return {
        "cpu": _cpu(),
        "cores": len(os.sched_getaffinity(0)),
        "load_average_at_start": os.getloadavg()[0],
        "system": platform.platform(),
        "python": platform.python_version(),
        "versions": {name: version(name) for name in packages},
    }


def _busy_seconds() -> float:
    """CPU time that this machine has spent on anything since it started (proc(5), /proc/stat)."""
    user, nice, system, _idle, _iowait, irq, softirq, *_ = map(
        int, Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]
    )
    return (user + nice + system + irq + softirq) / os.sysconf("SC_CLK_TCK")


def _cpu() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    facts = dict(line.split(":", 1) for line in lines if ":" in line)
    facts = {key.strip(): value.strip() for key, value in facts.items()}
    wide = [flag for flag in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if flag in facts["flags"].split()]
    return f"{facts['model name']} (family {facts['cpu family']}, model {facts['model']}; {', '.join(wide)})"


def _models() -> Path:
    return Path(os.environ.get("TWIN_MODELS") or Path.home() / ".cache" / "llm-twin" / "models")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", type=Path, help="a model folder (default: all-minilm-l6-v2, pulled)")
    parser.add_argument("--chunks", type=int, default=192)
    parser.add_argument("--rounds", type=int, default=5)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
