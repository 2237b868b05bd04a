"""Follow-up questions: searched for as they are, with the question before them, or rewritten: poe bench follow_ups

Twenty short talks about the sample corpus, invented for this. Every second one changes the subject with its last
question, where the question before it misleads. What counts is the place of the essay that the last question is
about. It does not measure long talks, other languages, or models other than the one named.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

from llm_twin import pipeline, wiring
from llm_twin.files import write_json
from llm_twin.inference.followup import leaning, standalone
from llm_twin.inference.retrieve import rrf, search
from llm_twin.settings import Settings
from llm_twin.types import Chunk, Message, Where
from llm_twin.workspace import Workspace

EXAMPLES = Path(__file__).parents[1] / "examples"
RESULTS = Path(__file__).parent / "results" / "follow_ups.json"
AUTHOR = "Wren Marlow"

TALKS = (
    (
        "What is Gannet?",
        "My weather station, on a mast west of the oil store.",
        "How long has she stood there?",
        "10-years-of-gannet",
    ),
    (
        "What is Gannet?",
        "My weather station.",
        "And the machine for turning metal, where did you buy that?",
        "the-lathe-called-agnes",
    ),
    (
        "Who filled the log books?",
        "My father did, between 1976 and 1998.",
        "How many of them are there?",
        "31-log-books",
    ),
    (
        "Who filled the log books?",
        "My father did.",
        "What does the rule of the wall with the painted outlines say?",
        "38-hooks",
    ),
    (
        "What hangs on the wall of your workshop?",
        "Tools, each on a hook of its own.",
        "Why is there white paint behind them?",
        "38-hooks",
    ),
    (
        "What hangs on the wall of your workshop?",
        "Tools, on hooks.",
        "And how long do your parcels take by ferry?",
        "9-days-for-a-bearing",
    ),
    (
        "What is the Clerk?",
        "A small board in the pantry that runs the house.",
        "How many things does it do by itself?",
        "43-automations",
    ),
    (
        "What is the Clerk?",
        "A small board in the pantry.",
        "Why did the rain gauge show nothing that day?",
        "spiders-in-the-rain-gauge",
    ),
    (
        "How do parts reach the island?",
        "On the Teal, three days a week.",
        "What was the longest that one of them took?",
        "9-days-for-a-bearing",
    ),
    (
        "How do parts reach the island?",
        "On the Teal.",
        "Who taught you to work a damper?",
        "the-stove-and-mrs-pike",
    ),
    (
        "What rings in your porch?",
        "A ship's bell, off a trawler.",
        "When does it do that?",
        "a-bell-for-falling-glass",
    ),
    (
        "What rings in your porch?",
        "A ship's bell.",
        "What went wrong after you had mended Ishbel's radio?",
        "a-screw-left-over",
    ),
    (
        "What was wrong with the watchroom clock?",
        "It lost four minutes a week.",
        "Who had put it right until then?",
        "mending-the-watchroom-clock",
    ),
    (
        "What was wrong with the watchroom clock?",
        "It lost time.",
        "And the other one, that has no second hand, what is it for?",
        "the-clock-with-1-hand",
    ),
    (
        "What do people bring to the island?",
        "Stainless steel, since the label says it lasts.",
        "What becomes of it?",
        "salt-gets-in",
    ),
    (
        "What do people bring to the island?",
        "Stainless steel.",
        "Whom do you write the notes in your programs for?",
        "comments-are-for-the-night-shift",
    ),
    (
        "What is wick?",
        "A program that tells the lamps when dusk is.",
        "When did you last change it?",
        "software-that-sits-still",
    ),
    (
        "What is wick?",
        "A program that tells the lamps when dusk is.",
        "What did you make with the children?",
        "the-tuesday-bench",
    ),
    ("What is Agnes?", "A lathe, made in 1956.", "How did you get her home?", "the-lathe-called-agnes"),
    (
        "What is Agnes?",
        "A lathe.",
        "What was the rule in the house you were born in?",
        "what-the-light-taught-me",
    ),
)
"""First question, answer, last question, the essay that it is about."""

Way = Callable[[str, Sequence[Message]], list[str]]
"""What is searched for; of several, the rankings are fused."""


def main() -> int:
    options = _options()
    with tempfile.TemporaryDirectory() as folder:
        workspace = _indexed(Path(folder))
        model = wiring.open_chat(workspace, wiring.pull_model(workspace, options.model))
        embedder = wiring.open_embedder(workspace)
        ways: dict[str, Way] = {
            "as it is": lambda question, turns: [question],
            "with the question before it": lambda question, turns: [leaning(question, turns)],
            "both, fused": lambda question, turns: [question, leaning(question, turns)],
            "rewritten": lambda question, turns: [standalone(question, turns, model).question],
        }
        with closing(model), closing(wiring.open_vectors(workspace, embedder.dimension)) as store:

            def place(queries: Sequence[str], wanted: str) -> int | None:
                found = rrf([search(q, store, embedder, Where(author=AUTHOR), 10).hits for q in queries])
                places = [i for i, hit in enumerate(found[:10], 1) if _stem(hit.chunk) == wanted]
                return places[0] if places else None

            result = {
                "when": datetime.now(UTC).isoformat(timespec="seconds"),
                "model": options.model,
                "talks": len(TALKS),
                "ways": {name: _measured(way, place) for name, way in ways.items()},
            }
    write_json(RESULTS, result)
    print(json.dumps(result, indent=1, ensure_ascii=False))
    return 0


def _measured(way: Way, place: Callable[[Sequence[str], str], int | None]) -> dict[str, object]:
    places, seconds, queries = [], [], []
    for first, answer, last, wanted in TALKS:
        turns = [Message(role="user", content=first), Message(role="assistant", content=answer)]
        started = time.perf_counter()
        query = way(last, turns)
        seconds.append(time.perf_counter() - started)
        places.append(place(query, wanted))
        queries.append(query)
    return {
        side: _figures(places[start::2]) for side, start in (("same subject", 0), ("another subject", 1))
    } | {"ms": round(1000 * statistics.median(seconds), 1), "queries": queries}


def _figures(places: Sequence[int | None]) -> dict[str, float]:
    return {
        "first": round(sum(place == 1 for place in places) / len(places), 3),
        "recall@5": round(sum(place is not None and place <= 5 for place in places) / len(places), 3),
        "mrr@10": round(sum(1 / place for place in places if place) / len(places), 3),
    }


def _indexed(home: Path) -> Workspace:
    sources = [{"location": str(EXAMPLES / "marlow" / "articles")}]
    workspace = Workspace(home, Settings(author=AUTHOR, sources=sources))  # type: ignore[arg-type]
    pipeline.collect(workspace, [(str(EXAMPLES / "marlow" / "articles"), None)])
    pipeline.index(workspace)
    return workspace


def _stem(chunk: Chunk) -> str:
    """The name of an essay's file, which its address ends in."""
    return (chunk.url or "").rpartition("/")[2]


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0] if __doc__ else "")
    parser.add_argument("--model", default="qwen2.5-coder-0.5b", help="the chat model that rewrites")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
