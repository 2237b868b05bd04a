"""The pages as a person meets them, in a real Chromium: by keyboard, resumed, readable by everybody."""

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from scipy.stats import binomtest

from llm_twin.evaluation.blind import BlindItem
from llm_twin.evaluation.labels import ASKED, LabelItem
from llm_twin.evaluation.people import Guess, Label
from llm_twin.journal import Journal

pytestmark = pytest.mark.slow
Faults = Callable[[Any], list[str]]

HOSTILE = "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>"
SETTLE = 400  # the pages take no answer for 350 ms after an item has come up
SERVE = """
import json, sys
from pathlib import Path
from llm_twin import pages
from llm_twin.evaluation.blind import BlindItem
from llm_twin.evaluation.labels import LabelItem
kind, given, store = sys.argv[1], json.loads(Path(sys.argv[2]).read_text()), Path(sys.argv[3])
say = lambda url: print(url, flush=True)
if kind == "blind":
    items = [BlindItem.model_validate(item) for item in given]
    pages.serve_blind(items, store, "Wren Marlow", open_browser=False, announce=say)
    print(pages.blind_result(items, store, "Wren Marlow").blind.model_dump_json())
else:
    pages.serve_label([LabelItem.model_validate(item) for item in given], store, open_browser=False, announce=say)
    print("ended")
"""
Start = Callable[[str, list[Any]], tuple[str, subprocess.Popen[str]]]


def blind_item(number: int) -> BlindItem:
    mine = f"I oil the lathe on Sundays, and it tells me what it thinks of me. {number}. {HOSTILE}"
    made = f"Regular maintenance helps to extend the life of the machine. {number}.\n\nIt matters."
    real_first = number % 2 == 0
    first, second = (mine, made) if real_first else (made, mine)
    return BlindItem(
        id=f"i{number}",
        model="twin",
        kind=("article", "post")[number % 2],
        instruction=f"What of lathes? {number} {HOSTILE}",
        first=first,
        second=second,
        real_first=real_first,
    )


def label_items() -> list[LabelItem]:
    return [
        LabelItem(
            id=f"l{number}",
            question=f"What to look for in a lathe? {HOSTILE}",
            passages=("The bed first.", f"It tells you. {HOSTILE}"),
            answer=f"The bed [1]. {HOSTILE}",
            dimension=dimension,
        )
        for number, dimension in enumerate(ASKED)
    ]


