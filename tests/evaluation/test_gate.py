from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from llm_twin.errors import InputError
from llm_twin.evaluation.copied import NOTHING
from llm_twin.evaluation.gate import Dimension, Evaluated, Verdict, compare
from llm_twin.evaluation.intervals import Estimate, draw, estimate
from llm_twin.evaluation.leaks import Finding
from llm_twin.evaluation.measure import Memorisation
from llm_twin.evaluation.privacy import Copying, Privacy
from llm_twin.evaluation.rows import PerDocument, part
from llm_twin.evaluation.scores import Bracketed, difference
from llm_twin.types import GateRule

DOCUMENTS = [f"d{i // 4:02}" for i in range(48)]
IDS = [f"s{i:02}" for i in range(48)]
NAMES = ("style", "relevance", "fluency", "variety")
LENGTHS = np.random.default_rng(7).integers(60, 200, 48)
NO_PRIVACY = GateRule(veto=("memorisation",))


def privacy(*findings: Finding) -> Privacy:
    return Privacy(
        generations=10,
        generated=Copying(texts=10, share=0, typical=2, longest=NOTHING),
        author=None,
        findings=findings,
        prefix=None,
        canaries=None,
        not_measured={},
    )


def evaluated(name: str, seed: int, shift: float = 0.0, loss: float = 0.0, **changed: Any) -> Evaluated:
    """A model `shift` of the way from floor to ceiling better than half. What a document is like (its level) is
    the same for all models, and each model has luck of its own with each document and passage.
    """
    level = np.random.default_rng(99).normal(0, 0.1, 12).repeat(4)
    rng = np.random.default_rng(seed)

    def noise(size: float) -> Any:
        return rng.normal(0, size, 12).repeat(4) + rng.normal(0, size, 48)

    parts = {}
    for quantity in NAMES:
        found = part(IDS, DOCUMENTS, 0.5 + level + shift + noise(0.05))
        ends = {"floor": tuple((0 * level).tolist()), "ceiling": tuple((1 + level).tolist())}
        parts[quantity] = found.model_copy(update=ends)
    parts["perplexity"] = part(IDS, DOCUMENTS, -3 + level - loss + noise(0.02), LENGTHS, "perplexity")
    parts["knowledge"] = part(IDS, DOCUMENTS, (rng.random(48) < 0.5 + shift).astype(float))
    given: dict[str, Any] = {
        "name": name,
        "author": "Ann",
        "rows": PerDocument(verifier="v", parts=parts),
        "memorisation": Memorisation(twin=0.01, base=0, author=0.01),
        "privacy": privacy(),
        **changed,
    }
    return Evaluated(**given)


def called(verdict: Verdict, name: str) -> Dimension:
    return next(d for d in verdict.dimensions if d.name == name)


def test_a_clearly_better_candidate_passes() -> None:
    verdict = compare(evaluated("old", 1), evaluated("new", 2, shift=0.2, loss=-0.2), GateRule())
    assert {d.name: d.call for d in verdict.dimensions} == {
        "style": "better",
        "relevance": "better",
        "fluency": "better",
        "variety": "better",
        "sense": "better",
        "twin score": "better",
        "perplexity": "better",
        "knowledge": verdict.dimensions[-1].call,
    }
    found = called(verdict, "perplexity").difference
    assert found and found.value == pytest.approx(np.exp(-0.2) - 1, abs=0.03)
    assert (verdict.passes, verdict.exit_code) == (True, 0)
    assert [check.asked for check in verdict.checks] == [
        "better: twin score",
        "not worse: sense",
        "not worse: perplexity",
        "veto: memorisation",
        "veto: privacy",
    ]


def test_the_same_comparison_the_other_way_round_fails_with_the_reason() -> None:
    verdict = compare(evaluated("new", 2, shift=0.2, loss=-0.2), evaluated("old", 1), GateRule())
    assert (verdict.passes, verdict.exit_code) == (False, 1)
    failed = {check.asked: check.reason for check in verdict.checks if not check.passed}
    assert set(failed) == {"better: twin score", "not worse: sense", "not worse: perplexity"}
    assert failed["not worse: perplexity"].startswith("perplexity: worse (+2")


def test_a_model_against_itself_is_no_different_and_does_not_pass_as_better() -> None:
    verdict = compare(evaluated("same", 1), evaluated("same", 1), GateRule())
    assert {d.call for d in verdict.dimensions} == {"no difference"}
    assert [c.passed for c in verdict.checks] == [False, True, True, True, True]


