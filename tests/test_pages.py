"""A blind test and a round of labelling as their pages see them: kept, resumed, and told only at the end."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from llm_twin.errors import InputError
from llm_twin.evaluation.blind import BlindItem
from llm_twin.evaluation.labels import LabelItem
from llm_twin.evaluation.people import Guess, Label, blind_verdict, in_words
from llm_twin.journal import Journal
from llm_twin.pages import (
    BlindRound,
    LabelRound,
    blind_app,
    blind_result,
    label_app,
    serve_blind,
    serve_label,
)

HERE = "http://127.0.0.1:8123"
SENT = {"origin": HERE, "content-type": "application/json"}
HOSTILE = "<img src=x onerror=alert(1)><script>alert(2)</script>'\"&"
Say = Callable[[dict[str, Any]], dict[str, Any]]


def blind_item(number: int) -> BlindItem:
    real_first = number % 3 != 1
    passages = [f"Mine {number}.", f"Made {number}."]
    first, second = passages if real_first else passages[::-1]
    return BlindItem(
        id=f"i{number}",
        model="twin",
        kind=("article", "post")[number % 2],
        instruction=f"Question {number}? {HOSTILE}",
        first=first,
        second=second,
        real_first=real_first,
    )


def label_item(number: int) -> LabelItem:
    return LabelItem(
        id=f"l{number}",
        question=f"Why {number}? {HOSTILE}",
        passages=("A passage.",),
        answer="Because.",
        dimension="answer faithfulness",
    )


ITEMS = [blind_item(number) for number in range(6)]
LABELS = [label_item(number) for number in range(4)]


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "said.jsonl"


def opened(app: Any) -> tuple[dict[str, Any], Say]:
    client = TestClient(app, base_url=HERE)

    def say(body: dict[str, Any]) -> dict[str, Any]:
        got = client.post("/t/answer", content=json.dumps(body), headers=SENT)
        assert got.headers["content-type"] == "application/json"
        return dict(got.json(), status=got.status_code)

    return client.get("/t/state").json(), say


def right(item: BlindItem) -> int:
    return 1 if item.real_first else 2


def test_a_blind_test_from_the_first_item_to_the_end(store: Path) -> None:
    state, say = opened(blind_app(ITEMS, store, "Wren", "t"))
    assert (state["author"], state["done"], state["total"], state["end"]) == ("Wren", 0, 6, None)
    for number, item in enumerate(ITEMS):
        assert state["item"]["id"] == item.id and state["done"] == number
        picked = right(item) if number != 2 else 3 - right(item)
        state = say({"id": item.id, "picked": picked})
    said = blind_result(ITEMS, store, "Wren")
    found = said.blind
    assert said.guessed_before == 0
    assert found.total and (found.total.correct, found.total.guesses) == (5, 6)
    assert state["item"] is None
    assert state["end"]["blind"] == json.loads(found.model_dump_json())
    assert state["end"]["words"] == said.words == in_words(found, "Wren")
    assert [told["right"] for told in state["end"]["review"]] == [True, True, False, True, True, True]
    assert all(told["real"].startswith("Mine") for told in state["end"]["review"])


def test_what_is_sent_before_the_end_does_not_say_which_is_whose(store: Path) -> None:
    state, say = opened(blind_app(ITEMS, store, "Wren", "t"))
    for item in ITEMS[:-1]:
        assert state["item"].keys() == {"id", "instruction", "passages"}
        assert state["end"] is None
        # The same keys and values whichever comes first: only the two passages themselves trade places.
        swapped = item.model_copy(
            update={"first": item.second, "second": item.first, "real_first": not item.real_first}
        )
        other, _ = opened(blind_app([swapped], store.with_name(item.id), "Wren", "t"))
        assert {**state["item"], "passages": state["item"]["passages"][::-1]} == other["item"]
        state = say({"id": item.id, "picked": 1})


def test_a_stopped_test_goes_on_and_nothing_counts_twice(store: Path) -> None:
    _, say = opened(blind_app(ITEMS, store, "Wren", "t"))
    say({"id": "i0", "picked": 1})
    state, say = opened(blind_app(ITEMS, store, "Wren", "t"))
    assert (state["done"], state["item"]["id"]) == (1, "i1")
    again = say({"id": "i0", "picked": 2})
    assert (again["status"], again["done"]) == (200, 1)
    (guess,) = Journal(store, Guess).read()
    assert guess.picked_first and (guess.model, guess.kind) == ("twin", "article")


def test_guesses_of_another_test_in_the_same_file_do_not_count(store: Path) -> None:
    _, say = opened(blind_app(ITEMS[:2], store, "Wren", "t"))
    say({"id": "i0", "picked": 1})
    state, _ = opened(blind_app(ITEMS[3:], store, "Wren", "t"))
    assert state["done"] == 0
    assert blind_result(ITEMS[3:], store, "Wren").blind.total is None


def test_pairs_that_were_guessed_about_in_another_order_are_told(store: Path) -> None:
    """Two rounds over the same four pairs, and of the second's one that the first had left."""
    pairs = [f"{number:016x}" for number in range(4)]
    rounds = [
        [item.model_copy(update={"id": pair + seed}) for item, pair in zip(ITEMS, pairs, strict=False)]
        for seed in ("aaaaaaaa", "bbbbbbbb")
    ]
    for items, many in zip(rounds, (3, 4), strict=True):
        _, say = opened(blind_app(items, store, "Wren", "t"))
        for item in items[:many]:
            state = say({"id": item.id, "picked": right(item)})
    first, second = (blind_result(items, store, "Wren") for items in rounds)
    assert first.guessed_before == 0 and "guessed about before" not in first.words
    assert second.guessed_before == 3 and "3 of these pairs had been guessed about before" in second.words
    assert second.blind.total and second.blind.total.guesses == 4, "a round is whole for who took it"
    assert state["end"]["words"] == second.words


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"id": "i0"},
        {"id": "i0", "picked": 3},
        {"id": "nobody", "picked": 1},
        {"id": "i0", "picked": 1, "x": 1},
    ],
)
def test_an_answer_that_makes_no_sense_is_refused(store: Path, body: dict[str, Any]) -> None:
    _, say = opened(blind_app(ITEMS, store, "Wren", "t"))
    said = say(body)
    assert said["status"] == 400 and "reload the page" in said["error"]
    assert not store.exists()


