"""Many questions from a file, answered in groups: one embedding and one generation for each group.

The answers lie in a JSONL file in the order of the questions. A group is on the disk before the next begins,
so a batch that was killed goes on where it stood, with nothing lost or doubled. What cannot be answered is
passed over, reported by its line, and tried again the next time. Each row names what it was made with, so a
file never mixes the answers of two models or two indexes.
"""

import fcntl
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from pydantic import ValidationError

from llm_twin.errors import InputError, TwinError, Unreachable
from llm_twin.files import sync_folder, write_lines
from llm_twin.inference.answer import Answering, Prepared, prepare, unasked, written
from llm_twin.inference.retrieve import pieces_vectors
from llm_twin.ports import Progress, silent
from llm_twin.text import words
from llm_twin.types import Answer, Message, Skipped, Value

GROUP = 16
_PIECE = re.compile(r"\s*\S+|\s+")
_BEGINNING = b'{"question":'


class Question(Value):
    """One line of a file of questions. Without an id it has its line's number, without an author the twin's."""

    id: str = ""
    question: str
    author: str = ""


class Answered(Answer):
    """One line of a file of answers: an Answer, and which question it belongs to.

    `made_with` is a fingerprint of model, index and settings.
    """

    id: str
    author: str
    made_with: str = ""


class MadeOtherwise(InputError):
    """A file of answers that was begun with another model, index or setting."""


def read_questions(path: Path, author: str) -> tuple[dict[str, Question], list[Skipped]]:
    """The questions of a JSONL file by id, in order, and the lines that are none.

    Raises InputError where the file is missing or is not text.
    """
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except FileNotFoundError as error:
        raise InputError(f"there is no file {path}", "name a JSONL file of questions") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 text", "save it as UTF-8") from error
    asked: dict[str, Question] = {}
    skipped = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            found = _question(line, number, author)
            if found.id in asked:
                raise InputError(f"the id {found.id} was used before")
            asked[found.id] = found
        except InputError as error:
            skipped.append(Skipped(what=f"line {number}", why=str(error)))
    return asked, skipped


def _question(line: str, number: int, author: str) -> Question:
    try:
        found = Question.model_validate_json(line)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise InputError(f"{where}: {first['msg']}" if where else first["msg"]) from error
    if not words(found.question):
        raise InputError(f"there is no question in {found.question!r}")
    return found.model_copy(update={"id": found.id or str(number), "author": found.author or author})


