"""How long a question waits: retrieval alone, and until the first word of an answer: poe bench rag

Two indexes of passages. The smaller is embedded for real: paragraphs of the articles beside the repository where they
lie there, else of the sample corpus, their sentences dealt anew until there are enough. The larger one's vectors lie
between two real ones with some noise, since embedding it would take the better part of an hour; its texts are dealt
from the same sentences. Questions are sentences cut short. "Retrieval" is all of `find` with the default steps:
embedding the question, both searches and their fusion. Recall compares the graph's nearest ten with an exact search's.
The first word is timed in this process, with the default settings of `[ask]`, and its steps are told.

It does not measure HTTP (`poe bench serve` does), many questions at once, or GPUs.
"""

import argparse
import json
import os
import platform
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from llm_twin.adapters.chat_openvino import OpenVinoChat
from llm_twin.adapters.embed_openvino import OpenVinoEmbedder
from llm_twin.adapters.pull import pull
from llm_twin.adapters.vectors_qdrant_edge import QdrantEdgeVectors
from llm_twin.files import write_json
from llm_twin.inference.answer import Answering, stream
from llm_twin.inference.retrieve import question_vector
from llm_twin.inference.steps import Searched, find
from llm_twin.inference.tracing import Tracing
from llm_twin.ports import Vectors
from llm_twin.settings import AskSettings, ModelSettings
from llm_twin.text import sentences
from llm_twin.types import Chunk, Where

REPOSITORY = Path(__file__).parents[1]
ARTICLES = REPOSITORY.parent / "shared" / "data" / "articles" / "ArticleDocument.json"
RESULTS = Path(__file__).parent / "results" / "rag.json"
AUTHOR = "Somebody"
GOALS = {"qwen2.5-coder-0.5b": 900.0, "smollm2-135m": 350.0}
"""Milliseconds until the first word, p50, at the smaller index."""
RETRIEVAL_GOALS = (25.0, 60.0)
RECALL_GOAL = 0.98
SENTENCES = 7
"""In a passage: about 150 tokens."""
BATCH = 2000


def main() -> int:
    options = _options()
    embedder = OpenVinoEmbedder(_model("all-minilm-l6-v2"))
    said, source = _sentences()
    chance = random.Random(0)
    questions = _questions(said, options.questions, chance)
    with tempfile.TemporaryDirectory() as folder:
        small, vectors = _small(Path(folder) / "small", said, embedder, options.chunks, chance)
        with closing(small):
            retrieval = {str(options.chunks): _retrieval(small, embedder, questions)}
            first = {name: _first_word(name, small, embedder, questions) for name in options.models}
        if options.large:
            with closing(_large(Path(folder) / "large", said, vectors, options.large, chance)) as large:
                retrieval[str(options.large)] = _retrieval(large, embedder, questions)
    result = {
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": _machine(),
        "texts": source,
        "questions": len(questions),
        "ask": AskSettings().model_dump(),
        "retrieval": retrieval,
        "first word": first,
    }
    write_json(RESULTS, result)
    print(json.dumps(result, indent=1))
    return _judge(result)


# --- the indexes ----------------------------------------------------------------------------------------------------


def _sentences() -> tuple[list[str], str]:
    if ARTICLES.exists():
        whole = json.loads(ARTICLES.read_text(encoding="utf-8"))
        text, source = "\n\n".join(_strings(whole)), "articles by two authors"
    else:
        texts = sorted((REPOSITORY / "examples").rglob("*.md"))
        text, source = "\n\n".join(path.read_text(encoding="utf-8") for path in texts), "the sample corpus"
    found = [text[start:end] for start, end in sentences(text)]
    return [s for s in dict.fromkeys(found) if 5 <= len(s.split()) <= 40], source


def _strings(value: Any) -> list[str]:
    """Every longer text in a tree of JSON."""
    if isinstance(value, str):
        return [value] if len(value) > 400 else []
    children = value.values() if isinstance(value, dict) else value if isinstance(value, list) else []
    return [text for child in children for text in _strings(child)]


def _passage(said: Sequence[str], number: int, chance: random.Random) -> Chunk:
    text = " ".join(chance.sample(said, SENTENCES))
    return Chunk(
        id=f"c_{number:08}", document_id=f"d_{number // 20:06}", author=AUTHOR, kind="article",
        title=f"Number {number // 20}", text=text, start=number % 20 * 1000,
        end=number % 20 * 1000 + len(text), tokens=150,
    )  # fmt: skip


def _small(
    path: Path, said: Sequence[str], embedder: OpenVinoEmbedder, many: int, chance: random.Random
) -> tuple[QdrantEdgeVectors, Vectors]:
    store = QdrantEdgeVectors(path, embedder.dimension)
    rows = []
    for start in range(0, many, BATCH):
        chunks = [_passage(said, i, chance) for i in range(start, min(many, start + BATCH))]
        rows.append(embedder.embed([_short(chunk.embedded_text, embedder) for chunk in chunks]))
        store.upsert(chunks, rows[-1])
        print(f"embedded {start + len(chunks)} of {many}", file=sys.stderr)
    store.optimize()
    return store, np.concatenate(rows)


