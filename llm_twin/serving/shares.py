"""How many jobs each caller may have, so that none takes the places of another.

`[jobs] waiting` and `keep` hold for each key. All together may have `SHARES` times as many, and each key one job
that waits beyond that. A job whose webhook is still to be told of its end is never forgotten; each key may have
`MOST_OWED` of those. So what the queue holds is bounded by the number of keys. Not covered: a fair order of the jobs
that wait.
"""

from collections import defaultdict, deque
from collections.abc import Sequence

from llm_twin.serving.orders import is_owed
from llm_twin.serving.refusals import Refusal
from llm_twin.settings import JobSettings
from llm_twin.types import Job

SHARES = 4
MOST_OWED = 1000
FULL_RETRY_AFTER = 30
"""Seconds that a client is asked to wait when too many jobs do already."""


def check_share(jobs: Sequence[Job], owner: str, limits: JobSettings) -> None:
    """Raise Refusal (429) when `owner` may not have one more of `jobs` waiting."""
    waiting = [job.owner for job in jobs if job.state == "queued"]
    own = waiting.count(owner)
    if own >= limits.waiting or (own and len(waiting) >= SHARES * limits.waiting):
        raise Refusal(429, "too many jobs wait already", "busy", retry_after=FULL_RETRY_AFTER)
    if sum(job.owner == owner and is_owed(job) for job in jobs) >= MOST_OWED:
        said = "too many webhooks have not taken yet that their job has ended"
        raise Refusal(429, said, "busy", retry_after=FULL_RETRY_AFTER)


def forgettable(jobs: Sequence[Job], keep: int) -> list[Job]:
    """Which of `jobs`, the oldest first, are too many: what ended and is owed to nobody, beyond what is kept.

    Beyond `keep` of each owner, and beyond `SHARES` times that of all: then the oldest of whoever has most.
    """
    kept: defaultdict[str, deque[Job]] = defaultdict(deque)
    for job in jobs:
        if job.ended is not None and not is_owed(job):
            kept[job.owner].append(job)
    gone = [own.popleft() for own in kept.values() for _ in range(len(own) - keep)]
    too_many = sum(map(len, kept.values())) - SHARES * keep
    return gone + [max(kept.values(), key=len).popleft() for _ in range(too_many)]
