"""What every Queue promises, over SQLite and over a real Redis. A new adapter joins with one line in QUEUES.

Kills are real: another process works at the queue and gets SIGKILL.
"""

import importlib
import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from llm_twin.errors import InputError, TwinError
from llm_twin.ports import Progress, Queue
from llm_twin.types import Job

LONG = 30.0
Open = Callable[[], Queue]
HUEY = "llm_twin.adapters.queue_huey:HueyQueue"


def sqlite(folder: Path, request: pytest.FixtureRequest) -> list[Any]:
    return [HUEY, str(folder / "jobs"), {"pauses": [0, 0]}]


def redis(folder: Path, request: pytest.FixtureRequest) -> list[Any]:
    url = request.getfixturevalue("redis_server")
    return [HUEY, str(folder / "jobs"), {"redis": url, "name": folder.name, "pauses": [0, 0]}]


QUEUES = [sqlite, pytest.param(redis, marks=pytest.mark.slow)]
CHILD = """
import importlib, json, pathlib, sys, time
from datetime import UTC, datetime
from llm_twin.types import Job

(named, folder, options), stands = json.loads(sys.argv[1]), sys.argv[2]
module, _, name = named.partition(":")
queue = getattr(importlib.import_module(module), name)(pathlib.Path(folder), **options)

def reached(what):
    if what == stands:
        print("here", flush=True)
        time.sleep(600)

for job in sys.argv[3:]:
    queue.submit(Job(id=job, created=datetime.now(UTC), total=2))
queue.work(lambda job, step: reached("do"), lambda job: reached("tell"))
time.sleep(600)
"""


@pytest.fixture(params=QUEUES)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> list[Any]:
    """What it takes to open one and the same queue, in this process or in another."""
    found: list[Any] = request.param(tmp_path, request)
    return found


@pytest.fixture
def reopen(place: list[Any]) -> Open:
    """Opens the same queue anew each time it is called."""
    named, folder, options = place
    module, _, name = named.partition(":")
    opened: Open = lambda: getattr(importlib.import_module(module), name)(Path(folder), **options)  # noqa: E731
    return opened


def killed(place: list[Any], stands: str, *jobs: str) -> None:
    """A process works at `jobs` and is killed where it stands: in "do" or in "tell"."""
    command = [sys.executable, "-c", CHILD, json.dumps(place), stands, *jobs]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "here\n"
        process.kill()


@pytest.fixture
def queue(reopen: Open) -> Iterator[Queue]:
    with closing(reopen()) as opened:
        yield opened


def job(name: str, **more: Any) -> Job:
    return Job(id=name, created=datetime.now(UTC), total=2, **more)


class Work:
    """Does jobs and notes what it did; a job named in `held` stands still until it is let go."""

    def __init__(self, held: str = "", fails: type[Exception] | None = None) -> None:
        self.done: list[str] = []
        self.told: list[str] = []
        self.held, self.fails = held, fails
        self.begun, self.go = threading.Event(), threading.Event()
        self._ended = threading.Condition()

    def do(self, job: Job, step: Progress) -> None:
        if job.id == self.held:
            self.begun.set()
            assert self.go.wait(LONG)
        step(1, 2, "")
        if self.fails is not None:
            raise self.fails("no luck")
        step(2, 2, "")
        self.done.append(job.id)

    def tell(self, job: Job) -> None:
        with self._ended:
            self.told.append(f"{job.id} {job.state}")
            self._ended.notify_all()

    def wait(self, *told: str) -> None:
        """Until all this was told."""
        with self._ended:
            assert self._ended.wait_for(lambda: set(told) <= set(self.told), LONG), self.told


def test_jobs_run_in_order_and_their_ends_are_told(queue: Queue) -> None:
    given = [job(name, owner="me", order="{}") for name in "abc"]
    queue.submit(given[0])
    assert queue.job("a") == given[0]
    work = Work()
    queue.work(work.do, work.tell)
    for each in given[1:]:
        queue.submit(each)
    work.wait("a done", "b done", "c done")
    assert work.done == ["a", "b", "c"]
    assert [j.id for j in queue.jobs()] == ["a", "b", "c"]
    ended = queue.job("c")
    assert (ended.state, ended.done, ended.total, ended.owner) == ("done", 2, 2, "me")
    assert ended.ended is not None and ended.ended >= ended.created


def test_what_is_unknown_is_said_to_be_and_what_was_removed_is_unknown(queue: Queue) -> None:
    queue.submit(job("a"))
    queue.remove("a")
    queue.remove("nobody")
    for ask in (queue.job, queue.cancel, queue.retry):
        with pytest.raises(InputError, match="no job a"):
            ask("a")
    assert queue.jobs() == []


def test_a_queued_job_that_was_cancelled_never_runs_until_it_is_tried_again(queue: Queue) -> None:
    queue.submit(job("a"))
    queue.submit(job("b"))
    assert queue.cancel("a").state == "cancelled"
    with pytest.raises(InputError, match="cancelled"):
        queue.cancel("a")
    work = Work()
    queue.work(work.do, work.tell)
    work.wait("a cancelled", "b done")
    assert work.done == ["b"]
    assert queue.retry("a").state != "cancelled"
    work.wait("a done")
    assert work.done == ["b", "a"]


def test_a_running_job_that_is_cancelled_ends_at_its_next_step(queue: Queue) -> None:
    work = Work(held="a")
    queue.work(work.do, work.tell)
    queue.submit(job("a"))
    assert work.begun.wait(LONG)
    assert queue.job("a").state == "running"
    queue.cancel("a")
    work.go.set()
    work.wait("a cancelled")
    assert (work.done, queue.job("a").state) == ([], "cancelled")


