"""What a stage may ask of the outside world, as Protocols.

Each port has one contract suite in `tests/contracts/` that every adapter passes. A method that cannot
do what it says raises `TwinError`; it never returns None or an empty result instead.
"""

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from llm_twin.types import (
    Chunk,
    Completion,
    Document,
    Hit,
    Hosted,
    HostingPlan,
    Job,
    Message,
    Sampling,
    Token,
    Where,
)

Vectors = NDArray[np.float32]
Saved = Literal["new", "changed", "same"]
SPECIAL_TOKENS = 2
"""What an embedder adds to a text: one token before it, one behind."""
Progress = Callable[[int, int, str], None]
"""Called as (done, total, note) while something long runs."""


def silent(done: int, total: int, note: str = "") -> None:
    """A Progress that shows nothing."""


class DocumentStore(Protocol):
    """Documents by id, with every earlier version kept."""

    def save(self, document: Document) -> Saved:
        """Store `document`; "same" when its digest is already the current version's. Durable on return."""
        ...

    def get(self, document_id: str) -> Document:
        """The current version; raises InputError when there is none."""
        ...

    def documents(self, author: str | None = None) -> Iterator[Document]:
        """Current versions, ordered by id."""
        ...

    def versions(self, document_id: str) -> list[Document]:
        """All versions, oldest first; empty when the id is unknown."""
        ...

    def remove(self, document_id: str) -> None:
        """Remove a document and its versions; unknown ids are ignored."""
        ...

    def verify(self) -> list[str]:
        """What is wrong with the stored data, a line each; empty when all of it reads well."""
        ...

    def close(self) -> None:
        """Release the store; calling it twice is harmless."""
        ...


class VectorStore(Protocol):
    """Chunks with their vectors, searchable by meaning and by words. One process at a time."""

    def upsert(self, chunks: Sequence[Chunk], vectors: Vectors) -> None:
        """Store chunks with unit vectors of shape (len(chunks), dimension). Durable on return."""
        ...

    def delete(self, chunk_ids: Iterable[str]) -> None:
        """Remove chunks; unknown ids are ignored. Durable on return."""
        ...

    def chunk_ids(self, where: Where = Where()) -> set[str]:
        """Ids of the chunks that match."""
        ...

    def search_dense(
        self, vector: Vectors, limit: int, where: Where = Where(), exact: bool = False
    ) -> list[Hit]:
        """Nearest chunks by cosine (the score), best first. `vector` has shape (dimension,)."""
        ...

    def search_words(self, query: str, limit: int, where: Where = Where()) -> list[Hit]:
        """Best chunks by BM25 (the score), best first; only chunks sharing a word with `query`."""
        ...

    def optimize(self) -> None:
        """Build the approximate index where the store has one; blocks until done."""
        ...

    def verify(self) -> list[str]:
        """What is wrong with the stored data, a line each; empty when all of it reads well."""
        ...

    def close(self) -> None:
        """Flush and release the store; calling it twice is harmless."""
        ...


class Embedder(Protocol):
    """Texts to unit vectors. Nothing is ever truncated: too long a text is an error."""

    name: str
    dimension: int
    window: int
    """Most tokens a text may have, special tokens included."""

    def token_offsets(self, text: str) -> list[tuple[int, int]]:
        """Character offsets of each token of `text`, special tokens not included."""
        ...

    def embed(self, texts: Sequence[str], progress: Progress = silent) -> Vectors:
        """Shape (len(texts), dimension), float32, rows of length 1, in the order given.

        Raises InputError when a text has more than `window` tokens.
        """
        ...


class TokenEmbedder(Embedder, Protocol):
    """An Embedder that tells its tokens apart too, for late interaction."""

    def token_vectors(self, texts: Sequence[str], progress: Progress = silent) -> list[Vectors]:
        """One array a text, shape (number of `token_offsets`, dimension), float32, rows of length 1, in order.

        Each token's vector depends on the text around it. Raises InputError for a text over the window.
        """
        ...


class Reranker(Protocol):
    """A slower, closer look at the hits of a search."""

    name: str

    def scores(
        self, questions: Sequence[str], found: Sequence[Sequence[Hit]], progress: Progress = silent
    ) -> list[NDArray[np.float64]]:
        """How well each hit of `found[i]` answers `questions[i]`: one array a question, larger is better.

        All questions in one batch. Scores of one question may be compared, those of two may not. `progress`
        counts pairs of question and hit.
        """
        ...


