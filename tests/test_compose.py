"""compose.yaml and the Dockerfile name what is there: commands, options, settings, ports and files."""

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.main import get_command

from llm_twin.cli import app
from llm_twin.settings import Settings, known_keys

ROOT = Path(__file__).parents[1]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))
OURS = {name: service for name, service in COMPOSE["services"].items() if service["image"] == "llm-twin"}


def options(command: str) -> set[str]:
    group: Any = get_command(app)
    return {option for parameter in group.commands[command].params for option in parameter.opts}


@pytest.mark.parametrize("name", OURS)
def test_a_service_runs_a_command_that_there_is(name: str) -> None:
    command, *words = OURS[name]["command"]
    assert {word for word in words if word.startswith("--")} <= options(command)


def test_ports_are_those_of_the_settings_and_open_to_this_machine_alone() -> None:
    serve = Settings().serve
    for name, service in OURS.items():
        port = service["command"][service["command"].index("--port") + 1]
        assert int(port) == (serve.llm_port if name == "model" else serve.port)
        assert service.get("ports", []) in ([], [f"127.0.0.1:{port}:{port}"])
        assert f":{port}/healthz" in service["healthcheck"]["test"][-1]
    url = OURS["front"]["command"][-1]
    assert url == f"http://model:{serve.llm_port}"


def test_the_environment_sets_settings_that_there_are() -> None:
    for service in OURS.values():
        for name in service["environment"]:
            key = name.removeprefix("TWIN_").lower().replace("__", ".")
            assert key == "home" or key in known_keys(), name
    assert OURS["front"]["environment"].keys() > OURS["twin"]["environment"].keys()


def test_what_a_service_waits_for_is_there_and_tells_that_it_is_well() -> None:
    for service in COMPOSE["services"].values():
        for name in service.get("depends_on", {}):
            assert "healthcheck" in COMPOSE["services"][name]
            assert set(service["profiles"]) <= set(COMPOSE["services"][name]["profiles"])
        for volume in service["volumes"]:
            source = volume.split(":")[0]
            assert source.startswith("$") or source in COMPOSE["volumes"]


def test_the_image_is_made_of_files_that_are_there_and_runs_as_nobody_special() -> None:
    lines = (ROOT / "Dockerfile").read_text(encoding="utf-8").splitlines()
    copied = [shlex.split(line)[1:-1] for line in lines if line.startswith("COPY ") and "--from" not in line]
    sent = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert {name for names in copied for name in names} == sent
    assert all((ROOT / name).exists() for name in sent)
    assert "USER twin" in lines and 'ENTRYPOINT ["twin"]' in lines
    ports = re.findall(r"\d+", next(line for line in lines if line.startswith("EXPOSE")))
    assert [int(port) for port in ports] == [Settings().serve.port, Settings().serve.llm_port]
