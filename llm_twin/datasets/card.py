"""The dataset card: where the samples come from, how they were split, what was dropped and why, in numbers."""

from collections import Counter
from collections.abc import Mapping, Sequence
from statistics import mean
from typing import Any

from llm_twin.datasets.curate import CONTAMINATION_N, Kept, contamination
from llm_twin.text import words
from llm_twin.types import Sample


def counts(samples: Sequence[Sample], kept: Kept, refused: Mapping[str, int]) -> dict[str, int | float | str]:
    """The card's numbers, for reports."""
    train, test = ([s for s in samples if s.split == side] for side in ("train", "test"))
    return {
        "samples": len(samples),
        "train": len(train),
        "held out": len(test),
        "training documents": len({s.document_id for s in train}),
        "held-out documents": len({s.document_id for s in test}),
        "words a response": round(mean(len(words(s.response)) for s in samples), 1) if samples else 0,
        "near-duplicates and leaks dropped": len(kept.dropped),
        "spans without a new request": len(kept.spans) - len(samples),
        "requests refused": sum(refused.values()),
        "requests by template": sum(s.written_by == "template" for s in samples),
        f"{CONTAMINATION_N}-gram overlap": round(
            contamination([s.response for s in train], [s.response for s in test]), 5
        ),
    }


def card(
    author: str,
    samples: Sequence[Sample],
    kept: Kept,
    refused: Mapping[str, int],
    settings: Mapping[str, Any],
) -> str:
    """The card in Markdown."""
    writers = Counter(s.written_by for s in samples)
    dropped = Counter(d.why for d in kept.dropped)
    return "\n".join(
        [
            f"# Instruction samples of {author}",
            "",
            "Every response is a verbatim span of one cleaned document: `document_id`, `start` and `end` say which.",
            "Documents, not samples, are split into train and held out.",
            "",
            *_table("What", counts(samples, kept, refused)),
            *_table("Instruction written by", writers),
            *_table("Span dropped because", dropped),
            *_table("Request refused because", refused),
            *_table("Setting", settings),
        ]
    )


def _table(title: str, rows: Mapping[str, Any]) -> list[str]:
    lines = [f"| {name} | {value} |" for name, value in rows.items()]
    return [f"| {title} | |", "| --- | --- |", *(lines or ["| none | |"]), ""]