def beginning(text: str, embedder: Embedder) -> str:
    """As much of the beginning of `text` as the embedder's window holds: enough to compare passages by."""
    offsets = embedder.token_offsets(text)
    room = embedder.window - SPECIAL_TOKENS
    return text if len(offsets) <= room else text[: offsets[room - 1][1]]


class ChatModel(Protocol):
    """A language model behind a chat layout."""

    name: str
    context: int
    """Most tokens of prompt and completion together."""

    def count_tokens(self, messages: Sequence[Message]) -> int:
        """Tokens of the rendered prompt, generation prompt included."""
        ...

    def generate(
        self, prompts: Sequence[Sequence[Message]], sampling: Sampling, progress: Progress = silent
    ) -> list[Completion]:
        """One completion a prompt, in order, batched. The same seed gives the same text on the same machine."""
        ...

    def stream(self, messages: Sequence[Message], sampling: Sampling) -> Generator[str, None, Completion]:
        """Pieces of one completion as they are written, then the Completion as the generator's value.

        Closing the generator stops the model; there is no Completion then.
        """
        ...

    def score(
        self, prompts: Sequence[Sequence[Message]], responses: Sequence[str], progress: Progress = silent
    ) -> list[NDArray[np.float64]]:
        """Natural-log probability of each token of each response (end of turn included), given its prompt."""
        ...

    def close(self) -> None:
        """Free the model's memory; calling it twice is harmless."""
        ...


class TellingModel(ChatModel, Protocol):
    """A ChatModel that tells how probable each token was to it."""

    def tokens(self, messages: Sequence[Message], sampling: Sampling) -> Generator[Token, None, Completion]:
        """What `stream` writes and returns, a token at a time, less the end of the turn; closing it stops the model."""
        ...


class Fetched(Protocol):
    """What a fetch returned."""

    url: str
    content_type: str
    body: bytes


class Fetcher(Protocol):
    """Gets things from the web, politely and guarded (see adapters/fetch_httpx.py)."""

    def fetch(self, url: str) -> Fetched:
        """The resource after redirects; raises InputError (refused, 4xx) or TwinError (no answer, 5xx)."""
        ...


class Tracker(Protocol):
    """Metrics of one training run, as they come."""

    def log(self, step: int, metrics: dict[str, float]) -> None:
        """Record metrics of one step. Durable on return."""
        ...

    def finish(self) -> None:
        """End the run (draw plots, upload)."""
        ...


class Queue(Protocol):
    """Jobs that outlive the request and the process. Many may submit and look; one process at a time works."""

    def submit(self, job: Job) -> None:
        """Put a new job at the end. Durable on return."""
        ...

    def job(self, job_id: str) -> Job:
        """A job as it stands; raises InputError for an unknown one."""
        ...

    def jobs(self) -> list[Job]:
        """All jobs, oldest first."""
        ...

    def cancel(self, job_id: str) -> Job:
        """A queued job never runs and ends soon, a running one ends at its next step.

        InputError for one that has ended.
        """
        ...

    def retry(self, job_id: str) -> Job:
        """Put a failed or cancelled job at the end again; InputError for any other."""
        ...

    def remove(self, job_id: str) -> None:
        """Forget a job; unknown ones are ignored."""
        ...

    def work(self, do: Callable[[Job, Progress], None], tell: Callable[[Job], None]) -> None:
        """Begin to work, in threads: first what a killed process left, then what comes; one job at a time.

        `do` calls its Progress at each step, which never returns when the job is cancelled or the queue
        closes; when it raises, the job failed. What was begun is begun again after a kill, so `do` goes on from
        what it left. `tell` is called once a job ended, again with longer and longer pauses when it raises,
        and at times twice for one ending. It waits for no job and no job for it; several calls run at a time.
        """
        ...

    def close(self) -> None:
        """Stop at the next step of the running job, which stays queued; calling it twice is harmless."""
        ...


class Hosting(Protocol):
    """Machines of somebody else's that can serve a model."""

    def deploy(self, plan: HostingPlan, progress: Progress = silent) -> Hosted:
        """Host a model and wait until it answers.

        On failure what was made is removed and looked for; TwinError names what is left.
        """
        ...

    def status(self, name: str) -> Hosted | None:
        """What is hosted under `name`; None where nothing is."""
        ...

    def delete(self, name: str, bucket: str) -> list[str]:
        """Remove all that a deployment made; what was removed. TwinError names what is left."""
        ...
