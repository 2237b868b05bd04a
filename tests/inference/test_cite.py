"""Citations: what supports a sentence, how numbers are given, and that pieces of text change nothing."""

from collections.abc import Callable, Sequence

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llm_twin.adapters.standins import HashEmbedder
from llm_twin.inference.cite import CitedText, Sources, without_citations
from llm_twin.types import Hit

MakeHit = Callable[..., Hit]

OWLS = "Barn owls hunt voles over wet meadows at dusk. They listen for the rustle."
CLOCK = "The church clock lost 4 minutes every week. Its oil had thickened."
KEEPS = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]


@pytest.fixture
def sources(hit: MakeHit, embedder: HashEmbedder) -> Sources:
    return Sources([hit("owls", OWLS), hit("clock", CLOCK)], "What do you know?", embedder)


def cited(sources: Sources, pieces: Sequence[str]) -> str:
    text = CitedText(sources)
    return "".join([*(text.add(piece) for piece in pieces), text.finish()])


def test_a_sentence_is_supported_by_the_passage_that_says_it(sources: Sources) -> None:
    for sentence, name in [
        ("Barn owls hunt voles over wet meadows at dusk.", "owls"),
        ("Over wet meadows barn owls hunt voles, at dusk.", "owls"),
        ("The church clock lost 4 minutes every week", "clock"),
    ]:
        found = sources.support(sentence)
        assert found is not None and found.hit.chunk.id == name


@pytest.mark.parametrize(
    "sentence",
    [
        "Paris is the capital of France.",
        "The church clock lost 9 minutes every week.",  # another number
        "I did that.",  # no telling word
        "",
        "…",
    ],
)
def test_what_no_passage_says_is_unsupported(sources: Sources, sentence: str) -> None:
    assert sources.support(sentence) is None


def test_code_that_is_set_in_is_left_as_it_is(sources: Sources) -> None:
    code = "    Barn owls hunt voles. Barn owls hunt voles.\n    Barn owls hunt voles."
    assert cited(sources, [f"See:\n\n{code}\n\nIts oil had thickened."]) == (
        f"See:\n\n{code}\n\nIts oil had thickened. [1]"
    )
    listed = "- See:\n\n    - Barn owls hunt voles."
    assert cited(sources, [listed]) == f"{listed} [2]", "an item within an item"
    assert cited(sources, ["See:\n    Barn owls hunt voles."]) == "See:\n    Barn owls hunt voles. [2]"


def test_repeating_the_question_is_no_support(hit: MakeHit, embedder: HashEmbedder) -> None:
    hits = [hit("clock", CLOCK)]
    sentence = "The church clock lost minutes every week because gremlins danced."
    asked = Sources(hits, "Why did the church clock lose minutes, lost every week?", embedder)
    assert asked.support(sentence) is None
    assert Sources(hits, "Tell me.", embedder).support(sentence) is not None


def test_without_passages_nothing_is_supported(embedder: HashEmbedder) -> None:
    assert Sources([], "What?", embedder).support("Barn owls hunt voles.") is None


def test_numbers_are_given_in_the_order_of_first_use_and_resolve(sources: Sources, hit: MakeHit) -> None:
    text = (
        "The church clock lost 4 minutes every week. Nobody knows why. Barn owls hunt voles over wet meadows."
    )
    shown = cited(sources, [text + " Its oil had thickened."])
    assert shown == (
        "The church clock lost 4 minutes every week. [1] Nobody knows why. "
        "Barn owls hunt voles over wet meadows. [2] Its oil had thickened. [1]"
    )
    first, second = sources.citations()
    assert (first.number, first.chunk_id, second.number, second.chunk_id) == (1, "clock", 2, "owls")
    chunk = hit("clock", CLOCK).chunk
    assert first.model_dump(exclude={"number", "chunk_id"}) == {
        "document_id": chunk.document_id, "title": chunk.title, "url": chunk.url,
        "start": 10, "end": 76, "spans": ((10, 53), (54, 76)),
    }  # fmt: skip
    assert (second.start, second.end, second.spans) == (10, 56, ((10, 56),))


def test_the_sentence_that_a_passage_is_cited_for_is_the_one_that_says_it(
    hit: MakeHit, embedder: HashEmbedder
) -> None:
    """The words of the other sentences stand in the passage too, and the code points before it are counted once."""
    text = (
        "# On owls 🦉\n\nI watch the meadows at dusk. Barn owls hunt voles there, in 2019 too.\n\n"
        "- They listen for the rustle.\n- A pellet has bones."
    )
    document = "0123456789" + text
    for said, where in [
        ("Barn owls hunt voles in 2019.", ["Barn owls hunt voles there, in 2019 too."]),
        (
            "They listen for a rustle. A pellet has bones.",
            ["- They listen for the rustle.", "- A pellet has bones."],
        ),
        ("A pellet has bones. A pellet has bones.", ["- A pellet has bones."]),
        (
            "A pellet has bones. I watch meadows at dusk.",
            ["I watch the meadows at dusk.", "- A pellet has bones."],
        ),
    ]:
        sources = Sources([hit("clock", CLOCK), hit("owls", text)], "?", embedder)
        assert cited(sources, [said]).count("[1]") == said.count(".")
        (citation,) = sources.citations()
        assert [document[start:end] for start, end in citation.spans] == where, said
        assert (citation.start, citation.end) == (citation.spans[0][0], citation.spans[-1][1])


