"""The whole road with real models on a small corpus, through the command line: what it made, not that it ran."""

import json
import math
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from llm_twin import assess
from llm_twin.front import workspace_at
from llm_twin.models import verify as verify_model
from llm_twin.reading import clean_documents
from llm_twin.sections import SECTIONS
from llm_twin.types import Sample

pytestmark = pytest.mark.slow
EXAMPLES = Path(__file__).parents[1] / "examples"
SETTINGS = """
author = "Wren Marlow"
sources = [{{ location = "{corpus}" }}]
[models]
chat = "smollm2-135m"
[train]
epochs = 1.0
save_every = 2
batch_size = 8
rank = 8
learning_rate = 1e-3
[evaluate]
passages = 9
machine_passages = 12
questions = 12
max_tokens = 48
choices = 4
answered = 4
[privacy]
generations = 12
spans = 4
max_tokens = 16
[ask]
mode = "quote"
"""


def corpus(folder: Path) -> Path:
    """Nine essays and three notes by the sample author, three pieces each by the two others."""
    folder.mkdir()
    chosen = sorted((EXAMPLES / "marlow" / "articles").glob("*.md"))[:9]
    chosen += sorted((EXAMPLES / "marlow" / "posts").glob("*.md"))[:3]
    for voice in ("hale", "okoro"):
        chosen += sorted((EXAMPLES / "background" / voice).glob("*.md"))[:3]
    for path in chosen:
        (folder / path.name).write_text(path.read_text(encoding="utf-8"), encoding="utf-8")
    return folder


def workspace(root: Path, models_cache: Path) -> tuple[Path, dict[str, str]]:
    home = root / "home"
    home.mkdir()
    (home / "twin.toml").write_text(SETTINGS.format(corpus=corpus(root / "corpus")))
    return home, {**os.environ, "TWIN_MODELS__CACHE": str(models_cache), "TWIN_HOME": str(home)}


def twin(environment: dict[str, str], *arguments: str, timeout: float = 600) -> Any:
    done = subprocess.run(
        [sys.executable, "-m", "llm_twin", *arguments, "--json"],
        env=environment, capture_output=True, text=True, timeout=timeout, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout)


def samples_of(home: Path) -> list[Sample]:
    lines = (home / "datasets" / "wren-marlow" / "samples.jsonl").read_text(encoding="utf-8").splitlines()
    return [Sample.model_validate_json(line) for line in lines]


@pytest.fixture(scope="module")
def road(
    tmp_path_factory: pytest.TempPathFactory, models_cache: Path, smol_model: Path
) -> tuple[Path, dict[str, str], dict[str, Any]]:
    """An uninterrupted run: its home, its environment and the reports by stage."""
    home, environment = workspace(tmp_path_factory.mktemp("road"), models_cache)
    reports = {report["stage"]: report for report in twin(environment, "run")}
    return home, environment, reports


Road = tuple[Path, dict[str, str], dict[str, Any]]


def test_every_stage_ran_and_left_what_it_says(road: Road) -> None:
    _, environment, reports = road
    assert list(reports) == ["collect", "index", "dataset", "train", "evaluate"]
    assert reports["collect"]["counts"]["documents"] == 18
    assert all(Path(p).exists() for report in reports.values() for p in report["artefacts"])
    assert twin(environment, "verify") == {"problems": []}
    assert {row["state"] for row in twin(environment, "status")} == {"up to date"}


def test_the_samples_are_the_authors_words_split_by_document(road: Road) -> None:
    samples = samples_of(road[0])
    train = {s.document_id for s in samples if s.split == "train"}
    test = {s.document_id for s in samples if s.split == "test"}
    assert train
    assert test
    assert not train & test
    written = " ".join(
        " ".join(path.read_text(encoding="utf-8").split())
        for path in (road[0].parent / "corpus").glob("*.md")
    )
    assert all(" ".join(s.response.split()) in written for s in samples)


def test_training_lowered_the_loss_and_the_twin_can_be_served(road: Road) -> None:
    counts = road[2]["train"]["counts"]
    assert counts["last_loss"] < counts["first_loss"] - 0.1
    assert counts["samples"] == sum(s.split == "train" for s in samples_of(road[0]))
    model = Path(road[2]["train"]["artefacts"][0])
    assert verify_model(model, model.parent).serving == "twin-q8_0.gguf"


def test_the_report_holds_scores_with_their_bounds(road: Road) -> None:
    report = json.loads(Path(road[2]["evaluate"]["artefacts"][0]).read_text())
    measured = report["measured"]
    assert measured["perplexity"]["change"]["value"] < -0.05
    assert measured["perplexity"]["base"]["value"] > measured["perplexity"]["twin"]["value"] > 1
    assert 0 <= measured["auc"] <= 1
    assert measured["refused"] or measured["twin"]["twin"]["low"] <= measured["twin"]["twin"]["value"]
    assert measured["passages"] == 9
    page = Path(road[2]["evaluate"]["artefacts"][1]).read_text()
    assert "Wren Marlow" in page
    assert "http://" not in page.replace("http://www.w3.org", "")