def test_the_difference_is_that_of_the_evaluation_itself() -> None:
    """Where floors and ceilings are shared, the gate says what `scores.difference` says."""
    old, new = evaluated("old", 1), evaluated("new", 2, shift=0.05)
    together = {
        name: Bracketed(
            np.array(old.rows.parts[name].floor),
            np.array(old.rows.parts[name].ceiling),
            {side.name: np.array(side.rows.parts[name].values) for side in (old, new)},
        )
        for name in NAMES
    }
    found = called(compare(old, new, GateRule()), "twin score").difference
    expected = difference("new", "old", together, DOCUMENTS, draw(DOCUMENTS))
    assert found and (found.value, found.low, found.high) == pytest.approx(
        (expected.value, expected.low, expected.high), abs=1e-5
    )


def test_a_plain_part_is_the_paired_bootstrap_of_its_means() -> None:
    old, new = evaluated("old", 1), evaluated("new", 2)
    draws = draw(DOCUMENTS)
    rows = [np.array(side.rows.parts["knowledge"].values, float) for side in (new, old)]
    expected = estimate(draws.mean(rows[0] - rows[1], DOCUMENTS), draws)
    found = called(compare(old, new, GateRule()), "knowledge").difference
    assert found and (found.value, found.low, found.high) == pytest.approx(
        (expected.value, expected.low, expected.high)
    )


def test_equal_models_are_told_apart_no_more_often_than_the_interval_promises() -> None:
    """400 pairs of equally good models: 95% intervals should exclude 0 in about 5%, half of it each way."""
    calls = {"better": 0, "worse": 0, "no difference": 0}
    rule = GateRule(better=(), not_worse=(), veto=())
    for seed in range(400):
        verdict = compare(evaluated("old", 1000 + seed), evaluated("new", 5000 + seed), rule)
        calls[called(verdict, "style").call] += 1  # type: ignore[index]
    assert 4 <= calls["better"] + calls["worse"] <= 32
    assert calls["better"] <= 20 and calls["worse"] <= 20


def test_a_real_difference_is_found_in_most_cases() -> None:
    rule = GateRule(better=("twin score",), not_worse=(), veto=())
    passed = [
        compare(evaluated("old", 1000 + s), evaluated("new", 5000 + s, shift=0.1), rule).passes
        for s in range(40)
    ]
    assert sum(passed) > 32


def test_a_margin_asks_for_more() -> None:
    old, new = evaluated("old", 1), evaluated("new", 2, shift=0.1)
    plain = compare(old, new, GateRule())
    found = called(plain, "style").difference
    assert found and called(plain, "style").call == "better"
    for margin, call in ((found.low - 0.01, "better"), (found.low + 0.01, "no difference")):
        assert called(compare(old, new, GateRule(margin={"style": margin})), "style").call == call
    back = compare(new, old, GateRule(margin={"style": found.low + 0.01}))
    assert called(back, "style").call == "no difference"


def test_a_margin_for_what_does_not_exist_is_an_input_error() -> None:
    with pytest.raises(InputError, match="twin scor") as caught:
        compare(evaluated("old", 1), evaluated("new", 2), GateRule(margin={"twin scor": 0.1}))
    assert caught.value.way_out == "did you mean twin score?"


def test_memorisation_vetoes_the_best_of_candidates() -> None:
    copies = Memorisation(twin=0.3, base=0, author=0.01)
    verdict = compare(evaluated("old", 1), evaluated("new", 2, shift=0.2, memorisation=copies), GateRule())
    failed = [check for check in verdict.checks if not check.passed]
    assert [check.asked for check in failed] == ["veto: memorisation"]
    assert "30.0% of its 13-grams" in failed[0].reason and "allowed: 6.0%" in failed[0].reason


def test_a_leak_vetoes_and_an_invention_does_not() -> None:
    leak = Finding(kind="e-mail", masked="w…", times=1, document_id="one")
    invented = leak.model_copy(update={"document_id": ""})
    for found, passes in ((leak, False), (invented, True)):
        new = evaluated("new", 2, shift=0.2, privacy=privacy(found))
        assert compare(evaluated("old", 1), new, GateRule()).passes is passes


def test_the_champions_own_sins_are_no_veto() -> None:
    leak = Finding(kind="e-mail", masked="w…", times=1, document_id="one")
    assert compare(
        evaluated("old", 1, privacy=privacy(leak)), evaluated("new", 2, shift=0.2), GateRule()
    ).passes


def test_what_was_not_measured_does_not_pass() -> None:
    old, new = evaluated("old", 1), evaluated("new", 2, shift=0.2, privacy=None)
    verdict = compare(old, new, GateRule(better=("groundedness",), not_worse=("style",)))
    reasons = {check.asked: check.reason for check in verdict.checks if not check.passed}
    assert reasons == {
        "better: groundedness": "groundedness: not measured: neither evaluation has it",
        "veto: privacy": "privacy of new was not measured (--quick leaves it out): "
        "evaluate it whole, or take privacy off the veto of [gate]",
    }
    assert compare(old, new, NO_PRIVACY).passes


