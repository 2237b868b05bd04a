"""What tests of several modules share. Unit tests have no network; a test marked `slow` may open sockets."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest

REPOSITORY = Path(__file__).parents[1]

TINY_TOKENS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", *"abcdefgh", "Ġ", "Ċ", "ab", "cd", "<tool>"]
TINY_TYPES = [3, 3, 3, *[1] * 12, 4]
TINY_TEMPLATE = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"

MakeGguf = Callable[..., Path]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.get_closest_marker("slow"):
            item.add_marker(pytest.mark.enable_socket)


@pytest.fixture(scope="session")
def models_cache() -> Path:
    """Where models lie: a test that needs one fetches it once and later runs find it."""
    return Path(os.environ.get("TWIN_MODELS__CACHE") or Path.home() / ".cache" / "llm-twin" / "models")


@pytest.fixture(scope="session")
def smol_model(models_cache: Path) -> Path:
    """The folder of the small chat model (for tests marked slow: the first pull takes the network)."""
    from llm_twin.adapters.pull import pull

    return pull("smollm2-135m", models_cache)


@pytest.fixture(scope="session")
def shared_articles() -> Path:
    """Real articles beside the repository, for tests on real input."""
    path = REPOSITORY.parent / "shared" / "data" / "articles"
    if not path.is_dir():
        pytest.skip("the articles for tests on real input do not lie beside the repository")
    return path


@pytest.fixture(scope="session")
def tiny_gguf() -> MakeGguf:
    """A maker of whole, tiny chat models, written by the gguf package itself."""

    def make(path: Path, kind: str = "Q5_0", leave_out: str = "", **metadata: Any) -> Path:
        rng = np.random.default_rng(0)
        writer = gguf.GGUFWriter(path, "llama")
        writer.add_context_length(128)
        writer.add_embedding_length(64)
        writer.add_tokenizer_model(metadata.pop("tokenizer_model", "gpt2"))
        writer.add_tokenizer_pre(metadata.pop("pre", "smollm"))
        if leave_out != "tokens":
            writer.add_token_list(TINY_TOKENS)
        writer.add_token_types(TINY_TYPES)
        writer.add_token_merges(["a b", "c d"])
        writer.add_eos_token_id(2)
        if leave_out != "template":
            writer.add_chat_template(TINY_TEMPLATE)
        for key, value in metadata.items():
            writer.add_bool(f"tokenizer.ggml.{key}", value)
        number = gguf.GGMLQuantizationType[kind]
        for name, shape in {"token_embd.weight": (16, 64), "blk.0.attn_q.weight": (64, 64)}.items():
            weights = rng.standard_normal(shape).astype(np.float32)
            writer.add_tensor(name, gguf.quants.quantize(weights, number), raw_dtype=number)
        writer.add_tensor("blk.0.attn_norm.weight", rng.standard_normal(64).astype(np.float32))
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        return path

    return make
