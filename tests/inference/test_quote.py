"""Quoting: word for word, whole sentences of the author's own, a few, unlike each other, in order."""

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from llm_twin.adapters.standins import HashEmbedder
from llm_twin.features.chunk import chunks
from llm_twin.features.clean import clean
from llm_twin.inference.quote import LEAST, MOST, _scores, own_sentences, quotes
from llm_twin.types import CleanDocument, Document, Hit

MakeHit = Callable[..., Hit]
QUESTION = "What do barn owls hunt, and how do they hear it?"


def sentences_of(hits: list[Hit]) -> list[str]:
    return [quote.text for hit in hits for quote in own_sentences(hit)]


def test_only_whole_sentences_of_the_authors_prose_are_candidates(owl_hits: list[Hit]) -> None:
    assert sentences_of(owl_hits) == [
        "Barn owls hunt voles over wet meadows at dusk.",
        "They listen for the rustle long before they see anything.",
        "An owl's ears sit at two heights — so it hears up and down as well as left and right.",
        "I measured that in 2019!",
        "They swallow the vole whole and cough up a pellet.",
    ]


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("## A heading that ends like a sentence does.", []),
        ("| a b c d. | e f g h. |\n|---|---|\n| i j k l m. | n o p. |", []),
        ("    indented code that ends like a sentence does.", []),
        ("Too short, this.", []),
        ("a sentence in lower case is one all the same.", ["a sentence in lower case is one all the same."]),
        ("this one breaks off in the middle of", []),
        ('He said "it is done with by now." Really.', ['He said "it is done with by now."']),
        ("1. The first of them is a sentence.\n2) the second is not", ["The first of them is a sentence."]),
        ("- [x] This task was done by me.", ["This task was done by me."]),
        ("*It was quite the day.*", ["*It was quite the day.*"]),
        (
            "*It was quite the day.* Then I slept until noon. (Or so they say, and they know.)",
            ["*It was quite the day.*", "Then I slept until noon.", "(Or so they say, and they know.)"],
        ),
        ("I slept after all that…", ["I slept after all that…"]),
    ],
)
def test_what_counts_as_a_sentence(hit: MakeHit, text: str, kept: list[str]) -> None:
    assert sentences_of([hit("a", text)]) == kept


def test_every_quote_stands_word_for_word_in_the_document(
    owl_hits: list[Hit], world: dict[str, CleanDocument], embedder: HashEmbedder
) -> None:
    chosen = quotes(QUESTION, owl_hits, embedder)
    assert chosen
    for quote in chosen:
        start, end = quote.place
        assert world[quote.hit.chunk.document_id].text[start:end] == quote.text


def test_three_to_five_are_chosen_and_the_best_is_among_them(
    owl_hits: list[Hit], embedder: HashEmbedder
) -> None:
    for question in (QUESTION, "pellet", "What happened in 2019?"):
        assert LEAST <= len(quotes(question, owl_hits, embedder)) <= MOST
    assert any("pellet" in quote.text for quote in quotes("cough up a pellet whole", owl_hits, embedder))


def test_they_stand_in_the_order_of_the_document(owl_hits: list[Hit], embedder: HashEmbedder) -> None:
    chosen = quotes(QUESTION, owl_hits[::-1], embedder)
    assert all(a.place < b.place for a, b in pairwise(chosen))


def test_documents_stand_in_the_order_of_their_best_passage(hit: MakeHit, embedder: HashEmbedder) -> None:
    hits = [
        hit("z", "The owl hunts voles at dusk."),
        hit("a", "An owl never hunts in rain at all."),
        hit("m", "My owl hunts and sleeps by turns."),
    ]
    assert [quote.hit.chunk.id for quote in quotes("When do owls hunt?", hits, embedder)] == ["z", "a", "m"]


def test_the_same_sentence_is_quoted_once(hit: MakeHit, embedder: HashEmbedder) -> None:
    text = "The owl hunts voles at dusk."
    assert len(quotes("owl", [hit("a", text), hit("b", text.upper())], embedder)) == 1


def test_unlike_sentences_are_preferred_to_repetitions(hit: MakeHit, embedder: HashEmbedder) -> None:
    alike = [
        f"The owl hunts fat voles at dusk {word}." for word in ("daily", "mostly", "always", "often", "ever")
    ]
    other = "Voles that an owl hunts live in grass, while foxes sleep."
    found = [
        quote.text
        for quote in quotes("Which owl hunts voles?", [hit("a", " ".join([*alike, other]))], embedder)
    ]
    assert other in found, "though each of the others answers better"


def test_a_sentence_beside_the_answer_is_preferred_to_one_that_stands_elsewhere(
    hit: MakeHit, embedder: HashEmbedder
) -> None:
    beside, elsewhere = "It kept me warm all that winter.", "Fog came down upon us every morning."
    owl = "The owl hunts voles at dusk."
    filler = "A bell rang five times in town. Nobody there knew quite what was meant."
    found = quotes(
        "The owl hunts voles at dusk", [hit("a", f"{elsewhere} {filler} {owl} {beside}")], embedder
    )
    assert beside in [quote.text for quote in found]
    assert elsewhere not in [quote.text for quote in found]


def test_between_equals_the_better_passage_counts_and_then_the_earlier_sentence(hit: MakeHit) -> None:
    hits = [hit(name, "One owl hunts voles here. Two owls hunt voles there.") for name in ("a", "b")]
    found = [quote for each in hits for quote in own_sentences(each)]
    scores = _scores(found, np.full(4, 0.5, np.float32), hits)
    assert list(np.argsort(-scores)) == [0, 1, 2, 3]
    assert len(set(scores)) == 4


def test_nothing_to_quote_is_nothing_quoted(hit: MakeHit, embedder: HashEmbedder) -> None:
    assert quotes("owl", [hit("a", "```\nowl = 1\n```")], embedder) == []
    assert quotes("owl", [], embedder) == []


def test_a_sentence_longer_than_the_window_can_be_quoted(hit: MakeHit, embedder: HashEmbedder) -> None:
    long = "The owl hunts " + "voles and voles and " * 150 + "sleeps."
    assert [quote.text for quote in quotes("owl", [hit("a", long)], embedder)] == [long]


def test_real_articles_are_quoted_word_for_word(shared_articles: Path, embedder: HashEmbedder) -> None:
    import json

    rows = json.loads((shared_articles / "ArticleDocument.json").read_text())[:8]
    documents = [
        Document(
            id=row["_id"], author=row["author_full_name"], kind="article", title=row["content"]["Title"],
            text=row["content"]["Content"], source=row["link"], platform=row["platform"], digest="0",
        )
        for row in rows
    ]  # fmt: skip
    quoted = 0
    for document in clean(documents).documents:
        hits = [Hit(chunk=chunk, score=1) for chunk in chunks(document, embedder)][:6]
        for quote in quotes(f"What about {document.document.title}?", hits, embedder):
            start, end = quote.place
            assert document.text[start:end] == quote.text
            assert quote.text in document.text
            quoted += 1
    assert quoted >= 3 * len(documents) // 2
