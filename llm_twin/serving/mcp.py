"""The twin for assistants that speak the Model Context Protocol: three tools, over standard input and output.

`ask` answers with sources, `search_writing` finds passages, `draft_in_voice` writes without looking anything up. All
see the twin's own author alone. Standard output belongs to the protocol. Not covered: the protocol's HTTP
transport (`twin serve` speaks OpenAI's API there), prompts and sampling.
"""

from collections.abc import Callable
from datetime import date
from functools import wraps
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from llm_twin import prompts
from llm_twin.asker import Asker
from llm_twin.errors import MissingPart, TwinError
from llm_twin.inference.packing import SYSTEM_PROMPT
from llm_twin.inference.retrieve import search
from llm_twin.serving.protocol import HitShown
from llm_twin.types import Answer, Kind, Message, Sampling, Value, Where

if TYPE_CHECKING:
    from mcp.server import MCPServer

Question = Annotated[str, Field(min_length=1, max_length=4000)]


class Source(Value):
    """What a citation [number] rests on."""

    number: int
    title: str
    url: str | None
    text: str


class Answered(Value):
    """An answer; `found` says whether the author wrote about it."""

    text: str
    found: bool
    mode: str
    sources: tuple[Source, ...]


class Passages(Value):
    """Passages, best first; `nearest` is the cosine of the nearest one (-1: none)."""

    passages: tuple[HitShown, ...]
    nearest: float


class Draft(Value):
    """A text in the author's voice, which rests on nothing that was looked up."""

    text: str


class Tools:
    """What the tools do, on the ports of one Asker."""

    def __init__(self, asker: Asker) -> None:
        self._asker, self._author = asker, asker.workspace.author

    def ask(self, question: Question) -> Answered:
        """Answer a question from what the author wrote, in the author's voice, with sources. Where nothing was
        written about it, `found` is false and the text says so."""
        answer = next(piece for piece in self._asker.stream(question) if isinstance(piece, Answer))
        texts = {hit.chunk.id: hit.chunk.text for hit in answer.hits}
        sources = tuple(
            Source(number=c.number, title=c.title, url=c.url, text=texts.get(c.chunk_id, ""))
            for c in answer.citations
        )
        return Answered(text=answer.text, found=answer.found, mode=answer.mode, sources=sources)

    def search_writing(
        self,
        query: Question,
        limit: Annotated[int, Field(ge=1, le=50)] = 5,
        kind: Kind | None = None,
        published_from: date | None = None,
        published_to: date | None = None,
    ) -> Passages:
        """Find passages of the author's writing by meaning and by words, word for word and with where they stand."""
        where = Where(
            author=self._author, kind=kind, published_from=published_from, published_to=published_to
        )
        found = search(query, self._asker.store, self._asker.embedder, where, limit)
        return Passages(passages=tuple(map(HitShown.of, found.hits)), nearest=found.nearest)

    def draft_in_voice(
        self, request: Question, max_tokens: Annotated[int, Field(ge=16, le=2000)] = 400
    ) -> Draft:
        """Write something new in the author's voice, from the request alone. Facts in it are made up: check them."""
        model = self._asker.model
        if model is None:
            raise MissingPart("mode quote has no model that writes", "start with --mode write")
        system = Message(role="system", content=prompts.render(SYSTEM_PROMPT, author=self._author))
        usual = self._asker.using().sampling
        sampling = Sampling(max_tokens=max_tokens, temperature=usual.temperature, top_p=usual.top_p)
        asked = [system, Message(role="user", content=request)]
        return Draft(text="".join(model.stream(asked, sampling)).strip())


def create_server(asker: Asker) -> "MCPServer":
    """The server over `asker`, which stays open. Raises MissingPart without the `mcp` extra."""
    try:
        from mcp.server import MCPServer
        from mcp.server.mcpserver.exceptions import ToolError
    except ImportError as error:
        raise MissingPart("the MCP server needs mcp", "install it: pip install 'llm-twin[mcp]'") from error
    author = asker.workspace.author
    server = MCPServer(
        "llm-twin",
        title=f"The twin of {author}",
        instructions=f"What {author} wrote, and a model that writes as {author} does. Cite the sources of `ask`.",
        log_level="ERROR",
    )
    tools = Tools(asker)
    for tool in (tools.ask, tools.search_writing, tools.draft_in_voice):
        server.add_tool(_explained(tool, ToolError))
    return server


def _explained(tool: Callable[..., Value], failure: type[Exception]) -> Callable[..., Value]:
    """The tool, whose errors are told to the assistant with the way out."""

    @wraps(tool)
    def explained(*given: Any, **named: Any) -> Value:
        try:
            return tool(*given, **named)
        except TwinError as error:
            raise failure(f"{error}: {error.way_out}" if error.way_out else str(error)) from error

    return explained
