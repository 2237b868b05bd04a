"""What every DocumentStore promises. A new adapter joins with one line in STORES."""

import hashlib
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llm_twin.adapters.documents_sqlite import SqliteDocuments
from llm_twin.errors import InputError, TwinError
from llm_twin.ports import DocumentStore
from llm_twin.types import Document

Open = Callable[[], DocumentStore]

STORES: dict[str, Callable[[Path], DocumentStore]] = {
    "sqlite": lambda folder: SqliteDocuments(folder / "new" / "documents.db"),
}


@pytest.fixture(params=STORES)
def reopen(request: pytest.FixtureRequest, tmp_path: Path) -> Open:
    """Opens the same store anew each time it is called."""
    return lambda: STORES[request.param](tmp_path)


@pytest.fixture
def store(reopen: Open) -> Iterator[DocumentStore]:
    opened = reopen()
    yield opened
    opened.close()


def piece(name: str, text: str = "Words.", author: str = "Ada") -> Document:
    digest = hashlib.sha256(text.encode()).hexdigest()
    return Document(
        id=name, author=author, kind="article", title=name, text=text, source=f"{name}.md", digest=digest
    )


def test_a_document_comes_back_whole(store: DocumentStore) -> None:
    text = "It’s — “odd”: 🦉\tcafé\n\n```py\n    x = 'y'  \n```\r\n\0end"
    full = piece("a", text).model_copy(
        update={"url": "https://example.org/ä?b=1", "published": date(2024, 2, 29), "platform": "blog"}
    )
    assert store.save(full) == "new"
    assert store.get("a") == full
    assert store.versions("a") == [full]


def test_save_tells_new_same_and_changed_apart_and_keeps_every_version(store: DocumentStore) -> None:
    first, second = piece("a", "One."), piece("a", "Two.")
    assert [store.save(d) for d in (first, first, second, second, first)] == [
        "new",
        "same",
        "changed",
        "same",
        "changed",
    ]
    assert store.versions("a") == [first, second, first]
    assert store.get("a") == first
    assert list(store.documents()) == [first]


def test_same_is_decided_by_the_digest_alone(store: DocumentStore) -> None:
    store.save(piece("a"))
    assert store.save(piece("a").model_copy(update={"title": "Another"})) == "same"
    assert store.get("a").title == "a"


def test_documents_are_the_current_versions_by_id_and_can_be_narrowed_to_an_author(
    store: DocumentStore,
) -> None:
    for name, author in (("c", "Bo"), ("a", "Ada"), ("B", "Bo"), ("é", "Ada")):
        store.save(piece(name, "Old.", author))
    newer = piece("a", "New.")
    store.save(newer)
    assert [d.id for d in store.documents()] == ["B", "a", "c", "é"]
    assert list(store.documents("Ada")) == [newer, piece("é", "Old.")]
    assert list(store.documents("Ad")) == []


def test_more_documents_than_one_page_come_once_each(store: DocumentStore) -> None:
    names = [f"{i:04d}" for i in range(450)]
    for name in reversed(names):
        store.save(piece(name))
    assert [d.id for d in store.documents()] == names


def test_writing_while_reading_neither_fails_nor_repeats(store: DocumentStore) -> None:
    for name in "abc":
        store.save(piece(name, "Old."))
    seen = []
    for document in store.documents():
        seen.append(document.id)
        store.save(piece(document.id, "New."))
    assert seen == ["a", "b", "c"]
    assert {d.text for d in store.documents()} == {"New."}


def test_remove_takes_every_version_and_ignores_the_unknown(store: DocumentStore) -> None:
    store.save(piece("a", "One."))
    store.save(piece("a", "Two."))
    store.save(piece("b"))
    store.remove("a")
    store.remove("nobody")
    assert store.versions("a") == []
    assert [d.id for d in store.documents()] == ["b"]
    assert store.save(piece("a", "One.")) == "new"


def test_an_unknown_id_is_an_error_to_get_and_has_no_versions(store: DocumentStore) -> None:
    with pytest.raises(InputError, match="nobody"):
        store.get("nobody")
    assert store.versions("nobody") == []


def test_what_was_saved_is_there_after_reopening(reopen: Open) -> None:
    first = reopen()
    first.save(piece("a", "One."))
    first.save(piece("a", "Two."))
    first.close()
    second = reopen()
    assert [d.text for d in second.versions("a")] == ["One.", "Two."]
    second.close()


def test_two_openers_see_each_others_saves(reopen: Open) -> None:
    one, two = reopen(), reopen()
    one.save(piece("a", "One."))
    assert two.save(piece("a", "Two.")) == "changed"
    assert one.save(piece("a", "Two.")) == "same"
    one.close()
    two.close()


def test_closing_twice_is_harmless_and_a_closed_store_says_so(reopen: Open) -> None:
    store = reopen()
    store.close()
    store.close()
    with pytest.raises(TwinError, match="closed"):
        store.save(piece("a"))


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(["x", "y", "z", None])), max_size=12))
def test_any_sequence_of_saves_and_removals_ends_as_a_dict_of_histories_would(
    store: DocumentStore, steps: list[tuple[str, str | None]]
) -> None:
    for name in "abc":
        store.remove(name)
    expected: dict[str, list[str]] = {}
    for name, text in steps:
        if text is None:
            store.remove(name)
            expected.pop(name, None)
            continue
        history = expected.setdefault(name, [])
        word = "new" if not history else "same" if history[-1] == text else "changed"
        assert store.save(piece(name, text)) == word
        if word != "same":
            history.append(text)
    assert {d.id: d.text for d in store.documents()} == {n: h[-1] for n, h in expected.items()}
    assert {n: [d.text for d in store.versions(n)] for n in expected} == expected
