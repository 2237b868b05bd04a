"""The model alone: what `twin serve-llm` serves, for a `twin serve --llm-url` elsewhere or any other client.

Two ids, the twin's folder and the base model's name, asked as they are: no passages, no system prompt of ours. It
needs no index and no documents. Beside OpenAI's routes it counts tokens as vLLM does (POST /tokenize), so that the
server in front can fill a prompt to the model's last token.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Annotated

from fastapi import APIRouter, Body, FastAPI, Request
from pydantic import Field

from llm_twin.asker import twin_folder
from llm_twin.ports import Progress, silent
from llm_twin.serving.chat import chat_routes
from llm_twin.serving.held import Held
from llm_twin.serving.keys import keys_of
from llm_twin.serving.metrics import Metrics
from llm_twin.serving.protocol import MOST_MESSAGES, ChatMessage, ChatRequest, Model
from llm_twin.serving.refusals import Refusal, declared
from llm_twin.serving.room import Room
from llm_twin.serving.shell import DEFAULT, Options, check_host, guard, state_routes
from llm_twin.serving.speech import Ending, Said, plain_part
from llm_twin.serving.visitor import Authors, Seen, may_see
from llm_twin.serving.watched import Watched
from llm_twin.types import Value
from llm_twin.workspace import Workspace

QUICK = 4


class Engine:
    """The models of a workspace, as chat routes ask them."""

    def __init__(self, workspace: Workspace, progress: Progress = silent) -> None:
        self._workspace, self._base = workspace, workspace.settings.models.chat
        self.held = Held(workspace, progress)
        self.held.warm()
        self.context = self.held.model().context  # the base model's too: training does not change it

    def models(self, authors: Authors) -> list[Model]:
        """The twin, where this caller may see its author and there is one; and the base model."""
        trained = twin_folder(self._workspace)
        base = Model(id=self._base, about="the base model", max_model_len=self.context)
        if trained is None or not may_see(authors, self._workspace.author):
            return [base]
        about = f"{self._workspace.author}'s twin, the model alone"
        return [Model(id=trained.name, about=about, max_model_len=self.context), base]

    def known(self, model: str, authors: Authors) -> str:
        """The id asked for, or the default's; Refusal (404) for one that is not there for this caller."""
        ids = [each.id for each in self.models(authors)]
        if model and model not in ids:
            raise Refusal(404, f"there is no model {model!r}", "model_not_found", "model")
        return model or ids[0]

    def check(self, asked: ChatRequest, model: str) -> None:
        """Nothing is refused that a model can be asked."""

    def say(self, asked: ChatRequest, model: str, owner: str | None = None) -> Iterator[Said]:
        """Pieces of the answer, then its Ending. Closing it stops the model."""
        watched = Watched(self.held.model(base=model == self._base), asked.stops())
        sampling = asked.sampling(self._workspace.settings.ask.sampling())
        write = watched.tokens if asked.logprobs else watched.stream
        yield from write(asked.turns(), sampling)
        yield Ending(watched.finish(), watched.usage(), plain_part(asked))

    def ready(self) -> dict[str, str]:
        """What is open."""
        self.held.check()
        return {"twin": self.models(None)[0].id}

    def count(self, messages: tuple[ChatMessage, ...], model: str) -> int:
        """Tokens of the rendered conversation."""
        turns = [message.plain() for message in messages]
        return self.held.model(base=model == self._base).count_tokens(turns)


class TokenizeRequest(Value):
    """The body of POST /tokenize, as far as vLLM's clients use it."""

    model: str = Field("", max_length=200)
    messages: tuple[ChatMessage, ...] = Field(min_length=1, max_length=MOST_MESSAGES)
    add_generation_prompt: bool = True


class Counted(Value):
    """How many tokens a conversation has, and how many fit. Ids are not told."""

    count: int
    max_model_len: int


def create_engine(workspace: Workspace, options: Options = DEFAULT, progress: Progress = silent) -> FastAPI:
    """The app over the models of `workspace`, which load now. InputError as `create_app` has it, less the index."""
    keys = keys_of(workspace.home)
    check_host(options.host, keys)
    metrics, engine = Metrics(), Engine(workspace, progress)
    rooms = chat, quick = (
        Room("chat", options.max_concurrent, options.queue),
        Room("quick", QUICK, options.queue),
    )

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        try:
            yield
        finally:
            for room in rooms:
                await asyncio.to_thread(room.close)
            engine.held.close()

    app = FastAPI(
        title=f"The model of {workspace.author}'s twin", docs_url=None, redoc_url=None, lifespan=lifespan
    )
    for room in rooms:
        metrics.watch(room)
    app.include_router(chat_routes(engine, chat, metrics))
    app.include_router(_tokenize(engine, quick))
    app.include_router(state_routes(engine.ready, quick, metrics))
    guard(app, options, keys, metrics)
    return app


def _tokenize(engine: Engine, room: Room) -> APIRouter:
    router = APIRouter(tags=["chat"])

    @router.post("/tokenize", responses=declared(400, 404, 413, 429, 503))
    async def tokenize(asked: Annotated[TokenizeRequest, Body()], request: Request, seen: Seen) -> Counted:
        """How many tokens a conversation has in the model's own layout."""
        model = engine.known(asked.model, seen)
        if not asked.add_generation_prompt:
            raise Refusal(400, "only whole prompts are counted", "unsupported", param="add_generation_prompt")
        count = await room.one(lambda: engine.count(asked.messages, model), request)
        return Counted(count=count, max_model_len=engine.context)

    return router