@pytest.fixture
def page(browser: Any) -> Iterator[Any]:
    page = browser.new_page(viewport={"width": 360, "height": 740})
    wrong: list[str] = []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("console", lambda told: wrong.append(told.text) if told.type == "error" else None)
    yield page
    page.close()
    assert wrong == []


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start a server in a process of its own, as the command would; its address and the process."""
    running: list[subprocess.Popen[str]] = []

    def start(kind: str, items: list[Any]) -> tuple[str, subprocess.Popen[str]]:
        given = tmp_path / "items.json"
        given.write_text(json.dumps([item.model_dump() for item in items]))
        command = [sys.executable, "-c", SERVE, kind, str(given), str(tmp_path / f"{kind}.jsonl")]
        running.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
        assert running[-1].stdout
        return running[-1].stdout.readline().strip(), running[-1]

    yield start
    for process in running:
        process.kill()
        process.communicate()


def press(page: Any, key: str) -> None:
    page.wait_for_timeout(SETTLE)
    page.keyboard.press(key)


def ended(process: subprocess.Popen[str]) -> str:
    """What is printed after Ctrl-C."""
    process.send_signal(signal.SIGINT)
    printed, _ = process.communicate(timeout=20)
    assert process.returncode == 0
    return printed


def test_a_person_takes_the_blind_test_by_keyboard(
    page: Any, start: Start, tmp_path: Path, faults: Faults
) -> None:
    from playwright.sync_api import expect

    url, process = start("blind", [blind_item(number) for number in range(5)])
    count = page.locator("#count")
    page.goto(url)
    expect(page.get_by_role("heading", name="Who wrote this?")).to_be_visible()
    expect(page.locator("#intro")).to_contain_text("One was written by Wren Marlow")
    assert faults(page) == []
    for button in ("Try one for practice", "Passage 1", "Start"):  # with the tabulator and Enter alone
        page.wait_for_timeout(SETTLE)
        target = page.get_by_role("button", name=button, exact=button == "Start")
        for _ in range(6):
            if target.evaluate("element => element === document.activeElement"):
                break
            page.keyboard.press("Tab")
        page.keyboard.press("Enter")
    expect(count).to_have_text("0 of 5")
    expect(page.get_by_role("heading", name="What of lathes? 0")).to_be_focused()
    assert faults(page) == []
    for number, key in enumerate(("1", "2")):  # both right
        expect(count).to_have_text(f"{number} of 5")
        press(page, key)
    expect(count).to_have_text("2 of 5")
    page.keyboard.press("1")  # at once: meant for the item before
    page.keyboard.press("Control+1")
    page.reload()
    expect(count).to_have_text("2 of 5")
    expect(page.get_by_role("heading", name="What of lathes? 2")).to_be_visible()
    for number, key in enumerate(("2", "2", "1"), 2):  # wrong, right, right
        expect(count).to_have_text(f"{number} of 5")
        press(page, key)
    expect(page.get_by_role("heading", name="4 of 5 recognised")).to_be_focused()
    expect(page.locator("#verdict")).to_contain_text("80% (95% interval 28% to 99%; guessing gives 50%)")
    expect(page.locator("#verdict")).to_contain_text("it takes 20 to say anything")
    drawn = [float(page.locator("#picture .interval").get_attribute(end).rstrip("%")) for end in ("x1", "x2")]
    exact = binomtest(4, 5).proportion_ci(method="exact")
    assert drawn == pytest.approx([6 + 88 * exact.low, 6 + 88 * exact.high])
    expect(page.locator("#rows")).to_contain_text("2 of 3")
    page.locator("summary", has_text="Which was which").click()
    expect(page.locator("#review article")).to_have_count(5)
    expect(page.locator("#review .real").first).to_contain_text("I oil the lathe")
    assert faults(page) == []
    assert page.title() == "Blind test: Wren Marlow or the twin?" and page.locator("img").count() == 0
    assert json.loads(ended(process))["total"]["correct"] == 4
    assert [guess.correct for guess in Journal(tmp_path / "blind.jsonl", Guess).read()] == [
        True,
        True,
        False,
        True,
        True,
    ]


def test_a_stopped_server_is_told_to_the_person(browser: Any, start: Start) -> None:
    from playwright.sync_api import expect

    url, process = start("blind", [blind_item(number) for number in range(2)])
    page = browser.new_page()
    page.goto(url)
    page.get_by_role("button", name="Start right away").click()
    ended(process)
    press(page, "1")
    expect(page.get_by_role("alert")).to_contain_text("Start it again in the terminal")
    expect(page.locator("#count")).to_have_text("0 of 2")
    page.close()


def test_a_person_labels_by_keyboard(page: Any, start: Start, tmp_path: Path, faults: Faults) -> None:
    from playwright.sync_api import expect

    url, process = start("label", label_items())
    page.goto(url)
    opened = []
    for number, (key, (asked, _)) in enumerate(zip("gs2", ASKED.values(), strict=True)):
        expect(page.locator("#count")).to_have_text(f"{number} of 3")
        expect(page.get_by_role("heading", name=asked)).to_be_focused()
        opened.append([page.locator(f"#{part}").is_visible() for part in ("passages", "answer")])
        assert faults(page) == []
        press(page, key)
    assert opened == [[True, False], [True, True], [False, True]]
    expect(page.get_by_role("heading", name="That was the last one")).to_be_visible()
    expect(page.locator("#verdict")).to_contain_text("2 of 3 have a label. 1 skipped")
    assert faults(page) == [] and page.title() == "Label answers" and page.locator("img").count() == 0
    assert ended(process) == "ended\n"
    labels = Journal(tmp_path / "label.jsonl", Label).read()
    assert [(label.id, label.good) for label in labels] == [("l0", True), ("l2", False)]


@pytest.mark.parametrize("width", [320, 360, 1200])
def test_nothing_reaches_over_the_edge_and_the_buttons_stay_in_reach(
    browser: Any, start: Start, width: int
) -> None:
    long = blind_item(0).model_copy(update={"first": "Word " * 300, "instruction": "Unbroken" * 40})
    url, _ = start("blind", [long])
    page = browser.new_page(viewport={"width": width, "height": 640})
    page.goto(url)
    page.get_by_role("button", name="Start right away").click()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    for name in ("Passage 1", "Passage 2"):
        box = page.get_by_role("button", name=name).bounding_box()
        assert box and box["height"] >= 44 and box["y"] + box["height"] <= 640
    page.close()
