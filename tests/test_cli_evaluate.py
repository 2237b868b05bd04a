"""`twin evaluate`: help with examples, and bad input named with exit code 2."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from llm_twin import assess, pipeline
from llm_twin.cli import app
from llm_twin.types import StageReport

runner = CliRunner()


def twin(*arguments: object, code: int = 0) -> str:
    found = runner.invoke(app, [str(a) for a in arguments], catch_exceptions=False)
    assert found.exit_code == code, found.output
    return found.output


@pytest.fixture
def home(tmp_path: Path) -> Path:
    twin("init", "Wren Marlow", "--home", tmp_path / "home")
    return tmp_path / "home"


@pytest.mark.parametrize("command", ["list", "diff", "blind", "label"])
def test_every_part_has_help_with_an_example(command: str) -> None:
    assert f"Example: twin evaluate {command}" in " ".join(twin("evaluate", command, "--help").split())


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--compare", "abc", "def"], "abc"),
        (["--texts", "nowhere"], "nowhere does not exist"),
        (["--beir", "nowhere"], "nowhere"),
        (["--quick"], "there is no twin"),
        (["diff", "abc", "def"], "abc"),
        (["blind"], "no"),
        (["label"], "there is no evaluation yet"),
    ],
)
def test_what_is_not_there_is_named(home: Path, arguments: list[str], said: str) -> None:
    found = twin("evaluate", arguments[0], *arguments[1:], "--home", home, code=2)
    assert said in " ".join(found.split())


def test_no_evaluation_is_an_empty_list_that_says_so(home: Path) -> None:
    assert twin("evaluate", "list", "--home", home, "--json").strip() == "[]"
    assert "holds no evaluations yet" in " ".join(twin("evaluate", "list", "--home", home).split())


@pytest.mark.parametrize("part", [["list"], ["diff", "a", "b"], ["blind"], ["label"]])
def test_a_part_without_a_workspace_names_it_and_makes_none(part: list[str], tmp_path: Path) -> None:
    nowhere = str(tmp_path / "nowhere")
    for arguments in ([*part, "--home", nowhere], ["--home", nowhere, *part]):
        found = twin("evaluate", *arguments, code=2)
        assert "there is no workspace at" in " ".join(found.split()) and "twin init" in found
    assert not (tmp_path / "nowhere").exists()


def test_home_and_json_before_a_part_are_its_own(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (home / "evaluations" / "abc").mkdir(parents=True)
    monkeypatch.setenv("TWIN_HOME", str(tmp_path / "elsewhere"))
    before = twin("evaluate", "--home", home, "--json", "list")
    assert before == twin("evaluate", "list", "--home", home, "--json")
    assert [row["id"] for row in json.loads(before)] == ["abc"]
    found = twin("evaluate", "--home", home, "list", "--home", tmp_path / "another", code=2)
    assert "does not go with --home" in " ".join(found.split())
    assert twin("evaluate", "--home", home, "list", "--home", home)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("--author Ann", "--author needs --texts"),
        ("--run r.txt", "--run needs --beir"),
        ("--model-arms 0", "--model-arms needs --beir"),
        ("--quick --author Ann", "--author needs --texts"),
        ("--texts a --beir b", "--beir does not go with --texts"),
        ("--texts a --quick", "--quick does not go with --texts"),
        ("--texts a --judge", "--judge does not go with --texts"),
        ("--texts a --model endpoint", "--model does not go with --texts"),
        ("--texts a --author Ann --run b", "--run does not go with --texts"),
        ("--beir a --author Ann", "--author does not go with --beir"),
        ("--beir a --model m", "--model does not go with --beir"),
        ("--beir a --run b --model-arms 3", "--model-arms does not go with --run"),
        ("--compare a b --texts c", "--texts does not go with --compare"),
        ("--compare a b --quick", "--quick does not go with --compare"),
        ("--quick list", "--quick does not go with list"),
        ("--texts a blind", "--texts does not go with blind"),
    ],
)
def test_no_option_is_passed_over_in_silence(home: Path, arguments: str, said: str) -> None:
    assert said in " ".join(twin("evaluate", "--home", home, *arguments.split(), code=2).split())


@pytest.mark.parametrize("given", ["--quick --judge --model m", "--quick", "--judge", "--model m"])
def test_what_goes_together_is_passed_on(home: Path, given: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[object, ...]] = []

    def evaluate(workspace: object, progress: object, quick: bool, model: str, judge: bool) -> StageReport:
        asked.append((quick, model, judge))
        return StageReport(stage="evaluate")

    monkeypatch.setattr(pipeline, "evaluate", evaluate)
    twin("evaluate", "--home", home, *given.split())
    assert asked == [("--quick" in given, "m" if "--model" in given else "", "--judge" in given)]


@pytest.fixture
def benchmark(tmp_path: Path) -> Path:
    (tmp_path / "qrels.txt").write_text("q1 0 d1 1\nq2 0 d2 1\n")
    (tmp_path / "run").write_text("q1 Q0 d1 1 9 x\n")
    return tmp_path


def test_a_run_is_shown_with_what_it_leaves_out(benchmark: Path) -> None:
    asked = ["evaluate", "--home", benchmark / "nowhere", "--beir", benchmark, "--run", benchmark / "run"]
    shown = " ".join(twin(*asked).split())
    assert "0.50" in shown and "2 of 2 questions" in shown
    assert "left out: run: 1 of 2 queries, which count as 0" in shown
    found = json.loads(twin(*asked, "--json"))
    assert found["arms"][0]["values"]["RR@10"]["value"] == 0.5 and found["left_out"]


def test_a_broken_run_is_named_with_its_line(benchmark: Path) -> None:
    (benchmark / "run").write_text("q1 Q0 d1 1 9 x\nq2 Q0 d2 1\n")
    found = twin("evaluate", "--beir", benchmark, "--run", benchmark / "run", code=2)
    assert "run:2 has 4 fields" in found.replace("\n", "")


def test_every_table_of_a_benchmark_is_shown(benchmark: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = assess.rankings(benchmark, [benchmark / "run"])
    slow = whole.model_copy(update={"questions": 1, "baseline": "slow", "left_out": {}})
    found = whole.model_copy(update={"more": (slow,), "left_out": {"steps that ask": "not asked for"}})
    monkeypatch.setattr(assess, "benchmark", lambda *given: asked.append(given[2]) or found)
    asked: list[int] = []
    shown = " ".join(twin("evaluate", "--beir", benchmark, "--model-arms", "7").split())
    assert "2 of 2 questions" in shown and "1 of 2 questions" in shown and "against slow" in shown
    assert "left out: steps that ask: not asked for" in shown and asked == [7]


def test_an_unknown_section_is_named(home: Path) -> None:
    with (home / "twin.toml").open("a") as config:
        config.write("\n")
    text = (home / "twin.toml").read_text().replace("[evaluate]", '[evaluate]\nsections = ["opinion"]')
    (home / "twin.toml").write_text(text)
    assert "opinion" in twin("evaluate", "--home", home, code=2)
