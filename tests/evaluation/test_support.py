from collections.abc import Sequence

import pytest

from llm_twin.adapters.standins import HashEmbedder
from llm_twin.evaluation.support import Rule, prose, read
from llm_twin.types import Chunk

TEXT = (
    "I built the rain gauge in 2013 from 3 ladles. The bearing failed twice in the first winter. "
    "Hobb never liked the noise, and it wasn't for want of oil. We sold about 1,200 tickets at Carrow Head."
)


def chunk(text: str = TEXT, name: str = "c", document: str = "d", title: str = "Rain gauge") -> Chunk:
    return Chunk(
        id=name, document_id=document, author="Wren Marlow", kind="article", title=title, text=text,
        start=0, end=len(text), tokens=9,
    )  # fmt: skip


RULE = Rule(HashEmbedder(256))


def supported(sentence: str, passage: Chunk | None = None) -> bool:
    (found,) = RULE([(sentence, passage or chunk())])
    return found


@pytest.mark.parametrize("sentence", prose(TEXT))
def test_a_passage_supports_its_own_sentences(sentence: str) -> None:
    assert supported(sentence)


@pytest.mark.parametrize(
    "sentence",
    [
        "I built the rain gauge from three ladles.",  # a number in words
        "We sold 1200 tickets at Carrow Head.",
        "Wren Marlow built the rain gauge in 2013.",  # whose passage it is, is known
        "The bearing failed twice, and Hobb never liked the noise.",  # two sentences in one
        "Not only the bearing failed twice in the first winter.",
    ],
)
def test_what_is_said_in_other_words_is_supported(sentence: str) -> None:
    assert supported(sentence)


@pytest.mark.parametrize(
    ("sentence", "why"),
    [
        ("I built the rain gauge in 2014 from 3 ladles.", "another number"),
        ("I built the rain gauge in 2013 from four ladles.", "another number, in words"),
        ("We sold about 1,250 tickets at Carrow Head.", "another number with a comma"),
        ("We sold about 1,200 tickets at Morrow Head.", "another name"),
        ("The bearing did not fail twice in the first winter.", "denied"),
        ("The bearing never failed in the first winter.", "denied"),
        ("Hobb liked the noise.", "the denial left out"),
        ("Hobb never liked the noise, and it was for want of oil.", "the denial of no telling word left out"),
        ("The bearing failed because the grease had frozen solid overnight.", "most words are new"),
        ("The cat slept on the warm kitchen stove all winter.", "another matter"),
        ("It was not there at all.", "no telling words, and not said"),
    ],
)
def test_what_the_passage_does_not_say_is_not_supported(sentence: str, why: str) -> None:
    assert not supported(sentence), why


def test_a_sentence_without_telling_words_must_stand_there_word_for_word() -> None:
    assert supported("It was not there at all.", chunk("It was not there at all! The bearing failed."))
    assert not supported("It was there.", chunk("It was not there at all! The bearing failed."))


def test_the_words_of_the_headings_are_known() -> None:
    sentence = "The bearing of Perpetua failed twice in the first winter."
    assert not supported(sentence)
    assert supported(sentence, chunk(title="Perpetua"))


def test_each_bound_can_refuse() -> None:
    claims = [("The bearing failed twice in January weather.", chunk())]
    embedder = HashEmbedder(256)
    assert Rule(embedder, coverage=0.4, cosine=0.0)(claims) == [False]  # January is a name
    claims = [("The bearing failed twice in frosty weather.", chunk())]  # 3 of 5 telling words are known
    assert Rule(embedder, coverage=0.7, cosine=0.0)(claims) == [False]
    assert Rule(embedder, coverage=0.4, cosine=0.0)(claims) == [True]
    assert Rule(embedder, coverage=0.4, cosine=0.99)(claims) == [False]


def test_claims_are_judged_one_by_one_in_order() -> None:
    other = chunk("The cat slept on the warm stove.", "o", "e")
    claims = [(s, c) for s in ("The bearing failed twice.", "The cat slept.") for c in (chunk(), other)]
    assert RULE(claims) == [True, False, False, True]
    assert RULE([]) == []


def test_what_the_words_refuse_is_not_embedded() -> None:
    class Counting(HashEmbedder):
        texts = 0

        def embed(self, texts: Sequence[str], *rest: object) -> object:  # type: ignore[override]
            self.texts += len(texts)
            return super().embed(texts)

    embedder = Counting(64)
    assert Rule(embedder)([("The cat slept in 1999.", chunk())]) == [False]
    assert embedder.texts == 0


def test_a_reading_by_hand() -> None:
    found = read("In 2013 Hobb didn't like the twenty-one GPUs, but he kept using them.")
    assert found.figures == {"2013", "21"}
    assert found.names == {"hob", "gpu"}  # doubled letters are one: stopped, stop
    assert found.denials == 1
    assert {word for word, denied in found.denied.items() if True in denied} == {"21", "gpu"}
    assert found.words == {"2013", "hob", "21", "gpu", "kept"}  # "like" and "using" tell nothing


def test_prose_leaves_code_out_and_goes_sentence_by_sentence() -> None:
    assert prose("# Head\n\nOne thing.  Another\nthing.\n\n```\ncode()\n```\n") == [
        "# Head",
        "One thing.",
        "Another thing.",
    ]
