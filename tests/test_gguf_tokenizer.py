import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from tokenizers import Tokenizer

from llm_twin import gguf_file, gguf_tokenizer
from llm_twin.errors import InputError

MakeGguf = Callable[..., Path]


def built(path: Path) -> Tokenizer:
    return gguf_tokenizer.build(gguf_file.read(path))


def test_control_and_user_tokens_stay_whole_and_merges_apply(tmp_path: Path, tiny_gguf: MakeGguf) -> None:
    tokenizer = built(tiny_gguf(tmp_path / "m.gguf"))
    encoded = tokenizer.encode("<|im_start|>abe\n<tool>cd<|im_end|>")
    assert encoded.tokens == ["<|im_start|>", "ab", "e", "Ċ", "<tool>", "cd", "<|im_end|>"]
    assert encoded.ids == [1, 13, 7, 12, 15, 14, 2]
    assert tokenizer.decode(encoded.ids) == "abe\n<tool>cd"  # control tokens are special, user tokens not


@pytest.mark.parametrize(
    ("pre", "pieces"),
    [
        ("smollm", ["a", "1", "2", "Ċ", "Ċ", "b"]),
        ("gpt-2", ["a", "12", "Ċ", "Ċ", "b"]),
        ("qwen2", ["a", "1", "2", "ĊĊ", "b"]),
        ("llama-bpe", ["a", "12", "ĊĊ", "b"]),
    ],
)
def test_text_is_split_as_the_file_says(
    tmp_path: Path, tiny_gguf: MakeGguf, pre: str, pieces: list[str]
) -> None:
    tokenizer = built(tiny_gguf(tmp_path / "m.gguf", pre=pre))
    assert [piece for piece, _ in tokenizer.pre_tokenizer.pre_tokenize_str("a12\n\nb")] == pieces


def test_a_start_token_is_added_where_the_file_asks(tmp_path: Path, tiny_gguf: MakeGguf) -> None:
    path = tmp_path / "m.gguf"
    assert built(tiny_gguf(path)).encode("a").tokens == ["a"]
    with pytest.raises(InputError, match="bos_token_id"):
        built(tiny_gguf(path, add_bos_token=True))


def test_end_tokens_begin_with_the_end_of_a_turn(tmp_path: Path, tiny_gguf: MakeGguf) -> None:
    assert gguf_tokenizer.end_token_ids(gguf_file.read(tiny_gguf(tmp_path / "m.gguf"))) == (2, 0)


@pytest.mark.slow
def test_saved_files_load_in_transformers_and_agree(tmp_path: Path, tiny_gguf: MakeGguf) -> None:
    model = gguf_file.read(tiny_gguf(tmp_path / "base.gguf"))
    gguf_tokenizer.save_tokenizer(model, tmp_path, "base.gguf")
    config = json.loads((tmp_path / "tokenizer_config.json").read_text())
    assert (config["eos_token"], config["model_max_length"]) == ("<|im_end|>", 128)
    text = "<|im_start|>ab cd\n"
    asked = f"""
from transformers import AutoTokenizer
tokenizer = AutoTokenizer.from_pretrained({str(tmp_path)!r})
print(tokenizer({text!r})["input_ids"], tokenizer.eos_token_id)
"""
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
    ran = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, env=environment)
    ids = Tokenizer.from_file(str(tmp_path / "tokenizer.json")).encode(text).ids
    assert ran.stdout.split("\n")[0] == f"{ids} 2", ran.stderr


def test_what_cannot_be_rebuilt_is_said(tmp_path: Path, tiny_gguf: MakeGguf) -> None:
    path = tmp_path / "m.gguf"
    with pytest.raises(InputError, match="splits text as martian") as caught:
        built(tiny_gguf(path, pre="martian"))
    assert "safetensors" in caught.value.way_out
    with pytest.raises(InputError, match="says nothing about tokenizer"):
        built(tiny_gguf(path, leave_out="tokens"))


def test_building_needs_neither_torch_nor_transformers(tmp_path: Path, tiny_gguf: MakeGguf) -> None:
    path = tiny_gguf(tmp_path / "base.gguf")
    asked = f"""
import sys
from pathlib import Path
from llm_twin import gguf_file, gguf_tokenizer
gguf_tokenizer.save_tokenizer(gguf_file.read(Path({str(path)!r})), Path({str(tmp_path)!r}), "base.gguf")
print(sorted({{"torch", "transformers"}} & set(sys.modules)))
"""
    ran = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"


@pytest.mark.slow
def test_the_small_model_splits_real_text_as_published_and_gives_it_back(
    smol_model: Path, shared_articles: Path
) -> None:
    tokenizer = Tokenizer.from_file(str(smol_model / "tokenizer.json"))
    articles = json.loads((shared_articles / "ArticleDocument.json").read_text())
    texts = [part for article in articles for part in article["content"].values() if isinstance(part, str)]
    assert len(texts) > 100
    for text, encoded in zip(texts, tokenizer.encode_batch(texts), strict=True):
        assert tokenizer.decode(encoded.ids, skip_special_tokens=False) == text
    # The published tokenizer takes digits one by one and leaves whitespace before them in one piece.
    assert tokenizer.encode("1.\n 2024").tokens == ["1", ".", "ĊĠ", "2", "0", "2", "4"]
    assert tokenizer.encode("<|im_start|>user\nHi<|im_end|>\n").ids == [1, 4093, 198, 26843, 2, 198]


@pytest.mark.slow
def test_a_sentencepiece_vocabulary_goes_through_transformers(tmp_path: Path, tiny_gguf: MakeGguf) -> None:
    model = gguf_file.read(tiny_gguf(tmp_path / "base.gguf", tokenizer_model="llama"))
    gguf_tokenizer.save_tokenizer(model, tmp_path, "base.gguf")
    tokenizer = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    assert tokenizer.encode("<|im_start|>", add_special_tokens=False).ids == [1]
    assert tokenizer.token_to_id("ab") == 13
    assert not (tmp_path / "chat_template.jinja").exists()  # the file's own is written by `prepare`
