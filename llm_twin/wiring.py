"""The only chooser: a port and a name of twin.toml -> the adapter, imported when it is opened.

A new backend is one file in `adapters/` and one row here. Outsiders need no row: twin.toml may name
"package.module:function", which is called with the same arguments.
"""

from collections.abc import Callable, Mapping
from difflib import get_close_matches
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any, cast

from llm_twin.errors import InputError, MissingPart
from llm_twin.ports import (
    ChatModel,
    DocumentStore,
    Embedder,
    Fetcher,
    Hosting,
    Progress,
    Queue,
    Reranker,
    Tracker,
    VectorStore,
    silent,
)
from llm_twin.text import digest
from llm_twin.types import HostingPlan
from llm_twin.workspace import Workspace

ADAPTERS: dict[str, dict[str, str]] = {
    "documents": {"sqlite": "llm_twin.adapters.documents_sqlite:SqliteDocuments"},
    "vectors": {"qdrant-edge": "llm_twin.adapters.vectors_qdrant_edge:QdrantEdgeVectors"},
    "embedder": {"openvino": "llm_twin.adapters.embed_openvino:OpenVinoEmbedder"},
    "chat": {
        "openvino": "llm_twin.adapters.chat_openvino:OpenVinoChat",
        "openai": "llm_twin.adapters.chat_http:HttpChat",
        "sagemaker": "llm_twin.adapters.chat_sagemaker:SageMakerChat",
    },
    "fetcher": {"httpx": "llm_twin.adapters.fetch_httpx:HttpxFetcher"},
    "tracker": {"files": "llm_twin.adapters.track_files:FileTracker"},
    "queue": {"huey": "llm_twin.adapters.queue_huey:HueyQueue"},
}


def adapter(port: str, name: str) -> Callable[..., Any]:
    """What opens the adapter `name` of `port`; InputError for an unknown name, MissingPart for a missing package."""
    place = ADAPTERS[port].get(name, name if ":" in name else "")
    if not place:
        near = get_close_matches(name, ADAPTERS[port], n=1)
        raise InputError(
            f"adapters.{port}: there is no {name!r}" + (f"; did you mean {near[0]}?" if near else ""),
            f"known: {', '.join(ADAPTERS[port])}, or package.module:function",
        )
    module, _, function = place.partition(":")
    try:
        return cast(Callable[..., Any], getattr(import_module(module), function))
    except ImportError as error:
        raise MissingPart(
            f"adapters.{port} = {name!r} needs {error.name}", f"pip install {error.name}"
        ) from error
    except AttributeError as error:
        raise InputError(f"adapters.{port}: {module} has no {function}") from error


def open_documents(workspace: Workspace) -> DocumentStore:
    """The workspace's documents."""
    workspace.home.mkdir(parents=True, exist_ok=True)
    opened = adapter("documents", workspace.settings.adapters.documents)(workspace.documents)
    return cast(DocumentStore, opened)


def open_embedder(workspace: Workspace, progress: Progress = silent) -> Embedder:
    """The embedder, pulled first where it is not there yet."""
    folder = pull_model(workspace, workspace.settings.models.embedder, progress)
    return cast(Embedder, adapter("embedder", workspace.settings.adapters.embedder)(folder))


def open_vectors(workspace: Workspace, dimension: int) -> VectorStore:
    """The workspace's index."""
    opened = adapter("vectors", workspace.settings.adapters.vectors)(workspace.vectors, dimension)
    return cast(VectorStore, opened)


def open_chat(workspace: Workspace, folder: Path, apart: bool = False) -> ChatModel:
    """A chat model from its prepared folder; at an endpoint, the one that stands for that folder.

    An endpoint serves a trained twin under its folder's name or not at all: another model never passes for it. An
    engine of this machine runs `apart`, in a process of its own, where it can (for servers).
    """
    if workspace.settings.adapters.chat == "openai":
        twin = folder.resolve().parent == (workspace.home / "models").resolve()
        return open_endpoint(workspace, folder.name if twin else "")
    if workspace.settings.adapters.chat == "sagemaker":
        return _open_hosted(workspace, folder)
    opened = adapter("chat", workspace.settings.adapters.chat)
    if workspace.settings.adapters.chat == "openvino":
        asked = workspace.settings.ask
        draft = pull_model(workspace, asked.draft) if asked.draft else None
        faster = {"prompt_lookup": asked.prompt_lookup, "draft": draft, "int4": asked.int4}
        return cast(ChatModel, opened(folder, apart=apart, **faster))
    return cast(ChatModel, opened(folder))


