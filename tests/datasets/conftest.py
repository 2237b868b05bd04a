"""What the tests of datasets share: clean documents made of a text."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from llm_twin.collect.crawl import Source, collect
from llm_twin.features.clean import clean
from llm_twin.text import digest
from llm_twin.types import CleanDocument, Document

MakeClean = Callable[..., CleanDocument]


@pytest.fixture(scope="session")
def cleaned() -> MakeClean:
    """cleaned(text, title="On owls", **fields): a document by Ada with nothing to clean."""

    def make(text: str, title: str = "On owls", **fields: Any) -> CleanDocument:
        values = {"id": "d_" + digest(title)[:16], "author": "Ada", "kind": "article", "title": title}
        given = {"source": f"file:{title}", "digest": digest(text), "text": text, **values, **fields}
        return CleanDocument(document=Document.model_validate(given), text=text)

    return make


@pytest.fixture(scope="session")
def examples() -> list[CleanDocument]:
    """The example author's prose, cleaned."""
    return _prose([Path(__file__).parents[2] / "examples" / "marlow"])


@pytest.fixture(scope="session")
def articles(shared_articles: Path) -> list[CleanDocument]:
    """Real articles by two authors, cleaned; skips where they do not lie beside the repository."""
    return _prose([shared_articles])


def _prose(paths: Sequence[Path]) -> list[CleanDocument]:
    sources = [Source(str(path)) for path in paths]
    found = [each for each in collect(sources, None, "Ada") if isinstance(each, Document)]  # type: ignore[arg-type]
    return [each for each in clean(found).documents if each.document.kind != "repository"]
