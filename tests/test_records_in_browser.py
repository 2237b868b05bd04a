"""The pages of dataset, training, reports and traces in a real Chromium: shown, followed, readable by everybody."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from llm_twin.inference.tracing import Step, Trace
from llm_twin.serving.traces import Traces

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
HOSTILE = '<img src=x onerror="window.owned=1"><script>window.owned=1</script>'
REFUSED = "status of 429"  # by a test: what Chromium says of it is no fault of the page
SIZES = {"phone": (360, 740), "wide": (1280, 800)}
SERVE = """
import json, sys
from pathlib import Path
from llm_twin import pipeline, wiring
from llm_twin.adapters.standins import HashEmbedder, ScriptedChat
from llm_twin.serving.app import create_app
from llm_twin.serving.shell import Options, serve
from llm_twin.settings import Settings
from llm_twin.text import words
from llm_twin.workspace import Workspace

home, articles, hostile = Path(sys.argv[1]), sys.argv[2], json.loads(Path(sys.argv[3]).read_text())

def said(messages):
    if "passages" in messages[-1].content:
        return "Salt gets into every bearing."
    telling = sorted(set(words(messages[-1].content)), key=lambda w: (-len(w), w))[:6]
    return json.dumps({"instruction": "What do you say of " + " and ".join(telling) + "?"})

wiring.open_embedder = lambda workspace, progress=None: HashEmbedder(1024)
wiring.pull_model = lambda workspace, name, progress=None: Path(name)
wiring.open_chat = lambda workspace, folder, apart=False: ScriptedChat(said)
workspace = Workspace(home, Settings(author="Wren Marlow", sources=[{"location": articles}]))
pipeline.collect(workspace)
pipeline.index(workspace)
pipeline.dataset(workspace)
samples = workspace.dataset / "samples.jsonl"
rows = [json.loads(line) for line in samples.read_text().splitlines()]
for number, row in enumerate(rows):
    row["instruction"] += hostile[0] + " ".join(hostile[number :: len(rows)])
    row["response"] += " ".join(hostile[number :: len(rows)])
