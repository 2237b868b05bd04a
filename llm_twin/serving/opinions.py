"""POST /feedback keeps what a user thought of an answer; POST /voice tells how much a text sounds like the author."""

import uuid
from datetime import UTC, datetime
from typing import Literal

from fastapi import APIRouter, Request
from pydantic import Field, model_validator

from llm_twin.assess import sides
from llm_twin.errors import InputError
from llm_twin.evaluation.appraise import Voice, voice
from llm_twin.journal import Journal
from llm_twin.reading import clean_documents
from llm_twin.serving.refusals import Refusal, declared
from llm_twin.serving.room import Room
from llm_twin.serving.speech import Speech
from llm_twin.serving.visitor import Seen, may_see
from llm_twin.serving.written import Text
from llm_twin.types import Feedback, Value
from llm_twin.workspace import Workspace

MOST_CHARACTERS = 100_000


class FeedbackRequest(Value):
    """The body of POST /feedback: a thumb, a corrected text, or both."""

    model: Text = Field(max_length=200)
    question: Text = Field(min_length=1, max_length=MOST_CHARACTERS)
    answer: Text = Field(min_length=1, max_length=MOST_CHARACTERS)
    thumb: Literal["up", "down"] | None = None
    edit: Text | None = Field(None, min_length=1, max_length=MOST_CHARACTERS)

    @model_validator(mode="after")
    def _says_something(self) -> "FeedbackRequest":
        if self.thumb is None and self.edit is None:
            raise ValueError("give a thumb, an edit, or both")
        return self


class FeedbackKept(Value):
    """The answer of POST /feedback."""

    id: str


class VoiceRequest(Value):
    """The body of POST /voice."""

    text: Text = Field(min_length=1, max_length=MOST_CHARACTERS)


class VoiceResponse(Value):
    """How much a text sounds like the author: a probability, or why there is none."""

    author: str
    words: int
    probability: float | None
    refused: str
    auc: float
    """What the verifier is worth: P(a held-out passage of the author's scores above one of the background's)."""
    told_from: str
    """Whose writing it tells the author's from; the base model's too once there is an up-to-date evaluation."""


class Verdicts:
    """The verifier of the workspace's author, fitted when it is first asked; for one caller at a time."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._voice: Voice | None = None

    def of(self, text: str) -> VoiceResponse:
        """The verdict on a text; raises InputError with too little writing to fit on."""
        if self._voice is None:
            self._voice = self._fitted()
        words, probability, refused = self._voice.of(text)
        return VoiceResponse(
            author=self._workspace.author,
            words=words,
            probability=probability,
            refused=refused,
            auc=self._voice.auc,
            told_from=self._voice.told_from,
        )

    def _fitted(self) -> Voice:
        documents, _ = clean_documents(self._workspace)
        return voice(*sides(self._workspace, documents, self._workspace.author))


def opinion_routes(
    speech: Speech, journal: Journal[Feedback], verdicts: Verdicts, room: Room, own: Room
) -> APIRouter:
    """The routes. Files are written in `room`; the verifier has `own`, of one place, since fitting it takes long."""
    router = APIRouter()

    @router.post("/feedback", status_code=201, responses=declared(404, 413, 429), tags=["opinions"])
    async def feedback(said: FeedbackRequest, request: Request, seen: Seen) -> FeedbackKept:
        """Keep what a user thought of an answer; it is on the disk when this returns."""
        speech.known(said.model, seen)
        kept = Feedback(id=uuid.uuid4().hex, created=datetime.now(UTC), **said.model_dump())
        await room.one(lambda: journal.append(kept), request)
        return FeedbackKept(id=kept.id)

    @router.post("/voice", responses=declared(400, 413, 429), tags=["opinions"])
    async def sounds(asked: VoiceRequest, request: Request, seen: Seen) -> VoiceResponse:
        """The probability that the author wrote a text; the first call fits the verifier."""
        if not may_see(seen, speech.author):
            raise Refusal(403, f"this key does not see writing by {speech.author}", "author_not_allowed")
        try:
            return await own.one(lambda: verdicts.of(asked.text), request)
        except InputError as error:
            raise Refusal(400, f"{error} - {error.way_out}", "cannot_tell") from error

    return router
