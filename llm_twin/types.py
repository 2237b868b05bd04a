"""The values that travel between stages: frozen, validated, and free of behaviour.

A document is kept as it was collected; every later value points back to it by id and, where it holds
text, by character offsets into the document's *cleaned* text.
"""

from datetime import date
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

Kind = Literal["article", "post", "repository", "message"]
Role = Literal["system", "user", "assistant"]
Split = Literal["train", "test"]


class Value(BaseModel):
    """Base of every value: immutable, and strict about unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Document(Value):
    """One piece of writing as it was collected, in Markdown (code files: a fenced block).

    `id` is derived from the author and `source` alone, so the same thing collected twice is the same
    document; `digest` is the SHA-256 of what a reader sees, so a change is noticed.
    """

    id: str
    author: str
    kind: Kind
    title: str
    text: str
    source: str
    url: str | None = None
    platform: str | None = None
    published: date | None = None
    language: str | None = None
    digest: str


class CleanDocument(Value):
    """The author's own words of one document. Offsets elsewhere count characters of `text`."""

    document: Document
    text: str
    dropped: tuple[tuple[str, str], ...] = ()
    """(line, reason) of every line that was removed."""


class Chunk(Value):
    """A passage of one document that fits the embedder's window whole.

    `text == clean.text[start:end]`; `heading` is the path of headings above it; `tokens` counts the
    embedder's tokens of `embedded_text`, special tokens included.
    """

    id: str
    document_id: str
    author: str
    kind: Kind
    title: str
    heading: tuple[str, ...] = ()
    text: str
    start: int
    end: int
    tokens: int
    url: str | None = None
    platform: str | None = None
    published: date | None = None

    @property
    def embedded_text(self) -> str:
        """What the embedder and BM25 see: the heading path as context, then the passage."""
        path = " > ".join((self.title, *self.heading))
        return f"{path}\n{self.text}"


class Where(Value):
    """A filter on chunks; None means any. It is applied inside the search, never after it.

    Both ends of a range of dates belong to it, and a chunk without a date lies in none.
    """

    author: str | None = None
    kind: Kind | None = None
    document_id: str | None = None
    platform: str | None = None
    published_from: date | None = None
    published_to: date | None = None


class Hit(Value):
    """A chunk that a search returned; higher scores are better, scales differ between searches."""

    chunk: Chunk
    score: float


class Sample(Value):
    """One instruction and the author's own answer: `response == clean.text[start:end]`."""

    id: str
    document_id: str
    author: str
    instruction: str
    response: str
    start: int
    end: int
    split: Split
    written_by: str
    """Who wrote the instruction: a model's name, or "template"."""


class Message(Value):
    """One turn of a conversation."""

    role: Role
    content: str


class Sampling(Value):
    """How a model should generate. `temperature` 0 is greedy; `json_schema` constrains the output."""

    max_tokens: int = Field(256, ge=1)
    temperature: float = Field(0.7, ge=0)
    top_p: float = Field(0.9, gt=0, le=1)
    repetition_penalty: float = Field(1.0, gt=0)
    seed: int = 0
    json_schema: str | None = None


class Recipe(Value):
    """How to fine-tune. The defaults were searched for on two authors; the search is in docs/log.md.

    `grounded` is the share of the author's samples that are asked with passages, as `twin ask` asks; `rehearsal` the
    share of training samples that are the base model's own replies to everyday requests.
    """

    rank: int = Field(16, ge=1, le=256)
    alpha: int = Field(32, ge=1)
    learning_rate: float = Field(2e-4, gt=0)
    epochs: float = Field(2.0, gt=0)
    batch_size: int = Field(8, ge=1)
    warmup_share: float = Field(0.05, ge=0, lt=1)
    max_tokens: int = Field(512, ge=32)
    grounded: float = Field(0.15, ge=0, le=1)
    rehearsal: float = Field(0.2, ge=0, le=0.9)
    save_every: int = Field(10, ge=1)
    seed: int = 0


