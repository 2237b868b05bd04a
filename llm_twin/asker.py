"""From a workspace to answers: which model's folder is asked, and the ports that one answer needs, opened together."""

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import cast

from llm_twin import models, wiring
from llm_twin.errors import InputError
from llm_twin.inference.answer import Answering, stream
from llm_twin.inference.selfquery import Known
from llm_twin.inference.steps import Steps
from llm_twin.inference.tracing import Tracing
from llm_twin.ports import ChatModel, Embedder, Progress, Reranker, TokenEmbedder, VectorStore, silent
from llm_twin.text import digest
from llm_twin.types import Answer, Message, Sampling
from llm_twin.workspace import Workspace


def twin_folder(workspace: Workspace) -> Path | None:
    """The folder of the twin that was trained last; None before the first."""
    finished = workspace.finished("train")
    return Path(finished.report.artefacts[0]) if finished else None


def trained_twin(workspace: Workspace) -> Path:
    """The folder of the twin; raises InputError before there is one."""
    folder = twin_folder(workspace)
    if folder is None or not folder.exists():
        raise InputError(f"there is no twin of {workspace.author} yet", "train one: twin train sft")
    return folder


def chat_folder(workspace: Workspace, base: bool = False, progress: Progress = silent) -> Path:
    """The folder of the model that answers: the twin's, or with `base` or before the first twin the base model's."""
    trained = None if base else twin_folder(workspace)
    return trained or wiring.pull_model(workspace, workspace.settings.models.chat, progress)


def open_model(
    workspace: Workspace, base: bool = False, progress: Progress = silent, apart: bool = False
) -> ChatModel:
    """The model that answers, opened (`apart`: see wiring.open_chat); at an endpoint nothing is pulled for it."""
    if workspace.settings.adapters.chat == "openai" and (base or twin_folder(workspace) is None):
        return wiring.open_endpoint(workspace)
    return wiring.open_chat(workspace, chat_folder(workspace, base, progress), apart)


ENDPOINT = "endpoint"
"""What stands for the model of `[endpoint]` where a model is named."""


@dataclass(frozen=True)
class Subject:
    """A model that is measured; `folder` is None for the one behind `[endpoint]`."""

    name: str
    folder: Path | None

    @property
    def sha256(self) -> str:
        """Of its weights; empty where they are not here."""
        return models.read_card(self.folder).sha256 if self.folder else ""

    def open(self, workspace: Workspace) -> ChatModel:
        """The model, to be closed."""
        if self.folder is None:
            return wiring.open_endpoint(workspace)
        return wiring.open_chat(workspace, self.folder)


def subject(workspace: Workspace, model: str = "", progress: Progress = silent) -> Subject:
    """The twin; or `model`: a name of `twin models`, a Hub id, a folder, a GGUF, or "endpoint".

    Raises InputError before there is a twin, for an unknown model, and where nobody answers at the endpoint.
    """
    if model == ENDPOINT:
        opened = wiring.open_endpoint(workspace)
        opened.close()
        return Subject(opened.name, None)
    folder = wiring.pull_model(workspace, model, progress) if model else trained_twin(workspace)
    return Subject(folder.name, folder)


def answering(
    workspace: Workspace,
    store: VectorStore,
    embedder: Embedder,
    model: ChatModel | None,
    mode: str,
    sampling: Sampling | None = None,
    by: Steps | None = None,
) -> Answering:
    """What answers are made with by `[ask]` and `[search]`; `sampling` and the steps `by` in their place."""
    settings = workspace.settings.ask
    return Answering(
        author=workspace.author,
        store=store,
        embedder=embedder,
        model=model,
        mode=mode,
        sampling=sampling or settings.sampling(),
        budget=settings.budget_tokens,
        passages=settings.passages,
        steps=by or steps(workspace, embedder, model),
    )


def steps(workspace: Workspace, embedder: Embedder, model: ChatModel | None) -> Steps:
    """The steps of `[search]`, of which `model` writes what is to be written; raises as `check_steps` does."""
    settings = workspace.settings.search
    check_steps(workspace, "quote" if model is None else "write")
    return Steps(
        by=model,
        follow_ups=settings.follow_ups,
        filters=settings.filters,
        known=filterable(workspace) if settings.filters != "off" else None,
        reformulations=settings.reformulations,
        hypothetical=settings.hypothetical,
        reranker=_reranker(workspace, embedder, model),
        diversity=settings.diversity,
        neighbours=settings.neighbours,
    )


