"""Batches of questions: in order, whole after kill -9, valid as single answers are, and nobody else's file touched."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from llm_twin.adapters.standins import HashEmbedder, ScriptedChat
from llm_twin.errors import InputError
from llm_twin.inference.answer import Answering, ask
from llm_twin.inference.batch import GROUP, Answered, MadeOtherwise, answer_file, read_answers, read_questions
from llm_twin.types import Chunk, Hit, Sampling

TEXT = "Barn owls hunt voles over wet meadows at dusk."


class OneChunk:
    """A VectorStore that finds the same passage whatever is asked."""

    def search_dense(self, *_: Any, **__: Any) -> list[Hit]:
        chunk = Chunk(
            id="c",
            document_id="d",
            author="Ada",
            kind="article",
            title="Owls",
            text=TEXT,
            start=0,
            end=46,
            tokens=12,
        )
        return [Hit(chunk=chunk, score=0.9)]

    search_words = search_dense


def using(reply: str = TEXT, **more: Any) -> Answering:
    chat = ScriptedChat(more.pop("script", lambda messages: reply), context=more.pop("context", 4096))
    sampling = Sampling(max_tokens=64)
    return Answering("Ada", OneChunk(), HashEmbedder(), chat, sampling=sampling, **more)  # type: ignore[arg-type]


@pytest.fixture
def questions(tmp_path: Path) -> Path:
    path = tmp_path / "questions.jsonl"
    rows = [
        json.dumps({"id": f"q{i}", "question": f"Where do owls hunt, case {i}?"})
        for i in range(2 * GROUP + 3)
    ]
    path.write_text("\n".join(rows))
    return path


def answers(path: Path) -> list[Answered]:
    return [Answered.model_validate_json(line) for line in path.read_text().splitlines()]


def test_answers_come_in_order_and_are_what_ask_would_say(questions: Path, tmp_path: Path) -> None:
    asked, bad = read_questions(questions, "Ada")
    out = tmp_path / "out.jsonl"
    assert answer_file(asked, out, using()) == (0, []) and bad == []
    assert [a.id for a in answers(out)] == list(asked)
    alone = ask(answers(out)[4].question, using())
    assert answers(out)[4].model_dump(exclude={"id", "author", "made_with"}) == alone.model_dump()
    assert alone.citations[0].chunk_id == "c"


def test_an_answer_ends_where_it_begins_to_repeat_itself(questions: Path, tmp_path: Path) -> None:
    asked, _ = read_questions(questions, "Ada")
    looping = " ".join(["the old pump is still running"] * 8)
    answer_file(asked, tmp_path / "out", using(looping))
    assert answers(tmp_path / "out")[0].text == ask("Where do owls hunt, case 0?", using(looping)).text
    assert answers(tmp_path / "out")[0].text.count("pump") == 2


def test_bad_lines_are_named_and_the_rest_read(tmp_path: Path) -> None:
    path = tmp_path / "q"
    path.write_text(
        '{"question": "Owls?"}\nnot json\n{"question": "?!"}\n{"id": "1", "question": "Again?"}\n{"x": 1}\n'
    )
    asked, bad = read_questions(path, "Ada")
    assert list(asked) == ["1"]
    assert [item.what for item in bad] == ["line 2", "line 3", "line 4", "line 5"]


def test_what_was_passed_over_is_tried_again_and_lands_in_its_place(questions: Path, tmp_path: Path) -> None:
    asked, _ = read_questions(questions, "Ada")
    out = tmp_path / "out"
    mute = using(script=lambda messages: "" if "case 1?" in messages[-1].content else TEXT)
    _, skipped = answer_file(asked, out, mute)
    assert [item.what for item in skipped] == ["question q1"]
    assert answer_file(asked, out, using()) == (len(asked) - 1, [])
    assert [a.id for a in answers(out)] == list(asked)


def test_killed_without_warning_nothing_is_lost_or_doubled(questions: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    code = f"""
import os, pathlib, signal, sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from test_batch import TEXT, answer_file, read_questions, using
def script(messages):
    if "case 20?" in messages[-1].content:
        os.kill(os.getpid(), signal.SIGKILL)
    return TEXT
asked, _ = read_questions(pathlib.Path({str(questions)!r}), "Ada")
answer_file(asked, pathlib.Path({str(out)!r}), using(script=script))
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -9
    first = out.read_bytes()
    assert len(first.splitlines()) == GROUP
    with out.open("ab") as file:  # and a line that the crash cut short
        file.write(first[:40])
    asked, _ = read_questions(questions, "Ada")
    assert answer_file(asked, out, using()) == (GROUP, [])
    assert out.read_bytes().startswith(first)
    assert [a.id for a in answers(out)] == list(asked)


@pytest.mark.parametrize("content", ["my notes", "my notes\n", '{"question": "Owls?"}\n'])
def test_a_file_of_something_else_is_refused_and_left_alone(
    questions: Path, tmp_path: Path, content: str
) -> None:
    out = tmp_path / "out"
    out.write_text(content)
    with pytest.raises(InputError, match="no answer to these questions"):
        answer_file(read_questions(questions, "Ada")[0], out, using())
    assert out.read_text() == content


def test_answers_to_other_questions_are_refused(questions: Path, tmp_path: Path) -> None:
    asked, _ = read_questions(questions, "Ada")
    answer_file(asked, tmp_path / "out", using())
    changed = {i: q.model_copy(update={"question": "And now?"}) for i, q in asked.items()}
    with pytest.raises(InputError, match="line 1"):
        answer_file(changed, tmp_path / "out", using())


def test_a_file_begun_with_another_model_is_refused_and_left_alone(questions: Path, tmp_path: Path) -> None:
    asked, _ = read_questions(questions, "Ada")
    out = tmp_path / "out"
    answer_file(asked, out, using(), made_with="this twin")
    assert {a.made_with for a in answers(out)} == {"this twin"}
    before = out.read_bytes()
    for other in ("that twin", ""):
        with pytest.raises(MadeOtherwise, match="another model") as refused:
            answer_file(asked, out, using(), made_with=other)
        assert "remove it" in refused.value.way_out
    assert out.read_bytes() == before


def test_a_file_that_is_being_written_is_read_as_far_as_it_is_whole(questions: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert read_answers(out) == []
    answer_file(read_questions(questions, "Ada")[0], out, using())
    whole = answers(out)
    out.write_bytes(out.read_bytes()[:-20])
    assert read_answers(out) == whole[:-1]
