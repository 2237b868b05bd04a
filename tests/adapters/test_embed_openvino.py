"""What only the OpenVINO embedder promises: faithful to the model, converted once, no torch afterwards."""

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from llm_twin.adapters import embed_openvino
from llm_twin.adapters.embed_openvino import OpenVinoEmbedder, _batches
from llm_twin.adapters.pull import pull
from llm_twin.errors import InputError, MissingPart, TwinError

VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "owl", "fox", "ran", "the", "a", "##s", "."]


def write(path: Path, value: Any) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(value))


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    """A model folder whose weights are no weights: enough for everything that happens before converting."""
    from tokenizers import BertWordPieceTokenizer

    folder = tmp_path / "tiny"
    folder.mkdir()
    tokenizer = BertWordPieceTokenizer(dict(zip(VOCABULARY, range(len(VOCABULARY)), strict=True)))
    tokenizer.enable_truncation(4)
    tokenizer.enable_padding(length=4)
    tokenizer.save(str(folder / "tokenizer.json"))
    write(folder / "config.json", {"hidden_size": 32, "max_position_embeddings": 64, "model_type": "bert"})
    write(folder / "sentence_bert_config.json", {"max_seq_length": 16})
    write(
        folder / "1_Pooling" / "config.json",
        {"pooling_mode_cls_token": False, "pooling_mode_mean_tokens": True},
    )
    write(
        folder / "modules.json",
        [{"type": f"sentence_transformers.models.{m}"} for m in ("Transformer", "Pooling")],
    )
    (folder / "model.safetensors").write_bytes(b"no weights")
    return folder


@pytest.fixture
def tiny(bare: Path) -> Path:
    """A whole model of two layers with random weights."""
    from transformers import BertConfig, BertModel, set_seed

    set_seed(0)
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
    config = BertConfig(vocab_size=len(VOCABULARY), max_position_embeddings=64, **sizes)
    BertModel(config).save_pretrained(bare)
    return bare


@pytest.fixture(scope="module")
def minilm(models_cache: Path) -> Path:
    return pull("all-minilm-l6-v2", models_cache)


def test_batches_hold_each_text_once_with_the_longest_first_and_few_tokens() -> None:
    rng = np.random.default_rng(0)
    ids = [np.zeros(n, np.int64) for n in rng.integers(2, 257, 500)]
    batches = list(_batches(ids))
    assert sorted(i for batch in batches for i in batch) == list(range(500))
    for batch in batches:
        lengths = [len(ids[i]) for i in batch]
        assert lengths == sorted(lengths, reverse=True)
        assert len(batch) * lengths[0] <= 1024
    padded = sum(len(batch) * len(ids[batch[0]]) for batch in batches)
    assert padded < 1.05 * sum(map(len, ids))


def test_a_text_larger_than_a_batch_is_a_batch_of_its_own() -> None:
    assert list(_batches([np.zeros(5000, np.int64), np.zeros(3, np.int64)])) == [[0], [1]]


def test_without_torch_and_without_a_conversion_the_missing_extra_is_named(
    bare: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(MissingPart, match="takes torch") as caught:
        OpenVinoEmbedder(bare)
    assert "llm-twin[train]" in caught.value.way_out


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "model.safetensors"])
def test_a_folder_that_lacks_a_file_is_bad_input(bare: Path, name: str) -> None:
    (bare / name).unlink()
    with pytest.raises(InputError, match=f"has no {name}"):
        OpenVinoEmbedder(bare)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("config.json", "{", "config.json is damaged"),
        ("config.json", "[]", "no hidden_size"),
        ("tokenizer.json", "{", "tokenizer.json is damaged"),
        ("1_Pooling/config.json", '{"pooling_mode_cls_token": true}', "pooling_mode_cls_token"),
        ("modules.json", '[{"type": "sentence_transformers.models.Dense"}]', "Dense"),
    ],
)
def test_a_model_that_is_damaged_or_of_another_kind_is_bad_input(
    bare: Path, name: str, content: str, said: str
) -> None:
    (bare / name).write_text(content)
    with pytest.raises(InputError, match=said):
        OpenVinoEmbedder(bare)


