"""What the tests of features share: documents made of a text, and the examples as they are collected."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from llm_twin.collect.crawl import Source, collect
from llm_twin.text import digest
from llm_twin.types import CleanDocument, Document

MakeDocument = Callable[..., Document]


class NoWeb:
    """A Fetcher for what needs none."""

    def fetch(self, url: str) -> Any:
        raise AssertionError(f"{url} was asked for")


@pytest.fixture(scope="session")
def document() -> MakeDocument:
    """document(text, **fields): one by Ada called "On owls"; its id follows from its title."""

    def make(text: str, **fields: Any) -> Document:
        title = fields.get("title", "On owls")
        values = {"author": "Ada", "kind": "article", "title": title, "source": f"file:{title}"}
        given = {"id": "d_" + digest(title)[:16], "digest": digest(text), "text": text, **values, **fields}
        return Document.model_validate(given)

    return make


@pytest.fixture(scope="session")
def cleaned(document: MakeDocument) -> Callable[..., CleanDocument]:
    """cleaned(text, **fields): a document in which there was nothing to clean."""
    return lambda text, **fields: CleanDocument(document=document(text, **fields), text=text)


@pytest.fixture(scope="session")
def examples() -> list[Document]:
    """The example author's documents as collecting gives them."""
    return _collected([Path(__file__).parents[2] / "examples" / "marlow"])


@pytest.fixture(scope="session")
def articles(shared_articles: Path) -> list[Document]:
    """Real articles by two authors; skips where they do not lie beside the repository."""
    return _collected([shared_articles])


def _collected(paths: Sequence[Path]) -> list[Document]:
    sources = [Source(str(path)) for path in paths]
    return [item for item in collect(sources, NoWeb(), "Ada") if isinstance(item, Document)]
