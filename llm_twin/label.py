"""Labelling answers in a terminal: one dimension at a time, good, bad or skip, each kept as soon as it is given.

What a model or a document says is shown without its control characters, so it cannot drive the terminal. Not
covered: changing a label that was given (remove its line from labels.jsonl).
"""

import re
from collections.abc import Callable, Sequence

from rich.console import Console
from rich.padding import Padding
from rich.rule import Rule
from rich.text import Text

from llm_twin.evaluation.labels import ASKED, NEEDED, LabelItem, label_of, unlabelled
from llm_twin.evaluation.people import Label
from llm_twin.journal import Journal

PROMPT = "good, bad, skip or quit? [g/b/s/q] "
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def label_in_terminal(
    items: Sequence[LabelItem],
    ask: Callable[[str], str],
    store: Journal[Label],
    console: Console | None = None,
) -> int:
    """Ask for a label of each item that has none; how many were given before the end, `q` or Ctrl-C."""
    console = console or Console(highlight=False)
    waiting = unlabelled(items, store)
    given = 0
    try:
        for number, item in enumerate(waiting, 1):
            _show(item, console, f"{number} of {len(waiting)}")
            said = _answer(ask)
            if said == "q":
                break
            if said != "s":
                given += store.append(label_of(item, said == "g"))
    except (EOFError, KeyboardInterrupt):
        console.print()
    return given


def _answer(ask: Callable[[str], str]) -> str:
    """The first letter of an answer that means something; anything else is asked again."""
    while True:
        said = ask(PROMPT).strip().lower()
        if said in ("g", "b", "s", "q", "good", "bad", "skip", "quit"):
            return said[0]


def _show(item: LabelItem, console: Console, place: str) -> None:
    asked, how = ASKED[item.dimension]
    console.print(Rule(Text(f"{place} · {item.dimension}")))
    _part(console, "Question", [item.question])
    if "passages" in NEEDED[item.dimension]:
        _part(console, "Passages", item.passages)
    if "answer" in NEEDED[item.dimension]:
        _part(console, "Answer", [item.answer])
    console.print(Text(asked, style="bold"))
    console.print(Text(how, style="dim"))


def _part(console: Console, name: str, texts: Sequence[str]) -> None:
    console.print(Text(name, style="cyan"))
    for text in texts:
        console.print(Padding(Text(_CONTROLS.sub("", text)), (0, 0, 1, 2)))
