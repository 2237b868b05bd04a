"""The command line: help with an example, JSON, exit codes, messages that name the thing and the way out."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from llm_twin.cli import app

runner = CliRunner()
COMMANDS = [
    "init",
    "collect",
    "index",
    "dataset",
    "evaluate",
    "ask",
    "chat",
    "batch",
    "run",
    "status",
    "verify",
    "doctor",
    "demo",
]
COMMANDS += ["train sft", "models pull", "models verify"]


def twin(*arguments: object, code: int = 0) -> str:
    result = runner.invoke(app, [str(a) for a in arguments], catch_exceptions=False)
    assert result.exit_code == code, result.output
    return result.stdout if "--json" in arguments else result.output


@pytest.fixture
def home(tmp_path: Path) -> Path:
    twin("init", "Wren Marlow", "--home", tmp_path / "home")
    return tmp_path / "home"


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example(command: str) -> None:
    assert f"Example: twin {command}" in " ".join(twin(*command.split(), "--help").split())


def test_help_loads_nothing_heavy() -> None:
    code = "import sys; import llm_twin.cli; print(sorted({m.split('.')[0] for m in sys.modules}))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    for heavy in ("torch", "transformers", "openvino", "numpy", "pydantic", "sklearn", "sqlalchemy", "httpx"):
        assert f"'{heavy}'" not in loaded


def test_init_writes_settings_once(home: Path) -> None:
    assert (home / "twin.toml").exists()
    assert "exists" in twin("init", "Someone", "--home", home, code=2)


def test_collect_reports_counts_and_remembers_where_from(home: Path, tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text("# One\n\nSome words of mine.\n")
    (tmp_path / "b.bin").write_bytes(bytes(range(256)))
    report = json.loads(twin("collect", tmp_path / "a.md", "--home", home, "--json"))
    assert report["counts"]["new"] == 1
    again = json.loads(twin("collect", "--home", home, "--json"))
    assert (again["counts"]["new"], again["counts"]["same"]) == (0, 1)


@pytest.mark.parametrize(
    ("prepare", "named"),
    [
        (lambda path: path.mkdir(), "empty"),
        (lambda path: None, "empty"),
    ],
)
def test_an_empty_or_absent_folder_is_bad_input(
    home: Path, tmp_path: Path, prepare: object, named: str
) -> None:
    path = tmp_path / "empty"
    prepare(path)  # type: ignore[operator]
    assert named in twin("collect", path, "--home", home, code=2)


def test_a_broken_file_is_skipped_and_the_rest_carried_on_with(home: Path, tmp_path: Path) -> None:
    folder = tmp_path / "mixed"
    folder.mkdir()
    (folder / "good.md").write_text("# Good\n\nWords of mine, and more of them.\n")
    (folder / "broken.json").write_text('[{"content": ')
    (folder / "binary.md").write_bytes(b"\x00\xff\xfe" * 100)
    report = json.loads(twin("collect", folder, "--home", home, "--json"))
    assert report["counts"]["new"] == 1
    assert {Path(s["what"]).name for s in report["skipped"]} == {"broken.json", "binary.md"}


def test_an_unknown_setting_names_the_one_that_was_meant(home: Path) -> None:
    (home / "twin.toml").write_text("autor = 'X'\n")
    output = twin("status", "--home", home, code=2)
    assert "autor" in output
    assert "did you mean author?" in output


def test_errors_as_json_are_json(home: Path) -> None:
    result = runner.invoke(app, ["dataset", "--home", str(home), "--json"])
    assert result.exit_code == 2
    assert json.loads(result.stdout)["way_out"] == "collect some: twin collect ./my-articles"


def test_a_full_disk_is_a_failure_with_a_message(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from llm_twin import pipeline

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device", str(home / "documents.db"))

    monkeypatch.setattr(pipeline, "index", full)
    output = twin("index", "--home", home, code=1)
    assert "No space left on device" in output
    assert "documents.db" in output


@pytest.mark.parametrize(
    "command", [["index"], ["dataset"], ["train", "sft"], ["evaluate"], ["ask", "What?"]]
)
def test_a_stage_too_early_says_what_comes_first(home: Path, command: list[str]) -> None:
    output = twin(*command, "--home", home, code=2)
    assert "→" in output
    assert "twin " in output


def test_status_and_doctor_speak_json(home: Path) -> None:
    assert [row["state"] for row in json.loads(twin("status", "--home", home, "--json"))] == ["never run"] * 5
    assert {"torch", "openvino_genai"} <= {
        row["part"] for row in json.loads(twin("doctor", "--home", home, "--json"))
    }


@pytest.mark.parametrize("before", [True, False])
def test_the_workspace_of_a_models_command_may_stand_before_it_or_behind(
    home: Path, tmp_path: Path, before: bool
) -> None:
    (home / "twin.toml").write_text("author = [", encoding="utf-8")
    named = ["--home", home]
    command = ["models", *named, "verify", "owl"] if before else ["models", "verify", "owl", *named]
    assert str(home / "twin.toml") in twin(*command, code=2)
    elsewhere = ["--home", tmp_path / "else"]
    assert "does not go with" in twin("models", *named, "verify", "owl", *elsewhere, code=2)


def test_a_corrupt_model_file_is_named(home: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"GGUF" + os.urandom(200))
    environment = {"TWIN_MODELS__CACHE": str(tmp_path / "cache")}
    result = runner.invoke(app, ["models", "pull", str(broken), "--home", str(home)], env=environment)
    assert result.exit_code == 2
    assert "broken.gguf" in result.output
