"""/jobs: many questions at once, answered while nobody waits; asked for later, or told to a webhook.

A key sees the jobs that were made with it, and no other. Not covered: priorities; jobs that run side by side.
"""

import secrets
import threading
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from pydantic import Field, StringConstraints, field_validator, model_validator

from llm_twin.errors import InputError
from llm_twin.ports import Queue
from llm_twin.serving.errands import Errands
from llm_twin.serving.orders import JobLine, JobWhole, Order
from llm_twin.serving.refusals import Refusal, declared
from llm_twin.serving.room import Room
from llm_twin.serving.shares import check_share, forgettable
from llm_twin.serving.speech import Speech
from llm_twin.serving.visitor import Owner, Seen
from llm_twin.serving.webhook import check_url, key_of
from llm_twin.serving.written import Text
from llm_twin.settings import JobSettings
from llm_twin.text import words
from llm_twin.types import Job, Value

Question = Annotated[Text, StringConstraints(min_length=1, max_length=4000)]


class JobRequest(Value):
    """The body of POST /jobs. `model` is the twin or the twin quoting.

    With `webhook` its end is POSTed there, signed with `webhook_secret` ("whsec_" and the base64 of 24 to 64 bytes)
    as Standard Webhooks has it.
    """

    questions: tuple[Question, ...] = Field(min_length=1)
    model: str = Field("", max_length=200)
    webhook: str | None = Field(None, min_length=1, max_length=2000)
    webhook_secret: str | None = Field(None, max_length=200)

    @field_validator("questions")
    @classmethod
    def _ask_something(cls, questions: tuple[str, ...]) -> tuple[str, ...]:
        for number, text in enumerate(questions, 1):
            if not words(text):
                raise ValueError(f"there is no question in number {number}")
        return questions

    @model_validator(mode="after")
    def _both_or_none(self) -> "JobRequest":
        if (self.webhook is None) != (self.webhook_secret is None):
            raise ValueError("webhook and webhook_secret come together")
        return self


class JobMade(Value):
    """The answer of POST /jobs."""

    id: str


class JobList(Value):
    """Some of the caller's jobs, the newest first; `total` is how many there are."""

    total: int
    jobs: tuple[JobLine, ...]


class Desk:
    """The caller's side of the queue: who may see which job, and how many of them (see `shares`)."""

    def __init__(self, queue: Queue, errands: Errands, speech: Speech, limits: JobSettings) -> None:
        self._queue, self._errands, self._speech, self._limits = queue, errands, speech, limits
        self._lock = threading.Lock()

    def make(self, asked: JobRequest, model: str, owner: str | None) -> str:
        """Queue a job and return its id; raises Refusal (429) when the owner has too many."""
        order = Order(model=model, webhook=asked.webhook or "", secret=asked.webhook_secret or "")
        job = Job(
            id=secrets.token_hex(16),
            created=datetime.now(UTC),
            owner=owner or "",
            order=order.model_dump_json(),
            total=len(asked.questions),
        )
        with self._lock:
            jobs = self._queue.jobs()
            check_share(jobs, job.owner, self._limits)
            self._errands.keep(job.id, asked.questions)
            self._queue.submit(job)
            for old in forgettable(jobs, self._limits.keep):
                self._queue.remove(old.id)
                self._errands.forget(old.id)
        return job.id

    def own(self, owner: str | None) -> list[Job]:
        """The caller's jobs, the newest first."""
        return [job for job in reversed(self._queue.jobs()) if owner in (None, job.owner)]

    def one(self, job_id: str, owner: str | None) -> Job:
        """One of the caller's jobs; another's is as unknown (404) as one that never was."""
        try:
            job = self._queue.job(job_id)
        except InputError as error:
            raise _unknown(job_id) from error
        if owner not in (None, job.owner):
            raise _unknown(job_id)
        return job

    def whole(self, job_id: str, owner: str | None) -> JobWhole:
        """With its answers."""
        return JobWhole.read(self._errands.folder, self.one(job_id, owner))

    def cancel(self, job_id: str, owner: str | None) -> JobLine:
        """Refusal (409) for one that has ended."""
        self.one(job_id, owner)
        try:
            return JobLine.of(self._queue.cancel(job_id))
        except InputError as error:
            raise Refusal(409, str(error), "wrong_state") from error

    def retry(self, job_id: str, owner: str | None) -> JobLine:
        """Refusal (409) for one that neither failed nor was cancelled."""
        job = self.one(job_id, owner)
        with self._lock:
            check_share(self._queue.jobs(), job.owner, self._limits)
            try:
                return JobLine.of(self._queue.retry(job_id))
            except InputError as error:
                raise Refusal(409, str(error), "wrong_state") from error

    def check(self, asked: JobRequest, model: str) -> None:
        """Raise Refusal for what no job can do."""
        most = self._limits.most_questions
        if len(asked.questions) > most:
            raise Refusal(422, f"a job has at most {most} questions", "too_many", "questions")
        if model not in (self._speech.twin, f"{self._speech.twin}:quote"):
            raise Refusal(400, "a job is answered from passages", "unsupported", "model")
        if asked.webhook is None or asked.webhook_secret is None:
            return
        _check_field("webhook", lambda: check_url(asked.webhook or "", self._limits.webhooks_to_private))
        _check_field("webhook_secret", lambda: key_of(asked.webhook_secret or ""))


def job_routes(desk: Desk, speech: Speech, room: Room) -> APIRouter:
    """The routes; the queue is asked in `room`."""
    router = APIRouter(tags=["jobs"])

    @router.post("/jobs", status_code=202, responses=declared(400, 404, 413, 429))
    async def make(asked: JobRequest, request: Request, seen: Seen, owner: Owner) -> JobMade:
        """Queue questions; the answers are to be had at GET /jobs/{id} once they are there."""
        model = speech.known(asked.model, seen)
        desk.check(asked, model)
        return JobMade(id=await room.one(lambda: desk.make(asked, model, owner), request))

    @router.get("/jobs", responses=declared(429))
    async def jobs(
        request: Request,
        owner: Owner,
        limit: Annotated[int, Query(ge=1, le=200)] = 50,
        offset: Annotated[int, Query(ge=0, le=10_000_000)] = 0,
    ) -> JobList:
        """The caller's own jobs, the newest first."""
        found = await room.one(lambda: desk.own(owner), request)
        return JobList(total=len(found), jobs=tuple(map(JobLine.of, found[offset : offset + limit])))

    @router.get("/jobs/{job_id}", responses=declared(404, 429))
    async def job(job_id: str, request: Request, owner: Owner) -> JobWhole:
        """How far a job is, and its answers."""
        return await room.one(lambda: desk.whole(job_id, owner), request)

    @router.post("/jobs/{job_id}/cancel", responses=declared(404, 409, 413, 429))
    async def cancel(job_id: str, request: Request, owner: Owner) -> JobLine:
        """A queued job never runs; a running one ends after the answers it is at."""
        return await room.one(lambda: desk.cancel(job_id, owner), request)

    @router.post("/jobs/{job_id}/retry", responses=declared(404, 409, 413, 429))
    async def retry(job_id: str, request: Request, owner: Owner) -> JobLine:
        """Queue a failed or cancelled job again; what it answered stays."""
        return await room.one(lambda: desk.retry(job_id, owner), request)

    return router


def _unknown(job_id: str) -> Refusal:
    return Refusal(404, f"there is no job {job_id!r}", "job_not_found", "job_id")


def _check_field(name: str, check: Any) -> None:
    try:
        check()
    except InputError as error:
        raise Refusal(400, str(error), "bad_request", name) from error
