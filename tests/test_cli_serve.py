"""`twin key` and the ways `twin serve` refuses to start."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from llm_twin.cli import app
from llm_twin.settings import load
from llm_twin.types import StageReport
from llm_twin.workspace import Workspace

runner = CliRunner()


def twin(*arguments: object, code: int = 0) -> str:
    result = runner.invoke(app, [str(a) for a in arguments], catch_exceptions=False)
    assert result.exit_code == code, result.output
    return result.stdout if "--json" in arguments else result.output


@pytest.fixture
def home(tmp_path: Path) -> Path:
    twin("init", "Wren Marlow", "--home", tmp_path / "home")
    return tmp_path / "home"


@pytest.mark.parametrize(
    "command", ["serve", "serve-llm", "engine", "mcp", "key add", "key list", "key remove"]
)
def test_every_command_has_help_with_an_example(command: str) -> None:
    assert f"Example: twin {command}" in " ".join(twin(*command.split(), "--help").split())


def test_keys_are_made_listed_and_removed(home: Path) -> None:
    made = json.loads(twin("key", "add", "reader", "--home", home, "--json"))
    assert made["authors"] == ["Wren Marlow"] and made["key"].startswith("twin-")
    twin("key", "add", "two", "--author", "Ada", "--author", "Bob", "--home", home)
    rows: list[dict[str, Any]] = json.loads(twin("key", "list", "--home", home, "--json"))
    assert [(row["name"], row["authors"]) for row in rows] == [("reader", "Wren Marlow"), ("two", "Ada, Bob")]
    assert made["key"] not in json.dumps(rows)
    twin("key", "remove", "reader", "--home", home)
    assert len(json.loads(twin("key", "list", "--home", home, "--json"))) == 1
    assert "no key 'reader'" in twin("key", "remove", "reader", "--home", home, code=2)


def test_serve_says_what_is_missing(home: Path) -> None:
    assert "has no index" in twin("serve", "--home", home, code=2)
    assert "no key" in twin("serve", "--host", "0.0.0.0", "--home", home, code=2)
    assert "no mode" in twin("serve", "--mode", "sing", "--home", home, code=2)
    assert "has no index" in twin("mcp", "--home", home, code=2)
    assert "no mode" in twin("mcp", "--mode", "sing", "--home", home, code=2)


def test_the_command_of_an_engine_is_printed_in_one_line(home: Path) -> None:
    assert "there is no twin" in twin("engine", "vllm", "--home", home, code=2)
    folder = home / "models" / "a-twin-of-wren-marlow-with-a-name-that-is-longer-than-a-line-of-a-terminal"
    (folder / "safetensors").mkdir(parents=True)
    shape = {"num_attention_heads": 4, "num_hidden_layers": 2}
    (folder / "safetensors" / "config.json").write_text(json.dumps(shape))
    report = StageReport(stage="train", counts={}, artefacts=(str(folder),), seconds=0.0)
    Workspace(home, load(home)).finish("train", "f", report)
    printed = twin("engine", "vllm", "--home", home)
    assert printed.count("\n") == 1
    told = json.loads(twin("engine", "vllm", "--home", home, "--json"))
    assert printed.split() == told["command"]
    assert told["url"] == "http://127.0.0.1:8000/v1"
