"""`twin key` and the ways `twin serve` refuses to start."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from llm_twin.cli import app

runner = CliRunner()


def twin(*arguments: object, code: int = 0) -> str:
    result = runner.invoke(app, [str(a) for a in arguments], catch_exceptions=False)
    assert result.exit_code == code, result.output
    return result.stdout if "--json" in arguments else result.output


@pytest.fixture
def home(tmp_path: Path) -> Path:
    twin("init", "Wren Marlow", "--home", tmp_path / "home")
    return tmp_path / "home"


@pytest.mark.parametrize("command", ["serve", "serve-llm", "mcp", "key add", "key list", "key remove"])
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
