"""`twin deploy`: what is missing is named, the price is told, and nothing is done that nobody agreed to."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from llm_twin import wiring
from llm_twin.cli import app
from llm_twin.types import Hosted, HostingPlan, StageReport
from llm_twin.workspace import Workspace

runner = CliRunner()


class Host:
    """A Hosting that notes what it is told."""

    def __init__(self) -> None:
        self.hosted: dict[str, HostingPlan] = {}

    def deploy(self, plan: HostingPlan, progress: object = None) -> Hosted:
        self.hosted[plan.name] = plan
        return Hosted(name=plan.name, state="InService", instances=1)

    def status(self, name: str) -> Hosted | None:
        return Hosted(name=name, state="InService", instances=1) if name in self.hosted else None

    def delete(self, name: str, bucket: str) -> list[str]:
        return ["endpoint"] if self.hosted.pop(name, None) else []


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Host:
    made = Host()
    monkeypatch.setattr(wiring, "open_hosting", lambda workspace: made)
    return made


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A workspace with a trained twin."""
    home = tmp_path / "home"
    folder = home / "models" / "a-twin"
    (folder / "safetensors").mkdir(parents=True)
    write(home, 'image = "lmi"', 'role = "arn"', 'bucket = "twins"')
    from llm_twin.settings import load

    report = StageReport(stage="train", counts={}, artefacts=(str(folder),), seconds=0.0)
    Workspace(home, load(home)).finish("train", "f", report)
    return home


def write(home: Path, *lines: str) -> None:
    (home / "twin.toml").write_text("\n".join(['author = "Ada"', "[sagemaker]", *lines]))


def twin(*arguments: object, code: int = 0) -> str:
    result = runner.invoke(app, ["deploy", *map(str, arguments)], catch_exceptions=False)
    assert result.exit_code == code, result.output
    return result.stdout if "--json" in arguments else result.output


@pytest.mark.parametrize("command", ["sagemaker", "status", "delete"])
def test_every_command_has_help_with_an_example(command: str) -> None:
    assert f"Example: twin deploy {command}" in " ".join(twin(command, "--help").split())


def test_the_twin_is_hosted_shown_and_removed(home: Path, host: Host) -> None:
    assert "nothing is hosted as a-twin" in twin("status", "--home", home, code=1)
    made: dict[str, Any] = json.loads(twin("sagemaker", "--home", home, "--yes", "--json"))
    assert made["state"] == "InService" and made["cost"]["an_hour"] > 0
    plan = host.hosted["a-twin"]
    assert plan.model == home / "models" / "a-twin" / "safetensors" and plan.bucket == "twins"
    assert "a-twin is InService" in twin("status", "--home", home)
    assert "removed: endpoint" in twin("delete", "--home", home, "--yes")
    assert host.hosted == {}


def test_nothing_is_done_that_nobody_agreed_to(home: Path, host: Host) -> None:
    told = twin("sagemaker", "--home", home, code=2)
    assert "ml.g5.xlarge" in told and "an hour" in told and "add --yes" in told
    assert host.hosted == {}
    host.hosted["a-twin"] = HostingPlan(
        name="a-twin",
        model=home,
        image="",
        role="",
        bucket="",
        instance_type="",
        instances=1,
        most_instances=1,
    )
    assert "add --yes" in twin("delete", "--home", home, code=2)
    assert host.hosted


def test_a_deployment_of_an_earlier_twin_is_found_by_its_name(home: Path, host: Host) -> None:
    twin("sagemaker", "--home", home, "--yes")
    host.hosted["an-earlier-twin"] = host.hosted.pop("a-twin")
    assert "nothing is hosted as a-twin" in twin("status", "--home", home, code=1)
    assert "is InService" in twin("status", "--name", "an-earlier-twin", "--home", home)
    assert "removed: endpoint" in twin("delete", "--name", "an-earlier-twin", "--home", home, "--yes")
    assert host.hosted == {}


def test_what_is_missing_is_named(home: Path, host: Host) -> None:
    write(home, 'image = "lmi"')
    assert "sagemaker.role is not set" in twin("sagemaker", "--home", home, "--yes", code=2)
    write(home, 'image = "lmi"', 'role = "arn"', 'bucket = "twins"', 'instance_type = "ml.new"')
    assert "ml.new is not known" in twin("sagemaker", "--home", home, "--yes", code=2)
    (home / "state" / "train.json").unlink()
    assert "no twin of Ada" in twin("sagemaker", "--home", home, "--yes", code=2)
