"""The chat page in a real Chromium, over a real server: a conversation, its sources, opinions, and hostile texts."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from llm_twin.journal import Journal
from llm_twin.types import Feedback

pytestmark = pytest.mark.slow
Faults = Callable[[Any], list[str]]

EXAMPLES = Path(__file__).parents[1] / "examples"
QUESTION = "She tells the tide, which on Stennick is the more useful of the 2: why?"
REFUSED = "status of 429"  # by a test: what Chromium says of it is no fault of the page
SIZES = {"phone": (360, 740), "wide": (1280, 800)}
SERVE = """
import sys, time
from pathlib import Path
from llm_twin import pipeline, wiring
from llm_twin.adapters.standins import HashEmbedder, ScriptedChat
from llm_twin.serving.app import create_app
from llm_twin.serving.shell import Options, serve
from llm_twin.settings import Settings
from llm_twin.workspace import Workspace

class Slow(ScriptedChat):
    def stream(self, messages, sampling):
        done = self.generate([messages], sampling)[0]
        for piece in super().stream(messages, sampling):
            time.sleep(0.2 if "quite-slowly" in messages[-1].content else 0)
            yield piece
        return done

def said(messages):
    asked = messages[-1].content
    if "quite-slowly" in asked:
        return " ".join(f"word {number}" for number in range(200))  # the same words over and over would be cut
    if "Stennick" in asked:
        return "**Perpetua** hangs on the north wall of the oil store and she's got 1 hand. She doesn't tell the time."
    return asked

