"""What a model of the API says: from a request to pieces of text and, last, how it ended and what it rests on.

Four ids: the twin with passages (`wren-marlow`), in the author's own sentences (`wren-marlow:quote`), without
passages (`wren-marlow:plain`), and the base model. The twin's weights load at the start, the base model's when it is
first asked. Not covered: keeping all of a long conversation: the twin with passages keeps the newest turns that fit
a third of `[ask] budget_tokens`, and says how many those were.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from llm_twin import prompts, wiring
from llm_twin.asker import answering, check_index, check_steps, made_with, steps, twin_folder
from llm_twin.inference.answer import Answering, stream
from llm_twin.inference.packing import SYSTEM_PROMPT
from llm_twin.inference.remembered import Remembered
from llm_twin.inference.tracing import Tracing
from llm_twin.ports import ChatModel, Embedder, Progress, VectorStore, silent
from llm_twin.serving.held import Held
from llm_twin.serving.protocol import ChatRequest, Finish, HitShown, Model, TwinPart, Usage
from llm_twin.serving.refusals import Refusal
from llm_twin.serving.traces import Traces
from llm_twin.serving.watched import Watched
from llm_twin.text import slug
from llm_twin.types import Answer, Message, Sampling, Token
from llm_twin.workspace import Workspace


@dataclass(frozen=True)
class Ending:
    """The last thing of an answer."""

    finish: Finish
    usage: Usage
    twin: TwinPart


Said = str | Token | Ending


class Speech:
    """The ports behind the chat routes, opened once; `mode` is "write" or "quote" (no model is ever loaded)."""

    def __init__(self, workspace: Workspace, mode: str = "", progress: Progress = silent) -> None:
        check_index(workspace)
        self.workspace, self.settings = workspace, workspace.settings.ask
        self.mode = mode or self.settings.mode
        check_steps(workspace, self.mode)
        self.author, self.twin = workspace.author, slug(workspace.author)
        self._held = Held(workspace, progress)
        if self.mode == "write":
            self._held.warm()  # a twin that cannot be loaded is told now
        self.embedder: Embedder = wiring.open_embedder(workspace, progress)
        self._remembered = Remembered(self.embedder)
        self._steps = steps(workspace, self.embedder, self._held.model() if self.mode == "write" else None)
        self.traces = Traces(workspace.home / "traces.jsonl", workspace.settings.serve.traces)
        self.store: VectorStore = wiring.open_vectors(workspace, self.embedder.dimension)

    def models(self, authors: frozenset[str] | None) -> list[Model]:
        """The models that may be asked by who may see `authors` (None: everyone); the default comes first."""
        own = authors is None or self.author in authors
        who = self.author
        twin = Model(id=self.twin, about=f"{who}'s twin, from passages by {who}, in mode {self.mode}")
        quote = Model(id=f"{self.twin}:quote", about=f"{who}'s own sentences, word for word")
        plain = Model(id=f"{self.twin}:plain", about=f"{who}'s twin without passages")
        base = Model(id=self.workspace.settings.models.chat, about="the base model, without passages")
        if self.mode == "quote":
            return [twin, quote] if own else []
        return [twin, quote, plain, base] if own else [base]

    def known(self, model: str, authors: frozenset[str] | None) -> str:
        """The id of the model asked for; raises Refusal (404) for one that is not there for this caller."""
        ids = [each.id for each in self.models(authors)]
        if (model or self.twin) not in ids:
            raise Refusal(404, f"there is no model {model or self.twin!r}", "model_not_found", "model")
        return model or self.twin

    def say(self, asked: ChatRequest, model: str, owner: str | None = None) -> Iterator[Said]:
        """Pieces of the answer of `model` (an id of `models`), then its Ending. Closing it stops the model.

        How an answer from passages came about is kept for `owner`.
        """
        mode = self._mode(model)
        sampling = asked.sampling(self.settings.sampling())
        if model == self.twin or mode == "quote":
            yield from self._from_passages(asked, mode, sampling, owner)
        else:
            yield from self._plain(asked, model, sampling)

    def check(self, asked: ChatRequest, model: str) -> None:
        """Raise Refusal for what this model cannot do, before it is started."""
        if model not in (self.twin, f"{self.twin}:quote"):
            return
        hint = f"ask {self.twin}:plain, or the base model"
        quoted = self._mode(model) == "quote"
        if quoted and any(turn.role == "system" for turn in asked.turns()):
            raise Refusal(400, "sentences that are quoted follow no instructions", "unsupported", "messages")
        if asked.schema_text():
            raise Refusal(400, f"cited text follows no JSON schema; {hint}", "unsupported", "response_format")
        if asked.logprobs:
            raise Refusal(400, f"cited text has no probabilities; {hint}", "unsupported", "logprobs")
        if asked.stops() and quoted:
            raise Refusal(400, "sentences that are quoted have no stop", "unsupported", "stop")

    def many(self, model: str) -> tuple[Answering, str]:
        """What many questions are answered with at once from passages, and its fingerprint."""
        mode = self._mode(model)
        chat = self._held.model() if mode == "write" else None
        return self._using(chat, mode), made_with(self.workspace, mode)

    def ready(self) -> dict[str, str]:
        """What is open; raises TwinError where the index, or a server that the twin is behind, does not answer."""
        self.store.search_words("ready", 1)
        if self.mode == "write":
            self._held.check()
        trained = twin_folder(self.workspace)
        return {"index": "open", "twin": trained.name if trained else "the base model: no twin was trained"}

    def close(self) -> None:
        """Free the models and the index."""
        self.store.close()
        self._held.close()

    def _mode(self, model: str) -> str:
        return "quote" if model.endswith(":quote") or self.mode == "quote" else "write"

    def _from_passages(
        self, asked: ChatRequest, mode: str, sampling: Sampling, owner: str | None
    ) -> Iterator[Said]:
        *history, question = asked.turns()
        model = Watched(self._held.model(), asked.stops()) if mode == "write" else None
        using = self._using(model, mode, sampling)
        tracing = Tracing()
        try:
            for piece in stream(question.content, using, history, tracing):
                yield piece if isinstance(piece, str) else self._ending(piece, model)
        finally:  # an answer that was broken off came about too
            name = model.name if model else ""
            self.traces.add(tracing.trace(question.content, self.author, name, mode), owner)

    def _using(self, model: ChatModel | None, mode: str, sampling: Sampling | None = None) -> Answering:
        return answering(self.workspace, self.store, self._remembered, model, mode, sampling, self._steps)

    def _ending(self, answer: Answer, model: Watched | None) -> Ending:
        shown = tuple(HitShown.of(hit) for hit in answer.hits)
        part = TwinPart(
            found=answer.found,
            mode=answer.mode,
            citations=answer.citations,
            hits=shown,
            turns_kept=answer.turns_kept,
        )
        if model is not None and model.asked:
            return Ending(model.finish(), model.usage(), part)
        # No model was asked, so the embedder's tokens are the only ones there are.
        read, written = (len(self.embedder.token_offsets(t)) for t in (answer.question, answer.text))
        return Ending("stop", _usage(read, written), part)

    def _plain(self, asked: ChatRequest, name: str, sampling: Sampling) -> Iterator[Said]:
        model = Watched(self._held.model(base=not name.startswith(self.twin)), asked.stops())
        turns: Sequence[Message] = asked.turns()
        if name.startswith(self.twin) and all(turn.role != "system" for turn in turns):
            system = prompts.render(SYSTEM_PROMPT, author=self.author)
            turns = [Message(role="system", content=system), *turns]
        yield from model.tokens(turns, sampling) if asked.logprobs else model.stream(turns, sampling)
        yield Ending(model.finish(), model.usage(), plain_part(asked))


def plain_part(asked: ChatRequest) -> TwinPart:
    """Of an answer without passages, whose model reads every turn."""
    *earlier, _ = asked.turns()
    kept = sum(turn.role != "system" for turn in earlier)
    return TwinPart(found=False, mode="plain", turns_kept=kept)


def _usage(read: int, written: int) -> Usage:
    return Usage(prompt_tokens=read, completion_tokens=written, total_tokens=read + written)
