"""Answering a question from what the author wrote, with sources: written by a model, or quoted word for word.

Every citation of an Answer resolves to a chunk that was retrieved. When nothing relevant is found the answer
says so, and no model is asked. An answer ends where the model begins to repeat itself. Not covered: checking
that what a model writes is true to the passages (`cite` says what a citation is worth; "quote" mode cannot
misstate). How passages are found is in `steps`.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Literal

from llm_twin import prompts
from llm_twin.errors import InputError, TwinError
from llm_twin.inference.cite import CitedText, Sources
from llm_twin.inference.packing import Packing
from llm_twin.inference.quote import Quote, quotes
from llm_twin.inference.retrieve import RELEVANT, distinct, question_vector, relevant
from llm_twin.inference.steps import PLAIN, Searched, Steps, find, with_neighbours
from llm_twin.inference.tracing import Tracing
from llm_twin.ports import ChatModel, Embedder, Vectors, VectorStore
from llm_twin.text import words
from llm_twin.types import Answer, Hit, Message, Sampling, Where

NOTHING_PROMPT = "nothing.v1"
_LONGEST_LOOP = 40
_LOOKED_AT = 2000
"""Characters: this is asked at every piece of a text that may be long."""

Piece = str | Answer


@dataclass(frozen=True)
class Answering:
    """Everything an answer is made with. `model` may be None in mode "quote" (the author's own sentences).

    At most `passages` passages are used. `budget` is the most tokens, as the model counts them, of passages and
    earlier turns together. `least` is the cosine from which passages count as relevant.
    """

    author: str
    store: VectorStore
    embedder: Embedder
    model: ChatModel | None
    mode: str = "write"
    sampling: Sampling = Sampling()
    budget: int = 900
    passages: int = 5
    least: float = RELEVANT
    steps: Steps = PLAIN


def ask(
    question: str,
    using: Answering,
    history: Sequence[Message] = (),
    on_text: Callable[[str], None] = lambda text: None,
) -> Answer:
    """The answer to `question`; `on_text` is handed the text piece by piece. Everything else is as in `stream`."""
    for piece in stream(question, using, history):
        if isinstance(piece, Answer):
            return piece
        on_text(piece)
    raise TwinError("the answer broke off")


def stream(
    question: str, using: Answering, history: Sequence[Message] = (), tracing: Tracing | None = None
) -> Iterator[Piece]:
    """Pieces of text as they come, whose join is the text of the Answer that comes last.

    `history` holds earlier turns, oldest first, of which the newest that fit a third of the budget are kept (the
    Answer says how many); its system turns are the caller's instructions to the model and all kept. Closing the
    iterator stops the model; `tracing` is told of each step. Raises InputError for a question without words, an
    unknown mode, or a question that the model has no room for.
    """
    tracing = tracing or Tracing()
    ready = prepare(question, using, history, tracing=tracing)
    if using.model is None or not ready.messages:
        yield from tracing.heard(unasked(ready, using))
        return
    with closing(using.model.stream(ready.messages, using.sampling)) as pieces:
        yield from tracing.heard(written(ready, using, pieces))


@dataclass(frozen=True)
class Prepared:
    """A question and its passages. `messages` is for the model: none in mode "quote" or without `hits`.

    `turns` says how many earlier turns are among them.
    """

    question: str
    hits: tuple[Hit, ...] = ()
    messages: tuple[Message, ...] = ()
    turns: int = 0


def prepare(
    question: str,
    using: Answering,
    history: Sequence[Message] = (),
    vector: Vectors | None = None,
    tracing: Tracing | None = None,
) -> Prepared:
    """Find the passages and fill the prompt; raises as `stream` does. `vector` is the question's, where known."""
    _check(question, using.mode, using.model)
    tracing = tracing or Tracing()
    turns = [turn for turn in history if turn.role != "system"]
    within = Searched(using.store, using.embedder, Where(author=using.author), 2 * using.passages)
    found = find(question, turns, within, using.steps, tracing, vector)
    if not relevant(found, using.least):
        return Prepared(question)
    if using.mode == "quote" or using.model is None:
        return Prepared(question, tuple(distinct(found.hits)[: using.passages]))
    hits = _widened(question, found.hits, within, using, tracing)
    with tracing.step("packing") as told:
        said = [turn.content for turn in history if turn.role == "system" and turn.content.strip()]
        reply = using.sampling.max_tokens
        packing = Packing(question, using.author, using.model, reply, using.budget, said)
        wide = using.steps.neighbours > 0
        messages, read, kept = packing.fill(hits, len(hits) if wide else using.passages, turns, together=wide)
        told.said = f"{len(read)} passages" + (f", {kept} of {len(turns)} earlier turns" if turns else "")
    return Prepared(question, tuple(read), tuple(messages), kept)


def _widened(
    question: str, hits: Sequence[Hit], within: Searched, using: Answering, tracing: Tracing
) -> Sequence[Hit]:
    """The hits, with their neighbours where they are wanted."""
    if not using.steps.neighbours:
        return hits
    with tracing.step("neighbours"):
        best = distinct(hits)[: using.passages]
        vector = question_vector(question, using.embedder)
        return with_neighbours(best, within, using.steps.neighbours, vector)


def unasked(ready: Prepared, using: Answering) -> Iterator[Piece]:
    """The answer that needs no model: the author's own sentences, or that nothing was found."""
    if ready.hits:
        return _quoted(ready.question, ready.hits, using.embedder)
    return _nothing(ready.question, using.mode)


def _check(question: str, mode: str, model: ChatModel | None) -> None:
    if not words(question):
        raise InputError(f"there is no question in {question!r}", "ask in words")
    if mode not in ("write", "quote"):
        raise InputError(f"there is no mode {mode!r}", "answer in mode write or quote")
    if mode == "write" and model is None:
        raise InputError("no model was given to write the answer", "name one, or answer in mode quote")


def _nothing(question: str, mode: str) -> Iterator[Piece]:
    text = prompts.render(NOTHING_PROMPT)
    yield text
    yield Answer(question=question, text=text, mode=_mode(mode), found=False)


def _quoted(question: str, hits: Sequence[Hit], embedder: Embedder) -> Iterator[Piece]:
    """The chosen sentences; those that stand side by side stay so, others are set apart."""
    chosen = quotes(question, hits, embedder)
    if not chosen:  # nothing but code or fragments
        yield from _nothing(question, "quote")
        return
    sources = Sources(hits, question, embedder)
    text = ""
    for i, quote in enumerate(chosen):
        before = "" if i == 0 else " " if _adjoin(chosen[i - 1], quote) else "\n\n"
        piece = f"{before}{quote.text} [{sources.number(quote)}]"
        text += piece
        yield piece
    yield _answer(question, text, "quote", sources, hits)


def _adjoin(a: Quote, b: Quote) -> bool:
    """Whether nothing but white space stands between two sentences of a passage."""
    same = a.hit.chunk.id == b.hit.chunk.id
    return same and a.end <= b.start and not a.hit.chunk.text[a.end : b.start].strip()


def written(ready: Prepared, using: Answering, pieces: Iterator[str]) -> Iterator[Piece]:
    """What a model says in `pieces`, cited and cut where it begins to repeat itself; then the Answer.

    Raises TwinError when it says nothing.
    """
    sources = Sources(ready.hits, ready.question, using.embedder)
    text = ""
    for piece in _shown(pieces, CitedText(sources)):
        text += piece
        yield piece
    if not text:
        name = using.model.name if using.model else "the model"
        raise TwinError(f"{name} wrote nothing", "ask in other words, or answer in mode quote")
    yield _answer(ready.question, text, "write", sources, ready.hits, ready.turns)


def _shown(pieces: Iterator[str], cited: CitedText) -> Iterator[str]:
    text = ""
    for piece in pieces:
        text += piece
        if shown := cited.add(piece):
            yield shown
        if repeats(text):
            break
    if shown := cited.finish():
        yield shown


def repeats(text: str) -> bool:
    """Whether `text` ends in the same words said over and over, as a small model does that has lost its thread:
    six words or more twice in a row, or two to five words four times.
    """
    said = words(text[-_LOOKED_AT:])[-2 * _LONGEST_LOOP :]
    return any(
        said[-length:] * times == said[-length * times :]
        for length in range(2, len(said) // 2 + 1)
        for times in (2 if length >= 6 else 4,)
    )


def _answer(
    question: str, text: str, mode: str, sources: Sources, hits: Sequence[Hit], turns: int = 0
) -> Answer:
    return Answer(
        question=question,
        text=text,
        mode=_mode(mode),
        found=True,
        citations=sources.citations(),
        hits=tuple(hits),
        turns_kept=turns,
    )


def _mode(mode: str) -> Literal["write", "quote"]:
    return "quote" if mode == "quote" else "write"