def _short(text: str, embedder: OpenVinoEmbedder) -> str:
    offsets = embedder.token_offsets(text)
    most = embedder.window - 2
    return text if len(offsets) <= most else text[: offsets[most - 1][1]]


def _large(
    path: Path, said: Sequence[str], real: Vectors, many: int, chance: random.Random
) -> QdrantEdgeVectors:
    store = QdrantEdgeVectors(path, real.shape[1])
    noise = np.random.default_rng(0)
    for start in range(0, many, 10 * BATCH):
        count = min(10 * BATCH, many - start)
        pair = noise.integers(0, len(real), (2, count))
        weight = noise.uniform(0.5, 1, (count, 1))
        rows = weight * real[pair[0]] + (1 - weight) * real[pair[1]]
        rows += noise.normal(0, 0.01, rows.shape)
        rows = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
        store.upsert([_passage(said, start + i, chance) for i in range(count)], rows)
        print(f"stored {start + count} of {many}", file=sys.stderr)
    store.optimize()
    return store


def _questions(said: Sequence[str], many: int, chance: random.Random) -> list[str]:
    chosen = [s for s in said if 9 <= len(s.split()) <= 20]
    return [f"What about {' '.join(s.split()[:9])}?" for s in chance.sample(chosen, many)]


# --- what is timed --------------------------------------------------------------------------------------------------


def _retrieval(
    store: QdrantEdgeVectors, embedder: OpenVinoEmbedder, questions: Sequence[str]
) -> dict[str, float]:
    within = Searched(store, embedder, Where(author=AUTHOR), 10)
    took, shared = [], []
    for question in [*questions[:10], *questions]:  # the first ten warm up
        started = time.perf_counter()
        find(question, [], within)
        took.append(1000 * (time.perf_counter() - started))
    for question in questions:
        vector = question_vector(question, embedder)
        near, exact = (
            {hit.chunk.id for hit in store.search_dense(vector, 10, within.where, exact=how)}
            for how in (False, True)
        )
        shared.append(len(near & exact) / 10)
    return {**_times(took[10:]), "recall@10": round(statistics.fmean(shared), 4)}


def _first_word(
    name: str, store: QdrantEdgeVectors, embedder: OpenVinoEmbedder, questions: Sequence[str]
) -> dict[str, Any]:
    ask = AskSettings()
    with closing(OpenVinoChat(_model(name))) as model:
        model.warm()
        using = Answering(
            AUTHOR, store, embedder, model, sampling=ask.sampling(), budget=ask.budget_tokens,
            passages=ask.passages, least=-1.0,
        )  # fmt: skip
        took, steps = [], []
        for question in [*questions[:3], *questions[: max(20, len(questions) // 4)]]:
            tracing = Tracing()
            pieces = stream(question, using, tracing=tracing)
            next(pieces)
            pieces.close()  # type: ignore[attr-defined]
            trace = tracing.trace(question, AUTHOR, name, "write")
            took.append(trace.first_token_ms or 0.0)
            steps.append({step.name: step.milliseconds for step in trace.steps if step.name != "writing"})
    medians = {step: round(statistics.median(s[step] for s in steps[3:]), 1) for step in steps[-1]}
    return {**_times(took[3:]), "steps p50": medians}


def _times(took: Sequence[float]) -> dict[str, float]:
    ordered = sorted(took)
    return {
        "ms_p50": round(statistics.median(ordered), 1),
        "ms_p99": round(ordered[min(len(ordered) - 1, int(0.99 * len(ordered)))], 1),
    }


def _judge(result: dict[str, Any]) -> int:
    """Each goal in words; 1 where one is missed."""
    missed = 0
    for (many, found), goal in zip(result["retrieval"].items(), RETRIEVAL_GOALS, strict=False):
        met = found["ms_p50"] < goal and found["recall@10"] >= RECALL_GOAL
        missed += not met
        print(f"retrieval among {many}: {found['ms_p50']} ms (goal {goal}), recall {found['recall@10']}", met)
    for name, found in result["first word"].items():
        goal = GOALS.get(name)
        met = goal is None or found["ms_p50"] < goal
        missed += not met
        print(f"first word of {name}: {found['ms_p50']} ms (goal {goal})", met)
    return 1 if missed else 0


def _model(name: str) -> Path:
    return pull(name, ModelSettings().cache.expanduser())


def _machine() -> dict[str, Any]:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    cpu = next((line.split(":")[1].strip() for line in lines if "model name" in line), "unknown")
    return {"cpu": cpu, "cores": os.cpu_count(), "system": platform.platform()}


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0] if __doc__ else "")
    parser.add_argument("--chunks", type=int, default=10_000)
    parser.add_argument("--large", type=int, default=200_000, help="0 leaves the larger index out")
    parser.add_argument("--questions", type=int, default=100)
    parser.add_argument("--models", nargs="+", default=list(GOALS))
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
