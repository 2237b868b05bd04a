"""A Queue over huey, which keeps records and messages (see `huey_storage`).

huey hands each message out once, so a message is lost with the process that took it. What stands in the records
decides therefore: a job that they call queued or running and that no message stands for gets a new message when
the work begins, and a message whose job is not queued any more is dropped. Endings are told by messages and threads
of their own, so none waits behind a job. Not covered: two processes that work at one queue at a time; jobs that run
side by side; a Redis that goes away under a running job, which then counts as running until the next start.
"""

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from huey.api import Huey
from huey.consumer import Consumer
from huey.storage import EmptyData

from llm_twin.adapters.huey_storage import JsonMessages, explained, storage_at
from llm_twin.errors import InputError, TwinError
from llm_twin.ports import Progress
from llm_twin.types import Job

PAUSES = (5.0, 30.0, 180.0, 1800.0)
"""Seconds before an ending is told again; after the last it is given up."""
_TELLERS = 4
"""Endings told at a time, so that a receiver that is slow to answer holds up few others."""
_POLL = 0.5
_OPEN = ("queued", "running")
_RECORD, _CANCEL, _TOLD = "job:", "cancel:", "told:"
_UNFORESEEN = "something failed on this side; the server's log has more"
_log = logging.getLogger(__name__)


class _Cancelled(Exception):
    """The job is not wanted any more."""


class _Closing(Exception):
    """The process ends; the job goes on in the next."""


