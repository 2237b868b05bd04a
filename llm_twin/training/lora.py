"""A LoRA's matrices, and where in a GGUF file each of them belongs.

A LoRA changes a weight matrix W to W + s·B·A, with s = alpha / rank (Hu et al. 2021, section 4.1), or
alpha / √rank for rsLoRA (Kalajdzievski 2023). Promises: an adapter that asks for anything beyond that, or
does not fit the model, is an InputError that names what it is. Does not cover: ranks or scales that
differ between layers, DoRA, initialisations that change the base, embeddings, trained biases.
"""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from llm_twin.errors import InputError
from llm_twin.gguf_file import GgufFile
from llm_twin.gguf_numbers import Floats

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"

_KEY = re.compile(r"base_model\.model\.(?P<module>.+)\.lora_(?P<side>[AB])\.weight")
_READ = {"r", "lora_alpha", "use_rslora", "peft_type"}
_HARMLESS = {
    *("auto_mapping", "base_model_name_or_path", "inference_mode", "peft_version", "revision", "task_type"),
    *("target_modules", "exclude_modules", "layers_to_transform", "layers_pattern"),
    *("lora_dropout", "megatron_core", "qalora_group_size", "loftq_config", "eva_config"),
    "ensure_weight_tying",  # it concerns embeddings, whose matrices are refused by their names
}
"""Settings that say where a LoRA sits or how it was trained, and nothing about how it is applied."""
_STARTS_THAT_KEEP_THE_BASE = (True, False, "gaussian", "orthogonal", "eva")

PERMUTED = {"llama": True, "qwen2": False, "qwen3": False}
"""Architectures whose GGUF layout is known, and whether their query and key rows are reordered."""


@dataclass(frozen=True)
class Lora:
    """Per module, A of shape (rank, inputs) and B of shape (outputs, rank), as float32."""

    path: Path
    scale: float
    matrices: dict[str, tuple[Floats, Floats]]


@dataclass(frozen=True)
class Merge:
    """A LoRA laid out for one GGUF file: what `gguf_file.rewrite` needs to merge it."""

    scale: float
    matrices: dict[str, tuple[Floats, Floats]]
    """By tensor name."""
    heads: dict[str, int]
    """Attention heads of the tensors whose rows the file keeps in another order."""

    @property
    def tensors(self) -> list[str]:
        """Names of the tensors that change."""
        return list(self.matrices)

    def patch(self, name: str, weights: Floats) -> Floats:
        """The merged weights of one tensor."""
        a, b = self.matrices[name]
        delta = (b @ a) * np.float32(self.scale)
        return weights + (reordered(delta, self.heads[name]) if name in self.heads else delta)


def read_lora(folder: Path) -> Lora:
    """The LoRA that PEFT saved in `folder`. InputError when it is not whole or not a plain LoRA."""
    config = _config(folder / CONFIG)
    sides = _sides(folder / WEIGHTS)
    rank = int(config["r"])
    matrices = {}
    for module, pair in sides.items():
        if pair.keys() != {"A", "B"}:
            raise InputError(f"{folder}: {module} has only one of its two matrices")
        if pair["A"].shape[0] != rank or pair["B"].shape[1] != rank:
            raise InputError(f"{folder}: {module} is not of rank {rank}, as its settings say")
        matrices[module] = (pair["A"], pair["B"])
    divisor = rank**0.5 if config.get("use_rslora") else rank
    return Lora(folder, float(config["lora_alpha"]) / divisor, matrices)


def adapted(lora: Lora, model: GgufFile) -> Merge:
    """Find the tensor of every module. InputError naming the first that has none, or another shape."""
    import gguf

    if model.architecture not in PERMUTED:
        known = ", ".join(PERMUTED)
        raise InputError(
            f"a LoRA cannot be merged into a GGUF of the architecture {model.architecture}",
            f"Use a model of one of these: {known}.",
        )
    number = {name: arch for arch, name in gguf.MODEL_ARCH_NAMES.items()}[model.architecture]
    names = gguf.get_tensor_name_map(number, int(model.require("{arch}.block_count")))
    found = {}
    for module, (a, b) in lora.matrices.items():
        name = f"{names.get_name(module)}.weight"
        if name not in model.tensors:
            raise InputError(f"{lora.path}: {module} has no place in {model.path}{_tied(module)}")
        if model.tensors[name].shape != (b.shape[0], a.shape[1]):
            raise InputError(
                f"{lora.path}: {module} does not fit {name} of {model.path}, another model's shape"
            )
        found[name] = (a, b)
    return Merge(lora.scale, found, _heads(model, found) if PERMUTED[model.architecture] else {})


def reordered(matrix: Floats, heads: int) -> Floats:
    """Query or key rows in the order that llama.cpp keeps them in: per head, the two halves interleaved.

    From LlamaModel.permute of llama.cpp's convert_hf_to_gguf.py: its rotary embedding turns neighbouring
    rows, where transformers' turns rows half a head apart.
    """
    half = matrix.shape[0] // heads // 2
    return matrix.reshape(heads, 2, half, -1).swapaxes(1, 2).reshape(matrix.shape)


def _heads(model: GgufFile, names: dict[str, Any]) -> dict[str, int]:
    queries = int(model.require("{arch}.attention.head_count"))
    keys = int(model.metadata.get(f"{model.architecture}.attention.head_count_kv", queries))
    heads = {".attn_q.weight": queries, ".attn_k.weight": keys}
    return {name: count for name in names for end, count in heads.items() if name.endswith(end)}


def _tied(module: str) -> str:
    tied = module.split(".")[-1] in ("lm_head", "embed_out")
    return ", whose output layer is its embedding and cannot change alone" if tied else ""


def _config(path: Path) -> dict[str, Any]:
    try:
        config = json.loads(path.read_text())
        r, alpha, kind = config["r"], config["lora_alpha"], config["peft_type"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{path} is not a LoRA's settings: {error}", "Name a folder that PEFT saved."
        ) from error
    if kind != "LORA" or not r > 0 or not isinstance(alpha, int | float):
        raise InputError(f"{path.parent} is an adapter of type {kind} with rank {r}, not a LoRA")
    for key, value in config.items():
        if not _plain(key, value):
            raise InputError(
                f"{path.parent} was trained with {key} = {value}, which cannot be merged",
                "Train a LoRA without it.",
            )
    return dict(config)


def _plain(key: str, value: Any) -> bool:
    if key == "init_lora_weights":
        return value in _STARTS_THAT_KEEP_THE_BASE
    return key in _READ | _HARMLESS or value in (None, False, "none", [], {})


def _sides(path: Path) -> dict[str, dict[str, Floats]]:
    """Module to its matrices "A" and "B"."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        tensors = load_file(path)
    except (OSError, SafetensorError) as error:
        raise InputError(
            f"{path} cannot be read: {error}", "Train again, or name another adapter."
        ) from error
    sides: dict[str, dict[str, Floats]] = {}
    for key, tensor in tensors.items():
        found = _KEY.fullmatch(key)
        if not found or tensor.ndim != 2:
            raise InputError(f"{path} holds {key}, which is no matrix of a plain LoRA and cannot be merged")
        sides.setdefault(found["module"], {})[found["side"]] = tensor.float().numpy()
    if not sides:
        raise InputError(f"{path} is empty")
    return sides
