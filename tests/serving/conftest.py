"""What the tests of serving share: a small indexed workspace with two authors, and a client of its server."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from llm_twin import pipeline, wiring
from llm_twin.adapters.standins import HashEmbedder, ScriptedChat
from llm_twin.serving.app import create_app
from llm_twin.serving.shell import Options
from llm_twin.settings import Settings
from llm_twin.types import Message
from llm_twin.workspace import Workspace

EXAMPLES = Path(__file__).parents[2] / "examples"
OWN, OTHER = "Wren Marlow", "Edmund Hale"
QUESTION = "What does salt do to a bearing in the watchroom clock?"
Client = Callable[..., TestClient]


def said(messages: Sequence[Message]) -> str:
    """What the stand-in answers."""
    return "Salt gets into every bearing. I grease them twice a year, and I note it in the log book."


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The home of a workspace that was collected and indexed once."""
    home = tmp_path_factory.mktemp("served") / "home"
    with pytest.MonkeyPatch.context() as patch:
        stand_in(patch, ScriptedChat(said))
        workspace = Workspace(home, settings())
        pipeline.collect(workspace)
        pipeline.index(workspace)
    yield home


def settings() -> Settings:
    sources = [{"location": str(EXAMPLES / "marlow" / "articles")}]
    sources += [{"location": str(EXAMPLES / "background" / "hale"), "author": OTHER}]
    return Settings(author=OWN, sources=sources)  # type: ignore[arg-type]


@pytest.fixture(name="stand_in")
def stand_in_fixture(monkeypatch: pytest.MonkeyPatch) -> Callable[[Any], None]:
    """Puts a stand-in in the place of every chat model."""
    return lambda chat: stand_in(monkeypatch, chat)


def stand_in(patch: pytest.MonkeyPatch, chat: Any) -> None:
    patch.setattr(wiring, "open_embedder", lambda workspace, progress=None: HashEmbedder())
    patch.setattr(wiring, "pull_model", lambda workspace, name, progress=None: Path(name))
    patch.setattr(wiring, "open_chat", lambda workspace, folder, apart=False: chat)


@pytest.fixture
def workspace(built: Path, tmp_path: Path) -> Workspace:
    """A copy of it, to write to."""
    import shutil

    shutil.copytree(built, tmp_path / "home")
    return Workspace(tmp_path / "home", settings())


@pytest.fixture
def client(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    """A maker of clients; `chat` is the model, the rest goes to Options."""
    with ExitStack() as stack:

        def make(chat: Any = None, page: Path = Path("none"), **options: Any) -> TestClient:
            stand_in(monkeypatch, chat or ScriptedChat(said))
            app = create_app(workspace, Options(**options), page=page)
            made = TestClient(app, base_url="http://127.0.0.1:8010", raise_server_exceptions=False)
            return stack.enter_context(made)

        yield make


@pytest.fixture
def ask() -> Callable[..., Any]:
    """One question to the chat route; what else is given goes into the body."""

    def asked(client: TestClient, text: str = QUESTION, **more: Any) -> Any:
        body = {"messages": [{"role": "user", "content": text}], **more}
        return client.post("/v1/chat/completions", json=body)

    return asked
