"""A judge from end to end: one that looks, one that takes the first, one that cannot reply, and a real model."""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from llm_twin.adapters.standins import ScriptedChat
from llm_twin.errors import InputError
from llm_twin.evaluation.judge import Case, Judged, Thumb, judge
from llm_twin.evaluation.measure import Notes
from llm_twin.types import Completion, Message, Sampling

AUTHOR = ["I oil the lathe, mate.", "Nobody asked, mate.", "It sang to me, mate.", "Off I went, mate."]


def case(i: int) -> Case:
    """The twin has the author's "mate" and is right but for every third; the base is right and stiff."""
    fact = f"fact{i}"
    return Case(
        document_id=f"d{i % 6}",
        instruction=f"What is number {i}?",
        author=f"It is {fact}, mate.",
        twin=f"It is {'wrong' if i % 3 == 0 else fact}, mate. Honest.",
        base=f"The item in question is {fact}. Sincerely.",
    )


CASES = [case(i) for i in range(18)]


def tagged(text: str, tag: str) -> str:
    found = re.search(rf"<{tag}>\n(.*?)\n</{tag}>", text, re.DOTALL)
    return found[1] if found else ""


def facts(text: str) -> set[str]:
    return set(re.findall(r"fact\d+", text))


def worth(text: str) -> int:
    return ("mate" in text) + 2 * ("wrong" not in text)


def looks(messages: Sequence[Message]) -> str:
    """A judge that knows the facts from the author's words, and the style by one word."""
    asked = messages[-1].content
    if a := tagged(asked, "A"):
        ours, theirs = worth(a), worth(tagged(asked, "B"))
        better = "tie" if ours == theirs else "A" if ours > theirs else "B"
        return json.dumps({"reason": "I looked.", "better": better})
    if author := tagged(asked, "author"):
        known, said = facts(author), facts(tagged(asked, "reply"))
        good = said == known if known else "wrong" not in tagged(asked, "reply")
        return json.dumps({"reason": "I looked.", "score": 3 if good else 1})
    return json.dumps({"reason": "I looked.", "score": 3 if "mate" in tagged(asked, "text") else 1})


def judged_by(script: Any, **options: Any) -> Judged:
    return judge(CASES, AUTHOR, ScriptedChat(script, name="The Judge", context=9999), **options)


def test_a_judge_who_looks_is_believed() -> None:
    found = judged_by(looks)
    assert (found.judge, found.cases, found.documents, found.unusable) == ("The Judge", 18, 6, "")
    assert found.valid == {"accuracy": 1, "style": 1, "pair": 1}
    assert found.style is not None and found.accuracy is not None and found.style.author is not None
    assert (found.style.twin.value, found.style.base.value, found.style.author.value) == (3, 1, 3)
    assert found.style.difference.low == 2
    assert found.accuracy.base.value == 3
    assert found.accuracy.twin.value == pytest.approx((6 * 1 + 12 * 3) / 18)
    assert found.accuracy.author is None
    assert found.consistency is not None
    assert (found.consistency.agree, found.consistency.flipped, found.consistency.first_place) == (1, 0, 0.5)
    assert found.preference is not None
    assert (found.preference.wins, found.preference.losses, found.preference.ties) == (12, 6, 0)
    assert found.preference.share.value == pytest.approx(12 / 18)
    assert found.self_agreement["accuracy"].kappa == 1
    assert found.self_agreement["style"].kappa is None, "all the same score"
    assert found.users is None
    assert Judged.model_validate_json(found.model_dump_json()) == found


def test_a_judge_who_takes_the_first_is_unusable_and_averaged_nowhere() -> None:
    def first(messages: Sequence[Message]) -> str:
        is_pair = bool(tagged(messages[-1].content, "A"))
        return json.dumps({"reason": "", "better": "A"}) if is_pair else looks(messages)

    found = judged_by(first, thumbs=[Thumb("Q?", "A, mate.", True)])
    assert "0% of 18 pairs" in found.unusable
    assert found.consistency is not None and found.consistency.first_place == 1
    assert found.consistency.flipped == 18
    assert (found.accuracy, found.style, found.preference, found.users, found.examples) == (None,) * 4 + ((),)
    assert found.self_agreement["accuracy"].equal == 1, "what speaks about the judge stays"


