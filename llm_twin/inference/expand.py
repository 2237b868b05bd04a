"""Expansion: what to search for besides the question, written by the chat model before the search.

Two ways, each a step of its own: `reformulate` asks for the same question in other words, and `hypothesise`
for a passage that would answer it, whose vector lies nearer to real answers than the question's (HyDE, Gao et
al. 2022). Both write for many questions in one batch. What the model wrote never reaches a reader.
Not covered: splitting a question into parts that are answered one after another.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from llm_twin import prompts
from llm_twin.errors import InputError
from llm_twin.inference.retrieve import Found, pieces_vectors, question_vector, rankings, rrf
from llm_twin.ports import ChatModel, Embedder, Progress, Vectors, VectorStore, silent
from llm_twin.text import folded, words
from llm_twin.types import Hit, Sampling, Where

REFORMULATE_PROMPT, HYPOTHETICAL_PROMPT = "reformulate.v1", "hypothetical.v1"
_LONGEST = 160
_TOKENS_EACH = 60
_PASSAGE_TOKENS = 120


@dataclass(frozen=True)
class Expansion:
    """What the model wrote for a question; `refused` says what is missing from it and why, "" where nothing is."""

    question: str
    reformulations: tuple[str, ...] = ()
    hypothetical: str = ""
    refused: str = ""


def reformulate(
    questions: Sequence[str], model: ChatModel, most: int = 3, seed: int = 0, progress: Progress = silent
) -> list[Expansion]:
    """Up to `most` other wordings of each question, in order, in one batch.

    A wording without words, or one that repeats another, is left out. A reply that broke off gives no wordings
    and says so in `refused`. Raises InputError for a question without words.
    """
    _check(questions)
    sampling = Sampling(
        max_tokens=most * _TOKENS_EACH + 20, temperature=0.7, seed=seed, json_schema=_schema(most)
    )
    asks = [prompts.conversation(REFORMULATE_PROMPT, question=question) for question in questions]
    replies = model.generate(asks, sampling, progress)
    return [_reformulated(q, reply.text, most) for q, reply in zip(questions, replies, strict=True)]


def hypothesise(
    questions: Sequence[str], model: ChatModel, seed: int = 0, progress: Progress = silent
) -> list[Expansion]:
    """A passage that might answer each question, in order, in one batch. InputError as in `reformulate`."""
    _check(questions)
    asks = [prompts.conversation(HYPOTHETICAL_PROMPT, question=question) for question in questions]
    replies = model.generate(asks, Sampling(max_tokens=_PASSAGE_TOKENS, temperature=0.7, seed=seed), progress)
    return [
        Expansion(question, hypothetical=reply.text)
        if words(reply.text)
        else Expansion(question, refused=f"{model.name} wrote no passage")
        for question, reply in zip(questions, replies, strict=True)
    ]


def search_expanded(
    expansion: Expansion, store: VectorStore, embedder: Embedder, where: Where = Where(), limit: int = 10
) -> Found:
    """Search for the question, its reformulations and its hypothetical passage, and fuse all by rank.

    A wording is searched for by meaning and by words, the passage by meaning only and together with the question:
    the mean of their vectors. `nearest` is the question's own cosine, so `relevant` means what it does elsewhere.
    """
    _check([expansion.question])
    texts = [expansion.question, *expansion.reformulations]
    vectors = pieces_vectors(texts, embedder)
    found: list[list[Hit]] = []
    for text, vector in zip(texts, vectors, strict=True):
        found += rankings(text, vector, store, where, limit)
    nearest = found[0][0].score if found[0] else -1.0
    if expansion.hypothetical:
        vector = _between(vectors[0], question_vector(expansion.hypothetical, embedder))
        found.append(rankings(expansion.question, vector, store, where, limit)[0])
    return Found(tuple(rrf(found)[:limit]), nearest)


def _check(questions: Sequence[str]) -> None:
    for question in questions:
        if not words(question):
            raise InputError(f"there is no question in {question!r}", "ask in words")


def _schema(most: int) -> str:
    text = {"type": "string", "minLength": 3, "maxLength": _LONGEST}
    wordings = {"type": "array", "items": text, "minItems": most, "maxItems": most}
    return json.dumps(
        {
            "type": "object",
            "properties": {"questions": wordings},
            "required": ["questions"],
            "additionalProperties": False,
        }
    )


def _reformulated(question: str, reply: str, most: int) -> Expansion:
    try:
        written = [str(text).strip() for text in json.loads(reply)["questions"]]
    except (ValueError, KeyError, TypeError):
        return Expansion(question, refused=f"the reply is no whole JSON: {reply[:60]!r}")
    kept = {folded(question): question}
    for text in written:
        if words(text):
            kept.setdefault(folded(text), text)
    others = tuple(kept.values())[1 : most + 1]
    return Expansion(question, others, refused="" if others else "every wording repeats the question")


def _between(a: Vectors, b: Vectors) -> Vectors:
    middle = a + b
    return np.asarray(middle / np.maximum(np.linalg.norm(middle), 1e-12), np.float32)
