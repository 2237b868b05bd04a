"""How many jobs each caller may have, over queues that are made up: nobody's share is taken by another."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from llm_twin.serving.orders import Order
from llm_twin.serving.refusals import Refusal
from llm_twin.serving.shares import MOST_OWED, SHARES, check_share, forgettable
from llm_twin.settings import JobSettings
from llm_twin.types import Job

START = datetime(2026, 1, 1, tzinfo=UTC)
QUIET, CALLED = (
    Order(model="m", webhook=webhook, secret="s").model_dump_json() for webhook in ("", "https://x.org")
)


def job(number: int, owner: str, state: str = "done", **more: Any) -> Job:
    ended = START if state in ("done", "failed") else None
    created = START + timedelta(seconds=number)
    given = {"order": QUIET, "ended": ended, "told": "yes", **more}
    return Job(id=str(number), created=created, owner=owner, state=state, **given)  # type: ignore[arg-type]


def many(owner: str, count: int, state: str = "done", start: int = 0, **more: Any) -> list[Job]:
    return [job(start + i, owner, state, **more) for i in range(count)]


def refused(jobs: list[Job], owner: str, **limits: int) -> bool:
    try:
        check_share(jobs, owner, JobSettings(**limits))  # type: ignore[arg-type]
    except Refusal as refusal:
        assert refusal.status == 429 and refusal.retry_after
        return True
    return False


def test_one_callers_jobs_leave_the_places_of_another() -> None:
    full = many("a", 3, "queued") + many("b", 2, "queued", start=3)
    assert refused(full, "a", waiting=3)
    assert not refused(full, "b", waiting=3)
    assert not refused(many("a", 9, "running") + many("a", 9, "cancelled"), "a", waiting=3)


def test_when_all_together_have_their_most_each_may_have_one() -> None:
    full = [each for i in range(SHARES) for each in many(f"key {i}", 2, "queued", start=2 * i)]
    assert not refused(full, "new", waiting=2)
    assert refused([*full, job(99, "new", "queued")], "new", waiting=2)


def test_a_caller_whose_webhooks_take_nothing_is_stopped() -> None:
    owed = many("a", MOST_OWED, told="owed", order=CALLED)
    assert refused(owed, "a") and not refused(owed, "b") and not refused(owed[1:], "a")
    assert not refused(many("a", MOST_OWED, told="owed"), "a"), "these have no webhook"


def test_one_callers_jobs_do_not_drive_out_anothers_answers() -> None:
    jobs = many("b", 2) + many("a", 5, start=2)
    assert [each.id for each in forgettable(jobs, keep=3)] == ["2", "3"]


def test_what_is_owed_to_a_webhook_is_never_forgotten() -> None:
    jobs = [*many("a", 3, told="owed", order=CALLED), *many("a", 2, "running", start=3), job(5, "a")]
    assert [each.id for each in forgettable(jobs, keep=0)] == ["5"]
    assert len(forgettable(many("a", 3, told="owed"), keep=1)) == 2, "these have no webhook"


@given(
    st.lists(
        st.tuples(st.sampled_from("abcdefg"), st.sampled_from(["yes", "owed", "given up"])), max_size=60
    ),
    st.integers(0, 3),
)
def test_who_keeps_fewer_loses_nothing_to_who_keeps_more(made: list[tuple[str, str]], keep: int) -> None:
    jobs = [job(i, owner, told=told, order=CALLED) for i, (owner, told) in enumerate(made)]
    gone = {each.id for each in forgettable(jobs, keep)}
    free = [each for each in jobs if each.told != "owed"]
    left = [each for each in free if each.id not in gone]
    held, had = Counter(each.owner for each in left), Counter(each.owner for each in free)
    assert gone <= {each.id for each in free}
    assert all(count <= keep for count in held.values()) and len(left) <= SHARES * keep
    assert len(left) == min(sum(min(keep, count) for count in had.values()), SHARES * keep)
    for owner in had:
        own = [each.id for each in free if each.owner == owner]
        assert [each for each in own if each not in gone] == own[len(own) - held[owner] :], "the oldest go"
        if held[owner] < min(had[owner], keep):
            assert held[owner] >= max(held.values()) - 1
