"""`twin evaluate`: help with examples, and bad input named with exit code 2."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from llm_twin.cli import app

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


def test_no_evaluation_is_an_empty_list(home: Path) -> None:
    assert twin("evaluate", "list", "--home", home, "--json").strip() == "[]"


def test_an_unknown_section_is_named(home: Path) -> None:
    with (home / "twin.toml").open("a") as config:
        config.write("\n")
    text = (home / "twin.toml").read_text().replace("[evaluate]", '[evaluate]\nsections = ["opinion"]')
    (home / "twin.toml").write_text(text)
    assert "opinion" in twin("evaluate", "--home", home, code=2)
