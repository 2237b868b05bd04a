"""What the engine makes of a model folder is made once, whole or not at all, and never stands in a reader's way."""

import json
import os
import shutil
from contextlib import closing
from pathlib import Path

import openvino_genai as genai
import pytest

from llm_twin.adapters import openvino_files
from llm_twin.adapters.chat_openvino import OpenVinoChat
from llm_twin.adapters.openvino_files import engine_tokenizer
from llm_twin.types import Message, Sampling

pytestmark = pytest.mark.slow
SCHEMA = json.dumps(
    {
        "type": "object",
        "properties": {"owl": {"type": "boolean"}},
        "required": ["owl"],
        "additionalProperties": False,
    }
)


@pytest.fixture
def weights(smol_model: Path, tmp_path: Path) -> Path:
    """The small model's GGUF in a folder of its own."""
    return Path(shutil.copy(smol_model / "serving.gguf", tmp_path))


def test_the_tokenizer_is_made_once_and_is_the_one_in_the_weights(
    weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = engine_tokenizer(weights)
    (kept,) = [p for p in weights.parent.iterdir() if p.is_dir()]
    assert genai.__version__ in kept.name
    monkeypatch.setattr(openvino_files, "_save_tokenizer", lambda _: pytest.fail("made again"))
    again, direct = engine_tokenizer(weights), genai.Tokenizer(str(weights))
    for made in (first, again):
        assert made.get_vocab() == direct.get_vocab()
        assert made.get_eos_token_id() == direct.get_eos_token_id()


def test_an_engine_with_a_kept_tokenizer_follows_a_schema(smol_model: Path) -> None:
    for _ in range(2):
        with closing(OpenVinoChat(smol_model)) as chat:
            (done,) = chat.generate(
                [[Message(role="user", content="An owl?")]],
                Sampling(temperature=0, max_tokens=20, json_schema=SCHEMA),
            )
        assert json.loads(done.text)["owl"] in (True, False)


def test_what_breaks_off_leaves_nothing(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: Path) -> None:
        raise RuntimeError("Exception from src/plugin.cpp:1:\nno room")

    monkeypatch.setattr(openvino_files, "_save_tokenizer", broken)
    with pytest.raises(RuntimeError):
        engine_tokenizer(weights)
    assert list(weights.parent.iterdir()) == [weights]


def test_a_folder_that_may_not_be_written_is_read_all_the_same(
    weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(openvino_files.tempfile, "TemporaryDirectory", refused)
    assert len(engine_tokenizer(weights).get_vocab()) > 10_000
    assert os.listdir(weights.parent) == [weights.name]
