"""The pages people answer on: the blind test, and labelling answers. Each answer is on the disk before the next.

A round keeps nothing of its own but what was skipped: what was answered is in its journal, so closing the page,
stopping the server or losing power loses no answer, and the next round goes on behind the last. Until a blind
test is over, nothing that leaves this module says which passage is whose. Not covered: several people answering
the same items at once (an item counts once), and the terminal (see `label`).
"""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, TypeVar

from pydantic import ValidationError
from starlette.applications import Starlette

from llm_twin.errors import InputError
from llm_twin.evaluation.blind import BlindItem, first_of_each_pair
from llm_twin.evaluation.labels import ASKED, NEEDED, LabelItem, label_of, unlabelled
from llm_twin.evaluation.people import Blind, Guess, Label, blind_verdict, in_words
from llm_twin.journal import Journal
from llm_twin.local_app import State, local_app, serve
from llm_twin.types import Value

V = TypeVar("V", bound=Value)


class Picked(Value):
    """What the page of the blind test sends."""

    id: str
    picked: Literal[1, 2]


class Judged(Value):
    """What the page for labelling sends."""

    id: str
    said: Literal["good", "bad", "skip"]


class BlindResult(Value):
    """What one round says; `guessed_before` of its pairs had been guessed about in another order."""

    blind: Blind
    guessed_before: int
    words: str


class BlindRound:
    """One blind test: its items, and the guesses made so far."""

    def __init__(self, items: Sequence[BlindItem], journal: Journal[Guess], author: str) -> None:
        self.items = {item.id: item for item in items}
        self.journal = journal
        self.author = author

    def state(self) -> State:
        """What the page shows next: an item without its solution, or the end with everything."""
        guesses = self.guesses()
        waiting = next((item for item in self.items.values() if item.id not in guesses), None)
        return {
            "author": self.author,
            "total": len(self.items),
            "done": len(guesses),
            "item": _shown(waiting) if waiting else None,
            "end": None if waiting else self._end(guesses),
        }

    def answer(self, body: bytes) -> State:
        """Keep a guess; the state after it. The first guess about an item stands."""
        said = _read(body, Picked)
        item = _of(self.items, said.id)
        self.journal.append(
            Guess(
                id=item.id,
                created=datetime.now(UTC),
                model=item.model,
                kind=item.kind,
                real_first=item.real_first,
                picked_first=said.picked == 1,
            )
        )
        return self.state()

    def guesses(self) -> dict[str, Guess]:
        """The guesses about these items, by id."""
        return {guess.id: guess for guess in self.journal.read() if guess.id in self.items}

    def result(self) -> BlindResult:
        """What the guesses about these items say so far."""
        guesses = self.guesses()
        first, _ = first_of_each_pair(self.journal.read())
        before = len(guesses.keys() - {guess.id for guess in first})
        found = blind_verdict(list(guesses.values()))
        words = in_words(found, self.author)
        if before:
            words += (
                f" {before} of these pairs had been guessed about before, in another order; the report counts "
                "the first guess about each pair alone, because the end of a test shows which passage is whose."
            )
        return BlindResult(blind=found, guessed_before=before, words=words)

    def _end(self, guesses: dict[str, Guess]) -> State:
        found = self.result()
        return {
            "words": found.words,
            "blind": found.blind.model_dump(),
            "review": [_solved(item, guesses[item.id]) for item in self.items.values()],
        }


def _shown(item: BlindItem) -> State:
    return {"id": item.id, "instruction": item.instruction, "passages": [item.first, item.second]}


def _solved(item: BlindItem, guess: Guess) -> State:
    real, other = (item.first, item.second) if item.real_first else (item.second, item.first)
    return {"instruction": item.instruction, "real": real, "other": other, "right": guess.correct}


class LabelRound:
    """One round of labelling: its items, the labels given so far, and what was skipped since it began."""

    def __init__(self, items: Sequence[LabelItem], journal: Journal[Label]) -> None:
        self.items = {item.id: item for item in items}
        self.journal = journal
        self.skipped: set[str] = set()

    def state(self) -> State:
        """What the page shows next: an item, or the end."""
        missing = unlabelled(list(self.items.values()), self.journal)
        waiting = [item for item in missing if item.id not in self.skipped]
        return {
            "total": len(self.items),
            "done": len(self.items) - len(waiting),
            "item": _judgeable(waiting[0]) if waiting else None,
            "end": None if waiting else {"given": len(self.items) - len(missing), "skipped": len(missing)},
        }

    def answer(self, body: bytes) -> State:
        """Keep a label, or pass over an item until the next round; the state after it."""
        said = _read(body, Judged)
        item = _of(self.items, said.id)
        if said.said == "skip":
            self.skipped.add(item.id)
        else:
            self.journal.append(label_of(item, said.said == "good"))
        return self.state()


def _judgeable(item: LabelItem) -> State:
    asked, how = ASKED[item.dimension]
    needed = sorted(NEEDED[item.dimension])
    return {**item.model_dump(mode="json"), "asked": asked, "how": how, "needed": needed}


def _read(body: bytes, kind: type[V]) -> V:
    try:
        return kind.model_validate_json(body)
    except ValidationError as error:
        raise InputError("that is no answer", "reload the page") from error


def _of(items: dict[str, V], item_id: str) -> V:
    if item_id not in items:
        raise InputError("that question is not asked here", "reload the page")
    return items[item_id]


def blind_app(
    items: Sequence[BlindItem], store_path: Path, author: str, token: str, host: str = "127.0.0.1"
) -> Starlette:
    """The blind test as an app; its page is at `/TOKEN/`."""
    test = BlindRound(items, Journal(store_path, Guess), author)
    return local_app("blind", test.state, test.answer, token, host)


def label_app(items: Sequence[LabelItem], store_path: Path, token: str, host: str = "127.0.0.1") -> Starlette:
    """Labelling as an app; its page is at `/TOKEN/`."""
    labelling = LabelRound(items, Journal(store_path, Label))
    return local_app("label", labelling.state, labelling.answer, token, host)


def serve_blind(
    items: Sequence[BlindItem],
    store_path: Path,
    author: str,
    host: str = "127.0.0.1",
    port: int = 0,
    open_browser: bool = True,
    announce: Callable[[str], None] = print,
) -> None:
    """Serve the blind test until Ctrl-C, and return then; guesses are in `store_path`.

    `announce` is told the address. Raises InputError where host and port cannot be had, or the store is damaged.
    """
    Journal(store_path, Guess).read()
    serve(
        lambda token, name: blind_app(items, store_path, author, token, name),
        host,
        port,
        open_browser,
        announce,
    )


def serve_label(
    items: Sequence[LabelItem],
    store_path: Path,
    host: str = "127.0.0.1",
    port: int = 0,
    open_browser: bool = True,
    announce: Callable[[str], None] = print,
) -> None:
    """Serve labelling until Ctrl-C, and return then; labels are in `store_path`. Errors as of `serve_blind`."""
    Journal(store_path, Label).read()
    serve(lambda token, name: label_app(items, store_path, token, name), host, port, open_browser, announce)


def blind_result(items: Sequence[BlindItem], store_path: Path, author: str) -> BlindResult:
    """What the guesses about `items` say so far."""
    return BlindRound(items, Journal(store_path, Guess), author).result()
