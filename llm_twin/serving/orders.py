"""What a job of the server was asked to do, and how its owner sees it: a line, or whole with its answers."""

from pathlib import Path
from typing import Literal

from pydantic import AwareDatetime

from llm_twin.inference.batch import read_answers
from llm_twin.types import Citation, Job, Value


class Order(Value):
    """What a job is to do beside its questions, kept in the queue; the secret is shown to nobody."""

    model: str
    webhook: str = ""
    secret: str = ""


class JobLine(Value):
    """A job as its owner sees it, and as its webhook is sent it."""

    id: str
    model: str
    state: Literal["queued", "running", "done", "failed", "cancelled"]
    done: int
    total: int
    error: str
    created: AwareDatetime
    ended: AwareDatetime | None
    webhook: str | None
    told: Literal["no", "owed", "yes", "given up"]

    @classmethod
    def of(cls, job: Job) -> "JobLine":
        """Without its owner and its secret."""
        order = Order.model_validate_json(job.order)
        fields = {"id", "state", "done", "total", "error", "created", "ended", "told"}
        told = {} if order.webhook else {"told": "no"}
        shown = {**job.model_dump(include=fields), **told}
        return cls(model=order.model, webhook=order.webhook or None, **shown)


class JobAnswer(Value):
    """One answer; `number` counts the questions from 1, and those that have none are left out."""

    number: int
    question: str
    text: str
    found: bool
    citations: tuple[Citation, ...]


class JobWhole(JobLine):
    """A job with the answers it has so far, in the order of the questions."""

    answers: tuple[JobAnswer, ...]

    @classmethod
    def read(cls, folder: Path, job: Job) -> "JobWhole":
        """With what was answered so far, as it lies in `folder`."""
        fields = {"question", "text", "found", "citations"}
        answers = [
            JobAnswer(number=int(each.id), **each.model_dump(include=fields))
            for each in sorted(read_answers(answered_at(folder, job.id)), key=lambda each: int(each.id))
        ]
        return cls(**dict(JobLine.of(job)), answers=tuple(answers))


def is_owed(job: Job) -> bool:
    """Whether a webhook is still to be told that this job has ended."""
    return job.told == "owed" and bool(Order.model_validate_json(job.order).webhook)


def answered_at(folder: Path, job_id: str) -> Path:
    """The file with the answers of a job, which may not be there yet."""
    return folder / f"{job_id}.answers.jsonl"
