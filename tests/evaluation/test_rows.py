import json
import math

import numpy as np
import pytest
from pydantic import ValidationError

from llm_twin.evaluation.fluency import perplexity
from llm_twin.evaluation.intervals import draw
from llm_twin.evaluation.rows import Part, PerDocument, array, bracketed, part, per_document, verifier_digest
from llm_twin.evaluation.scores import Bracketed, scores
from llm_twin.types import Sample

DOCUMENTS = ["a", "a", "b", "b", "c", "d"]


def sample(n: int) -> Sample:
    return Sample(
        id=f"s{n}",
        document_id=DOCUMENTS[n],
        author="Ann",
        instruction="Why?",
        response="x",
        start=0,
        end=1,
        split="test",
        written_by="test",
    )


def quantities(seed: int = 0) -> dict[str, Bracketed]:
    rng = np.random.default_rng(seed)
    made = {
        name: Bracketed(rng.uniform(0, 0.2, 6), rng.uniform(0.7, 0.9, 6), {"twin": rng.uniform(0.3, 0.6, 6)})
        for name in ("style", "relevance", "fluency", "variety")
    }
    made["relevance"].ceiling[4:] = np.nan
    return made


SAMPLES = [sample(n) for n in range(6)]
TOKENS = [-np.random.default_rng(n).uniform(0.5, 4, 5 + n) for n in range(6)]


def test_scores_from_the_rows_are_those_of_the_evaluation() -> None:
    rows = per_document(quantities(), SAMPLES, "v", TOKENS)
    rows = PerDocument.model_validate_json(rows.model_dump_json())
    again = {name: bracketed(rows.parts[name], "twin") for name in quantities()}
    draws = draw(DOCUMENTS)
    before, after = (scores("twin", q, DOCUMENTS, draws) for q in (quantities(), again))
    for name in ("style", "relevance", "fluency", "variety", "sense", "twin"):
        assert getattr(before, name).value == pytest.approx(getattr(after, name).value, abs=1e-5)
        assert getattr(before, name).low == pytest.approx(getattr(after, name).low, abs=1e-5)


def test_perplexity_from_the_rows_is_that_of_the_evaluation() -> None:
    found = per_document(quantities(), SAMPLES, "v", TOKENS).parts["perplexity"]
    assert (found.reads, found.weights) == ("perplexity", (5, 6, 7, 8, 9, 10))
    mean = np.average(array(found.values), weights=found.weights)
    assert math.exp(-mean) == pytest.approx(
        perplexity(TOKENS, TOKENS, DOCUMENTS, draw(DOCUMENTS)).twin.value, rel=1e-5
    )


def test_what_cannot_be_had_is_null_in_json() -> None:
    rows = per_document(quantities(), SAMPLES, "v", TOKENS)
    found = json.loads(rows.model_dump_json())["parts"]["relevance"]["ceiling"]
    assert found[4:] == [None, None] and None not in found[:4]
    assert np.isnan(array(found)[4:]).all()


def test_columns_of_different_lengths_are_refused() -> None:
    with pytest.raises(ValidationError, match="as many rows"):
        Part(ids=("a",), documents=("a",), values=(1.0, 2.0))
    with pytest.raises(ValidationError):
        Part(ids=("a",), documents=("a",), values=(float("nan"),))


def test_a_part_by_hand() -> None:
    found = part(["q1", "q2"], ["a", "b"], [1 / 3, float("nan")], reads="lower")
    assert (found.values, found.weights, found.reads) == ((0.333333, None), None, "lower")


def test_the_verifiers_digest_changes_with_any_text_and_side() -> None:
    sides = (["a", "b"], ["c"], ["d"])
    changed = [
        (["a", "x"], ["c"], ["d"]),
        (["a"], ["b", "c"], ["d"]),
        (["a", "b"], ["c", "d"], []),
        (["ab"], ["c"], ["d"]),
    ]
    digests = {verifier_digest(*side) for side in (sides, *changed)}
    assert len(digests) == 5
    assert verifier_digest(*sides) == verifier_digest(*map(tuple, sides))
