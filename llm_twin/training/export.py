"""From a base model and a LoRA to a model folder like a base model's: it serves, and can be trained on.

A base in GGUF becomes

    twin-f16.gguf     the merged model, for Ollama, llama.cpp, LM Studio, and for further training
    twin-q8_0.gguf    the same in half the space: what OpenVINO GenAI serves
    safetensors/      the weights of twin-f16.gguf for transformers and vLLM
    model.json, tokenizer.json, tokenizer_config.json, chat_template.jinja

by patching the tensors that the LoRA touches and copying the others. A base in safetensors is merged by
PEFT and becomes safetensors only. Promises: the folder appears whole or not at all, and a tensor of the
LoRA that finds no place is an error that names it. Does not cover: GGUF from a base in safetensors, and
what `lora` does not.
"""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from math import prod
from os import fsync
from pathlib import Path
from typing import Any

from llm_twin import gguf_file
from llm_twin.errors import InputError, TwinError
from llm_twin.files import sync_folder
from llm_twin.models import ModelCard, read_card, sha256_of, write_card
from llm_twin.ports import Progress, silent
from llm_twin.prepare import TEMPLATE, TOKENIZER, files_below, prepare_safetensors
from llm_twin.training.lora import PERMUTED, WEIGHTS, Merge, adapted, read_lora

F16, Q8_0, SAFETENSORS = "twin-f16.gguf", "twin-q8_0.gguf", "safetensors"
_TOKENIZER_FILES = (TOKENIZER, "tokenizer_config.json", TEMPLATE)
_BYTES_A_WEIGHT = 2 + 34 / 32 + 2
_ROOM = 50 << 20
"""Bytes for tokenizers and headers."""


def export(
    base: Path, adapter: Path, out: Path, name: str, progress: Progress = silent, without_gguf: bool = False
) -> Path:
    """Merge the LoRA in `adapter` into the prepared model `base`; returns `out`, its finished folder.

    What was in `out` is replaced at the end. `without_gguf` accepts a twin in safetensors alone, which is
    all that a base in safetensors gives (see `gguf_obstacle`). Progress counts bytes. Raises InputError
    when the LoRA does not fit the base or cannot be merged, and when no GGUF can be made; TwinError when
    the disk is full.
    """
    card = read_card(base)
    if (obstacle := gguf_obstacle(base)) and not without_gguf:
        raise InputError(
            obstacle, "Train on a GGUF of the same model, or accept safetensors alone and serve them by vLLM."
        )
    if card.weights == "gguf":
        source = gguf_file.read(base / card.source_file)
        merge = adapted(read_lora(adapter), source)
        weights = sum(prod(tensor.shape) for tensor in source.tensors.values())
        with _whole_folder(out, round(weights * _BYTES_A_WEIGHT)) as making:
            _from_gguf(base, merge, making, progress)
            _unpack(making, card, progress)
            _finish(making, name, card, _recipe(card, adapter), progress)
    else:
        with _whole_folder(out, sum(mark.size for mark in card.files.values())) as making:
            _from_safetensors(base, adapter, making, card, progress)
            kept = {"name": name, "licence": card.licence, "source": _recipe(card, adapter)}
            prepare_safetensors(making, "chat", **kept)
    return out


def gguf_obstacle(base: Path) -> str | None:
    """Why a twin of the prepared model `base` cannot be written as GGUF; None when it can."""
    card = read_card(base)
    if card.weights == "safetensors":
        return (
            f"{card.name} was published as safetensors: its twin can be exported as safetensors, but not as "
            "GGUF, which would take llama.cpp's conversion scripts"
        )
    if card.architecture not in PERMUTED:
        return f"a LoRA cannot be merged into a GGUF of the architecture {card.architecture}"
    return None


def _from_gguf(base: Path, merge: Merge, making: Path, progress: Progress) -> None:
    source = base / read_card(base).source_file
    gguf_file.rewrite(source, making / F16, "f16", merge.patch, progress, only=merge.tensors)
    gguf_file.rewrite(source, making / Q8_0, "q8_0", merge.patch, progress, only=merge.tensors)
    for file in _TOKENIZER_FILES:
        if (base / file).exists():
            shutil.copyfile(base / file, making / file)


