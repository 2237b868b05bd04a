"""What the tests of inference share: a small written world, indexed, and whose words they are."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from llm_twin.adapters.standins import HashEmbedder
from llm_twin.adapters.vectors_qdrant_edge import QdrantEdgeVectors
from llm_twin.collect.crawl import Source, collect
from llm_twin.features.chunk import chunks
from llm_twin.features.clean import clean
from llm_twin.features.index import index
from llm_twin.ports import Embedder, VectorStore
from llm_twin.text import digest
from llm_twin.types import Chunk, CleanDocument, Document, Hit

OWLS = """# On owls

Barn owls hunt voles over wet meadows at dusk. They listen for the rustle long before they see anything.

An owl's ears sit at two heights — so it hears up and down as well as left and right. I measured that in 2019!

- feathers
- They swallow the vole whole and cough up a pellet.

```python
owls = hunt("barn owls hunt voles")
```

> Owls are the cats of the air, somebody said once upon a time.

Do owls ever hunt voles in the rain? See the pellet table [3] for what my own barn owls ate.
"""

CLOCKS = """# Mending clocks

The church clock lost four minutes every week because its oil had thickened. I cleaned the pivots and used a
lighter oil. It has kept time since.

## On pendulums

A pendulum runs slow when it is warm, since the rod grows longer. Wood grows less than brass does.
"""

BOB = """# Bob on owls

Barn owls hunt voles, and Bob says that barn owls hunt voles better than anyone hunts voles.
"""


class NoWeb:
    """A Fetcher for what needs none."""

    def fetch(self, url: str) -> Any:
        raise AssertionError(f"{url} was asked for")


def cleaned(title: str, text: str, author: str = "Ada") -> CleanDocument:
    document = Document(
        id="d_" + digest(author, title)[:16],
        author=author,
        kind="article",
        title=title,
        text=text,
        source=f"https://{author.lower()}.example/{title.lower()}",
        url=f"https://{author.lower()}.example/{title.lower()}",
        digest=digest(text),
    )
    return CleanDocument(document=document, text=text)


@pytest.fixture(scope="session")
def embedder() -> HashEmbedder:
    return HashEmbedder(dimension=512)


@pytest.fixture(scope="session")
def world() -> dict[str, CleanDocument]:
    """Clean documents by id: two by Ada, one by Bob."""
    made = [cleaned("Owls", OWLS), cleaned("Clocks", CLOCKS), cleaned("Bob", BOB, "Bob")]
    return {document.document.id: document for document in made}


@pytest.fixture(scope="session")
def store(
    world: dict[str, CleanDocument], embedder: HashEmbedder, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[VectorStore]:
    opened = QdrantEdgeVectors(tmp_path_factory.mktemp("vectors"), embedder.dimension)
    index(list(world.values()), opened, embedder)
    yield opened
    opened.close()


@pytest.fixture
def empty_store(embedder: HashEmbedder, tmp_path: Path) -> Iterator[VectorStore]:
    opened = QdrantEdgeVectors(tmp_path / "vectors", embedder.dimension)
    yield opened
    opened.close()


@pytest.fixture(scope="session")
def hit() -> Callable[..., Hit]:
    """hit(name, text, score): a chunk of a document of its own."""

    def make(name: str, text: str = "Owls hunt at night.", score: float = 1.0) -> Hit:
        chunk = Chunk(
            id=name, document_id=f"d-{name}", author="Ada", kind="article", title=f"Title {name}",
            text=text, start=10, end=10 + len(text), tokens=9, url=f"https://ada.example/{name}",
        )  # fmt: skip
        return Hit(chunk=chunk, score=score)

    return make


@pytest.fixture(scope="session")
def owl_hits(world: dict[str, CleanDocument], embedder: HashEmbedder) -> list[Hit]:
    """The chunks of the piece on owls, as hits."""
    (document,) = (d for d in world.values() if d.document.title == "Owls")
    return [Hit(chunk=chunk, score=1.0) for chunk in chunks(document, embedder, target=60)]


@pytest.fixture(scope="session")
def minilm(models_cache: Path) -> Embedder:
    """The default embedder (for tests marked slow)."""
    from llm_twin.adapters.embed_openvino import OpenVinoEmbedder
    from llm_twin.adapters.pull import pull

    return OpenVinoEmbedder(pull("all-minilm-l6-v2", models_cache))


@pytest.fixture(scope="session")
def marlow(minilm: Embedder, tmp_path_factory: pytest.TempPathFactory) -> Iterator[VectorStore]:
    """The sample corpus, all three authors, indexed by the default embedder (for tests marked slow)."""
    examples = Path(__file__).parents[2] / "examples"
    sources = [Source(str(examples / "marlow"), "Wren Marlow"), Source(str(examples / "background"))]
    documents = [d for d in collect(sources, NoWeb(), "Unknown") if isinstance(d, Document)]
    opened = QdrantEdgeVectors(tmp_path_factory.mktemp("marlow"), minilm.dimension)
    index(list(clean(documents).documents), opened, minilm)
    yield opened
    opened.close()
