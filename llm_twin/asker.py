"""From a workspace to answers: which model's folder is asked, and the ports that one answer needs, opened together."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from llm_twin import models, wiring
from llm_twin.errors import InputError
from llm_twin.inference.answer import Answering, stream
from llm_twin.ports import ChatModel, Embedder, Progress, VectorStore, silent
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
) -> Answering:
    """What answers are made with by the settings of `[ask]`; `sampling` in their place where a caller has its own."""
    settings = workspace.settings.ask
    return Answering(
        author=workspace.author,
        store=store,
        embedder=embedder,
        model=model,
        mode=mode,
        sampling=sampling
        or Sampling(max_tokens=settings.max_tokens, temperature=settings.temperature, top_p=settings.top_p),
        budget=settings.budget_tokens,
        passages=settings.passages,
    )


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
    ask = settings.ask.model_dump_json(exclude={"mode"})
    return digest(mode, workspace.author, index.fingerprint if index else "", ask, *model)[:16]


class Asker:
    """The ports behind `twin ask`, `twin chat` and `twin batch`, opened once; close it when done."""

    def __init__(
        self, workspace: Workspace, mode: str = "", base: bool = False, progress: Progress = silent
    ) -> None:
        check_index(workspace)
        self.workspace = workspace
        self.mode = mode or workspace.settings.ask.mode
        self.made_with = made_with(workspace, self.mode, base)
        self.embedder = wiring.open_embedder(workspace, progress)
        self.model: ChatModel | None = None
        if self.mode == "write":
            self.model = wiring.open_chat(workspace, chat_folder(workspace, base, progress))
        self.store = wiring.open_vectors(workspace, self.embedder.dimension)

    def using(self) -> Answering:
        """What answers are made with."""
        return answering(self.workspace, self.store, self.embedder, self.model, self.mode)

    def stream(self, question: str, history: Sequence[Message] = ()) -> Iterator[str | Answer]:
        """Pieces of the answer as they are written, then the Answer with its citations."""
        return stream(question, self.using(), history)

    def close(self) -> None:
        """Free the model and the index."""
        self.store.close()
        if self.model is not None:
            self.model.close()