def answer_file(
    asked: dict[str, Question],
    out: Path,
    using: Answering,
    progress: Progress = silent,
    made_with: str = "",
    together: int = GROUP,
) -> tuple[int, list[Skipped]]:
    """Append what is missing to `out`; how many answers it had before, and the questions passed over.

    `together` questions make a group. Raises InputError, and leaves `out` as it is, when it holds anything but
    answers to these questions; MadeOtherwise when these were not `made_with` the same.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    with _locked(out) as descriptor:
        had = _whole_answers(out, descriptor, asked, using.mode, made_with)
        waiting = [question for id, question in asked.items() if id not in had]
        skipped: list[Skipped] = []
        progress(len(had), len(asked), "questions")
        for first in range(0, len(waiting), together):
            group = waiting[first : first + together]
            found = answer_group(group, using)
            skipped += [item for item in found if isinstance(item, Skipped)]
            answers = [item for item in found if isinstance(item, Answered)]
            _append(descriptor, [item.model_copy(update={"made_with": made_with}) for item in answers])
            progress(len(had) + first + len(group), len(asked), "questions")
        _put_in_order(out, asked)
    return len(had), skipped


def answer_group(group: Sequence[Question], using: Answering) -> list[Answered | Skipped]:
    """An answer for each question, in order, or why there is none. The model is asked once for all of them."""
    vectors = pieces_vectors([question.question for question in group], using.embedder)
    ready: list[Prepared | Skipped] = []
    for question, vector in zip(group, vectors, strict=True):
        try:
            ready.append(prepare(question.question, replace(using, author=question.author), (), vector))
        except Unreachable:  # what ails no one question
            raise
        except InputError as error:
            ready.append(_skipped(question, error))
    texts = iter(_generated([r.messages for r in ready if isinstance(r, Prepared) and r.messages], using))
    found: list[Answered | Skipped] = []
    for question, item in zip(group, ready, strict=True):
        if isinstance(item, Skipped):
            found.append(item)
        else:
            found.append(_finished(question, item, next(texts) if item.messages else "", using))
    return found


def _generated(prompts: Sequence[Sequence[Message]], using: Answering) -> list[str]:
    if using.model is None or not prompts:
        return []
    return [done.text for done in using.model.generate(prompts, using.sampling)]


def _finished(question: Question, ready: Prepared, text: str, using: Answering) -> Answered | Skipped:
    # In words, as a stream comes, so that the answer ends where a repetition begins and not behind it.
    pieces = written(ready, using, iter(_PIECE.findall(text))) if ready.messages else unasked(ready, using)
    try:
        (answer,) = (piece for piece in pieces if isinstance(piece, Answer))
    except TwinError as error:
        return _skipped(question, error)
    return Answered(**dict(answer), id=question.id, author=question.author)


def _skipped(question: Question, error: TwinError) -> Skipped:
    return Skipped(what=f"question {question.id}", why=str(error))


@contextmanager
def _locked(path: Path) -> Iterator[int]:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        sync_folder(path.parent)
        yield descriptor
    except BlockingIOError as error:
        raise TwinError(f"another batch is writing to {path}", "wait for it to end") from error
    finally:
        os.close(descriptor)


def _whole_answers(
    out: Path, descriptor: int, asked: dict[str, Question], mode: str, made_with: str
) -> set[str]:
    """The ids answered already; cuts off a half-written last line, after all else was found to be answers."""
    whole, _, tail = out.read_bytes().rpartition(b"\n")
    ids: set[str] = set()
    for number, line in enumerate(whole.split(b"\n") if whole else [], 1):
        found = _answered(line)
        wanted = asked.get(found.id) if found else None
        if not found or not wanted or found.id in ids or not _fits(found, wanted, mode):
            raise _foreign(out, f"line {number}")
        if found.made_with != made_with:
            raise MadeOtherwise(
                f"{out} was begun with another model, index or setting of [ask]",
                "name another file with -o, or remove it",
            )
        ids.add(found.id)
    if tail and not tail.startswith(_BEGINNING[: len(tail)]):
        raise _foreign(out, "its last line")
    if tail:
        os.ftruncate(descriptor, len(whole) + 1 if whole else 0)
    return ids


def _fits(found: Answered, wanted: Question, mode: str) -> bool:
    return (found.question, found.author, found.mode) == (wanted.question, wanted.author, mode)


def _foreign(out: Path, where: str) -> InputError:
    return InputError(
        f"{out}, {where}: no answer to these questions in this mode",
        "name another file with -o, or remove it",
    )


def read_answers(path: Path) -> list[Answered]:
    """The answers of a file that may be being written; what is no whole line is left out."""
    whole = path.read_bytes().rpartition(b"\n")[0] if path.exists() else b""
    return [found for line in whole.split(b"\n") if (found := _answered(line))]


def _answered(line: bytes) -> Answered | None:
    try:
        return Answered.model_validate_json(line)
    except ValidationError:
        return None


def _append(descriptor: int, answers: Sequence[Answered]) -> None:
    """Write the lines in one step. Durable on return."""
    data = "".join(answer.model_dump_json() + "\n" for answer in answers).encode()
    while data:
        data = data[os.write(descriptor, data) :]
    os.fsync(descriptor)


def _put_in_order(out: Path, asked: dict[str, Question]) -> None:
    """Questions that were passed over once and answered later stand at the end until now."""
    place = {id: number for number, id in enumerate(asked)}
    answers = [Answered.model_validate_json(line) for line in out.read_bytes().splitlines()]
    ordered = sorted(answers, key=lambda answer: place[answer.id])
    if ordered != answers:
        write_lines(out, (answer.model_dump_json() for answer in ordered))