samples.write_text("".join(json.dumps(row) + chr(10) for row in rows))
serve(create_app(workspace, Options()), "127.0.0.1", 0, lambda url: print(url, flush=True))
"""


def points(first: int, last: int) -> str:
    rows = (
        {"step": i, "loss": 4 / i, "learning_rate": 1e-4, "tokens_per_second": 200.0}
        for i in range(first, last + 1)
    )
    return "".join(json.dumps(row) + "\n" for row in rows)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, hostile: list[str]) -> Path:
    """A workspace with a run that goes on, two evaluations, and traces of hostile questions."""
    home = tmp_path_factory.mktemp("records") / "home"
    run = home / "runs" / "sft-going-on"
    run.mkdir(parents=True)
    (run / "config.json").write_text(json.dumps({"rank": 16, "note": HOSTILE}))
    (run / "metrics.jsonl").write_text(points(1, 5))
    for name, report in (("aaa1", "paul-iusztin"), ("bbb2", "maxime-labonne")):
        folder = home / "evaluations" / name
        folder.mkdir(parents=True)
        shutil.copy(ROOT / "docs" / "reports" / f"{report}.json", folder / "report.json")
        styled = (
            "<!doctype html><html lang='en'><title>Report</title><style>p { color: rgb(1, 2, 3) }</style>"
        )
        (folder / "report.html").write_text(f"{styled}<p>The report of {report}</p>{HOSTILE}")
    traces = Traces(home / "traces.jsonl", 1000)
    for text in hostile:
        told = {
            "id": f"t{len(text)}",
            "time": datetime.now(UTC),
            "question": text,
            "author": text,
            "model": text,
        }
        step = Step(name=text, milliseconds=1.0, said=text)
        traces.add(Trace(**told, mode="write", steps=(step,), first_token_ms=1.0, total_ms=2.0), None)
    return home


@pytest.fixture(scope="module")
def url(home: Path, hostile: list[str]) -> Iterator[str]:
    texts = home.parent / "hostile.json"
    texts.write_text(json.dumps([HOSTILE, *hostile]))
    articles = ROOT / "examples" / "marlow" / "articles"
    command = [sys.executable, "-c", SERVE, str(home), str(articles), str(texts)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        yield process.stdout.readline().strip()
        process.kill()


@pytest.fixture(params=list(SIZES))
def page(browser: Any, url: str, request: pytest.FixtureRequest) -> Iterator[Any]:
    """In the end, nothing was complained of and nothing ran."""
    width, height = SIZES[request.param]
    page = browser.new_page(viewport={"width": width, "height": height})
    wrong: list[str] = []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on(
        "console",
        lambda told: wrong.append(told.text) if told.type == "error" and REFUSED not in told.text else None,
    )
    page.goto(url)
    yield page
    assert page.evaluate("window.owned") is None
    page.close()
    assert wrong == []


def open_(page: Any, name: str) -> None:
    from playwright.sync_api import expect

    page.get_by_role("link", name=name, exact=True).click()
    expect(page.locator("#record-title")).to_have_text(name)


def test_the_dataset_is_told_and_its_sides_are_listed(page: Any, faults: Callable[[Any], list[str]]) -> None:
    from playwright.sync_api import expect

    open_(page, "Dataset")
    expect(page.locator("#record li.card")).to_have_count(20)
    expect(page.locator("#record li.card h2").first).to_contain_text("<img src=x")
    page.get_by_role("button", name="Show more").click()
    expect(page.locator("#record li.card")).to_have_count(40)
    page.get_by_label("Which side").select_option("test")
    expect(page.locator("#record li.card")).to_have_count(20)
    expect(page.locator("#record li.card").first).to_contain_text("held out")
    assert faults(page) == []
    page.get_by_role("link", name="in its document").first.click()
    expect(page.locator("#document mark").first).to_be_visible()


def test_a_run_is_followed_to_its_end(page: Any, home: Path, faults: Callable[[Any], list[str]]) -> None:
    from playwright.sync_api import expect

    run = home / "runs" / "sft-going-on"
    (run / "metrics.jsonl").write_text(points(1, 5))
    (run / "trained.json").unlink(missing_ok=True)
    open_(page, "Training")
    card = page.locator("#record article")
    expect(card).to_contain_text("not finished · step 5")
    expect(card.get_by_role("img")).to_have_attribute(
        "aria-label", "loss from 4.00 at step 1 to 0.80 at step 5"
    )
    (run / "metrics.jsonl").write_text(points(1, 8))
    (run / "trained.json").write_text("{}")
    expect(card).to_contain_text("finished · step 8")
    expect(card.get_by_role("img")).to_have_attribute(
        "aria-label", "loss from 4.00 at step 1 to 0.50 at step 8"
    )
    assert faults(page) == []


def test_reports_are_opened_with_their_own_styles_and_compared(
    page: Any, faults: Callable[[Any], list[str]]
) -> None:
    from playwright.sync_api import expect

    open_(page, "Reports")
    expect(page.locator("#record li.card")).to_have_count(2)
    page.get_by_role("button", name="Compare").click()
    expect(page.locator("#record")).to_contain_text("twin_model")
    assert faults(page) == []
    with page.context.expect_page() as opened:
        page.get_by_role("button", name="Open the report").first.click()
    report = opened.value
    told = report.locator("p")
    expect(told).to_contain_text("The report of")
    expect(told).to_have_css("color", "rgb(1, 2, 3)")
    report.close()


def test_an_answer_leaves_its_steps(page: Any, faults: Callable[[Any], list[str]]) -> None:
    from playwright.sync_api import expect

    page.get_by_label("Your question", exact=True).fill(f"What does salt do to a bearing? {HOSTILE}")
    page.keyboard.press("Enter")
    expect(page.locator(".turn .words[aria-busy=false]")).to_have_count(1)
    open_(page, "Traces")
    first = page.locator("#record li.card").first
    expect(first.locator("h2")).to_contain_text("What does salt do to a bearing? <img")
    expect(first.get_by_role("img")).to_have_attribute("aria-label", re.compile("embedding .* ms, search"))
    first.locator("summary").click()
    expect(first.get_by_role("cell", name="search", exact=True)).to_be_visible()
    assert faults(page) == []


@pytest.mark.parametrize(
    ("name", "pattern", "press", "then"),
    [
        ("Dataset", "**/dataset/samples?*offset=20*", "Show more", "40 of"),
        ("Traces", "**/traces?*offset=20*", "Show more", "40 of"),
        ("Reports", "**/against/*", "Compare", "twin_model"),
    ],
)
def test_what_a_button_cannot_do_is_said_and_can_be_tried_again(
    page: Any, faults: Callable[[Any], list[str]], name: str, pattern: str, press: str, then: str
) -> None:
    from playwright.sync_api import expect

    open_(page, name)
    body = json.dumps({"error": {"message": "full"}})
    page.route(pattern, lambda route: route.fulfill(status=429, body=body, content_type="application/json"))
    page.get_by_role("button", name=press).click()
    expect(page.locator("#record").get_by_role("alert")).to_contain_text("Try again in a moment")
    assert faults(page) == []
    page.unroute(pattern)
    page.get_by_role("button", name=press).click()
    expect(page.locator("#record")).to_contain_text(then)
    expect(page.locator("#record").get_by_role("alert")).to_have_count(0)


def test_a_run_is_followed_on_when_the_server_was_busy(page: Any, home: Path) -> None:
    from playwright.sync_api import expect

    (home / "runs" / "sft-going-on" / "trained.json").unlink(missing_ok=True)
    page.route("**/runs/sft-going-on?*", lambda route: route.fulfill(status=429, body="{}"), times=1)
    open_(page, "Training")
    expect(page.locator("#record").get_by_role("alert")).to_contain_text("busy")
    expect(page.locator("#record article")).to_contain_text("not finished", timeout=20_000)
    expect(page.locator("#record").get_by_role("alert")).to_have_count(0)


@pytest.mark.parametrize("name", ["Traces", "Dataset"])
def test_two_hundred_hostile_texts_are_texts(page: Any, hostile: list[str], name: str) -> None:
    from playwright.sync_api import expect

    open_(page, name)
    cards = page.locator("#record li.card")
    expect(cards.first).to_be_visible()
    more = page.get_by_role("button", name="Show more")
    while more.is_visible():
        shown = cards.count()
        more.click()
        expect(cards.nth(shown)).to_be_visible()
    for summary in page.locator("#record summary").all():
        summary.click()
    inside = page.locator("#record")
    told = inside.inner_text()
    assert sum(text.split()[0] in told for text in hostile) == len(hostile) >= 200
    assert inside.locator("img, script, iframe, video, math, [onerror], [onload], [onfocus]").count() == 0
    assert inside.locator("a[href^='java' i], a[href^='data' i], a[href^='vb' i]").count() == 0
