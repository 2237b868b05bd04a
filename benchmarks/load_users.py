"""Who comes in the load test, for locust: readers of streams, or a crowd. See load.py, which starts it."""

import json
import os
import time
from collections import Counter
from pathlib import Path
from typing import Any

from locust import HttpUser, between, constant, events, task  # type: ignore[import-not-found]

WORDS, SECONDS_A_WORD = int(os.environ["LOAD_WORDS"]), float(os.environ["LOAD_PACE"])
QUESTIONS = (
    "What does salt do to a bearing?",
    "How do you keep the stove?",
    "Which tools do you carry?",
    "What is in the log book?",
)
FOUND: dict[str, list[float]] = {"first": [], "over": []}
STATUSES: Counter[str] = Counter()


def body(number: int) -> dict[str, Any]:
    question = QUESTIONS[number % len(QUESTIONS)]
    return {"model": os.environ["LOAD_MODEL"], "messages": [{"role": "user", "content": question}]}


class Reader(HttpUser):  # type: ignore[misc]
    """Reads a streamed answer to its end, thinks, and asks again."""

    abstract = os.environ["LOAD_PHASE"] != "readers"
    wait_time = between(0.5, 1.5)
    asked = 0

    @task  # type: ignore[misc]
    def read(self) -> None:
        self.asked += 1
        started, first, ended = time.perf_counter(), 0.0, False
        asked = {**body(self.asked), "stream": True}
        path = "/v1/chat/completions"
        with self.client.post(path, json=asked, stream=True, catch_response=True) as response:
            STATUSES[str(response.status_code)] += 1
            for line in response.iter_lines():
                first = first or (time.perf_counter() - started if b'"content": "word' in line else 0.0)
                ended = ended or line == b"data: [DONE]"
            if response.status_code != 200 or not ended:
                STATUSES["broken off"] += response.status_code == 200
                response.failure(f"{response.status_code}, whole: {ended}")
                return
            FOUND["first"].append(first)
            FOUND["over"].append(time.perf_counter() - started - (WORDS - 1) * SECONDS_A_WORD)


class Crowd(HttpUser):  # type: ignore[misc]
    """Asks again at once, whatever it is told."""

    abstract = os.environ["LOAD_PHASE"] != "crowd"
    wait_time = constant(0.2)

    @task  # type: ignore[misc]
    def ask(self) -> None:
        with self.client.post("/v1/chat/completions", json=body(0), catch_response=True) as response:
            STATUSES[str(response.status_code)] += 1
            if response.status_code == 429:
                STATUSES["429 without Retry-After"] += "retry-after" not in response.headers
            if response.status_code in (200, 429):
                response.success()


@events.quitting.add_listener  # type: ignore[misc]
def write(**_: Any) -> None:
    """What was found, for load.py."""
    Path(os.environ["LOAD_OUT"]).write_text(json.dumps({"statuses": dict(STATUSES), **FOUND}))
