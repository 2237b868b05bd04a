"""What the tests of collecting share: a web made of a dict, one parsing child, pieces of a folder."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from llm_twin.collect.limited import LimitedChild
from llm_twin.collect.reader import Piece, Tools
from llm_twin.errors import InputError

DATA = Path(__file__).parent.parent / "data" / "collect"


@dataclass
class Page:
    url: str
    content_type: str
    body: bytes


class DictFetcher:
    """A Fetcher whose web is a dict of URL -> (content type, body); `asked` is what was fetched."""

    def __init__(self, pages: dict[str, tuple[str, bytes]]) -> None:
        self.pages = pages
        self.asked: list[str] = []

    def fetch(self, url: str) -> Page:
        self.asked.append(url)
        if url not in self.pages:
            raise InputError(f"{url}: the server answered 404 Not Found", "Check the address.")
        return Page(url, *self.pages[url])


@pytest.fixture
def data() -> Path:
    """Small invented pages and feeds."""
    return DATA


@pytest.fixture
def web() -> DictFetcher:
    """A small web: a page that a feed links to."""
    return DictFetcher(
        {"https://nell.example/on-bread": ("text/html; charset=utf-8", (DATA / "page.html").read_bytes())}
    )


@pytest.fixture(scope="session")
def child() -> Iterator[LimitedChild]:
    with LimitedChild() as running:
        yield running


@pytest.fixture
def tools(web: DictFetcher, child: LimitedChild) -> Tools:
    return Tools(web, child)


@pytest.fixture
def piece_of() -> Callable[..., Piece]:
    """piece_of(path, root=…, author=…): a local piece; piece_of("https://…"): a piece of the web."""

    def make(location: object, root: Path | None = None, author: str | None = None) -> Piece:
        if isinstance(location, Path):
            root = root or location.parent
        return Piece(str(location), author, "Nell Harrow", root)

    return make
