import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from pydantic import BaseModel

from llm_twin.adapters.ragas_metrics import Unreadable, _Asked, ragas
from llm_twin.adapters.standins import HashEmbedder, ScriptedChat
from llm_twin.errors import MissingPart
from llm_twin.evaluation.ragas_scores import RagSample
from llm_twin.ports import silent
from llm_twin.types import Completion, Message, Sampling

EMBEDDER = HashEmbedder(256)


class Verdict(BaseModel):
    yes: bool


class Reason(BaseModel):
    why: str


class Judge(ScriptedChat):
    """Notes the size and schema of every batch."""

    def __init__(self, script: object, context: int = 100_000) -> None:
        super().__init__(script, "judge", context)  # type: ignore[arg-type]
        self.batches: list[tuple[int, str]] = []

    def generate(
        self, prompts: Sequence[Sequence[Message]], sampling: Sampling, progress: object = silent
    ) -> list[Completion]:
        self.batches.append((len(prompts), sampling.json_schema or ""))
        return super().generate(prompts, sampling)


def answered(judge: Judge, *asked: tuple[str, type[BaseModel]]) -> list[object]:
    """Each question asked twice in a row by a task of its own; replies or errors."""
    asking = _Asked(judge, 20, silent)

    async def one(prompt: str, shape: type[BaseModel]) -> list[BaseModel]:
        return [await asking.ask(prompt, shape), await asking.ask(prompt, shape)]

    async def everyone() -> list[object]:
        tasks = [asyncio.create_task(one(*question)) for question in asked]
        await asking.answer(tasks)
        return list(await asyncio.gather(*tasks, return_exceptions=True))

    return asyncio.run(everyone())


def test_questions_are_asked_in_batches_by_shape() -> None:
    judge = Judge(lambda messages: '{"yes": true}' if "yes" in messages[0].content else '{"why": "so"}')
    found = answered(judge, ("yes?", Verdict), ("why?", Reason), ("yes again?", Verdict))
    assert found == [[Verdict(yes=True)] * 2, [Reason(why="so")] * 2, [Verdict(yes=True)] * 2]
    assert [size for size, _ in judge.batches] == [2, 1, 2, 1]
    assert {json.loads(schema)["title"] for _, schema in judge.batches} == {"Verdict", "Reason"}


def test_what_cannot_be_read_and_what_has_no_room_fails_alone() -> None:
    judge = Judge(lambda messages: "Well," if "bad" in messages[0].content else '{"yes": false}', context=40)
    good, bad, long = answered(judge, ("good", Verdict), ("bad", Verdict), ("long " * 30, Verdict))
    assert good == [Verdict(yes=False)] * 2
    assert isinstance(bad, Unreadable) and isinstance(long, Unreadable)
    assert "no room" in str(long)


def test_without_ragas_the_way_out_is_told_and_tracking_is_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAGAS_DO_NOT_TRACK", "false")
    monkeypatch.setitem(sys.modules, "ragas", None)
    with pytest.raises(MissingPart) as raised:
        ragas([], EMBEDDER)
    assert "llm-twin[ragas]" in raised.value.way_out
    assert os.environ["RAGAS_DO_NOT_TRACK"] == "true"


# --- with Ragas itself -------------------------------------------------------------------------------------------

TRUE, HENS = "The pump failed because sand got in.", "Hens eat corn in winter."


def sample(document: str, answer: str, retrieved: tuple[str, ...]) -> RagSample:
    return RagSample(
        document_id=document, question="Why did the pump fail?", answer=answer, reference=TRUE,
        retrieved_contexts=retrieved, reference_contexts=(TRUE,),
    )  # fmt: skip


SAMPLES = [sample("a", TRUE, (TRUE, HENS)), sample("b", "The pump stopped.", (HENS, TRUE, HENS))]


def distance(a: str, b: str) -> int:
    """Levenshtein's distance by the textbook's recursion, row by row."""
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        before, row = row, [i]
        for j, y in enumerate(b, 1):
            row.append(min(before[j] + 1, row[-1] + 1, before[j - 1] + (x != y)))
    return row[-1]