def test_a_judge_who_cannot_keep_to_the_format_is_unusable() -> None:
    found = judged_by(
        lambda messages: "I would say three." if tagged(messages[-1].content, "text") else looks(messages)
    )
    assert found.valid == {"accuracy": 1, "style": 0, "pair": 1}
    assert "0% of the judge's replies to style" in found.unusable
    assert found.accuracy is None, "not even what it could do"


def test_users_who_like_what_the_judge_likes() -> None:
    thumbs = [Thumb("Q?", f"Right number {i}, mate.", True) for i in range(6)]
    thumbs += [Thumb("Q?", f"This is wrong number {i}.", False) for i in range(4)]
    found = judged_by(looks, thumbs=thumbs).users
    assert found is not None
    assert (found.agreement.items, found.agreement.kappa, found.auc) == (10, 1, 1)
    turned = [Thumb(t.question, t.answer, not t.up) for t in thumbs]
    contrary = judged_by(looks, thumbs=turned).users
    assert contrary is not None and (contrary.agreement.equal, contrary.auc) == (0, 0)


class Counting(ScriptedChat):
    """Notes how it was asked."""

    def __init__(self) -> None:
        super().__init__(looks, name="counting", context=9999)
        self.asked: list[tuple[int, Sampling]] = []

    def generate(self, prompts: Any, sampling: Sampling, progress: Any = None) -> list[Completion]:
        self.asked.append((len(prompts), sampling))
        return super().generate(prompts, sampling)


def test_batches_are_few_greedy_but_for_the_second_time_and_noted(tmp_path: Path) -> None:
    model, thumbs = Counting(), [Thumb("Q?", "A, mate.", True)]
    first = judge(CASES, AUTHOR, model, Notes(tmp_path), thumbs)
    assert [count for count, _ in model.asked] == [5 * 18, 2 * 18, 2 * 18, 2]
    assert [s.temperature for _, s in model.asked] == [0, 0.7, 0, 0]
    assert len({s.seed for _, s in model.asked}) == 2
    assert all(s.json_schema for _, s in model.asked)
    assert judge(CASES, AUTHOR, model, Notes(tmp_path), thumbs) == first
    assert len(model.asked) == 4, "nothing is asked twice"
    judge(CASES[:12], AUTHOR, model, Notes(tmp_path))
    assert len(model.asked) == 7, "other questions are"


def test_examples_are_the_first_of_each_document() -> None:
    found = judged_by(looks).examples
    assert [e.instruction for e in found[::2]] == [c.instruction for c in CASES[:6]]
    assert [e.whose for e in found[:2]] == ["twin", "base"]
    assert found[0].accuracy is not None and found[0].accuracy.reason == "I looked."


def test_one_document_or_one_passage_is_refused_before_anything_is_asked() -> None:
    model = Counting()
    with pytest.raises(InputError, match="documents"):
        judge([c for c in CASES if c.document_id == "d0"], AUTHOR, model)
    with pytest.raises(InputError, match="1 passages"):
        judge(CASES, AUTHOR[:1] * 3, model)
    assert model.asked == []


@pytest.mark.slow
def test_a_small_real_model_is_judged_as_a_judge(smol_model: Path) -> None:
    """135 million weights keep to a schema and judge nothing: its verdicts must not reach a mean."""
    from llm_twin.adapters.chat_openvino import OpenVinoChat

    model = OpenVinoChat(smol_model)
    found = judge(CASES[:6], AUTHOR, model)
    model.close()
    assert found.unusable and found.style is None and found.preference is None
    assert set(found.valid) == {"accuracy", "style", "pair"}