class HueyQueue:
    """See the module. `redis` is an address such as redis://localhost:6379/0, where `name` keeps queues apart."""

    def __init__(
        self, folder: Path, redis: str = "", name: str = "twin", pauses: Sequence[float] = PAUSES
    ) -> None:
        self._pauses, self._closing = pauses, threading.Event()
        self._consumers: list[Consumer] = []
        self._changing = threading.Lock()  # a record and its flags change together
        self._closed = False
        with explained():
            self._jobs, self._tells = (
                Huey(each, results=False, serializer=JsonMessages(), **storage_at(folder, redis))
                for each in (name, f"{name}-tells")
            )
            self._jobs.pending_count()  # a server that is not there is told now, not at the first job
        self._store = self._jobs.storage
        self._run = self._jobs.task(name="run")(self._execute)
        self._drop = self._tells.task(name="drop")(self._end_unbegun)
        self._tell = self._tells.task(name="tell")(self._announce)

    def submit(self, job: Job) -> None:
        """The record first, then the message: one without the other is put right when the work begins."""
        with self._open():
            self._save(job)
            self._run(job.id)

    def job(self, job_id: str) -> Job:
        """The record, with what was asked of it since."""
        with self._open():
            found = self._find(job_id)
        if found is None:
            raise InputError(f"there is no job {job_id}", "see the list of jobs")
        return found

    def jobs(self) -> list[Job]:
        """All records in one read."""
        with self._open():
            kept = self._store.result_items()
        ids = [key.removeprefix(_RECORD) for key in kept if key.startswith(_RECORD)]
        found = [job for each in ids if (job := self._shown(each, kept))]
        return sorted(found, key=lambda job: (job.created, job.id))

    def cancel(self, job_id: str) -> Job:
        """Raise a flag that the worker looks at before the job and at each step of it."""
        job = self.job(job_id)
        if job.state not in _OPEN:
            raise InputError(f"the job has ended: {job.state}", "there is nothing to cancel")
        with self._open():
            self._store.put_data(_CANCEL + job_id, b"1")
            self._drop(job_id)
        return self.job(job_id)

    def retry(self, job_id: str) -> Job:
        """As if it were new, with what it did before."""
        job = self.job(job_id)
        if job.state not in ("failed", "cancelled"):
            raise InputError(f"the job is {job.state}", "a failed or cancelled one can be tried again")
        with self._open():
            with self._changing:
                self._store.delete_data(_CANCEL + job_id)
                self._store.delete_data(_TOLD + job_id)
                self._save(job.model_copy(update={"state": "queued", "error": "", "ended": None}))
            self._run(job_id)
        return self.job(job_id)

    def remove(self, job_id: str) -> None:
        """A message that is left behind finds no record and is dropped."""
        with self._open(), self._changing:
            for kind in (_RECORD, _CANCEL, _TOLD):
                self._store.delete_data(kind + job_id)

    def work(self, do: Callable[[Job, Progress], None], tell: Callable[[Job], None]) -> None:
        """A thread for the jobs, a few for their endings, and huey's schedulers."""
        self._do, self._teller = do, tell
        with self._open():
            self._recover()
        for huey, workers in ((self._jobs, 1), (self._tells, _TELLERS)):
            self._consumers.append(_Threads(huey, workers=workers, periodic=False, max_delay=_POLL))
            self._consumers[-1].start()

    def close(self) -> None:
        """Wait for the threads, then let go of the storage."""
        self._closing.set()
        for each in self._consumers:
            each.stop()
        for each in self._consumers:
            each.stop(graceful=True)
        self._consumers, self._closed = [], True
        for huey in (self._jobs, self._tells):
            huey.storage.close()

    # --- what the worker does ---

    def _execute(self, job_id: str) -> None:
        job = self._record(job_id)
        if job is None or job.state != "queued":
            return
        try:
            self._step(job.model_copy(update={"state": "running"}))(job.done, job.total, "")
            self._do(job, self._step(job.model_copy(update={"state": "running"})))
        except _Closing:
            self._save((self._record(job_id) or job).model_copy(update={"state": "queued"}))
        except _Cancelled:
            self._end(job_id, "cancelled")
        except TwinError as error:
            self._end(job_id, "failed", " - ".join(filter(None, (str(error), error.way_out))))
        except Exception:
            _log.exception("job %s", job_id)
            self._end(job_id, "failed", _UNFORESEEN)
        else:
            self._end(job_id, "done")

    def _step(self, running: Job) -> Progress:
        def step(done: int, total: int, note: str = "") -> None:
            if self._closing.is_set():
                raise _Closing
            with self._changing:
                if self._is_cancelled(running.id) or self._record(running.id) is None:
                    raise _Cancelled
                self._save(running.model_copy(update={"done": done, "total": total}))

        return step

    def _end(self, job_id: str, state: str, error: str = "", was: Sequence[str] = _OPEN) -> None:
        """Unless it was removed, ended or tried again meanwhile."""
        with self._changing:
            job, ended = self._record(job_id), datetime.now(UTC)
            if job is None or job.state not in was:
                return
            if state == "cancelled" and not self._is_cancelled(job_id):
                return
            # The debt is noted before the ending: a kill between the two leaves a job that runs again.
            self._store.put_data(_TOLD + job_id, b"owed")
            self._save(job.model_copy(update={"state": state, "error": error, "ended": ended}))
        self._tell(job_id, ended.isoformat(), 0)

    def _end_unbegun(self, job_id: str) -> None:
        """A queued job that was cancelled ends now, not when its turn comes."""
        self._end(job_id, "cancelled", was=("queued",))

    # --- what the tellers do ---

    def _announce(self, job_id: str, ended: str, tries: int) -> None:
        """Tell one ending. After a retry the job has another, which has a message of its own."""
        job = self._find(job_id)
        if job is None or job.told != "owed" or job.ended != datetime.fromisoformat(ended):
            return
        try:
            self._teller(job)
        except Exception as error:
            unforeseen = None if isinstance(error, TwinError) else error
            _log.warning("job %s: its end could not be told: %s", job_id, error, exc_info=unforeseen)
            if tries < len(self._pauses):
                self._tell.schedule((job_id, ended, tries + 1), delay=self._pauses[tries])
            else:
                self._settle(job, b"given up")
        else:
            self._settle(job, b"yes")

    def _settle(self, told: Job, how: bytes) -> None:
        """Unless it was removed or tried again while it was told."""
        with self._changing:
            job = self._record(told.id)
            if job is not None and job.ended == told.ended:
                self._store.put_data(_TOLD + told.id, how)

    def _recover(self) -> None:
        """Messages for what has none: the process that took them was killed."""
        messages = [
            each for huey in (self._jobs, self._tells) for each in (*huey.pending(), *huey.scheduled())
        ]
        known = {(task.name, *task.args[:2]) for task in messages}
        for job in self.jobs():
            record = self._record(job.id) or job
            if record.state == "running":
                self._save(record.model_copy(update={"state": "queued"}))
            if record.state in _OPEN and ("run", job.id) not in known:
                self._run(job.id)
            ended = record.ended.isoformat() if record.ended else ""
            if ended and job.told == "owed" and ("tell", job.id, ended) not in known:
                self._tell(job.id, ended, 0)

    # --- records ---

    def _is_cancelled(self, job_id: str) -> bool:
        return bool(self._store.has_data_for_key(_CANCEL + job_id))

    def _save(self, job: Job) -> None:
        self._store.put_data(_RECORD + job.id, job.model_dump_json(exclude={"told"}).encode())

    def _record(self, job_id: str) -> Job | None:
        data = self._store.peek_data(_RECORD + job_id)
        return None if data is EmptyData else Job.model_validate_json(bytes(data))

    def _find(self, job_id: str) -> Job | None:
        keys = [kind + job_id for kind in (_RECORD, _CANCEL, _TOLD)]
        return self._shown(job_id, self._store.peek_many(keys))

    def _shown(self, job_id: str, kept: dict[str, bytes]) -> Job | None:
        """The record with its flags; a queued job that was cancelled counts as cancelled from then on."""
        data = kept.get(_RECORD + job_id)
        if data is None:
            return None
        job = Job.model_validate_json(bytes(data))
        told = bytes(kept.get(_TOLD + job_id, b"no")).decode()
        cancelled = job.state == "queued" and _CANCEL + job_id in kept
        return Job.model_validate(
            {**dict(job), "told": told, **({"state": "cancelled"} if cancelled else {})}
        )

    @contextmanager
    def _open(self) -> Iterator[None]:
        if self._closed:  # huey would open its storage again
            raise TwinError("the queue was closed")
        with explained():
            yield


class _Threads(Consumer):  # type: ignore[misc]
    """huey's consumer inside another program, whose signals are its own business."""

    def _set_signal_handlers(self) -> None:
        pass