@pytest.mark.parametrize("body", [b"", b"[" * 4000, b"\xff\xfe", b"null", b'{"id":"i0","picked":1}{}'])
def test_an_answer_that_is_not_json_is_refused(store: Path, body: bytes) -> None:
    for each in (BlindRound(ITEMS, Journal(store, Guess), "Wren"), LabelRound(LABELS, Journal(store, Label))):
        with pytest.raises(InputError, match="that is no answer"):
            each.answer(body)


def test_labelling_good_bad_and_skip(store: Path) -> None:
    state, say = opened(label_app(LABELS, store, "t"))
    assert state["item"]["needed"] == ["answer", "passages"] and state["item"]["asked"].endswith("?")
    for said in ("good", "bad", "skip", "good"):
        state = say({"id": state["item"]["id"], "said": said})
    assert state["end"] == {"given": 3, "skipped": 1} and state["done"] == 4
    assert [(label.id, label.good) for label in Journal(store, Label).read()] == [
        ("l0", True),
        ("l1", False),
        ("l3", True),
    ]
    state, say = opened(label_app(LABELS, store, "t"))
    assert (state["item"]["id"], state["done"]) == ("l2", 3)  # skipped ones come again
    assert say({"id": "l2", "said": "bad"})["end"] == {"given": 4, "skipped": 0}
    assert say({"id": "l2", "said": "fine"})["status"] == 400


def test_hostile_texts_travel_as_data_only(store: Path) -> None:
    for app in (blind_app(ITEMS, store, HOSTILE, "t"), label_app(LABELS, store, "t")):
        client = TestClient(app, base_url=HERE)
        assert "alert(" not in client.get("/t/").text
        got = client.get("/t/state")
        assert HOSTILE in json.dumps(got.json(), ensure_ascii=False).replace('\\"', '"')
        assert got.headers["content-type"] == "application/json"
        assert got.headers["x-content-type-options"] == "nosniff"


def test_a_damaged_store_is_said_before_anything_is_served(store: Path) -> None:
    store.write_text("nonsense\n")
    with pytest.raises(InputError, match="line 1"):
        serve_blind(ITEMS, store, "Wren", open_browser=False)
    with pytest.raises(InputError, match="line 1"):
        serve_label(LABELS, store, open_browser=False)


def guess(number: int, is_right: bool) -> Guess:
    made = {"id": str(number), "created": "2026-11-23T00:00:00Z", "model": "twin", "kind": "post"}
    return Guess.model_validate({**made, "real_first": True, "picked_first": is_right})


@pytest.mark.parametrize(
    ("rights", "of", "says"),
    [
        (
            18,
            24,
            "18 times out of 24: 75% (95% interval 53% to 90%; guessing gives 50%). That is more than guessing",
        ),
        (12, 24, "That does not differ from guessing: the twin was not told apart."),
        (4, 24, "That is less than guessing: the twin was taken for Wren."),
        (3, 5, "No verdict: 5 guesses, and it takes 20 to say anything."),
        (0, 0, "No guess was made."),
    ],
)
def test_a_verdict_in_words(rights: int, of: int, says: str) -> None:
    assert says in in_words(blind_verdict([guess(n, n < rights) for n in range(of)]), "Wren")
