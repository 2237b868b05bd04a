"""Do the documents tell the truth? Commands parse, links resolve, examples run, every dependency is explained."""

import re
import shlex
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest
import typer
import typer.main
from packaging.requirements import Requirement
from typer.testing import CliRunner

from llm_twin import pipeline, wiring
from llm_twin.cli import app
from llm_twin.settings import Settings, load
from llm_twin.workspace import Workspace

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
ARCHITECTURE = ROOT / "docs" / "architecture.md"
DECISIONS = ROOT / "docs" / "decisions"
PAGES = [README, ROOT / "CHANGELOG.md", ROOT / "examples" / "README.md", *sorted(ROOT.glob("docs/**/*.md"))]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))

USAGE_ERROR = typer.BadParameter.__mro__[1]  # click's, wherever this release of typer keeps it
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")


def text_of(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def blocks(path: Path, language: str) -> list[str]:
    return [body for name, body in _FENCE.findall(text_of(path)) if name == language]


def commands(program: str) -> list[list[str]]:
    """Every line of the README's shell blocks that runs `program`, as arguments without the program."""
    lines = [line for body in blocks(README, "sh") for line in body.splitlines()]
    split = [shlex.split(line, comments=True) for line in lines]
    return [words[1:] for words in split if words[:1] == [program]]


def prose(path: Path) -> str:
    """The page without its code blocks."""
    return _FENCE.sub("", text_of(path))


# --- commands --------------------------------------------------------------------------------------------------


def parsed(arguments: list[str]) -> dict[str, object]:
    """What the command line makes of `arguments`, without doing it: the values that the command would get."""
    found: list[dict[str, object]] = []
    root = typer.main.get_command(app)
    pending = [root]
    while pending:
        command = pending.pop()
        below = list(getattr(command, "commands", {}).values())
        pending += below
        if not below or getattr(command, "invoke_without_command", False):
            command.callback = lambda **values: found.append(values)
    root.main(arguments, prog_name="twin", standalone_mode=False)
    assert found, f"twin {shlex.join(arguments)} runs nothing"
    return found[-1]


@pytest.mark.parametrize("arguments", commands("twin"), ids=shlex.join)
def test_every_twin_command_of_the_readme_parses(arguments: list[str]) -> None:
    parsed(arguments)


def test_that_check_refuses_what_the_command_line_does_not_know() -> None:
    assert parsed(["collect", "a", "--author", "B"])["author"] == "B"
    for wrong in (["collet"], ["collect", "--auther", "B"], ["train"], ["init"]):
        with pytest.raises(USAGE_ERROR):
            parsed(wrong)


def test_the_readme_names_every_command() -> None:
    named = {" ".join(words[:2]) for words in commands("twin")} | {words[0] for words in commands("twin")}
    known = {c.name or c.callback.__name__ for c in app.registered_commands if c.callback}
    assert known - named == {"demo"}, "`make demo` stands for that one"


def test_quick_commands_of_the_readme_really_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TWIN_HOME", "my-twin")
    ran = []
    for arguments in commands("twin"):
        if arguments[0] in ("init", "status", "doctor", "models") and "pull" not in arguments:
            result = CliRunner().invoke(app, arguments, catch_exceptions=False)
            assert result.exit_code == 0, result.output
            ran.append(arguments[0])
    assert ran == ["init", "status", "doctor", "models"]
    assert load(tmp_path / "my-twin").author == "Your Name"


def test_make_and_poe_commands_exist() -> None:
    targets = set(re.findall(r"^([\w-]+):", text_of(ROOT / "Makefile"), re.MULTILINE))
    assert {words[0] for words in commands("make")} == {"demo", "test"}
    assert {words[0] for words in commands("make")} <= targets
    tasks = {name for page in PAGES for name in re.findall(r"`poe ([\w-]+)", text_of(page))}
    assert "test-fast" in tasks
    assert tasks <= set(PROJECT["tool"]["poe"]["tasks"])


# --- examples --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("body", blocks(README, "toml") + blocks(ARCHITECTURE, "toml"))
def test_every_settings_example_loads(body: str, tmp_path: Path) -> None:
    (tmp_path / "twin.toml").write_text(body, encoding="utf-8")
    assert load(tmp_path) != Settings()


def test_the_worked_adapter_collects_a_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (code,), (settings,) = blocks(ARCHITECTURE, "python"), blocks(ARCHITECTURE, "toml")
    (tmp_path / "archive.py").write_text(code, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    home = tmp_path / "home"
    saved = home / "archive" / "example.org" / "tools.html"
    saved.parent.mkdir(parents=True)
    paragraph = "I oil the lathe on Sundays, and I write down what it said. " * 6
    saved.write_text(f"<html><body><article><h1>Tools</h1><p>{paragraph}</p></article></body></html>")
    (home / "twin.toml").write_text(f'author = "Wren"\n{settings}', encoding="utf-8")
    try:
        workspace = Workspace(home, load(home))
        here, gone = "https://example.org/tools.html", "https://example.org/gone.html"
        report = pipeline.collect(workspace, [(here, None), (gone, None)])
        store = wiring.open_documents(workspace)
        (document,) = store.documents()
        store.close()
    finally:
        sys.modules.pop("archive", None)
    assert (report.counts["new"], document.url) == (1, here)
    assert "I oil the lathe on Sundays" in document.text
    assert [(item.what, "is not in" in item.why) for item in report.skipped] == [(gone, True)]


def test_the_layout_of_the_architecture_is_the_one_there_is() -> None:
    (listing,) = re.findall(r"^    llm_twin/\n((?:      \S.*\n)+)", text_of(ARCHITECTURE), re.MULTILINE)
    named = {line.split()[0] for line in listing.splitlines()}
    package = ROOT / "llm_twin"
    there = {path.name for path in package.glob("*.py") if not path.name.startswith("__")}
    there |= {f"{path.parent.name}/" for path in package.glob("*/__init__.py")}
    assert named == there
    for folder, files in re.findall(r"^      (\w+/) +(.*)$", listing, re.MULTILINE):
        for name in re.findall(r"\b\w+\.py\b", files):
            assert (package / folder / name).is_file(), f"{folder}{name}"


def test_the_table_of_adapters_is_that_of_wiring() -> None:
    rows = re.findall(r"^\| `\w+` \| `adapters\.(\w+)` \| `([\w-]+)`", text_of(README), re.MULTILINE)
    assert rows == [(port, name) for port, names in wiring.ADAPTERS.items() for name in names]


# --- links -----------------------------------------------------------------------------------------------------


def links() -> Iterator[tuple[Path, str]]:
    for page in PAGES:
        for target in _LINK.findall(prose(page)):
            if not re.match(r"[a-z]+:", target):
                yield page, target


def anchors(page: Path) -> set[str]:
    """What a heading is called in an address, as forges make it."""
    titles = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def test_every_relative_link_and_picture_resolves() -> None:
    found = list(links())
    assert len(found) > 30
    broken = []
    for page, target in found:
        path, _, anchor = target.partition("#")
        place = (page.parent / path).resolve() if path else page
        if not place.exists() or not place.is_relative_to(ROOT):
            broken.append(f"{page.relative_to(ROOT)}: {target}")
        elif anchor and anchor not in anchors(place):
            broken.append(f"{page.relative_to(ROOT)}: {target} (no such heading)")
    assert broken == []


def test_every_document_is_reachable_from_the_readme() -> None:
    reached, pending = {README}, [README]
    while pending:
        page = pending.pop()
        for source, target in links():
            place = (source.parent / target.partition("#")[0]).resolve()
            if source == page and place.suffix == ".md" and place not in reached:
                reached.add(place)
                pending.append(place)
    assert [str(page) for page in PAGES if page not in reached] == []


def test_files_named_in_the_documents_exist() -> None:
    named = [
        (page.name, name)
        for page in PAGES
        for name in re.findall(
            r"`((?:llm_twin|tests|scripts|docs|benchmarks|examples)/[\w./-]+)`", prose(page)
        )
    ]
    assert named
    assert [pair for pair in named if not (ROOT / pair[1]).exists()] == []


@pytest.mark.parametrize("picture", sorted(ROOT.glob("docs/*.svg")), ids=lambda path: path.name)
def test_pictures_are_whole_and_say_what_they_show(picture: Path) -> None:
    tree = ElementTree.parse(picture).getroot()
    svg = "{http://www.w3.org/2000/svg}"
    assert tree.tag == f"{svg}svg" and tree.get("role") == "img"
    assert len(tree.findtext(f"{svg}title", "")) > 10 and len(tree.findtext(f"{svg}desc", "")) > 50
    assert "prefers-color-scheme: dark" in text_of(picture)
    assert not re.search(r"(?:href|src)=\"(?!#)|url\((?!#)|<script", text_of(picture))


# --- decisions -------------------------------------------------------------------------------------------------


def dependencies() -> set[str]:
    extras = PROJECT["project"]["optional-dependencies"]
    texts = [*PROJECT["project"]["dependencies"], *(text for group in extras.values() for text in group)]
    return {Requirement(text).name for text in texts}


def rows() -> dict[str, list[str]]:
    """The table of dependencies: package -> its other cells."""
    lines = re.findall(r"^\| ([a-z][\w-]*) \| (.+) \|$", text_of(DECISIONS / "README.md"), re.MULTILINE)
    return {name: rest.split(" | ") for name, rest in lines if name != "package"}


def test_every_dependency_has_a_row_with_licence_weight_and_reason() -> None:
    found = rows()
    assert dependencies() - found.keys() == set(), "these have no row in docs/decisions/README.md"
    for name, (version, licence, size, why, decision) in found.items():
        assert re.match(r"\d", version) and re.search(r"MIT|BSD|Apache|MPL|PSF", licence), name
        assert re.fullmatch(r"[\d.]+ MB", size) and len(why) > 4 and decision.startswith("["), name


def test_every_dependency_is_named_in_the_decision_its_row_points_to() -> None:
    lost = []
    for name, cells in rows().items():
        (file,) = _LINK.findall(cells[-1])
        if not re.search(rf"`{re.escape(name)}`", text_of(DECISIONS / file)):
            lost.append(f"{name} is not in {file}")
    assert lost == []


@pytest.mark.parametrize("page", sorted(DECISIONS.glob("0*.md")), ids=lambda path: path.stem)
def test_decisions_have_one_form(page: Path) -> None:
    parts = re.findall(r"^\*\*(\w[\w ]+)\.\*\*", text_of(page), re.MULTILINE)
    assert [part for part in parts if part != "Figures"] == [
        "Context",
        "Decision",
        "Consequences",
        "Alternatives weighed",
    ]
    assert text_of(page).startswith(f"# {int(page.stem[:4])}. ")
    assert f"]({page.name})" in text_of(DECISIONS / "README.md")
