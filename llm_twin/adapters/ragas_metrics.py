"""Ragas metrics over the twin's answers: those that need no language model, and with a judge the others.

Without a judge: how like the author's own passage an answer is (string similarity, ROUGE-L, cosine of
embeddings), and how much of what holds that passage was retrieved, and how early. With a judge, any ChatModel:
faithfulness, context recall, context precision and answer relevancy, with Ragas' own prompts, batched over the
samples, and with its JSON schemas constraining what the judge writes. Ragas' usage tracking is switched off before
Ragas is imported, and the id that it would keep for tracking is made in a folder that goes. Not covered: Ragas'
test set generation and its agent metrics; being called from a running event loop.
"""

import asyncio
import json
import math
import os
import warnings
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from pydantic import BaseModel, ValidationError

from llm_twin.errors import InputError, MissingPart
from llm_twin.evaluation.ragas_scores import RagasScores, RagSample, ragas_scores
from llm_twin.ports import ChatModel, Embedder, Progress, beginning, silent
from llm_twin.types import Message, Sampling

_IDLE_SECONDS = 0.001
JUDGE_TOKENS = 768

Score = Callable[[RagSample], Awaitable[float]]
"""One metric's value for one sample."""


class Unreadable(Exception):
    """The judge wrote something that is not what Ragas asked for, or had no room for the question."""


def ragas(
    samples: Sequence[RagSample],
    embedder: Embedder,
    judge: ChatModel | None = None,
    progress: Progress = silent,
    judge_tokens: int = JUDGE_TOKENS,
) -> RagasScores:
    """Every metric that can be had, over `samples`; with `judge` also those that need one, which stays open.

    Raises MissingPart where Ragas is not installed.
    """
    _check_installed()
    metrics, missing = _without_judge(embedder)
    values: dict[str, list[float | None]] = {}
    asked = _Asked(judge, judge_tokens, progress) if judge else None
    judged = _with_judge(asked, embedder) if asked else {}
    for done, (name, score) in enumerate({**metrics, **judged}.items(), 1):
        values[name] = asyncio.run(_all(score, samples, asked if name in judged else None))
        progress(done, len(metrics) + len(judged), f"ragas {name}")
    return ragas_scores(samples, values, missing, judge.name if judge else "")


def _check_installed() -> None:
    os.environ["RAGAS_DO_NOT_TRACK"] = "true"
    try:
        import ragas  # noqa: F401
    except ImportError as error:
        raise MissingPart("Ragas is not installed", "install it: pip install 'llm-twin[ragas]'") from error
    _keep_no_id()


def _keep_no_id() -> None:
    """Ragas makes an id for tracking even where tracking is off, once a process; leave none on the disk."""
    from ragas import _analytics

    place = _analytics.user_data_dir
    with TemporaryDirectory() as folder:
        _analytics.user_data_dir = lambda appname: str(Path(folder) / appname)
        try:
            _analytics.get_userid()
        finally:
            _analytics.user_data_dir = place


def _without_judge(embedder: Embedder) -> tuple[dict[str, Score], dict[str, str]]:
    """The metrics that need no language model, and those whose library is not there."""
    from ragas.metrics.collections import NonLLMStringSimilarity, RougeScore, SemanticSimilarity

    with warnings.catch_warnings():  # Ragas means to move these two and has not
        warnings.simplefilter("ignore", DeprecationWarning)
        from ragas.metrics import NonLLMContextPrecisionWithReference, NonLLMContextRecall
    makers: dict[str, Callable[[], Score]] = {
        "non_llm_string_similarity": lambda: _likeness(NonLLMStringSimilarity()),
        "rouge_score": lambda: _likeness(_working(RougeScore, "rouge_score")),
        "semantic_similarity": lambda: _likeness(SemanticSimilarity(embeddings=_embeddings(embedder))),
        "non_llm_context_recall": lambda: _contexts(NonLLMContextRecall()),
        "non_llm_context_precision": lambda: _contexts(NonLLMContextPrecisionWithReference()),
    }
    found: dict[str, Score] = {}
    missing: dict[str, str] = {}
    for name, make in makers.items():
        try:
            found[name] = make()
        except ImportError as error:
            missing[name] = str(error)
    return found, missing


def _working(metric: Callable[[], Any], module: str) -> Any:
    """The metric, once the library that it imports at its first score is known to be there."""
    __import__(module)
    return metric()


def _likeness(metric: Any) -> Score:
    """How like the author's passage the answer is."""

    async def score(sample: RagSample) -> float:
        return float((await metric.ascore(reference=sample.reference, response=sample.answer)).value)

    return score


def _contexts(metric: Any) -> Score:
    """How the passages retrieved compare with those that hold the author's answer."""
    from ragas.dataset_schema import SingleTurnSample

    async def score(sample: RagSample) -> float:
        given = SingleTurnSample(
            retrieved_contexts=list(sample.retrieved_contexts),
            reference_contexts=list(sample.reference_contexts),
        )
        return float(await metric.single_turn_ascore(given))

    return score