def test_every_section_is_measured_or_says_why_not(road: Road) -> None:
    report = json.loads(Path(road[2]["evaluate"]["artefacts"][0]).read_text())
    for name, (field, _) in SECTIONS.items():
        assert (report[field] is None) == (name in report["not_measured"]), name
    measured = [name for name in SECTIONS if name not in report["not_measured"]]
    assert {"search", "general", "forgetting", "answers", "privacy"} <= set(measured)
    assert report["privacy"]["generations"] == 12
    assert report["forgetting"]["tasks"][0]["items"] == 120
    assert report["rag"]["arms"]["quote"]["citation_recall"]["value"] > 0.9
    assert len(report["base_sha256"]) == len(report["twin_sha256"]) == 64


def test_evaluations_are_listed_and_one_is_no_better_than_itself(road: Road) -> None:
    (row,) = twin(road[1], "evaluate", "list")
    assert row["figures"]
    same = subprocess.run(
        [sys.executable, "-m", "llm_twin", "evaluate", "--compare", row["id"], row["id"], "--json"],
        env=road[1],
        capture_output=True,
        text=True,
    )
    verdict = json.loads(same.stdout)
    assert (same.returncode, verdict["passes"]) == (1, False)
    assert {d["call"] for d in verdict["dimensions"]} <= {"no difference", "not measured"}


def test_texts_are_scored_or_refused_with_a_reason_and_copies_are_flagged(road: Road, tmp_path: Path) -> None:
    (tmp_path / "copy.md").write_text(
        (EXAMPLES / "marlow" / "articles" / "10-years-of-gannet.md").read_text(encoding="utf-8")
    )
    (tmp_path / "short.txt").write_text("Too short to tell.")
    (tmp_path / "picture.png").write_bytes(b"\x89PNG")
    found = twin(road[1], "evaluate", "--texts", str(tmp_path))
    copy, short = found["texts"]
    assert copy["copy_flag"]
    assert short["place"] is None and short["refused"]
    assert [Path(s["what"]).name for s in found["skipped"]] == ["picture.png"]


def test_a_second_run_does_nothing_and_quickly(road: Road) -> None:
    assert twin(road[1], "run") == []


def test_quoted_answers_are_verbatim_and_cited(road: Road) -> None:
    answer = twin(road[1], "ask", "Why did the watchroom clock stop?", "--mode", "quote", "--trace")
    assert [step["name"] for step in answer["trace"]["steps"]][:2] == ["embedding", "search"]
    assert answer["found"]
    assert answer["citations"]
    written = " ".join(
        " ".join(path.read_text(encoding="utf-8").split())
        for path in (road[0].parent / "corpus").glob("*.md")
    )
    import re

    for sentence in re.split(r"\s*\[\d+\]\s*", answer["text"]):
        assert " ".join(sentence.split()) in written


def test_killed_at_ten_random_moments_it_ends_the_same(
    road: Road, tmp_path: Path, models_cache: Path
) -> None:
    home, environment = workspace(tmp_path, models_cache)
    environment["TWIN_EVALUATE__SECTIONS"] = '["search"]'  # what is compared was made before any evaluation
    rng = random.Random(7)
    killed = 0
    for _ in range(10):
        process = subprocess.Popen(
            [sys.executable, "-m", "llm_twin", "run"],
            env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        time.sleep(rng.uniform(0.5, 10))
        killed += process.poll() is None
        os.killpg(process.pid, signal.SIGKILL) if process.poll() is None else None
        process.wait()
    assert killed >= 5
    twin(environment, "run")

    assert twin(environment, "verify") == {"problems": []}
    assert comparable(samples_of(home)) == comparable(samples_of(road[0]))
    assert losses(home) == pytest.approx(losses(road[0]), rel=0.05)


def comparable(samples: list[Sample]) -> list[tuple[str, str, str]]:
    """What each sample says, in an order of its own."""
    return sorted((s.instruction, s.response, s.split) for s in samples)


def losses(home: Path) -> list[float]:
    (metrics,) = home.glob("runs/*/metrics.jsonl")
    rows = [json.loads(line) for line in metrics.read_text().splitlines()]
    assert [row["step"] for row in rows] == list(range(1, len(rows) + 1))
    assert all(math.isfinite(row["loss"]) for row in rows)
    return [row["loss"] for row in rows]


def test_a_text_is_told_from_the_base_model_once_there_is_an_evaluation(road: Road) -> None:
    workspace = workspace_at(road[0])
    documents, _ = clean_documents(workspace)
    train, held_out = assess.sides(workspace, documents, workspace.author)
    assert (len(train.machine), len(held_out.machine)) == (12, len(held_out.author))
    others, _ = assess.sides(workspace, documents, "Edmund Hale")
    assert others.author and not others.machine, "the base model answered for the twin's author alone"