def without(side: Evaluated, *names: str) -> Evaluated:
    parts = {name: rows for name, rows in side.rows.parts.items() if name not in names}
    return replace(side, rows=side.rows.model_copy(update={"parts": parts}))


def changed(side: Evaluated, name: str, **columns: Any) -> Evaluated:
    parts = {**side.rows.parts, name: side.rows.parts[name].model_copy(update=columns)}
    return replace(side, rows=side.rows.model_copy(update={"parts": parts}))


def test_a_dimension_that_one_side_lacks_is_not_measured() -> None:
    verdict = compare(without(evaluated("old", 1), "knowledge"), evaluated("new", 2), NO_PRIVACY)
    assert called(verdict, "knowledge").reason == "old has none"
    assert str(called(verdict, "knowledge")) == "knowledge: not measured: old has none"


def test_a_side_without_scores_leaves_them_unmeasured() -> None:
    refused = evaluated("new", 2, shift=0.2, refused="no score: the verifier's AUC is 0.61")
    verdict = compare(evaluated("old", 1), refused, NO_PRIVACY)
    assert called(verdict, "twin score").reason == "new: no score: the verifier's AUC is 0.61"
    assert called(verdict, "perplexity").call != "not measured"
    assert not verdict.passes


def test_other_questions_and_other_tokens_are_not_compared() -> None:
    new = changed(evaluated("new", 2), "knowledge", ids=tuple(f"q{i}" for i in range(48)))
    new = changed(new, "perplexity", weights=tuple(float(n + 1) for n in LENGTHS))
    verdict = compare(evaluated("old", 1), new, NO_PRIVACY)
    assert "different questions" in called(verdict, "knowledge").reason
    assert "different tokens" in called(verdict, "perplexity").reason


def test_the_order_of_rows_means_nothing() -> None:
    old, new = evaluated("old", 1), evaluated("new", 2, shift=0.1)
    turned = replace(
        new,
        rows=PerDocument(
            verifier="v",
            parts={
                name: rows.model_copy(
                    update={
                        key: column[::-1]
                        for key in ("ids", "documents", "values", "weights", "floor", "ceiling")
                        if (column := getattr(rows, key)) is not None
                    }
                )
                for name, rows in new.rows.parts.items()
            },
        ),
    )
    for one, other in zip(
        compare(old, new, NO_PRIVACY).dimensions, compare(old, turned, NO_PRIVACY).dimensions, strict=True
    ):
        assert one.difference and other.difference
        assert one.call == other.call and one.difference.low == pytest.approx(other.difference.low)


def test_what_cannot_be_compared_is_an_input_error_that_says_why() -> None:
    old, new = evaluated("old", 1), evaluated("new", 2)
    with pytest.raises(InputError, match="old is a twin of Bea and new of Ann"):
        compare(replace(old, author="Bea"), new, NO_PRIVACY)
    other = changed(new, "style", ids=("other", *IDS[1:]))
    with pytest.raises(InputError, match="different held-out passages: 48 and 48, of which 47 are the same"):
        compare(old, other, NO_PRIVACY)
    background = replace(new, rows=new.rows.model_copy(update={"verifier": "w"}))
    with pytest.raises(InputError, match="style verifiers of old and new were fitted on different text"):
        compare(old, background, NO_PRIVACY)


def test_lower_can_be_better() -> None:
    forgot = [
        part(IDS, DOCUMENTS, np.full(48, v) + np.arange(48) % 3 / 100, reads="lower") for v in (0.3, 0.1)
    ]
    old, new = (
        replace(side, rows=side.rows.model_copy(update={"parts": {**side.rows.parts, "forgetting": rows}}))
        for side, rows in zip((evaluated("old", 1), evaluated("new", 2)), forgot, strict=True)
    )
    found = called(compare(old, new, NO_PRIVACY), "forgetting")
    assert found.call == "better" and found.difference and found.difference.value == pytest.approx(-0.2)


def test_a_verdict_survives_json_and_speaks_plainly() -> None:
    verdict = compare(evaluated("old", 1), evaluated("new", 2, shift=0.2), GateRule())
    assert Verdict.model_validate_json(verdict.model_dump_json()) == verdict
    shown = Dimension(
        name="sense",
        call="worse",
        difference=Estimate(value=-0.1, low=-0.15, high=-0.05),
        margin=0,
        documents=12,
    )
    assert str(shown) == "sense: worse (-0.100 [-0.150, -0.050])"
