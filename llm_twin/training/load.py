"""A base model in memory, ready for training or merging, from a prepared model folder (GGUF or safetensors).

Does not cover: models that bring code of their own, and models too large for this machine's memory.
"""

import json
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig
from transformers import modeling_gguf_pytorch_utils as gguf_loader
from transformers.utils import logging


def load_base(folder: Path, dtype: torch.dtype | None = None) -> tuple[Any, Any]:
    """The model of a prepared folder, as transformers has it, and its tokenizer.

    `dtype` None is bfloat16 where the machine multiplies it natively, which halves the time of a training
    step, and float32 elsewhere.
    """
    dtype = dtype or (torch.bfloat16 if has_bfloat16() else torch.float32)
    source = str(json.loads((folder / "model.json").read_text())["source_file"])
    tokenizer = AutoTokenizer.from_pretrained(folder)
    if source.endswith(".gguf"):
        return load_gguf(folder, source, dtype), tokenizer
    return AutoModelForCausalLM.from_pretrained(folder, dtype=dtype), tokenizer


def load_gguf(folder: Path, name: str, dtype: torch.dtype) -> Any:
    """The model in a GGUF file, its weights unpacked to `dtype`."""
    unpacked = GgufConfig(dequantize=True)
    model = AutoModelForCausalLM.from_pretrained(
        folder, dtype=dtype, gguf_file=name, quantization_config=unpacked
    )
    # PEFT would look for a config.json under this name, here and on the Hub, and a GGUF has none.
    model.name_or_path = ""
    return model


def has_bfloat16() -> bool:
    """Whether this machine multiplies bfloat16 natively."""
    if torch.cuda.is_available():
        return bool(torch.cuda.is_bf16_supported())
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


@contextmanager
def quiet() -> Iterator[None]:
    """Keep the libraries' own progress bars off the screen: they would write over the caller's."""
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        # The bar of the GGUF loader has no switch.
        with patch.object(gguf_loader, "tqdm", lambda items, **_: items), warnings.catch_warnings():
            # PEFT 0.21 asks the model by a name that transformers is about to drop.
            warnings.filterwarnings("ignore", "`is_gradient_checkpointing` is deprecated", FutureWarning)
            yield
    finally:
        if shown:
            logging.enable_progress_bar()
