"""What the author wrote, over HTTP: passages by search, documents, and embeddings.

Texts are cleaned as the index has them, so offsets of citations fit. The store is asked for the authors that a key
sees and no others. Texts are read again when the store has changed;
what is collected while the server runs can be read at once, and is found once it is indexed and the server starts anew.
"""

import base64
import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import aclosing
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from fastapi import APIRouter, Query, Request
from fastapi.responses import Response
from pydantic import Field, field_validator

from llm_twin.inference.retrieve import search
from llm_twin.ports import Embedder, VectorStore
from llm_twin.reading import clean_documents
from llm_twin.serving.protocol import HitShown
from llm_twin.serving.refusals import Refusal, declared
from llm_twin.serving.room import Room
from llm_twin.serving.visitor import Authors, Seen, chosen
from llm_twin.serving.written import Text
from llm_twin.types import CleanDocument, Kind, Value, Where
from llm_twin.workspace import Workspace

MOST_INPUTS = 2048
"""As OpenAI has it."""
TOGETHER = 64
"""Texts that are embedded between two looks whether the client is still there."""
_TOKEN_IDS = (
    "token ids are of a vocabulary that is not this model's: send texts "
    "(LangChain: OpenAIEmbeddings(check_embedding_ctx_length=False))"
)


class SearchRequest(Value):
    """The body of POST /search; `author` left out is the twin's own."""

    query: Text = Field(min_length=1, max_length=4000)
    limit: int = Field(10, ge=1, le=100)
    author: Text | None = None
    kind: Kind | None = None
    platform: Text | None = None
    published_from: date | None = None
    published_to: date | None = None


class SearchResponse(Value):
    """Passages, best first; `nearest` is the cosine of the nearest one (-1: none)."""

    hits: tuple[HitShown, ...]
    nearest: float


class DocumentLine(Value):
    """A document in the list."""

    id: str
    author: str
    kind: Kind
    title: str
    url: str | None
    platform: str | None
    published: date | None
    characters: int


class DocumentWhole(DocumentLine):
    """A document with its cleaned text, which offsets of citations count in."""

    text: str


class DocumentPage(Value):
    """Some documents, ordered by id; `total` is how many there are."""

    total: int
    documents: tuple[DocumentLine, ...]


class EmbeddingsRequest(Value):
    """The body of POST /v1/embeddings, as OpenAI has it; nothing is ever truncated."""

    input: Text | tuple[Annotated[Text, Field(min_length=1)], ...]
    model: Text = ""
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: int | None = None
    """The model's own, and no other."""
    user: Text | None = None

    @field_validator("input", mode="before")
    @classmethod
    def _texts(cls, given: Any) -> Any:
        if isinstance(given, list) and any(isinstance(each, int | list) for each in given):
            raise ValueError(_TOKEN_IDS)
        return given


class Embedding(Value):
    """One vector of length 1: numbers, or the base64 of its little-endian float32."""

    object: Literal["embedding"] = "embedding"
    index: int
    embedding: tuple[float, ...] | str


class EmbeddingsUsage(Value):
    """Tokens as the embedder counts them."""

    prompt_tokens: int
    total_tokens: int


class EmbeddingsResponse(Value):
    """The answer of POST /v1/embeddings."""

    object: Literal["list"] = "list"
    data: tuple[Embedding, ...]
    model: str
    usage: EmbeddingsUsage