def _open_hosted(workspace: Workspace, folder: Path) -> ChatModel:
    hosted, plan = workspace.settings.sagemaker, hosting_plan(workspace, folder)
    opened = adapter("chat", "sagemaker")(
        folder,
        plan.name,
        region=hosted.region,
        bucket=hosted.bucket,
        asynchronous=hosted.asynchronous,
    )
    return cast(ChatModel, opened)


def hosting_plan(workspace: Workspace, folder: Path) -> HostingPlan:
    """How `[sagemaker]` hosts the twin of `folder`: its safetensors, under its own name unless another is set."""
    hosted = workspace.settings.sagemaker
    fields = hosted.model_dump(exclude={"region", "usd_per_hour", "name"})
    return HostingPlan(name=hosted.name or folder.name, model=folder / "safetensors", **fields)


def open_hosting(workspace: Workspace) -> Hosting:
    """Where models are hosted; MissingPart without the extra `aws`."""
    try:
        from llm_twin.adapters.host_sagemaker import SageMaker
    except ImportError as error:
        raise MissingPart(f"hosting needs {error.name}", "pip install 'llm-twin[aws]'") from error
    return SageMaker(workspace.settings.sagemaker.region)


def open_endpoint(workspace: Workspace, model: str = "") -> ChatModel:
    """`model`, or the model of twin.toml, behind the OpenAI-compatible server of `[endpoint]`."""
    endpoint = workspace.settings.endpoint
    opened = adapter("chat", "openai")(
        endpoint.url,
        model or endpoint.model,
        endpoint.api_key.get_secret_value(),
        context=endpoint.context,
        concurrency=endpoint.concurrency,
        timeout_s=endpoint.timeout_seconds,
    )
    return cast(ChatModel, opened)


def open_reranker(name: str) -> Reranker:
    """The cross-encoder `name`: a folder, or a name on the Hub. MissingPart without the extra `rerank`."""
    try:
        from llm_twin.adapters.rerank_cross_encoder import CrossEncoderReranker
    except ImportError as error:
        raise MissingPart(
            f"search.rerank = {name!r} needs {error.name}", "pip install 'llm-twin[rerank]'"
        ) from error
    return CrossEncoderReranker(name)


def open_fetcher(workspace: Workspace) -> Fetcher:
    """The web, politely and guarded."""
    fetch = workspace.settings.fetch
    opened = adapter("fetcher", workspace.settings.adapters.fetcher)(
        user_agent=fetch.user_agent,
        allow_private=fetch.allow_private,
        cache_dir=workspace.home / "pages",
        min_interval_s=fetch.min_interval_seconds,
    )
    return cast(Fetcher, opened)


def open_tracker(workspace: Workspace, run: Path) -> Tracker:
    """Where the metrics of a training run go."""
    return cast(Tracker, adapter("tracker", workspace.settings.adapters.tracker)(run))


def open_queue(workspace: Workspace) -> Queue:
    """The jobs of this workspace: in its own folder, or in Redis under a name of its own."""
    opened = adapter("queue", workspace.settings.adapters.queue)(
        workspace.home / "jobs",
        redis=workspace.settings.jobs.redis.get_secret_value(),
        name=digest(workspace.author, str(workspace.home.resolve()))[:16],
    )
    return cast(Queue, opened)


def open_post(workspace: Workspace) -> Callable[[str, bytes, Mapping[str, str]], None]:
    """How webhooks are called: at public addresses, unless `[jobs] webhooks_to_private` allows others."""
    from llm_twin.adapters.post_httpcore import post

    return partial(post, allow_private=workspace.settings.jobs.webhooks_to_private)


def pull_model(workspace: Workspace, name: str, progress: Progress = silent) -> Path:
    """The prepared folder of a catalogue model, Hub id, folder or GGUF file."""
    from llm_twin.adapters.pull import pull

    models = workspace.settings.models
    extra = workspace.home / "models.toml"
    return pull(name, workspace.model_cache, progress=progress, source=models.source, extra=extra)