class PrivacyPlan(Value):
    """How hard a twin is pressed for what it was trained on; `canaries` are planted in training, 0 is none."""

    generations: int = Field(1000, ge=1)
    max_tokens: int = Field(48, ge=8)
    spans: int = Field(48, ge=2)
    canaries: int = Field(0, ge=0, le=600)
    canary_times: int = Field(4, ge=1)
    candidates: int = Field(255, ge=7)
    seed: int = 0


class GateRule(Value):
    """When a candidate may take the champion's place; a margin is how large a difference must be to count."""

    better: tuple[str, ...] = ("twin score",)
    not_worse: tuple[str, ...] = ("sense", "perplexity")
    margin: dict[str, Annotated[float, Field(ge=0)]] = {}
    veto: tuple[Literal["memorisation", "privacy"], ...] = ("memorisation", "privacy")


class Token(Value):
    """One token of what a model wrote: the text that it added, and its natural-log probability at temperature 1.

    A character that several tokens make stands with the last of them; the others add nothing.
    """

    text: str
    log_probability: float


class Completion(Value):
    """What a model wrote for one prompt. `finish` is "stop", "length", or "content_filter" (withheld by a provider)."""

    text: str
    prompt_tokens: int
    completion_tokens: int
    finish: str


class Citation(Value):
    """`[number]` in an answer: the chunk it stands for, and the sentences of it that are cited.

    `spans` are theirs in the document's clean text, in its order; `start` is where the first begins, `end` where the
    last ends. An answer that was kept before they were has none.
    """

    number: int
    chunk_id: str
    document_id: str
    title: str
    url: str | None
    start: int
    end: int
    spans: tuple[tuple[int, int], ...] = ()


class Answer(Value):
    """An answer and the passages behind it. `found` is False when nothing relevant was retrieved.

    `turns_kept` is how many of the earlier turns the model read: the newest.
    """

    question: str
    text: str
    mode: Literal["write", "quote"]
    found: bool
    citations: tuple[Citation, ...] = ()
    hits: tuple[Hit, ...] = ()
    turns_kept: int = 0


class Entry(Value):
    """Something that a person said, kept in a journal: once for each `id`, whenever it is said again."""

    id: str
    created: AwareDatetime


class Feedback(Entry):
    """What a user thought of one answer: a thumb, a corrected text, or both."""

    model: str
    """The name of the model that answered."""
    question: str
    answer: str
    thumb: Literal["up", "down"] | None = None
    edit: str | None = None
    """The answer as the user would have it; None where it was left alone."""


class Job(Entry):
    """Work that is done behind its caller's back. `order` says what, in words that the queue need not know."""

    owner: str = ""
    """Whose it is; nobody else is told of it."""
    order: str = ""
    state: Literal["queued", "running", "done", "failed", "cancelled"] = "queued"
    done: int = 0
    total: int = 0
    error: str = ""
    """Why it failed."""
    ended: AwareDatetime | None = None
    told: Literal["no", "owed", "yes", "given up"] = "no"
    """Whether what waits for its end was told of it; "owed": tried still."""


class Skipped(Value):
    """One thing a batch passed over, and why."""

    what: str
    why: str


class StageReport(Value):
    """What a stage did: counts for people and machines, what it skipped, where its results lie."""

    stage: str
    counts: dict[str, int | float | str] = {}
    skipped: tuple[Skipped, ...] = ()
    artefacts: tuple[str, ...] = ()
    seconds: float = 0.0


class HostingPlan(Value):
    """One model behind one address. `model` is a folder that is sent whole; `environment` goes to the container."""

    name: str = Field(pattern=r"^[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}$")
    model: Path
    image: str
    role: str
    bucket: str
    instance_type: str
    instances: int = Field(ge=1)
    most_instances: int = Field(ge=1)
    asynchronous: bool = False
    environment: dict[str, str] = Field({})


class Hosted(Value):
    """What is there: the state and what is wrong, in the host's own words."""

    name: str
    state: str
    instances: int
    problem: str = ""