articles, other, hostile, home = map(Path, sys.argv[1:])
wiring.open_embedder = lambda workspace, progress=None: HashEmbedder(1024)
wiring.pull_model = lambda workspace, name, progress=None: Path(name)
wiring.open_chat = lambda workspace, folder, apart=False: Slow(said)
sources = [{"location": str(articles)}, {"location": str(hostile)}]
sources += [{"location": str(other), "author": "Edmund Hale"}]
workspace = Workspace(home, Settings(author="Wren Marlow", sources=sources))
pipeline.collect(workspace)
pipeline.index(workspace)
serve(create_app(workspace, Options()), "127.0.0.1", 0, lambda url: print(url, flush=True))
"""
WATCH = """
window.alert = window.confirm = window.prompt = () => { window.owned = 1; };
document.addEventListener("securitypolicyviolation", (event) => { window.owned = event.violatedDirective; });
"""


@dataclass(frozen=True)
class Served:
    """A running server."""

    url: str
    home: Path

    def feedback(self) -> list[Feedback]:
        return Journal(self.home / "feedback.jsonl", Feedback).read()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, hostile: list[str]) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("chat")
    texts = folder / "hostile"
    texts.mkdir()
    for number, payload in enumerate(hostile[:12]):
        title, all_of_it = " ".join(payload.split()), "\n\n".join(hostile[number::12])
        (texts / f"{number}.md").write_text(
            f"# {title}\n\nA hostile lathe, number {number}.\n\n{all_of_it}\n"
        )
    given = [EXAMPLES / "marlow" / "articles", EXAMPLES / "background" / "hale", texts, folder / "home"]
    command = [sys.executable, "-c", SERVE, *map(str, given)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout
    yield Served(process.stdout.readline().strip(), folder / "home")
    process.kill()
    process.communicate()


@pytest.fixture(params=list(SIZES))
def page(browser: Any, served: Served, request: pytest.FixtureRequest) -> Iterator[Any]:
    yield from opened(browser, served, request.param)


@pytest.fixture
def wide(browser: Any, served: Served) -> Iterator[Any]:
    yield from opened(browser, served, "wide")


def opened(browser: Any, served: Served, size: str) -> Iterator[Any]:
    """The page; in the end, nothing was complained of, nothing ran, and nothing left this machine."""
    width, height = SIZES[size]
    page = browser.new_page(viewport={"width": width, "height": height})
    wrong: list[str] = []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on(
        "console",
        lambda told: wrong.append(told.text) if told.type == "error" and REFUSED not in told.text else None,
    )
    page.on("dialog", lambda dialog: wrong.append(dialog.message))
    page.on(
        "request",
        lambda sent: None if sent.url.startswith((served.url, "data:,")) else wrong.append(sent.url),
    )
    page.add_init_script(WATCH)
    page.goto(served.url)
    yield page
    assert page.evaluate("window.owned") is None
    page.close()
    assert wrong == []


def ask(page: Any, question: str, answers: int = 1) -> Any:
    """Ask, and wait for the end; the last turn."""
    page.get_by_label("Your question", exact=True).fill(question)
    page.keyboard.press("Enter")
    turn = page.locator(".turn").last
    whole(turn, answers)
    return turn


def whole(turn: Any, answers: int = 1) -> None:
    from playwright.sync_api import expect

    expect(turn.locator(".words[aria-busy=false]")).to_have_count(answers)
    expect(turn.page.locator("#send")).to_be_visible()


def choose(page: Any, **settings: Any) -> None:
    page.get_by_role("button", name="Settings").click()
    for name, value in settings.items():
        place = page.locator(f"#{name}")
        place.set_checked(value) if isinstance(value, bool) else place.select_option(value)
    page.get_by_role("button", name="Done").click()


def test_a_conversation_is_kept_and_a_citation_opens_its_passage(page: Any, faults: Faults) -> None:
    from playwright.sync_api import expect

    expect(page.locator("#examples button").first).to_contain_text("What did you write about in")
    assert faults(page) == []
    turn = ask(page, QUESTION)
    expect(turn.get_by_role("heading", name=QUESTION)).to_be_visible()
    expect(turn.locator(".words strong")).to_have_text("Perpetua")
    assert faults(page) == []
    cite = turn.locator("button.cite").first
    cite.focus()
    page.keyboard.press("Enter")
    marks = page.locator("#passage mark")
    expect(marks.first).to_be_in_viewport()
    expect(marks).to_have_text(
        [
            "Perpetua hangs on the north wall of the oil store and she's got 1 hand.",
            "She doesn't tell the time.",
        ]
    )
    expect(page.locator("#passage span.passage").first).to_contain_text("there was never any work for it")
    assert faults(page) == []
    page.keyboard.press("Escape")
    expect(cite).to_be_focused()
    turn.locator(".source").first.click()
    page.get_by_role("link", name="On a page of its own").click()
    expect(page.locator("#document mark").first).to_be_in_viewport()
    expect(page.locator("#document mark")).to_have_count(2)
    assert "#/document/" in page.url and faults(page) == []
    page.go_back()
    expect(turn).to_be_visible()
    page.reload()
    expect(page.locator("#empty")).to_be_visible()
    if page.viewport_size["width"] < 1000:
        page.locator("#history summary").click()
    page.locator("#conversations").get_by_role("button", name=QUESTION, exact=True).click()
    expect(page.locator(".turn button.cite").first).to_be_visible()
    page.get_by_role("button", name=f"Delete: {QUESTION}").click()
    expect(page.locator(".turn")).to_have_count(0)
    assert page.evaluate("localStorage['twin.conversations']") == "[]"


def test_an_answer_is_stopped_asked_again_and_its_question_edited(page: Any) -> None:
    from playwright.sync_api import expect

    page.get_by_label("Your question", exact=True).fill(f"quite-slowly: {QUESTION}")
    page.keyboard.press("Enter")
    turn = page.locator(".turn")
    expect(turn.locator(".words")).to_contain_text("word 0 word 1")
    page.get_by_role("button", name="Stop").click()
    whole(turn)
    expect(turn).to_contain_text("Stopped.")
    assert turn.locator(".words").inner_text().count("word") < 100
    turn.get_by_role("button", name="Edit").click()
    turn.get_by_label("Your question, edited").fill(QUESTION)
    page.keyboard.press("Enter")
    expect(turn.locator("h2")).to_have_text(QUESTION)
    whole(turn)
    expect(turn).to_contain_text("the north wall of the oil store")
    turn.get_by_role("button", name="Ask again").click()
    whole(turn)
    expect(turn).to_have_count(1)
    expect(turn).to_contain_text("the north wall of the oil store")


def answers_of(page: Any) -> Callable[[], list[dict[str, Any]]]:
    """The bodies of the requests for an answer, from now on."""
    asked: list[dict[str, Any]] = []
    page.on(
        "request",
        lambda sent: asked.append(sent.post_data_json) if sent.url.endswith("/completions") else None,
    )
    return lambda: asked


def refuse(page: Any, pattern: str) -> None:
    body = json.dumps({"error": {"message": "full", "type": "rate_limit_error", "code": "full"}})
    page.route(pattern, lambda route: route.fulfill(status=429, body=body, content_type="application/json"))


def test_an_answer_stays_until_another_begins_and_what_gave_way_comes_back(wide: Any, faults: Faults) -> None:
    from playwright.sync_api import expect

    choose(wide, retrieval=False)
    ask(wide, "Tell me of bearings.")
    ask(wide, "And of salt?")
    first = wide.locator(".turn").first
    refuse(wide, "**/v1/chat/completions")
    first.get_by_role("button", name="Ask again").click()
    expect(wide.get_by_role("alert")).to_contain_text("busy with other questions")
    first.get_by_role("button", name="Edit").click()
    first.get_by_label("Your question, edited").fill("Tell me of quartz.")
    first.get_by_role("button", name="Ask this").click()
    expect(wide.get_by_role("alert")).to_contain_text("busy with other questions")
    expect(first.get_by_label("Your question, edited")).to_have_value("Tell me of quartz.")
    expect(wide.locator(".turn")).to_have_count(2)
    expect(first.locator(".words")).to_contain_text("bearings")
    wide.unroute("**/v1/chat/completions")
    first.get_by_role("button", name="Ask this").click()
    expect(wide.locator(".turn")).to_have_count(1)
    whole(first)
    expect(first.locator(".words")).to_contain_text("quartz")
    expect(first.locator(".undo")).to_contain_text("The earlier answer and 1 later question gave way")
    expect(wide.locator("#trouble")).to_be_hidden()
    assert faults(wide) == []
    first.get_by_role("button", name="Undo").click()
    expect(wide.locator(".turn h2")).to_have_text(["Tell me of bearings.", "And of salt?"])
    expect(first.locator(".words")).to_contain_text("bearings")
    (kept,) = json.loads(wide.evaluate("localStorage['twin.conversations']"))
    assert [turn["question"] for turn in kept["turns"]] == ["Tell me of bearings.", "And of salt?"]


def test_what_is_not_set_is_left_to_the_server(wide: Any, faults: Faults) -> None:
    from playwright.sync_api import expect

    asked = answers_of(wide)
    ask(wide, QUESTION)
    for name, value in (("Temperature", "0"), ("Most tokens", "64")):
        wide.get_by_role("button", name="Settings").click()
        expect(wide.get_by_label(name)).to_have_attribute("placeholder", "Default")
        wide.get_by_label(name).fill(value)
        assert faults(wide) == []
        wide.get_by_role("button", name="Done").click()
    wide.reload()
    ask(wide, QUESTION)
    wide.get_by_role("button", name="Settings").click()
    wide.get_by_label("Temperature").fill("9")
    wide.get_by_role("button", name="Done").click()
    expect(wide.locator("#settings")).to_be_visible()  # the browser says what is wrong with it
    wide.get_by_label("Temperature").fill("")
    wide.get_by_label("Most tokens").fill("")
    wide.get_by_role("button", name="Done").click()
    ask(wide, QUESTION)
    told = [{k: v for k, v in body.items() if k in ("temperature", "max_tokens")} for body in asked()]
    assert told == [{}, {"temperature": 0, "max_tokens": 64}, {}]
    assert not any("seed" in body for body in asked())


def test_it_is_said_when_a_conversation_is_longer_than_what_is_sent(wide: Any) -> None:
    from playwright.sync_api import expect

    turns = [
        {"question": f"q{i}", "answers": [{"model": "wren-marlow", "text": f"a{i}"}]} for i in range(1, 13)
    ]
    turns.insert(
        5, {"question": "unanswered", "answers": [{"model": "wren-marlow", "text": "", "error": "no"}]}
    )
    kept = json.dumps([{"id": "long", "title": "A long one", "turns": turns[:11]}])
    wide.evaluate("kept => localStorage.setItem('twin.conversations', kept)", kept)
    wide.reload()
    wide.locator("#conversations").get_by_role("button", name="A long one", exact=True).click()
    expect(wide.locator(".turn")).to_have_count(11)
    expect(wide.locator("#forgotten")).to_be_hidden()
    asked = answers_of(wide)
    ask(wide, "And now?")
    expect(wide.locator("#forgotten")).to_contain_text("Only the last 10 answers are sent along")
    expect(wide.locator("#forgotten")).to_contain_text("1 before them is not")
    ask(wide, "And then?")
    first, second = ([message["content"] for message in body["messages"]] for body in asked())
    assert first == [text for i in range(1, 11) for text in (f"q{i}", f"a{i}")] + ["And now?"]
    assert second[:2] == ["q2", "a2"] and second[-1] == "And then?" and len(second) == 21


def test_documents_and_search_are_of_the_author_that_is_chosen(page: Any, faults: Faults) -> None:
    from playwright.sync_api import expect

    page.get_by_role("link", name="Documents").click()
    expect(page.get_by_label("Written by")).to_have_value("Wren Marlow")
    page.get_by_label("Written by").select_option("Edmund Hale")
    expect(page.locator("#results li").first).to_be_visible()
    hale = page.locator("#results a").all_inner_texts()
    assert hale and "The clock with 1 hand" not in hale
    assert faults(page) == []
    page.reload()
    expect(page.get_by_label("Written by")).to_have_value("Edmund Hale")
    page.get_by_label("Search the passages").fill("tide clock with one hand")
    with page.expect_request("**/search") as sent:
        page.keyboard.press("Enter")
    assert sent.value.post_data_json["author"] == "Edmund Hale"
    expect(page.locator("#found")).to_contain_text("passages")
    assert set(page.locator("#results a").all_inner_texts()) <= set(hale)
    choose(page, author="Wren Marlow")
    expect(page.locator("#results")).to_contain_text("The clock with 1 hand")


def test_opinions_reach_the_journal(wide: Any, served: Served) -> None:
    from playwright.sync_api import expect

    before = len(served.feedback())
    turn = ask(wide, QUESTION)
    turn.get_by_role("button", name="Good").click()
    expect(turn).to_contain_text("Kept. Thank you.")
    expect(turn.get_by_role("button", name="Good")).to_have_attribute("aria-pressed", "true")
    turn.get_by_role("button", name="How I'd have said it").click()
    turn.get_by_label("The answer as you would have given it").fill(
        "She tells the tide. <img src=x onerror=alert(1)>"
    )
    turn.get_by_role("button", name="Keep").click()
    expect(turn).to_contain_text("Kept. Thank you.")
    thumb, edit = served.feedback()[before:]
    assert (thumb.model, thumb.question, thumb.thumb, thumb.edit) == ("wren-marlow", QUESTION, "up", None)
    assert "north wall" in thumb.answer
    assert (edit.thumb, edit.edit) == (None, "She tells the tide. <img src=x onerror=alert(1)>")


def test_the_authors_own_words_sound_like_the_author(wide: Any) -> None:
    from playwright.sync_api import expect

    turn = ask(wide, QUESTION)
    turn.get_by_role("button", name="Whose voice?").click()
    expect(turn.locator(".voice")).to_contain_text("Sounds like the author", timeout=60_000)


def test_a_text_that_is_too_short_has_no_bar(wide: Any) -> None:
    from playwright.sync_api import expect

    said = {"author": "Wren Marlow", "words": 9, "probability": None, "refused": "it has 9 words", "auc": 0.9}
    wide.route("**/voice", lambda route: route.fulfill(json=said))
    turn = ask(wide, QUESTION)
    turn.get_by_role("button", name="Whose voice?").click()
    expect(turn.locator(".more p")).to_have_text("Cannot tell: it has 9 words.")
    assert turn.locator("meter").count() == 0


@pytest.mark.parametrize(("share", "words"), [(0.93, "Sounds like the author"), (0.1, "somebody else")])
def test_a_voice_is_a_bar_with_words(wide: Any, share: float, words: str, faults: Faults) -> None:
    from playwright.sync_api import expect

    said = {"author": "Wren Marlow", "words": 90, "probability": share, "refused": "", "auc": 0.9}
    wide.route("**/voice", lambda route: route.fulfill(json=said))
    turn = ask(wide, QUESTION)
    turn.get_by_role("button", name="Whose voice?").click()
    expect(turn.get_by_role("meter")).to_have_attribute("value", str(share))
    expect(turn.locator(".voice")).to_contain_text(words)
    assert faults(wide) == []


def test_two_models_answer_side_by_side(page: Any, faults: Faults) -> None:
    from playwright.sync_api import expect

    page.get_by_role("button", name="Settings").click()
    assert faults(page) == []
    page.get_by_role("button", name="Done").click()
    choose(page, other="wren-marlow:plain", theme="dark")
    turn = ask(page, QUESTION, answers=2)
    expect(turn.locator("h3").first).to_have_text("wren-marlow")
    expect(turn.get_by_label("Answer of wren-marlow:plain")).to_contain_text("the north wall")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(20, 22, 27)"
    assert faults(page) == []


def test_documents_are_listed_and_searched(page: Any, faults: Faults) -> None:
    from playwright.sync_api import expect

    page.get_by_role("link", name="Documents").click()
    expect(page.locator("#found")).to_contain_text("documents")
    assert page.locator("#results li").count() > 20
    page.get_by_label("Search the passages").fill("tide clock with one hand")
    page.keyboard.press("Enter")
    expect(page.locator("#found")).to_contain_text("passages")
    assert faults(page) == []
    page.locator("#results a").first.click()
    expect(page.locator("#document mark")).to_be_in_viewport()
    page.get_by_role("link", name="Back to the documents").click()
    expect(page.locator("#found")).to_contain_text("passages")


def test_a_list_that_comes_late_does_not_replace_what_was_searched(wide: Any) -> None:
    from playwright.sync_api import expect

    held: list[Any] = []
    wide.route("**/documents?*", lambda route: held.append(route))
    wide.get_by_role("link", name="Documents").click()
    wide.get_by_label("Search the passages").fill("tide clock with one hand")
    wide.keyboard.press("Enter")
    expect(wide.locator("#found")).to_contain_text("passages")
    for late in held:
        with wide.expect_response("**/documents?*"):
            late.continue_()
    assert held
    expect(wide.locator("#found")).to_contain_text("passages")
    wide.unroute("**/documents?*")
    wide.get_by_label("Search the passages").fill("")
    expect(wide.locator("#found")).to_contain_text("documents")


def test_hostile_answers_and_questions_are_texts(wide: Any, hostile: list[str]) -> None:
    """Two hundred, six a question, echoed by a model without passages: question, stream, rendered answer, title."""
    from playwright.sync_api import expect

    choose(wide, retrieval=False)
    assert len(hostile) >= 200
    kept = ["\n\n".join(hostile[i : i + 6]) for i in range(0, len(hostile), 6)]
    for payload in kept:
        wide.get_by_role("button", name="New conversation").click()
        turn = ask(wide, payload)
        expect(turn.locator("h2").first).to_contain_text(payload.split("\n")[0].strip()[:12])
        assert turn.locator("img, script, iframe, svg, video, [onerror], [onload], [onfocus]").count() == 0
        for link in turn.locator(".words a[href]").all():
            assert link.get_attribute("href").startswith(("http://", "https://", "mailto:"))
    turn.get_by_role("button", name="How I'd have said it").click()
    turn.get_by_label("The answer as you would have given it").fill("\n\n".join(hostile))
    turn.get_by_role("button", name="Keep").click()
    expect(turn).to_contain_text("Kept. Thank you.")
    wide.reload()
    assert len(json.loads(wide.evaluate("localStorage['twin.conversations']"))) >= len(kept)


def test_hostile_documents_are_texts(wide: Any, served: Served) -> None:
    from playwright.sync_api import expect

    wide.get_by_role("link", name="Documents").click()
    wide.get_by_label("Search the passages").fill("a hostile lathe, number")
    wide.keyboard.press("Enter")
    expect(wide.locator("#found")).to_contain_text("passages")
    addresses = [link.get_attribute("href") for link in wide.locator("#results a").all()]
    shown = ""
    for address in addresses:
        wide.goto(f"{served.url}/{address}")
        expect(wide.locator("#document h1")).to_be_visible()
        assert wide.locator("main img, main script, main iframe, main svg").count() == 0
        shown += wide.locator("#document").inner_text()
    assert "hostile lathe" in shown and "owned" in shown


def test_a_key_is_sent_along_and_not_kept(wide: Any) -> None:
    from playwright.sync_api import expect

    expect(wide.locator("#examples li").first).to_be_visible()  # the last call that had no key yet
    wide.get_by_role("button", name="Settings").click()
    wide.get_by_label("Key").fill("secret")
    sent: list[tuple[str, str | None]] = []
    wide.on("request", lambda request: sent.append((request.url, request.headers.get("authorization"))))
    wide.get_by_role("button", name="Done").click()
    expect(wide.locator("#settings")).to_be_hidden()
    ask(wide, QUESTION)
    assert sent and {key for _, key in sent} == {"Bearer secret"}, sent
    assert wide.evaluate("JSON.stringify(localStorage)").count("secret") == 0


def test_a_question_asked_the_moment_the_settings_close_has_the_new_key(wide: Any) -> None:
    from playwright.sync_api import expect

    expect(wide.locator("#examples li").first).to_be_visible()
    wide.get_by_role("button", name="Settings").click()
    wide.get_by_label("Key").fill("secret")
    at_once = """(question) => {
        document.querySelector("#settings-form button.main").click();
        document.getElementById("question").value = question;
        document.getElementById("send").click();
    }"""
    with wide.expect_request("**/v1/chat/completions") as asked:
        wide.evaluate(at_once, QUESTION)
    assert asked.value.headers.get("authorization") == "Bearer secret"
    whole(wide.locator(".turn").last)