@settings(max_examples=60, deadline=None, suppress_health_check=KEEPS)
@given(
    parts=st.lists(st.sampled_from(["Owls hunt.", " ", "\n\n", "- Voles", "# Dusk", "🦉", "1.5", "“So.”"]))
)
def test_a_cited_span_is_never_blank_and_lies_within_its_passage(
    hit: MakeHit, embedder: HashEmbedder, parts: list[str]
) -> None:
    text = "".join(parts) + "\n\nBarn owls hunt."
    sources = Sources([hit("owls", text)], "?", embedder)
    cited(sources, ["Barn owls hunt. Voles. Dusk."])
    for start, end in (span for citation in sources.citations() for span in citation.spans):
        assert 10 <= start < end <= 10 + len(text)
        assert text[start - 10 : end - 10] == text[start - 10 : end - 10].strip() != ""


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("Voles sleep [7]. Foxes too[12].", "Voles sleep. Foxes too."),
        ("[1] Voles sleep. [2][3] Foxes [4, 5] too. [6]", "Voles sleep. Foxes too."),
        ("Voles [2–4] sleep.[1]", "Voles sleep."),
        ("See [1](https://ada.example/1) there.", "See [1](https://ada.example/1) there."),
        ("See [notes] and [ ] there.", "See [notes] and [ ] there."),
        ("Use `row[0]` and `row [1]` here.", "Use `row[0]` and `row [1]` here."),
        ("Then\n\n```python\nx = row[0]\n```\n\nDone [3].", "Then\n\n```python\nx = row[0]\n```\n\nDone."),
        ("A lone ` tick.\nVoles sleep [7].", "A lone ` tick.\nVoles sleep."),
        ("An open [12", "An open [12"),
    ],
)
@pytest.mark.parametrize("size", [1, 2, 5, 100])
def test_numbers_that_the_model_wrote_go_and_code_and_links_stay(
    sources: Sources, written: str, shown: str, size: int
) -> None:
    pieces = [written[i : i + size] for i in range(0, len(written), size)]
    assert cited(sources, pieces) == shown
    assert sources.citations() == ()


def test_headings_and_code_are_not_cited_and_list_items_are(sources: Sources) -> None:
    text = (
        "## Barn owls hunt voles over wet meadows\n\n- Barn owls hunt voles\n- Foxes sleep\n\n"
        "```\nBarn owls hunt voles.\n```\nIts oil had thickened."
    )
    assert cited(sources, [text]) == (
        "## Barn owls hunt voles over wet meadows\n\n- Barn owls hunt voles [1]\n- Foxes sleep\n\n"
        "```\nBarn owls hunt voles.\n```\nIts oil had thickened. [2]"
    )


def test_abbreviations_and_decimals_end_no_sentence(sources: Sources) -> None:
    text = "Barn owls hunt voles, e.g. over wet meadows, at dusk or 3.5 hours before. Foxes sleep."
    shown = cited(sources, list(text))
    assert without_citations(shown) == text
    assert "e.g. over" in shown and "3.5 hours" in shown


SAMPLES = st.lists(
    st.sampled_from(
        ["Barn owls hunt voles over wet meadows.", "Its oil had thickened!", "Foxes sleep", "e.g. ", " ", "\n", "\n\n",
         "\n\n    ", "\n    ", "[7]", " [1", "]", "`a[0]`", "```\n", "# ", "- ", "“Quite.”", "…", "3.5", "(Dr. Who?)",
         "[1](x)", "🦉", "1."]
    ),
    max_size=12,
)  # fmt: skip


@settings(max_examples=150, deadline=None, suppress_health_check=KEEPS)
@given(parts=SAMPLES, data=st.data())
def test_however_the_text_is_cut_into_pieces_the_answer_is_the_same(
    hit: MakeHit, embedder: HashEmbedder, parts: list[str], data: st.DataObject
) -> None:
    text = "".join(parts)
    made = [hit("owls", OWLS), hit("clock", CLOCK)]
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=10)))
    pieces = [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    results = {cited(Sources(made, "?", embedder), p) for p in ([text], list(text), pieces)}
    assert len(results) == 1


@settings(max_examples=100, deadline=None, suppress_health_check=KEEPS)
@given(parts=SAMPLES)
def test_nothing_but_numbers_comes_or_goes(hit: MakeHit, embedder: HashEmbedder, parts: list[str]) -> None:
    text = "".join(part for part in parts if "[" not in part and "]" not in part)
    sources = Sources([hit("owls", OWLS), hit("clock", CLOCK)], "?", embedder)
    shown = cited(sources, list(text))
    assert without_citations(shown) == text.strip()
    numbers = {c.number for c in sources.citations()}
    assert numbers == {n for n in (1, 2) if f"[{n}]" in shown}


def test_text_is_shown_as_it_comes_and_held_back_only_at_a_sentences_end(sources: Sources) -> None:
    text = CitedText(sources)
    assert text.add("  Foxes") == "Foxes"
    assert text.add(" sleep in") == " sleep in"
    assert text.add(" dens.") == " dens."
    assert text.add(" And ") == " And"
    assert text.add("barn owls hunt voles over wet meadows.") == " barn owls hunt voles over wet meadows."
    assert text.add(" The") == "", "a sentence may have ended, or not"
    assert text.add(" moon") == " [1] The moon"
    assert text.finish() == ""


def test_an_answer_in_an_earlier_turn_loses_its_numbers() -> None:
    assert (
        without_citations("Owls hunt. [1] Foxes sleep [12].\n- Voles [2, 3]")
        == "Owls hunt. Foxes sleep.\n- Voles"
    )