@pytest.mark.parametrize(("error", "said"), [(InputError, "no luck"), (ValueError, "on this side")])
def test_a_job_that_raises_failed_and_can_be_tried_again(
    queue: Queue, error: type[Exception], said: str
) -> None:
    work = Work(fails=error)
    queue.work(work.do, work.tell)
    queue.submit(job("a"))
    work.wait("a failed")
    failed = queue.job("a")
    assert (failed.state, failed.done) == ("failed", 1) and said in failed.error
    work.fails = None
    queue.retry("a")
    work.wait("a done")
    assert queue.job("a").error == ""
    with pytest.raises(InputError, match="done"):
        queue.retry("a")


def test_tried_again_twice_it_runs_once(queue: Queue) -> None:
    queue.submit(job("a"))
    queue.cancel("a")
    queue.retry("a")
    queue.cancel("a")
    queue.retry("a")
    queue.submit(job("b"))
    work = Work()
    queue.work(work.do, work.tell)
    work.wait("a done", "b done")
    assert work.done == ["a", "b"]


def test_a_queue_that_closes_leaves_its_job_to_the_next(reopen: Open) -> None:
    begun = threading.Event()

    def endless(job: Job, step: Progress) -> None:
        while True:
            step(1, 2, "")
            begun.set()

    first = reopen()
    first.submit(job("a"))
    first.submit(job("b"))
    first.work(endless, Work().tell)
    assert begun.wait(LONG)
    first.close()
    first.close()
    with pytest.raises(TwinError, match="closed"):
        first.jobs()
    with closing(reopen()) as second:
        assert [(j.state, j.told) for j in second.jobs()] == [("queued", "no")] * 2
        work = Work()
        second.work(work.do, work.tell)
        work.wait("a done", "b done")
        assert sorted(work.done) == ["a", "b"]


def test_what_a_killed_process_left_is_done_once(place: list[Any], reopen: Open) -> None:
    killed(place, "do", "running", "queued")
    with closing(reopen()) as second:
        assert second.job("running").state == "running"  # its message is taken, its record says that it runs
        work = Work()
        second.work(work.do, work.tell)
        work.wait("running done", "queued done")
        assert sorted(work.done) == ["queued", "running"]


def test_an_ending_is_told_again_until_it_is_given_up(reopen: Open) -> None:
    tries = []
    enough = threading.Event()

    def tell(job: Job) -> None:
        tries.append(job.told)
        if len(tries) == 3:
            enough.set()
        raise TwinError("nobody listens")

    with closing(reopen()) as first:
        first.work(Work().do, tell)
        first.submit(job("a"))
        assert enough.wait(LONG)
    with closing(reopen()) as second:
        assert second.job("a").told == "given up"
    assert tries == ["owed"] * 3


def test_an_ending_that_a_kill_kept_from_being_told_is_told_by_the_next(
    place: list[Any], reopen: Open
) -> None:
    killed(place, "tell", "a")
    with closing(reopen()) as second:
        assert (second.job("a").state, second.job("a").told) == ("done", "owed")
        work = Work()
        second.work(work.do, work.tell)
        work.wait("a done")
        assert work.done == []


def test_an_ending_is_told_while_the_next_job_runs(queue: Queue) -> None:
    work = Work(held="b")
    queue.work(work.do, work.tell)
    for name in "abc":
        queue.submit(job(name))
    work.wait("a done")
    assert work.begun.wait(LONG) and (queue.job("b").state, work.done) == ("running", ["a"])
    queue.cancel("c")  # its turn has not come, and it ends all the same
    work.wait("c cancelled")
    assert queue.job("c").ended is not None and queue.job("b").state == "running"
    work.go.set()
    work.wait("b done")
    assert (work.told.count("c cancelled"), work.done) == (1, ["a", "b"])


def test_an_ending_is_told_again_while_the_next_job_runs(queue: Queue) -> None:
    work, refused = Work(held="b"), []

    def tell(job: Job) -> None:
        assert work.begun.wait(LONG)
        if not refused:
            refused.append(job.id)
            raise ValueError("nobody foresaw this")
        work.tell(job)

    queue.work(work.do, tell)
    queue.submit(job("a"))
    queue.submit(job("b"))
    work.wait("a done")
    assert (refused, queue.job("b").state) == (["a"], "running")
    work.go.set()


def test_a_receiver_that_sleeps_holds_up_neither_jobs_nor_others(queue: Queue) -> None:
    work, awake = Work(), threading.Event()

    def tell(job: Job) -> None:
        assert job.id != "a" or awake.wait(LONG)
        work.tell(job)

    queue.work(work.do, tell)
    for name in "abc":
        queue.submit(job(name))
    work.wait("b done", "c done")
    assert "a done" not in work.told and queue.job("a").told == "owed"
    awake.set()
    work.wait("a done")


def test_a_job_that_is_tried_again_while_its_ending_is_told_has_its_next_ending_told(queue: Queue) -> None:
    work, telling, go = Work(fails=InputError), threading.Event(), threading.Event()

    def tell(job: Job) -> None:
        if job.state == "failed":
            telling.set()
            assert go.wait(LONG)
        work.tell(job)

    queue.work(work.do, tell)
    queue.submit(job("a"))
    assert telling.wait(LONG)
    work.fails, work.held = None, "a"
    queue.retry("a")
    assert work.begun.wait(LONG)
    go.set()
    work.wait("a failed")
    assert queue.job("a").told == "no"
    work.go.set()
    work.wait("a done")