def _with_judge(asked: "_Asked", embedder: Embedder) -> dict[str, Score]:
    from ragas.metrics.collections import AnswerRelevancy, ContextPrecision, ContextRecall, Faithfulness

    judge = _judge(asked)
    # The judge is greedy, so asking it for several questions about one answer would give the same one.
    relevancy = AnswerRelevancy(llm=judge, embeddings=_embeddings(embedder), strictness=1)
    metrics: dict[str, tuple[Any, Callable[[RagSample], dict[str, Any]]]] = {
        "faithfulness": (Faithfulness(llm=judge), lambda s: {"response": s.answer, **_retrieved(s)}),
        "context_recall": (ContextRecall(llm=judge), lambda s: {"reference": s.reference, **_retrieved(s)}),
        "context_precision": (
            ContextPrecision(llm=judge),
            lambda s: {"reference": s.reference, **_retrieved(s)},
        ),
        "answer_relevancy": (relevancy, lambda s: {"user_input": s.question, "response": s.answer}),
    }

    def scoring(metric: Any, given: Callable[[RagSample], dict[str, Any]]) -> Score:
        async def score(sample: RagSample) -> float:
            return float((await metric.ascore(**given(sample))).value)

        return score

    return {name: scoring(metric, given) for name, (metric, given) in metrics.items()}


def _retrieved(sample: RagSample) -> dict[str, Any]:
    return {"user_input": sample.question, "retrieved_contexts": list(sample.retrieved_contexts)}


async def _all(score: Score, samples: Sequence[RagSample], asked: "_Asked | None") -> list[float | None]:
    """The metric of every sample at once; None where the judge could not be read or there is no value."""

    async def one(sample: RagSample) -> float | None:
        try:
            value = await score(sample)
        except Unreadable:
            return None
        return value if math.isfinite(value) else None

    tasks = [asyncio.create_task(one(sample)) for sample in samples]
    if asked:
        await asked.answer(tasks)
    return list(await asyncio.gather(*tasks))


class _Asked:
    """What Ragas wants to ask the judge, kept until every sample waits, then asked in one batch."""

    def __init__(self, model: ChatModel, max_tokens: int, progress: Progress) -> None:
        self._model, self._progress = model, progress
        self._sampling = Sampling(max_tokens=max_tokens, temperature=0.0)
        self._waiting: list[tuple[str, type[BaseModel], asyncio.Future[BaseModel]]] = []

    async def ask(self, prompt: str, shape: type[BaseModel]) -> BaseModel:
        """The judge's reply as a `shape`; raises Unreadable for a reply that is none."""
        reply: asyncio.Future[BaseModel] = asyncio.get_running_loop().create_future()
        self._waiting.append((prompt, shape, reply))
        return await reply

    async def answer(self, tasks: Sequence["asyncio.Task[Any]"]) -> None:
        """Answer what the tasks ask until all of them are done."""
        while left := sum(not task.done() for task in tasks):
            if len(self._waiting) >= left:
                self._flush()
            await asyncio.sleep(_IDLE_SECONDS)

    def _flush(self) -> None:
        """Ask what is waiting: a batch for each shape, since one schema constrains a whole batch."""
        waiting, self._waiting = self._waiting, []
        for shape in {shape: None for _, shape, _ in waiting}:
            self._ask([(p, reply) for p, other, reply in waiting if other is shape], shape)

    def _ask(self, asked: Sequence[tuple[str, "asyncio.Future[BaseModel]"]], shape: type[BaseModel]) -> None:
        fitting = []
        for prompt, reply in asked:
            messages = [Message(role="user", content=prompt)]
            if self._model.count_tokens(messages) + self._sampling.max_tokens > self._model.context:
                reply.set_exception(Unreadable(f"{self._model.name} has no room for the question"))
            else:
                fitting.append((messages, reply))
        if fitting:
            sampling = self._sampling.model_copy(
                update={"json_schema": json.dumps(shape.model_json_schema())}
            )
            written = self._model.generate([messages for messages, _ in fitting], sampling, self._progress)
            for completion, (_, reply) in zip(written, fitting, strict=True):
                _settle(reply, completion.text, shape)


def _settle(reply: "asyncio.Future[BaseModel]", text: str, shape: type[BaseModel]) -> None:
    try:
        reply.set_result(shape.model_validate_json(text))
    except ValidationError as error:
        reply.set_exception(Unreadable(str(error)))


def _judge(asked: _Asked) -> Any:
    """Ragas' interface to a language model, answered by `asked`."""
    from ragas.llms.base import InstructorBaseRagasLLM

    class Judge(InstructorBaseRagasLLM):  # type: ignore[misc]  # Ragas is optional, so it has no type here
        def generate(self, prompt: str, response_model: type[BaseModel]) -> BaseModel:
            raise InputError("the judge is asked in batches only", "use agenerate")

        async def agenerate(self, prompt: str, response_model: type[BaseModel]) -> BaseModel:
            return await asked.ask(prompt, response_model)

    return Judge()


def _embeddings(embedder: Embedder) -> Any:
    """Ragas' interface to an embedder; a text over the window is compared by its beginning."""
    from ragas.embeddings.base import BaseRagasEmbedding

    class Embeddings(BaseRagasEmbedding):  # type: ignore[misc]
        def embed_text(self, text: str, **options: Any) -> list[float]:
            return [float(v) for v in embedder.embed([beginning(text, embedder)])[0]]

        async def aembed_text(self, text: str, **options: Any) -> list[float]:
            return self.embed_text(text)

    return Embeddings()