def check_steps(workspace: Workspace, mode: str) -> None:
    """Raise InputError for a step of `[search]` that needs a chat model, in a mode that loads none."""
    settings = workspace.settings.search
    asked = {
        "filters": settings.filters == "model",
        "reformulations": settings.reformulations > 0,
        "hypothetical": settings.hypothetical,
        "rerank": settings.rerank == LIKELIHOOD,
    }
    needed = [name for name, wanted in asked.items() if wanted and mode == "quote"]
    if needed:
        raise InputError(
            f"search.{needed[0]} needs a chat model, and mode quote loads none",
            "answer in mode write, or take the step out of twin.toml",
        )


LATE, LIKELIHOOD = "late-interaction", "query-likelihood"


def _reranker(workspace: Workspace, embedder: Embedder, model: ChatModel | None) -> Reranker | None:
    from llm_twin.inference.rerank import LateInteraction, QueryLikelihood

    name = workspace.settings.search.rerank
    if not name:
        return None
    if name == LATE:
        if not hasattr(embedder, "token_vectors"):
            raise InputError(f"{embedder.name} gives no vectors of tokens, as search.rerank = {LATE!r} needs")
        return LateInteraction(cast(TokenEmbedder, embedder))
    if name == LIKELIHOOD and model is not None:
        return QueryLikelihood(model)
    return wiring.open_reranker(name)


def filterable(workspace: Workspace) -> Known:
    """What there is to filter the author's passages by."""
    with closing(wiring.open_documents(workspace)) as store:
        platforms = sorted({d.platform for d in store.documents(workspace.author) if d.platform})
    return Known([workspace.author], platforms, date.today())


def check_index(workspace: Workspace) -> None:
    """Raise InputError where there is no index to answer from."""
    if not workspace.vectors.exists():
        raise InputError(f"{workspace.home} has no index", "make it: twin index")


def made_with(workspace: Workspace, mode: str, base: bool = False) -> str:
    """A fingerprint of what an answer depends on beside its question: the index, `[ask]` and the model that writes."""
    settings, index = workspace.settings, workspace.finished("index")
    model = []
    if mode == "write":
        trained = None if base else twin_folder(workspace)
        model = [trained.name if trained else settings.models.chat, settings.adapters.chat]
        if settings.adapters.chat == "openai":
            model += [settings.endpoint.url, settings.endpoint.model]
    ask, search = settings.ask.model_dump_json(exclude={"mode"}), settings.search.model_dump_json()
    return digest(mode, workspace.author, index.fingerprint if index else "", ask, search, *model)[:16]


class Asker:
    """The ports behind `twin ask`, `twin chat` and `twin batch`, opened once; close it when done."""

    def __init__(
        self, workspace: Workspace, mode: str = "", base: bool = False, progress: Progress = silent
    ) -> None:
        check_index(workspace)
        self.workspace = workspace
        self.mode = mode or workspace.settings.ask.mode
        check_steps(workspace, self.mode)
        self.made_with = made_with(workspace, self.mode, base)
        self.embedder = wiring.open_embedder(workspace, progress)
        self.model: ChatModel | None = None
        if self.mode == "write":
            self.model = open_model(workspace, base, progress)
        by = steps(workspace, self.embedder, self.model)  # before the index is locked: it may raise
        self.store = wiring.open_vectors(workspace, self.embedder.dimension)
        self._using = answering(workspace, self.store, self.embedder, self.model, self.mode, by=by)

    def using(self) -> Answering:
        """What answers are made with."""
        return self._using

    def stream(
        self, question: str, history: Sequence[Message] = (), tracing: Tracing | None = None
    ) -> Iterator[str | Answer]:
        """Pieces of the answer as they are written, then the Answer with its citations."""
        return stream(question, self._using, history, tracing)

    def close(self) -> None:
        """Free the model and the index."""
        self.store.close()
        if self.model is not None:
            self.model.close()
