"""What cleaning removes and what survives it: `poe bench cleaning FOLDER` (default: the sample corpus).

Counts the lines that were dropped and why, and compares how often apostrophes, quotation marks, dashes and
colons stand in what was collected, in what was dropped, and in what is left: kept = collected - dropped.
"""

import json
import sys
from collections import Counter
from pathlib import Path

from llm_twin.collect.crawl import Source, collect
from llm_twin.features.clean import clean, prepare
from llm_twin.files import write_json
from llm_twin.text import folded
from llm_twin.types import Document

ROOT = Path(__file__).resolve().parents[1]
MARKS = {
    "apostrophes": "'’",
    "quotation marks": '"“”„«»',
    "dashes": "-–—",
    "colons": ":",
    "exclamation marks": "!",
}


def main() -> None:
    where = sys.argv[1] if len(sys.argv) > 1 else str(ROOT / "examples")
    found = [d for d in collect([Source(where)], None, "Unknown") if isinstance(d, Document)]  # type: ignore[arg-type]
    cleaned = clean(found)
    kept = [d for d in cleaned.documents if d.document.kind != "repository"]
    dropped = [(line, why) for d in kept for line, why in d.dropped]
    lines = sum(1 for d in kept for line in d.text.split("\n") if folded(line))
    result = {
        "corpus": Path(where).name,
        "documents": len(found),
        "set aside": {item.what: item.why for item in cleaned.skipped},
        "lines": lines + len(dropped),
        "lines dropped %": round(100 * len(dropped) / (lines + len(dropped)), 1),
        "dropped because": dict(Counter(why.split(" in ")[0] for _, why in dropped).most_common()),
        "documents with a line dropped": sum(bool(d.dropped) for d in kept),
        "marks": {name: marks(kept, dropped, signs) for name, signs in MARKS.items()},
        "paragraph breaks kept": sum(d.text.count("\n\n") for d in kept),
    }
    write_json(ROOT / "benchmarks" / "results" / f"cleaning-{result['corpus']}.json", result)
    print(json.dumps(result, indent=1, ensure_ascii=False))


def marks(kept: list, dropped: list[tuple[str, str]], signs: str) -> dict[str, int]:
    """How often `signs` stand in what was collected, dropped and kept."""
    return {
        "collected": sum(prepare(d.document).text.count(sign) for d in kept for sign in signs)
        + sum(line.count(sign) for d in kept for line, _ in prepare(d.document).dropped for sign in signs),
        "dropped": sum(line.count(sign) for line, _ in dropped for sign in signs),
        "kept": sum(d.text.count(sign) for d in kept for sign in signs),
    }


if __name__ == "__main__":
    main()
