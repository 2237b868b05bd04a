"""The tools of the MCP server: in memory, and with the official client over real pipes."""

import asyncio
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from llm_twin.adapters.standins import ScriptedChat
from llm_twin.asker import Asker
from llm_twin.errors import MissingPart
from llm_twin.serving.mcp import create_server
from llm_twin.types import Message
from llm_twin.workspace import Workspace

QUESTION = "What does salt do to a bearing in the watchroom clock?"
SERVE = """
import sys
from pathlib import Path
from llm_twin import wiring
from llm_twin.adapters.standins import HashEmbedder, ScriptedChat
from llm_twin.cli import app

wiring.open_embedder = lambda workspace, progress=None: HashEmbedder()
wiring.pull_model = lambda workspace, name, progress=None: Path(name)
wiring.open_chat = lambda workspace, folder, apart=False: ScriptedChat(lambda messages: "Salt gets into every bearing.")
app(["mcp", "--home", sys.argv[1]])
"""


def said(messages: Sequence[Message]) -> str:
    return "Salt gets into every bearing. I grease them twice a year, and I note it in the log book."


@pytest.fixture
def asker(workspace: Workspace, stand_in: Callable[[Any], None]) -> Iterator[Asker]:
    stand_in(ScriptedChat(said))
    with closing(Asker(workspace)) as opened:
        yield opened


def call(asker: Asker, tool: str, **given: Any) -> Any:
    """The tool's result through the official client, in memory."""
    from mcp import Client

    async def run() -> Any:
        async with Client(create_server(asker)) as client:
            return await client.call_tool(tool, given)

    return asyncio.run(run())


def test_an_answer_comes_with_its_sources(asker: Asker) -> None:
    found = call(asker, "ask", question=QUESTION).structured_content
    assert found["found"] and "bearing" in found["text"]
    assert found["sources"] and all(f"[{s['number']}]" in found["text"] for s in found["sources"])
    assert all(s["text"] and s["title"] for s in found["sources"])


def test_a_search_finds_the_authors_own_passages_alone(asker: Asker) -> None:
    query = "salt in the bearing of a clock on the sea wall"
    found = call(asker, "search_writing", query=query, limit=50).structured_content
    anybody = asker.store.search_words(query, 50)
    others = {hit.chunk.document_id for hit in anybody if hit.chunk.author != "Wren Marlow"}
    assert others and found["passages"], "there is something to leak"
    assert not others & {hit["document_id"] for hit in found["passages"]}


def test_a_draft_asks_the_model_alone(asker: Asker) -> None:
    assert call(asker, "draft_in_voice", request="A note on salt.").structured_content == {"text": said([])}


def test_what_goes_wrong_is_told_with_the_way_out(
    workspace: Workspace, stand_in: Callable[[Any], None]
) -> None:
    stand_in(ScriptedChat(said))
    with closing(Asker(workspace, "quote")) as asker:
        found = call(asker, "draft_in_voice", request="A note on salt.")
        assert found.is_error and "--mode write" in found.content[0].text
        assert call(asker, "ask", question="?!").is_error
        assert call(asker, "search_writing", query="salt", limit=0).is_error


def test_every_tool_says_what_it_is_for(asker: Asker) -> None:
    from mcp import Client

    async def run() -> Any:
        async with Client(create_server(asker)) as client:
            return (await client.list_tools()).tools

    tools = asyncio.run(run())
    assert [tool.name for tool in tools] == ["ask", "search_writing", "draft_in_voice"]
    assert all(len(tool.description or "") > 40 and tool.output_schema for tool in tools)


def test_without_the_extra_it_is_named(asker: Asker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mcp.server", None)
    with pytest.raises(MissingPart, match="mcp") as caught:
        create_server(asker)
    assert caught.value.way_out == "install it: pip install 'llm-twin[mcp]'"


@pytest.mark.slow
def test_the_command_speaks_the_protocol_over_its_pipes(workspace: Workspace) -> None:
    from mcp import Client, StdioServerParameters, stdio_client

    (workspace.home / "twin.toml").write_text('author = "Wren Marlow"\n', encoding="utf-8")
    server = StdioServerParameters(command=sys.executable, args=["-c", SERVE, str(workspace.home)])

    async def run() -> Any:
        async with Client(stdio_client(server)) as client:
            tools = (await client.list_tools()).tools
            return tools, await client.call_tool("ask", {"question": QUESTION})

    tools, answered = asyncio.run(run())
    assert len(tools) == 3 and not answered.is_error
    assert "bearing" in answered.structured_content["text"]


def test_the_readme_shows_how_an_assistant_starts_it() -> None:
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    assert '"args": ["mcp", "--home"' in readme
