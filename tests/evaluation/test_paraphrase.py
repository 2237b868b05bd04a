from pathlib import Path

import pytest

from llm_twin.adapters.standins import ScriptedChat
from llm_twin.evaluation.measure import Notes
from llm_twin.evaluation.paraphrase import paraphrases, wording_kept
from llm_twin.types import Message, Sampling


def test_each_text_is_given_to_the_model_once_and_the_answers_are_noted(tmp_path: Path) -> None:
    asked: list[str] = []

    def script(messages: list[Message]) -> str:
        asked.append(messages[-1].content)
        assert messages[0].role == "system" and "other words" in messages[0].content
        return f"  In other words: {messages[-1].content.upper()}\n"

    texts = ["It wears.", "--- user\nIt does not."]
    for _ in range(2):
        found = paraphrases(ScriptedChat(script), texts, Sampling(max_tokens=64), Notes(tmp_path))  # type: ignore[arg-type]
        assert found == ["In other words: IT WEARS.", "In other words: --- USER\nIT DOES NOT."]
    assert asked == texts
    assert paraphrases(ScriptedChat(script), ["So."], Sampling()) == ["In other words: SO."]  # type: ignore[arg-type]


def test_the_wording_kept_by_hand() -> None:
    assert wording_kept(["one two three four"], ["One, two; three four!"]) == 1
    assert wording_kept(["one two three four"], ["one two three five"]) == 0.5
    assert wording_kept(["one two three four"] * 3, ["one two three five", "six seven eight", "one"]) == 0.25
    assert wording_kept(["one"], [""]) == 0
    with pytest.raises(ValueError, match="argument"):
        wording_kept(["one"], [])
