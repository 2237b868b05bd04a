"""The questions of an evaluation: which are asked, and that none of them has an answer where none is meant to be."""

import re
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from llm_twin import asker, pipeline, reading, wiring
from llm_twin.adapters.standins import HashEmbedder, ScriptedChat
from llm_twin.evaluation.measure import Notes
from llm_twin.evaluation.statements import abstains
from llm_twin.inference.answer import ask
from llm_twin.questions import about_others, answers_to, held_out
from llm_twin.settings import Settings
from llm_twin.types import Message, Sample, Sampling
from llm_twin.workspace import Workspace

OWN = (
    "My lathe turns brass for the harbour clock, and every winter I oil the bearing with what the ferry left."
)
THEIRS = {
    "pump": "The pump of the waterworks failed twice in one season, and its valves were cast anew at great cost.",
    "moth": "A moth trap near the orchard counted four hundred hawk moths in one June night without any wind.",
    "lathe": "The lathe turns brass for a clock in every harbour, and in winter its bearing wants oil from a ferry.",
}


def essay(title: str, text: str, years: int) -> str:
    told = (
        f"That was what the {title} taught people in year {n}, and they wrote it down." for n in range(years)
    )
    return f"# On the {title}\n\n{text} {' '.join(told)}\n"


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Workspace]:
    """One essay by the author and three by another, one of them on what the author wrote about."""
    monkeypatch.setattr(wiring, "open_embedder", lambda workspace, progress=None: HashEmbedder())
    for author, texts, years in (("Wren", {"clock": OWN}, 0), ("Hale", THEIRS, 4)):
        for title, text in texts.items():
            (tmp_path / author).mkdir(exist_ok=True)
            (tmp_path / author / f"{title}.md").write_text(essay(title, text, years), encoding="utf-8")
    sources = [{"location": str(tmp_path / author), "author": author} for author in ("Wren", "Hale")]
    workspace = Workspace(tmp_path / "home", Settings(author="Wren", sources=tuple(sources)))  # type: ignore[arg-type]
    pipeline.collect(workspace, [(source["location"], source["author"]) for source in sources])
    yield workspace


def about(messages: Sequence[Message]) -> str:
    """A request about the first sentence of the passage."""
    found = next(text for text in [OWN, *THEIRS.values()] if text in messages[-1].content)
    told = re.findall(r"[a-z]{4,}", found)[:4]
    return '{"instruction": "Explain what happened to ' + " and ".join(told) + '?"}'


class Counting(ScriptedChat):
    """How many prompts it was given in each call."""

    calls: list[int]

    def generate(self, prompts: Sequence[Any], sampling: Sampling, *rest: Any) -> list[Any]:
        self.calls = [*getattr(self, "calls", []), len(prompts)]
        return super().generate(prompts, sampling, *rest)


def request(document: str, n: int, split: str = "test") -> Sample:
    return Sample(
        id=f"{document}{n}", document_id=document, author="A", instruction=f"What of {n}?", response="r", start=0,
        end=1, split=split, written_by="m",
    )  # fmt: skip


def test_requests_are_held_out_even_over_documents_and_any_of_each() -> None:
    made = [request(d, n) for d in "abcd" for n in range(9)] + [request("e", n, "train") for n in range(9)]
    some, more = held_out(made, 8), held_out(made, 20)
    assert sorted(s.document_id for s in some) == sorted("aabbccdd")
    assert some == [s for s in made if s in some], "they keep their order"
    assert {s.id for s in some} < {s.id for s in more}
    assert any(not s.id.endswith(("0", "1")) for s in some), "not the first of each document alone"
    assert len(held_out(made, 100)) == 36


def test_a_question_about_each_document_of_others_that_the_author_did_not_write_about(
    workspace: Workspace, tmp_path: Path
) -> None:
    model, notes = Counting(about), Notes(tmp_path / "notes")
    documents, _ = reading.clean_documents(workspace)
    found = about_others(workspace, documents, model, HashEmbedder(), notes)
    assert found.why == "" and len(found.kept.questions) == 2
    assert any("pump" in q for q in found.kept.questions) and any("moth" in q for q in found.kept.questions)
    (left_out,) = found.kept.left_out
    assert "lathe" in left_out.what and "On the clock holds all of" in left_out.why
    assert model.calls == [3], "one batch"
    assert about_others(workspace, documents, model, HashEmbedder(), notes) == found and model.calls == [3]
    assert (
        len(about_others(workspace, documents, model, HashEmbedder(), Notes(tmp_path), 1).kept.questions) <= 1
    )


def test_why_there_are_none_is_told(workspace: Workspace, tmp_path: Path) -> None:
    documents, _ = reading.clean_documents(workspace)
    own = [d for d in documents if d.document.author == "Wren"]
    alone = about_others(workspace, own, Counting(about), HashEmbedder(), Notes(tmp_path / "a"))
    assert alone.kept.questions == () and alone.why == "no writing by other authors was collected"
    mute = about_others(
        workspace, documents, ScriptedChat(lambda _: "no"), HashEmbedder(), Notes(tmp_path / "b")
    )
    assert "wrote no question about the 3 documents" in mute.why
    same = [d for d in documents if d.document.author == "Wren" or "lathe" in d.document.title]
    both = about_others(workspace, same, Counting(about), HashEmbedder(), Notes(tmp_path / "c"))
    assert both.kept.questions == () and "may have written about all 1 questions" in both.why


def test_many_questions_are_answered_in_groups_as_each_would_be_alone(workspace: Workspace) -> None:
    pipeline.index(workspace)
    model = Counting(lambda messages: "The lathe turns brass for the harbour clock.")
    asked = ["Which lathe turns brass for the harbour clock in winter?", "Zyx?"] * 9
    shown: list[tuple[int, int, str]] = []
    found = answers_to(
        workspace, asked, HashEmbedder(), model, "write", 120, lambda *step: shown.append(step)
    )
    assert [a.question for a in found] == asked
    assert [a.found for a in found] == [True, False] * 9
    assert model.calls == [8, 1] and shown == [(16, 18, "answers: scripted"), (18, 18, "answers: scripted")]
    with closing(wiring.open_vectors(workspace, HashEmbedder().dimension)) as store:
        using = asker.answering(workspace, store, HashEmbedder(), model, "write", Sampling(max_tokens=120))
        assert found[0] == ask(asked[0], using)
    (short,) = answers_to(workspace, asked[:1], HashEmbedder(), model, "write", 3)
    assert short.text.startswith("The lathe turns") and "brass" not in short.text


def test_a_question_for_which_nothing_is_written_is_left_unanswered_and_the_others_are_not(
    workspace: Workspace,
) -> None:
    pipeline.index(workspace)
    asked = ["Which lathe turns brass for the harbour clock?", "What does the harbour clock tell?"]
    model = ScriptedChat(lambda messages: "" if messages[-1].content.startswith(asked[0]) else "The tide.")
    silent, told = answers_to(workspace, asked, HashEmbedder(), model, "write", 9)
    assert abstains(silent) and "wrote nothing" in silent.text and silent.question == asked[0]
    assert told.text.startswith("The tide")