def _unpack(making: Path, card: ModelCard, progress: Progress) -> None:
    """Write safetensors/ from the merged F16 file, so that both hold the same numbers."""
    import torch

    from llm_twin.training.load import load_gguf, quiet

    progress(0, 0, "writing safetensors")
    with quiet():
        model = load_gguf(making, F16, torch.float16)
        model.generation_config.eos_token_id = list(card.eos_token_ids)
        model.save_pretrained(making / SAFETENSORS)
    for file in _TOKENIZER_FILES:
        if (making / file).exists():
            shutil.copyfile(making / file, making / SAFETENSORS / file)


def _finish(making: Path, name: str, card: ModelCard, source: str, progress: Progress) -> None:
    progress(0, 0, "noting what was made")
    names = files_below(making)
    for file in names:
        with (making / file).open("rb") as handle:
            fsync(handle.fileno())
    sync_folder(making / SAFETENSORS)
    kept = card.model_dump(include={"role", "licence", "weights", "architecture", "context", "dimension"})
    made = {"serving": Q8_0, "source_file": F16, "sha256": sha256_of(making / F16), "source": source}
    write_card(making, names, name=name, eos_token_ids=card.eos_token_ids, **kept, **made)


def _from_safetensors(base: Path, adapter: Path, making: Path, card: ModelCard, progress: Progress) -> None:
    """Merge in float32, whatever the weights are kept in, and save as they were kept."""
    import torch
    from transformers import AutoConfig

    from llm_twin.training.load import load_base, quiet

    progress(0, 0, "merging")
    with quiet():
        model, _ = load_base(base, torch.float32)
        merged = _merged(model, adapter)
        merged.to(AutoConfig.from_pretrained(base).dtype or torch.float32).save_pretrained(making)
    made = set(files_below(making))
    for file in card.files:
        if file not in made and not file.endswith((".safetensors", ".safetensors.index.json")):
            shutil.copyfile(base / file, making / file)


def _merged(model: Any, adapter: Path) -> Any:
    from peft import PeftModel, get_peft_model_state_dict
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(adapter / WEIGHTS, "pt") as file:
            given = set(file.keys())
        adapted_model = PeftModel.from_pretrained(model, str(adapter))
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise InputError(f"{adapter} is not a LoRA of this base: {error}") from error
    if homeless := given - get_peft_model_state_dict(adapted_model).keys():
        raise InputError(f"{adapter} is not a LoRA of this base, which has no place for {min(homeless)}")
    return adapted_model.merge_and_unload()


def _recipe(card: ModelCard, adapter: Path) -> str:
    """What it was made of, by content: paths say nothing on another machine."""
    return f"{card.name} (sha256 {card.sha256}) with a LoRA (sha256 {sha256_of(adapter / WEIGHTS)})"


@contextmanager
def _whole_folder(out: Path, size: int) -> Iterator[Path]:
    """A folder beside `out` to fill with about `size` bytes, which takes its place when all went well."""
    from safetensors import SafetensorError

    making, old = out.with_name(f".{out.name}.making"), out.with_name(f".{out.name}.old")
    try:
        _clear(making, old, out)
        making.mkdir(parents=True)
        _require_space(making, size + _ROOM)
        yield making
        sync_folder(making)
        if out.exists():
            out.rename(old)
        making.rename(out)
        sync_folder(out.parent)
        shutil.rmtree(old, ignore_errors=True)
    except (OSError, SafetensorError) as error:
        raise TwinError(f"cannot write {out}: {error}", "Free some space, or move the workspace.") from error
    finally:
        shutil.rmtree(making, ignore_errors=True)


def _clear(making: Path, old: Path, out: Path) -> None:
    """Undo what a killed export left behind."""
    if old.exists() and not out.exists():
        old.rename(out)
    for left in (making, old):
        shutil.rmtree(left, ignore_errors=True)


def _require_space(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise TwinError(
            f"the twin takes {needed / 1e9:.1f} GB and the disk of {folder.parent} has {free / 1e9:.1f} GB left",
            "Free some space, or move the workspace to another disk with --home.",
        )