@pytest.mark.slow
def test_the_metrics_without_a_judge_by_hand() -> None:
    pytest.importorskip("ragas")
    found = ragas(SAMPLES, EMBEDDER)
    values = {name: estimate.value for name, estimate in found.metrics.items()}
    near = 1 - distance(TRUE, SAMPLES[1].answer) / max(len(TRUE), len(SAMPLES[1].answer))
    assert values["non_llm_string_similarity"] == pytest.approx((1 + near) / 2)
    vectors = EMBEDDER.embed([TRUE, SAMPLES[1].answer])
    assert values["semantic_similarity"] == pytest.approx((1 + vectors[0] @ vectors[1]) / 2, abs=1e-6)
    assert values["non_llm_context_recall"] == 1
    assert values["non_llm_context_precision"] == pytest.approx((1 + 1 / 2) / 2)  # first place, second place
    # ROUGE-L of "the pump stop(ped)" and seven words: two in common; F of 2/3 and 2/7.
    assert values["rouge_score"] == pytest.approx((1 + 0.4) / 2)
    assert (found.judge, found.samples, found.not_measured) == ("", 2, {})


@pytest.mark.slow
def test_a_missing_library_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ragas")
    monkeypatch.setitem(sys.modules, "rouge_score", None)
    found = ragas(SAMPLES, EMBEDDER)
    assert "rouge_score" in found.not_measured["rouge_score"] and "rouge_score" not in found.metrics


def strict(messages: Sequence[Message]) -> str:
    """A judge by code, told by the prompt's schema what is asked."""
    asked = messages[0].content
    if '"noncommittal"' in asked.split("example", 1)[0].lower() or "AnswerRelevanceOutput" in asked:
        return json.dumps({"question": "Why did the pump fail?", "noncommittal": 0})
    if "StatementGeneratorOutput" in asked:
        return json.dumps({"statements": ["The pump failed.", "It was red."]})
    if "NLIStatementOutput" in asked:
        verdicts = [("The pump failed.", 1), ("It was red.", 0)]
        return json.dumps(
            {"statements": [{"statement": s, "reason": "r", "verdict": v} for s, v in verdicts]}
        )
    if "ContextRecallOutput" in asked:
        return json.dumps({"classifications": [{"statement": "s", "reason": "r", "attributed": 1}]})
    return json.dumps({"reason": "r", "verdict": 1})


@pytest.mark.slow
def test_a_judge_answers_what_ragas_asks_in_batches() -> None:
    pytest.importorskip("ragas")
    judge = Judge(strict)
    found = ragas(SAMPLES, EMBEDDER, judge)
    assert found.judge == "judge" and found.not_measured == {}
    assert found.metrics["faithfulness"].value == 0.5
    assert found.metrics["context_recall"].value == 1
    assert found.metrics["context_precision"].value == pytest.approx(1)
    assert found.metrics["answer_relevancy"].value == pytest.approx(1)
    # Faithfulness two, recall one, precision three (of which the third is for one sample), relevancy one.
    assert [size for size, _ in judge.batches] == [2, 2, 2, 2, 2, 1, 2]


@pytest.mark.slow
def test_a_judge_that_cannot_keep_to_the_format_is_reported() -> None:
    pytest.importorskip("ragas")
    found = ragas(SAMPLES, EMBEDDER, Judge(lambda messages: "I think it is fine."))
    assert "judge does not keep to the format" in found.not_measured["faithfulness"]
    assert "non_llm_context_recall" in found.metrics and "faithfulness" not in found.metrics


@pytest.mark.slow
def test_ragas_tracks_nobody_and_leaves_no_id(tmp_path: Path) -> None:
    pytest.importorskip("ragas")
    code = """
from llm_twin.adapters.ragas_metrics import ragas
from llm_twin.adapters.standins import HashEmbedder
from tests_sample import SAMPLES
print(ragas(SAMPLES, HashEmbedder(64)).samples)
from ragas._analytics import do_not_track
print(do_not_track())
"""
    (tmp_path / "tests_sample.py").write_text(
        "from llm_twin.evaluation.ragas_scores import RagSample\n"
        f"SAMPLES = [RagSample(**values) for values in {[s.model_dump() for s in SAMPLES]!r}]\n"
    )
    home = tmp_path / "home"
    home.mkdir()
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("XDG_", "RAGAS_"))}
    environment |= {"HOME": str(home), "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}
    ran = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert ran.stdout.split() == ["2", "True"]
    assert list(home.rglob("uuid.json")) == []
