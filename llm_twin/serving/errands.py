"""What a job of the server does: answer its questions from passages, then tell its webhook.

The questions and the answers of each job lie in two files of the workspace, written by the batch (see
`inference.batch`), so a job that was killed goes on behind its last group. A job whose index or twin changed
meanwhile begins anew, so all of its answers come from one.
"""

import time
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from llm_twin.errors import InputError, Refused, TwinError, Unavailable, Unreachable
from llm_twin.files import write_lines
from llm_twin.inference.batch import MadeOtherwise, Question, answer_file, read_questions
from llm_twin.ports import Progress
from llm_twin.serving.keys import Keys
from llm_twin.serving.orders import JobLine, Order, answered_at
from llm_twin.serving.refusals import as_refusal
from llm_twin.serving.speech import Speech
from llm_twin.serving.webhook import Post, headers_of
from llm_twin.types import Job, Skipped

TOGETHER = 4
"""Questions of a group: few, so that a person who chats meanwhile waits for four answers at most."""


class Errands:
    """The work of jobs, in the folder of the workspace that is theirs."""

    def __init__(self, speech: Speech, keys: Keys, post: Post) -> None:
        self._speech, self._keys, self._post = speech, keys, post
        self.folder = speech.workspace.home / "jobs"

    def keep(self, job_id: str, questions: Sequence[str]) -> None:
        """Write down what is asked. Durable on return."""
        rows = (Question(question=text).model_dump_json(include={"question"}) for text in questions)
        write_lines(self._asked(job_id), rows)

    def forget(self, job_id: str) -> None:
        """Remove both files."""
        for path in (self._asked(job_id), answered_at(self.folder, job_id)):
            path.unlink(missing_ok=True)

    def do(self, job: Job, step: Progress) -> None:
        """Answer what is not answered yet; raises TwinError when something is left that cannot be.

        What a server behind this one said is in the log alone, as it is for every other caller.
        """
        self._check_owner(job)
        order = Order.model_validate_json(job.order)
        try:
            skipped = self._answer(job, order.model, step)
        except (Unreachable, Unavailable, Refused) as error:
            raise TwinError(str(as_refusal(error))) from error
        if skipped:
            first = skipped[0]
            raise TwinError(
                f"{len(skipped)} of {job.total} questions have no answer; {first.what}: {first.why}",
                "a retry asks them again",
            )

    def tell(self, job: Job) -> None:
        """Send the ended job to its webhook, if it has one; raises TwinError where that fails."""
        order = Order.model_validate_json(job.order)
        if not order.webhook:
            return
        body = JobLine.of(job).model_dump_json().encode()
        message = f"{job.id}-{_stamp(job.ended)}"
        self._post(order.webhook, body, headers_of(order.secret, message, int(time.time()), body))

    def _answer(self, job: Job, model: str, step: Progress) -> list[Skipped]:
        asked, _ = read_questions(self._asked(job.id), self._speech.author)
        using, made_with = self._speech.many(model)
        out = answered_at(self.folder, job.id)
        try:
            return answer_file(asked, out, using, step, made_with, TOGETHER)[1]
        except MadeOtherwise:
            out.unlink()
            return answer_file(asked, out, using, step, made_with, TOGETHER)[1]

    def _check_owner(self, job: Job) -> None:
        """A key may have been removed, or lost the author, since it made the job."""
        author = self._speech.author
        keys = [key for key in self._keys.read() if key.sha256 == job.owner and author in key.authors]
        if job.owner and not keys:
            raise InputError(f"the key that made this job is gone, or does not see writing by {author}")

    def _asked(self, job_id: str) -> Path:
        return self.folder / f"{job_id}.questions.jsonl"


def _stamp(ended: datetime | None) -> int:
    return int(ended.timestamp() * 1000) if ended else 0
