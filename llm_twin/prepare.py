"""Make a model's folder out of its weights: what `models` describes, ending with the card.

Promises: the folder holds a card only when everything else is in it and on disk; running it again on a
folder that was left half made finishes it. Does not cover: fetching the weights, taking the finished
folder's place in the cache (`adapters.pull` does both).
"""

import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from llm_twin import gguf_file, gguf_tokenizer
from llm_twin.errors import InputError
from llm_twin.models import ModelCard, ModelRole, sha256_of, write_card
from llm_twin.ports import Progress, silent

BASE, SERVING, SMALLER = "base.gguf", "serving.gguf", "serving-int4.gguf"
TOKENIZER, TEMPLATE = "tokenizer.json", "chat_template.jinja"

_WANTED = re.compile(r"model[^/]*\.safetensors|[^/]*\.(json|jinja|txt)|1_Pooling/config\.json")

READABLE = frozenset({"F16", "Q8_0"})
"""Number formats of matrices that OpenVINO GenAI reads exactly. It fails on Q5_0, and rounds what it reads of
Q4_1: SmolLM2-135M lost 0.1 to 0.5 nats a token by it."""


def prepare_gguf(
    folder: Path, progress: Progress = silent, known_as: Path | None = None, **card: Any
) -> ModelCard:
    """Finish a chat model's folder from the `base.gguf` in it. `card`: name, licence, source.

    Raises InputError when the file is damaged, not a language model, or has a tokenizer or number format
    that can't be read; the message names `known_as`, the same file where the user has it.
    """
    model = gguf_file.read(known_as or folder / BASE)
    numbers = {
        "architecture": model.architecture,
        "context": model.require("{arch}.context_length"),
        "dimension": model.require("{arch}.embedding_length"),
        "eos_token_ids": gguf_tokenizer.end_token_ids(model),
    }
    progress(0, 0, "reading the tokenizer")
    gguf_tokenizer.save_tokenizer(model, folder, BASE)
    names = [BASE, SERVING, TOKENIZER, "tokenizer_config.json"]
    if template := model.metadata.get("tokenizer.chat_template"):
        (folder / TEMPLATE).write_text(template)
        names.append(TEMPLATE)
    if model.matrix_kinds() <= READABLE:
        take(folder / BASE, folder / SERVING)
    else:
        gguf_file.rewrite(folder / BASE, folder / SERVING, "q8_0", progress=progress)
    sha256 = sha256_of(folder / BASE)
    sync(folder, names)
    return write_card(
        folder,
        names,
        role="chat",
        weights="gguf",
        serving=SERVING,
        source_file=BASE,
        sha256=sha256,
        **numbers,
        **card,
    )


def at_four_bits(folder: Path, serving: str, progress: Progress = silent) -> Path:
    """The weights that `serving` names in a model's folder, rounded to 4 bits (Q4_0): made once, then found."""
    smaller, source = folder / SMALLER, folder / serving
    if not smaller.exists() or smaller.stat().st_mtime < source.stat().st_mtime:
        gguf_file.rewrite(source, smaller, "q4_0", progress=progress)
    return smaller


def prepare_safetensors(folder: Path, role: ModelRole, **card: Any) -> ModelCard:
    """Finish the folder of a model published as safetensors, from the files in it.

    Raises InputError when config.json or tokenizer.json is missing or says too little.
    """
    config = _json(folder / "config.json")
    names = wanted(files_below(folder))
    weights = [name for name in names if name.endswith(".safetensors")]
    if role == "chat" and (template := _template(folder)) and TEMPLATE not in names:
        (folder / TEMPLATE).write_text(template)
        names.append(TEMPLATE)
    sync(folder, names)
    numbers = {
        "architecture": _need(folder, config, "model_type"),
        "dimension": _need(folder, config, "hidden_size"),
    }
    if role == "embedder":
        numbers |= {"context": _window(folder, config), "eos_token_ids": ()}
    else:
        numbers |= {"context": _positions(folder, config), "eos_token_ids": _end_token_ids(folder, config)}
    files = {"serving": None, "source_file": weights[0], "sha256": _joint(folder, weights)}
    return write_card(folder, names, role=role, weights="safetensors", **files, **numbers, **card)


def files_below(folder: Path) -> list[str]:
    """Paths of the files in `folder` and the folders in it, relative to it, in order."""
    paths = [*folder.glob("*"), *folder.glob("*/*")]
    return sorted(str(path.relative_to(folder)) for path in paths if path.is_file())


def take(source: Path, target: Path) -> None:
    """Give `source` the further name `target` (a hard link, or a copy where the disk has none)."""
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)
    try:
        os.link(source.resolve(), target)
    except OSError:
        shutil.copyfile(source, target)


def wanted(names: Iterable[str]) -> list[str]:
    """Of a repository's or folder's files, those that belong to a model published as safetensors.

    Never a pickle: reading one runs code. InputError when there are no weights or no tokenizer.
    """
    chosen = [name for name in names if _WANTED.fullmatch(name)]
    if not any(name.endswith(".safetensors") for name in chosen):
        raise InputError("there are no weights in model*.safetensors", "For a GGUF, name the file itself.")
    if TOKENIZER not in chosen:
        raise InputError(f"there is no {TOKENIZER}", "Save the model's fast tokenizer beside the weights.")
    return chosen


def role_of(names: Iterable[str]) -> ModelRole:
    """What a model with these files is for: sentence embedders bring a modules.json."""
    return "embedder" if "modules.json" in names else "chat"


def _joint(folder: Path, weights: list[str]) -> str:
    if len(weights) == 1:
        return sha256_of(folder / weights[0])
    return hashlib.sha256("".join(sha256_of(folder / name) for name in weights).encode()).hexdigest()


def _window(folder: Path, config: dict[str, Any]) -> int:
    """Tokens an embedder takes: what sentence-transformers was told, else the positions it has."""
    own = folder / "sentence_bert_config.json"
    limit = _json(own).get("max_seq_length") if own.exists() else None
    return int(limit or _positions(folder, config))


def _positions(folder: Path, config: dict[str, Any]) -> int:
    return int(_need(folder, config, "max_position_embeddings"))


def _end_token_ids(folder: Path, config: dict[str, Any]) -> tuple[int, ...]:
    own = folder / "generation_config.json"
    generation = _json(own) if own.exists() else {}
    found = generation.get("eos_token_id", config.get("eos_token_id"))
    if found is None:
        raise InputError(f"{folder}/config.json names no eos_token_id, so answers would never end")
    return tuple(found) if isinstance(found, list) else (int(found),)


def _template(folder: Path) -> str | None:
    path = folder / "tokenizer_config.json"
    found = _json(path).get("chat_template") if path.exists() else None
    if isinstance(found, list):
        found = {entry["name"]: entry["template"] for entry in found}.get("default")
    return found


def _need(folder: Path, config: dict[str, Any], key: str) -> Any:
    if key not in config:
        raise InputError(f"{folder}/config.json says nothing about {key}", "Name a text model.")
    return config[key]


def _json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read: {error}") from error
    if not isinstance(value, dict):
        raise InputError(f"{path} does not hold a JSON object")
    return value


def sync(folder: Path, names: list[str]) -> None:
    """Have everything on disk before the card says that it is there."""
    for name in names:
        with (folder / name).open("rb") as handle:
            os.fsync(handle.fileno())