def test_importing_it_brings_neither_torch_nor_telemetry() -> None:
    code = (
        "import sys, llm_twin.adapters.embed_openvino\n"
        "print([m for m in ('torch', 'transformers', 'openvino_telemetry') if sys.modules.get(m)])"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said.strip() == "[]"


@pytest.mark.slow
def test_a_model_is_converted_once_and_known_by_its_weights(
    tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = OpenVinoEmbedder(tiny)
    rows = first.embed(["the owl ran", "a fox"])
    assert (first.dimension, first.window) == (32, 16)

    def refuse(*_: object) -> None:
        raise AssertionError("converted again")

    with monkeypatch.context() as patched:
        patched.setattr(embed_openvino, "_convert", refuse)
        again = OpenVinoEmbedder(tiny)
        assert again.name == first.name
        assert np.array_equal(again.embed(["the owl ran", "a fox"]), rows)
    from transformers import BertModel, set_seed

    set_seed(1)
    BertModel(BertModel.from_pretrained(tiny).config).save_pretrained(tiny)
    other = OpenVinoEmbedder(tiny)
    assert other.name != first.name
    assert not np.allclose(other.embed(["the owl ran", "a fox"]), rows, atol=1e-2)


@pytest.mark.slow
def test_padding_and_truncation_that_the_tokenizer_file_asks_for_are_not_done(tiny: Path) -> None:
    embedder = OpenVinoEmbedder(tiny)
    assert len(embedder.token_offsets("the owl ran " * 30)) == 90
    with pytest.raises(InputError, match="a text of 17 tokens"):
        embedder.embed(["owl " * 15])
    with pytest.raises(InputError, match="Unicode"):
        embedder.embed(["\ud800"])


@pytest.mark.slow
def test_damage_is_named_and_what_a_kill_left_is_cleared_away(tiny: Path) -> None:
    cache = tiny.parent / "cache"
    (cache / "new").mkdir(parents=True)
    (cache / "new" / "model.bin").write_bytes(b"half")
    OpenVinoEmbedder(tiny, cache)
    assert not (cache / "new").exists()
    (converted,) = cache.glob("*/model.bin")
    converted.write_bytes(b"")
    with pytest.raises(TwinError, match="cannot be loaded") as caught:
        OpenVinoEmbedder(tiny, cache).embed(["owl"])
    assert str(converted.parent) in str(caught.value)
    shutil.rmtree(converted.parent)
    (tiny / "model.safetensors").write_bytes(b"no weights")
    with pytest.raises(TwinError, match="cannot be loaded"):
        OpenVinoEmbedder(tiny, cache)
    assert list(cache.glob("*-*")) == []


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [0.0, 0.3])
def test_a_conversion_killed_half_way_is_made_whole_the_next_time(tiny: Path, seconds: float) -> None:
    cache = tiny.parent / "cache"
    code = "import sys; from pathlib import Path; from llm_twin.adapters.embed_openvino import OpenVinoEmbedder\n"
    code += "OpenVinoEmbedder(Path(sys.argv[1]), Path(sys.argv[2]))"
    with subprocess.Popen([sys.executable, "-c", code, str(tiny), str(cache)]) as converting:
        while not (cache / "new").exists() and converting.poll() is None:
            time.sleep(0.001)
        time.sleep(seconds)
        converting.send_signal(signal.SIGKILL)
    assert converting.returncode == -signal.SIGKILL
    assert len(OpenVinoEmbedder(tiny, cache).embed(["owl"])) == 1


@pytest.mark.slow
def test_a_converted_model_runs_without_torch(tiny: Path) -> None:
    OpenVinoEmbedder(tiny)
    code = (
        "import sys; from pathlib import Path; from llm_twin.adapters.embed_openvino import OpenVinoEmbedder\n"
        "rows = OpenVinoEmbedder(Path(sys.argv[1])).embed(['the owl ran'])\n"
        "print(rows.shape, [m for m in ('torch', 'transformers') if m in sys.modules])"
    )
    said = subprocess.run([sys.executable, "-c", code, str(tiny)], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "(1, 32) []"


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_every_vector_is_the_one_that_sentence_transformers_makes(
    minilm: Path, shared_articles: Path
) -> None:
    library = pytest.importorskip("sentence_transformers", reason="needs the extra `bench`")
    rows = json.loads((shared_articles / "ArticleDocument.json").read_text())
    paragraphs = [p for row in rows[::8] for p in str(row["content"]["Content"]).split("\n\n")][::6]
    embedder = OpenVinoEmbedder(minilm)
    texts = [p for p in paragraphs if len(embedder.token_offsets(p)) <= embedder.window - 2][:200]
    texts += ["", "🦉", "word " * 254]
    reference = library.SentenceTransformer(str(minilm), device="cpu").encode(texts)
    cosine = (embedder.embed(texts) * reference).sum(1)
    assert len(texts) > 100
    assert cosine.min() >= 0.999


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_every_token_vector_is_the_one_that_sentence_transformers_makes(minilm: Path) -> None:
    library = pytest.importorskip("sentence_transformers", reason="needs the extra `bench`")
    texts = ["The owl hunts mice at night.", "Tax — law for 🦉 and small firms! " * 12, "Zoë"]
    model = library.SentenceTransformer(str(minilm), device="cpu")
    reference = model.encode(texts, output_value="token_embeddings")
    for ours, theirs in zip(OpenVinoEmbedder(minilm).token_vectors(texts), reference, strict=True):
        rows = theirs.numpy()[1:-1]
        rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
        assert ours.shape == rows.shape
        assert (ours * rows).sum(1).min() >= 0.998
