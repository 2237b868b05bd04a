"""Tiny models that train and export in a second, and what the tests of training share."""

from collections.abc import Callable
from pathlib import Path

import gguf
import numpy as np
import pytest

from llm_twin.prepare import prepare_gguf, prepare_safetensors
from llm_twin.types import Sample

WIDTH, INNER, HEADS, KEY_HEADS, BLOCKS = 64, 96, 4, 2, 2
LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNO"
TOKENS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", *LETTERS, "Ġ", "Ċ", ".", "th"]
TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)

MakeModel = Callable[..., Path]


@pytest.fixture(scope="session")
def tiny_model() -> MakeModel:
    """A maker of prepared folders of tiny, random GGUF models of a given architecture."""

    def make(folder: Path, architecture: str = "llama", tied: bool = True) -> Path:
        folder.mkdir(parents=True)
        writer = gguf.GGUFWriter(folder / "base.gguf", architecture)
        write_settings(writer, head_size(architecture))
        rng = np.random.default_rng(0)
        for name, shape in shapes(architecture, tied).items():
            centre = 1.0 if "norm" in name else 0.0
            values = (centre + 0.1 * rng.standard_normal(shape)).astype(np.float32)
            writer.add_tensor(name, values.astype(np.float16) if len(shape) > 1 else values)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        prepare_gguf(folder, name=f"tiny-{architecture}", licence=None, source="made for tests")
        return folder

    return make


def head_size(architecture: str) -> int:
    return 128 if architecture == "qwen3" else WIDTH // HEADS  # what transformers takes Qwen 3 to have


def write_settings(writer: gguf.GGUFWriter, head: int) -> None:
    writer.add_context_length(512)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(BLOCKS)
    writer.add_feed_forward_length(INNER)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KEY_HEADS)
    writer.add_key_length(head)
    writer.add_value_length(head)
    writer.add_rope_freq_base(10000.0)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(TOKENS)
    writer.add_token_types([3, 3, 3, *[1] * (len(TOKENS) - 3)])
    writer.add_token_merges(["t h"])
    writer.add_eos_token_id(2)
    writer.add_chat_template(TEMPLATE)


def shapes(architecture: str, tied: bool) -> dict[str, tuple[int, ...]]:
    head = head_size(architecture)
    queries, keys = head * HEADS, head * KEY_HEADS
    found: dict[str, tuple[int, ...]] = {
        "token_embd.weight": (len(TOKENS), WIDTH),
        "output_norm.weight": (WIDTH,),
    }
    if not tied:
        found["output.weight"] = (len(TOKENS), WIDTH)
    block: dict[str, tuple[int, ...]] = {
        "attn_norm.weight": (WIDTH,),
        "attn_q.weight": (queries, WIDTH),
        "attn_k.weight": (keys, WIDTH),
        "attn_v.weight": (keys, WIDTH),
        "attn_output.weight": (WIDTH, queries),
        "ffn_norm.weight": (WIDTH,),
        "ffn_gate.weight": (INNER, WIDTH),
        "ffn_up.weight": (INNER, WIDTH),
        "ffn_down.weight": (WIDTH, INNER),
    }
    if architecture == "qwen2":
        block |= {"attn_q.bias": (queries,), "attn_k.bias": (keys,), "attn_v.bias": (keys,)}
    if architecture == "qwen3":
        block |= {"attn_q_norm.weight": (head,), "attn_k_norm.weight": (head,)}
    return found | {f"blk.{n}.{name}": shape for n in range(BLOCKS) for name, shape in block.items()}


@pytest.fixture(scope="session")
def tiny_safetensors(tmp_path_factory: pytest.TempPathFactory, tiny_model: MakeModel) -> MakeModel:
    """A maker of prepared folders of tiny, random models as the Hub has them."""
    tokenizer = tiny_model(tmp_path_factory.mktemp("scratch") / "model")

    def make(folder: Path, architecture: str = "llama", **settings: object) -> Path:
        import torch
        from transformers import AutoConfig, AutoModelForCausalLM

        sizes = {"hidden_size": WIDTH, "intermediate_size": INNER, "num_hidden_layers": BLOCKS}
        heads = {"num_attention_heads": HEADS, "num_key_value_heads": KEY_HEADS}
        words = {"vocab_size": len(TOKENS), "eos_token_id": 2, "bos_token_id": 0, "pad_token_id": 0}
        torch.manual_seed(0)
        config = AutoConfig.for_model(architecture, **sizes, **heads, **words, **settings)
        AutoModelForCausalLM.from_config(config).to(torch.bfloat16).save_pretrained(folder)
        for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
            (folder / name).write_bytes((tokenizer / name).read_bytes())
        prepare_safetensors(folder, "chat", name="tiny-hub", licence="MIT", source="made for tests")
        return folder

    return make


@pytest.fixture(scope="session")
def make_samples() -> Callable[..., list[Sample]]:
    """A maker of samples whose responses get longer from one to the next."""
    text = "the clock ran slow all winter as the oil was thick in the cold and I cleaned it well"

    def make(count: int, split: str = "train") -> list[Sample]:
        return [
            Sample(
                id=f"s{n}",
                document_id=f"d{n}",
                author="Marlow",
                instruction=f"Tell me about clock {n}.",
                response=text[: 24 + 5 * (n % 12)] + ".",
                start=0,
                end=1,
                split="train" if split == "train" else "test",
                written_by="template",
            )
            for n in range(count)
        ]

    return make