class Library:
    """The clean documents of a workspace, read when they are first asked for."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace, self._lock = workspace, threading.Lock()
        self._known: dict[str | None, list[CleanDocument]] = {}
        self._read: list[tuple[int, int]] | None = None

    def documents(self, seen: Authors) -> dict[str, CleanDocument]:
        """By id, in order; of the authors that may be seen alone."""
        with self._lock:
            found = [each for author in ([None] if seen is None else seen) for each in self._by(author)]
        return {each.document.id: each for each in sorted(found, key=lambda each: each.document.id)}

    def _by(self, author: str | None) -> list[CleanDocument]:
        """The documents of `author`; None: of all."""
        now = _stamps(self._workspace.documents)
        if now != self._read:
            self._known.clear()
        if author not in self._known:
            documents, _ = clean_documents(self._workspace, author)
            self._read = _stamps(self._workspace.documents)  # opening it may have tidied its log
            if self._read != now:
                self._known.clear()
            self._known[author] = documents
        return self._known[author]


def _stamps(store: Path) -> list[tuple[int, int]]:
    """What changes when the store does: size and time of its file, and of the log beside it."""
    files = [path.stat() for path in (store, store.with_name(f"{store.name}-wal")) if path.exists()]
    return [(each.st_size, each.st_mtime_ns) for each in files]


def library_routes(
    library: Library, store: VectorStore, embedder: Embedder, own: str, room: Room
) -> APIRouter:
    """The routes; work is done in `room`."""
    router = APIRouter()

    @router.post("/search", responses=declared(400, 413, 429), tags=["library"])
    async def find(asked: SearchRequest, request: Request, seen: Seen) -> SearchResponse:
        """The passages that have to do with a question, by meaning and by words."""
        where = Where(
            author=chosen(seen, asked.author, own),
            **asked.model_dump(include={"kind", "platform", "published_from", "published_to"}),
        )
        found = await room.one(lambda: search(asked.query, store, embedder, where, asked.limit), request)
        return SearchResponse(hits=tuple(map(HitShown.of, found.hits)), nearest=found.nearest)

    @router.get("/documents", responses=declared(429), tags=["library"])
    async def documents(
        request: Request,
        seen: Seen,
        limit: Annotated[int, Query(ge=1, le=200)] = 50,
        offset: Annotated[int, Query(ge=0, le=10_000_000)] = 0,
    ) -> DocumentPage:
        """What was collected, a page at a time."""
        found = list((await room.one(lambda: library.documents(seen), request)).values())
        lines = tuple(DocumentLine(**_line(each)) for each in found[offset : offset + limit])
        return DocumentPage(total=len(found), documents=lines)

    @router.get("/documents/{document_id}", responses=declared(404, 429), tags=["library"])
    async def document(document_id: str, request: Request, seen: Seen) -> DocumentWhole:
        """One document, cleaned."""
        found = (await room.one(lambda: library.documents(seen), request)).get(document_id)
        if found is None:
            raise Refusal(404, f"there is no document {document_id!r}", "document_not_found", "document_id")
        return DocumentWhole(**_line(found), text=found.text)

    @router.post(
        "/v1/embeddings",
        response_model=EmbeddingsResponse,
        responses=declared(400, 404, 413, 429),
        tags=["library"],
    )
    async def embeddings(asked: EmbeddingsRequest, request: Request) -> Response:
        """Vectors of texts, by the embedder of the index."""
        texts = (asked.input,) if isinstance(asked.input, str) else asked.input
        _check(asked, texts, embedder)
        pieces = room.pieces(lambda: _embedded(texts, embedder, asked.encoding_format), request)
        async with aclosing(pieces):
            body = [piece async for piece in pieces]
        return Response(b"".join(body), media_type="application/json")

    return router


def _check(asked: EmbeddingsRequest, texts: Sequence[str], embedder: Embedder) -> None:
    name, own = embedder.name, embedder.dimension
    if asked.model not in ("", name):
        told = f"there is no embedding model {asked.model!r}, only {name}"
        raise Refusal(404, told, "model_not_found", "model")
    if asked.dimensions not in (None, own):
        raise Refusal(422, f"{name} has {own} dimensions", "unsupported", "dimensions")
    if not 1 <= len(texts) <= MOST_INPUTS or not all(texts):
        raise Refusal(400, f"give 1 to {MOST_INPUTS} texts, none of them empty", "bad_request", "input")


def _embedded(texts: Sequence[str], embedder: Embedder, encoding: str | None) -> Iterator[bytes]:
    """An EmbeddingsResponse as JSON in pieces: a client that leaves ends it, and the loop has no vectors to write."""
    tokens = 0
    yield b'{"object":"list","data":['
    for first in range(0, len(texts), TOGETHER):
        some = texts[first : first + TOGETHER]
        tokens += sum(len(embedder.token_offsets(text)) for text in some)
        rows = enumerate(embedder.embed(some), first)
        told = ",".join(
            Embedding(index=i, embedding=_encoded(row, encoding)).model_dump_json() for i, row in rows
        )
        yield f"{',' if first else ''}{told}".encode()
    usage = EmbeddingsUsage(prompt_tokens=tokens, total_tokens=tokens)
    yield f'],"model":{json.dumps(embedder.name)},"usage":{usage.model_dump_json()}}}'.encode()


def _encoded(
    row: "np.ndarray[tuple[int, ...], np.dtype[np.float32]]", encoding: str | None
) -> tuple[float, ...] | str:
    if encoding == "base64":
        return base64.b64encode(row.astype("<f4").tobytes()).decode()
    return tuple(row.tolist())


def _line(found: CleanDocument) -> dict[str, Any]:
    document = found.document
    fields = {"id", "author", "kind", "title", "url", "platform", "published"}
    return {**document.model_dump(include=fields), "characters": len(found.text)}
