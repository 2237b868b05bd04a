import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from llm_twin import gguf_file, models, prepare
from llm_twin.errors import InputError

MakeGguf = Callable[..., Path]
FROM: dict[str, Any] = {"name": "tiny", "licence": "MIT", "source": "a test"}


def safetensors(folder: Path, **config: Any) -> Path:
    """A folder with the files of a chat model (their contents are not weights, and nobody looks)."""
    folder.mkdir(parents=True, exist_ok=True)
    known = {"model_type": "llama", "hidden_size": 64, "max_position_embeddings": 128, "eos_token_id": 2}
    (folder / "config.json").write_text(json.dumps(known | config))
    (folder / "tokenizer.json").write_text("{}")
    (folder / "tokenizer_config.json").write_text(json.dumps({"chat_template": "{{ messages }}"}))
    (folder / "model.safetensors").write_bytes(b"weights")
    return folder


@pytest.mark.parametrize(("kind", "served"), [("Q5_0", "Q8_0"), ("Q8_0", "Q8_0"), ("F16", "F16")])
def test_a_gguf_becomes_a_whole_folder(tmp_path: Path, tiny_gguf: MakeGguf, kind: str, served: str) -> None:
    tiny_gguf(tmp_path / "base.gguf", kind)
    card = prepare.prepare_gguf(tmp_path, **FROM)
    assert models.read_card(tmp_path) == card and models.damage(tmp_path) is None
    assert {path.name for path in tmp_path.iterdir()} == {*card.files, "model.json"}
    assert (card.architecture, card.context, card.dimension) == ("llama", 128, 64)
    assert card.eos_token_ids == (2, 0)
    assert card.sha256 == card.files["base.gguf"].sha256
    assert "<|im_start|>" in (tmp_path / "chat_template.jinja").read_text()
    assert gguf_file.read(tmp_path / "serving.gguf").matrix_kinds() == {served}
    same_file = (tmp_path / "serving.gguf").samefile(tmp_path / "base.gguf")
    assert same_file is (kind == served), "a file that can be served as it is takes no second place on disk"


def test_preparing_twice_gives_the_same_card(tmp_path: Path, tiny_gguf: MakeGguf) -> None:
    tiny_gguf(tmp_path / "base.gguf")
    assert prepare.prepare_gguf(tmp_path, **FROM) == prepare.prepare_gguf(tmp_path, **FROM)


def test_a_model_without_a_chat_layout_has_no_template_file(tmp_path: Path, tiny_gguf: MakeGguf) -> None:
    tiny_gguf(tmp_path / "base.gguf", leave_out="template")
    assert "chat_template.jinja" not in prepare.prepare_gguf(tmp_path, **FROM).files


def test_a_damaged_gguf_is_named_as_the_user_knows_it(tmp_path: Path) -> None:
    (tmp_path / "base.gguf").write_bytes(b"GGUF")
    (tmp_path / "mine.gguf").write_bytes(b"GGUF")
    with pytest.raises(InputError, match=r"mine\.gguf is not a whole GGUF"):
        prepare.prepare_gguf(tmp_path, known_as=tmp_path / "mine.gguf", **FROM)
    assert not (tmp_path / "model.json").exists()


def test_safetensors_become_a_whole_folder(tmp_path: Path) -> None:
    card = prepare.prepare_safetensors(safetensors(tmp_path), "chat", **FROM)
    assert models.damage(tmp_path) is None
    assert (card.weights, card.serving, card.source_file) == ("safetensors", None, "model.safetensors")
    assert (card.context, card.eos_token_ids) == (128, (2,))
    assert (tmp_path / "chat_template.jinja").read_text() == "{{ messages }}"
    assert "chat_template.jinja" in card.files


def test_end_tokens_of_generation_come_first(tmp_path: Path) -> None:
    safetensors(tmp_path)
    (tmp_path / "generation_config.json").write_text('{"eos_token_id": [7, 2]}')
    assert prepare.prepare_safetensors(tmp_path, "chat", **FROM).eos_token_ids == (7, 2)


def test_several_shards_have_a_joint_hash(tmp_path: Path) -> None:
    safetensors(tmp_path).joinpath("model-00002.safetensors").write_bytes(b"more")
    one = prepare.prepare_safetensors(tmp_path, "chat", **FROM).sha256
    (tmp_path / "model-00002.safetensors").write_bytes(b"else")
    assert prepare.prepare_safetensors(tmp_path, "chat", **FROM).sha256 != one


def test_an_embedders_window_is_what_it_was_told(tmp_path: Path) -> None:
    safetensors(tmp_path, max_position_embeddings=512, eos_token_id=None)
    assert prepare.prepare_safetensors(tmp_path, "embedder", **FROM).context == 512
    (tmp_path / "sentence_bert_config.json").write_text('{"max_seq_length": 256}')
    card = prepare.prepare_safetensors(tmp_path, "embedder", **FROM)
    assert (card.context, card.dimension, card.eos_token_ids) == (256, 64, ())


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        ("config.json", None, r"config\.json cannot be read"),
        ("config.json", "[]", "does not hold a JSON object"),
        ("config.json", '{"model_type": "llama"}', "says nothing about hidden_size"),
        ("model.safetensors", None, "no weights"),
        ("tokenizer.json", None, r"no tokenizer\.json"),
        ("generation_config.json", '{"eos_token_id": null}', "names no eos_token_id"),
    ],
)
def test_what_is_missing_is_said(tmp_path: Path, name: str, content: str | None, complaint: str) -> None:
    path = safetensors(tmp_path) / name
    path.unlink(missing_ok=True) if content is None else path.write_text(content)
    with pytest.raises(InputError, match=complaint):
        prepare.prepare_safetensors(tmp_path, "chat", **FROM)
    assert not (tmp_path / "model.json").exists()


def test_pickles_and_strangers_are_not_taken() -> None:
    names = [
        "model.safetensors",
        "pytorch_model.bin",
        "tokenizer.json",
        "run.py",
        "onnx/model.onnx",
        "a/b.json",
    ]
    assert prepare.wanted(names) == ["model.safetensors", "tokenizer.json"]
    assert prepare.role_of(names) == "chat" and prepare.role_of([*names, "modules.json"]) == "embedder"


def test_take_links_and_replaces(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("new")
    (tmp_path / "b").write_text("old")
    prepare.take(tmp_path / "a", tmp_path / "b")
    assert (tmp_path / "b").read_text() == "new" and (tmp_path / "b").samefile(tmp_path / "a")


@pytest.mark.slow
def test_openvino_reads_what_was_prepared_for_it(smol_model: Path, tmp_path: Path) -> None:
    """The same small model, once as published and once rewritten, answers the same question alike."""
    import openvino_genai

    gguf_file.rewrite(smol_model / "base.gguf", tmp_path / "q8.gguf", "q8_0")
    prompt = "<|im_start|>user\nWhat is gravity?<|im_end|>\n<|im_start|>assistant\n"
    answers = []
    for path in (smol_model / "serving.gguf", tmp_path / "q8.gguf"):
        pipeline = openvino_genai.LLMPipeline(str(path), "CPU")
        answers.append(str(pipeline.generate(prompt, max_new_tokens=12, apply_chat_template=False)))
    assert all("ravity" in answer for answer in answers), answers
