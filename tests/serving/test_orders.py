"""How its owner sees a job: without secret and owner, with the answers that are there."""

import json
from datetime import UTC, datetime
from pathlib import Path

from llm_twin.inference.batch import Answered
from llm_twin.serving.orders import JobLine, JobWhole, Order, answered_at, is_owed
from llm_twin.types import Job

NOW = datetime.now(UTC)
SECRET = "whsec_AAAA"


def job(webhook: str = "", told: str = "owed") -> Job:
    order = Order(model="wren-marlow", webhook=webhook, secret=SECRET if webhook else "")
    given = {"order": order.model_dump_json(), "owner": "me", "total": 3, "told": told}
    return Job(id="ab", created=NOW, ended=NOW, **given)  # type: ignore[arg-type]


def test_what_its_owner_sees_holds_neither_owner_nor_secret() -> None:
    shown = json.loads(JobLine.of(job("https://hooks.example.org/")).model_dump_json())
    assert shown["webhook"] == "https://hooks.example.org/"
    assert SECRET not in json.dumps(shown) and "owner" not in shown


def test_only_a_webhook_is_owed_an_ending() -> None:
    assert is_owed(job("https://hooks.example.org/")) and not is_owed(job())
    assert not is_owed(job("https://hooks.example.org/", told="yes"))
    assert JobLine.of(job()).told == "no"


def test_answers_stand_in_the_order_of_the_questions(tmp_path: Path) -> None:
    assert JobWhole.read(tmp_path, job()).answers == ()
    rows = [
        Answered(question=f"{i}?", text="Salt.", mode="write", found=True, id=str(i), author="A")
        for i in (10, 9, 2)
    ]
    answered_at(tmp_path, "ab").write_text("".join(row.model_dump_json() + "\n" for row in rows) + '{"ques')
    whole = JobWhole.read(tmp_path, job())
    assert [(each.number, each.question) for each in whole.answers] == [(2, "2?"), (9, "9?"), (10, "10?")]
    assert (whole.id, whole.total) == ("ab", 3)
