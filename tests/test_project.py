"""Is the repository what it says it is? Checked on the files that git tracks."""

import ast
import os
import re
import shutil
import subprocess
import sys
import time
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from llm_twin.evaluation.report import Report

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
# scripts/setup.sh chooses torch's build; pip comes with the environment; Ragas and lm-eval need older versions of
# packages that are pinned here, so these extras are installed without the pins.
NOT_PINNED = {"torch", "pip", "ragas", "instructor", "langchain-community", "lm-eval"}


def run(*command: str, **options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, **options)  # type: ignore[call-overload]


def tracked(pattern: str = "*") -> list[Path]:
    listed = run("git", "ls-files", "-z", pattern, check=True).stdout.split("\0")
    return [ROOT / name for name in listed if name and (ROOT / name).is_file()]


def modules() -> list[Path]:
    return tracked("llm_twin/*.py")


def pins() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    return {canonicalize_name(name): version for name, _, version in (line.partition("==") for line in lines)}


def requirements() -> list[Requirement]:
    extras = PROJECT["optional-dependencies"]
    texts = [*PROJECT["dependencies"], *(text for group in extras.values() for text in group)]
    return [Requirement(text) for text in texts]


# Put together from pieces, so that this file does not hold what it looks for.
REGISTRY = re.compile(
    r"(?://|\.|@)(?:" + "|".join(("pypi", "pythonhosted", "npmjs", "debian")) + r")\.(?:org|com)\b"
)
TORCH_REGISTRY = re.compile("pytorch" + r"\.org/" + "whl")
PLACES = ("work" + "/", "opt" + "/pypi", "opt" + "/wheels", "root" + "/")
MACHINE_PATH = re.compile(r"(?<![\w.])/(?:" + "|".join(PLACES) + ")")


@pytest.mark.parametrize(
    "pattern", [REGISTRY, TORCH_REGISTRY, MACHINE_PATH], ids=["registry", "torch", "path"]
)
def test_no_file_names_a_registry_or_a_place_on_one_machine(pattern: re.Pattern[str]) -> None:
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()[:100]}"
        for path in tracked()
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1)
        if pattern.search(line)
    ]
    assert found == []


def test_those_patterns_find_what_they_are_for() -> None:
    assert REGISTRY.search("--index https:" + "//pypi" + ".org/simple")
    assert TORCH_REGISTRY.search("download." + "pytorch" + ".org/" + "whl/cpu")
    assert MACHINE_PATH.search("cd /" + "work/main") and not MACHINE_PATH.search("../shared/" + "work/x")


def test_make_has_three_targets_and_help_tells_them() -> None:
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert targets == {"demo", "test", "help"}
    told = [run("make", "--no-print-directory", *target) for target in ((), ("help",))]
    assert told[0].stdout == told[1].stdout and not told[0].stderr
    assert re.findall(r"^  make (\w+) +\S", told[0].stdout, re.MULTILINE) == ["demo", "test", "help"]


def test_ci_runs_make_test_and_nothing_else() -> None:
    path = ROOT / ".ci" / "run"
    assert os.access(path, os.X_OK)
    assert path.read_text().splitlines()[-1] == "make test"


def test_poetry_finds_nothing_to_say() -> None:
    checked = run(sys.executable, "-m", "poetry", "check", "--strict")
    assert (checked.returncode, checked.stdout.strip()) == (0, "All set!"), checked.stdout + checked.stderr


def test_constraints_are_plain_pins_without_torch() -> None:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    assert [line for line in lines if not re.fullmatch(r"[a-z0-9._-]+==[a-z0-9.]+", line)] == []
    assert [name for name in pins() if name == "torch" or name.startswith(("nvidia", "cuda", "triton"))] == []


def test_every_requirement_is_pinned_and_the_pin_satisfies_it() -> None:
    known = pins()
    for requirement in requirements():
        name = canonicalize_name(requirement.name)
        if name not in NOT_PINNED:
            assert requirement.specifier.contains(known[name], prereleases=True), (
                f"{requirement}: {known[name]}"
            )


def test_every_import_is_declared() -> None:
    """What the package imports stands in pyproject.toml, not merely among somebody else's requirements."""
    declared = {canonicalize_name(requirement.name) for requirement in requirements()}
    origin = packages_distributions()
    undeclared = set()
    for path in modules():
        for name in _imported(path) - sys.stdlib_module_names - {"llm_twin"}:
            distributions = {canonicalize_name(d) for d in origin.get(name, [name])}
            if not distributions & declared:
                undeclared.add(f"{path.relative_to(ROOT)} imports {name}")
    assert sorted(undeclared) == []


def _imported(path: Path) -> set[str]:
    names: list[str] = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.append(node.module)
    return {name.partition(".")[0] for name in names}


def test_every_module_opens_with_what_it_promises() -> None:
    silent = [
        str(path.relative_to(ROOT))
        for path in modules()
        if path.read_text().strip() and not ast.get_docstring(ast.parse(path.read_text()))
    ]
    assert silent == []


def test_importing_anything_but_an_adapter_or_a_stage_that_trains_is_free() -> None:
    """No heavy library, no connection, no file outside the package: only definitions."""
    names = [
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for path in modules()
        if path.parent.name not in ("adapters", "training")
    ]
    heavy = [
        "torch",
        "transformers",
        "openvino",
        "sklearn",
        "trafilatura",
        "sqlalchemy",
        "gguf",
        "huggingface_hub",
    ]
    asked = f"""
import importlib, sys
for name in {names}:
    importlib.import_module(name)
print(*sorted(set({heavy}) & set(sys.modules)))
"""
    ran = run(sys.executable, "-c", asked)
    assert (ran.returncode, ran.stdout.strip()) == (0, ""), ran.stderr[-2000:]


def test_setup_names_the_pythons_it_looked_for(tmp_path: Path) -> None:
    (tmp_path / "scripts").mkdir()
    for name in ("pyproject.toml", "constraints.txt", "scripts/setup.sh"):
        shutil.copy(ROOT / name, tmp_path / name)
    environment = {**os.environ, "PYTHON": "no-such-python"}
    ran = run("sh", str(tmp_path / "scripts" / "setup.sh"), env=environment)
    assert ran.returncode == 1
    assert "no Python 3.11 or later with the venv module among: no-such-python" in ran.stderr
    assert not (tmp_path / ".venv").exists()


@pytest.mark.slow
def test_setting_up_again_takes_about_a_second() -> None:
    if not (ROOT / ".venv" / ".stamp").exists():
        pytest.skip("this environment was not made by scripts/setup.sh")
    start = time.perf_counter()
    ran = run("sh", "scripts/setup.sh", check=True)
    assert time.perf_counter() - start < 2
    assert ran.stdout == ""


def test_the_example_reports_hold_figures_and_nobodys_words() -> None:
    found = list((ROOT / "docs" / "reports").glob("*.json"))
    assert found
    for path in found:
        report = Report.model_validate_json(path.read_text(encoding="utf-8"))
        assert report.measured.twin is not None and report.rag is not None and report.privacy is not None
        assert not (
            report.answers
            or report.measured.examples
            or report.rag.examples
            or report.privacy.generated.longest.text
        )
