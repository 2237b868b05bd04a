"""An Embedder on OpenVINO: a sentence-transformers model folder, converted once, then run without torch.

The folder holds model.safetensors, config.json and tokenizer.json (all-MiniLM-L6-v2 is such a one). The first
use converts the model with torch and keeps the result in a folder named after the weights' SHA-256 and the
OpenVINO version; every later use reads that. Mean pooling and scaling to length 1 are part of the converted
model. It computes in bfloat16 where the CPU has it, else in float32. A text's vector depends on the texts it
is batched with in its last bits only. `token_vectors` gives what the pooling starts from, out of the same
converted model.

Not covered: pooling other than the mean, layers after it, models that want a prefix before a text, GPUs.
"""

import fcntl
import hashlib
import json
import os
import shutil
import threading
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov
from numpy.typing import NDArray
from tokenizers import Tokenizer

from llm_twin.errors import InputError, MissingPart, TwinError
from llm_twin.files import sync_folder
from llm_twin.ports import Progress, Vectors, silent

GRAPH = 1
_BATCH_TOKENS = 1024
_TEXTS_AT_ONCE = 1024

Ids = NDArray[np.int64]


class OpenVinoEmbedder:
    """The embedding model in `folder`; converted models are kept in `cache` (default: `folder`/openvino).

    `name` is the folder's name with the start of the weights' SHA-256, so that other weights are another name.
    Raises InputError when the folder lacks a file or holds a model of another kind, MissingPart when the model
    was never converted and torch or transformers is not installed, TwinError when a conversion is damaged.
    """

    def __init__(self, folder: Path, cache: Path | None = None) -> None:
        config = _described(folder)
        weights = _sha256(folder / "model.safetensors")
        self.name = f"{folder.resolve().name}@{weights[:12]}"
        self.dimension = int(config["hidden_size"])
        self.window = _window(folder, config)
        self._tokenizer = _tokenizer(folder / "tokenizer.json")
        self._graph = _converted(folder, cache or folder / "openvino", weights)
        self._compiled: dict[bool, ov.CompiledModel] = {}
        self._lock = threading.Lock()

    def token_offsets(self, text: str) -> list[tuple[int, int]]:
        """Character offsets of each token of `text`, special tokens not included."""
        offsets: list[tuple[int, int]] = self._encoded([text], special=False)[0].offsets
        return offsets

    def embed(self, texts: Sequence[str], progress: Progress = silent) -> Vectors:
        """Shape (len(texts), dimension), float32, rows of length 1, in the order given.

        Raises InputError when a text has more than `window` tokens. `progress` counts texts.
        """
        vectors = np.zeros((len(texts), self.dimension), np.float32)
        for batch, rows in self._results(self._token_ids(texts), progress, pooled=True):
            vectors[batch] = rows
        return vectors

    def token_vectors(self, texts: Sequence[str], progress: Progress = silent) -> list[Vectors]:
        """One array a text, shape (its tokens, dimension), float32, rows of length 1; see `ports.TokenEmbedder`.

        Raises InputError when a text has more than `window` tokens, TwinError for a converted model that does not
        pool as ours do.
        """
        ids = self._token_ids(texts)
        found: list[Vectors] = [np.zeros((0, self.dimension), np.float32)] * len(ids)
        for batch, rows in self._results(ids, progress, pooled=False):
            for i, row in zip(batch, rows, strict=True):
                real = row[1 : len(ids[i]) - 1]  # without the special tokens, and without the padding
                found[i] = real / np.maximum(np.linalg.norm(real, axis=1, keepdims=True), 1e-12)
        return found

    def _results(
        self, ids: Sequence[Ids], progress: Progress, pooled: bool
    ) -> Iterator[tuple[list[int], Vectors]]:
        """Batches of indices into `ids` with what the model returns for each, as they are done."""
        if not ids:
            return
        model = self._model(pooled)
        streams = int(model.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS"))
        done = 0
        with ThreadPoolExecutor(streams) as pool:
            running = {pool.submit(_run, model, [ids[i] for i in batch]): batch for batch in _batches(ids)}
            try:
                for future in as_completed(running):
                    yield running[future], future.result()
                    done += len(running.pop(future))
                    progress(done, len(ids), self.name)
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise

    def _token_ids(self, texts: Sequence[str]) -> list[Ids]:
        """Token ids of each text with its special tokens; a text over the window is an error, never cut."""
        ids: list[Ids] = []
        for start in range(0, len(texts), _TEXTS_AT_ONCE):
            for encoding in self._encoded(texts[start : start + _TEXTS_AT_ONCE], special=True):
                ids.append(np.array(encoding.ids, np.int64))
                if len(ids[-1]) > self.window:
                    begin = texts[len(ids) - 1][:60]
                    raise InputError(
                        f"a text of {len(ids[-1])} tokens is over {self.name}'s window of {self.window}: {begin!r}…",
                        "cut it into shorter chunks",
                    )
        return ids

    def _encoded(self, texts: Sequence[str], special: bool) -> list[Any]:
        try:
            return list(self._tokenizer.encode_batch(list(texts), add_special_tokens=special))
        except (TypeError, UnicodeError) as error:
            raise InputError(
                f"a text is no valid Unicode: {error}", "decode it again, replacing errors"
            ) from error

    def _model(self, pooled: bool) -> ov.CompiledModel:
        with self._lock:
            if pooled not in self._compiled:
                core = ov.Core()
                fast = "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
                hints = {
                    "INFERENCE_PRECISION_HINT": "bf16" if fast else "f32",
                    "PERFORMANCE_HINT": "THROUGHPUT",
                }
                with _loading(self._graph):
                    graph = core.read_model(self._graph)
                    whole = graph if pooled else _before_pooling(graph)
                    compiled = core.compile_model(whole, "CPU", hints)
                # OpenVINO sets up its bridge to numpy at the first inference; two threads at once deadlock there.
                _run(compiled, [np.zeros(1, np.int64)])
                self._compiled[pooled] = compiled
            return self._compiled[pooled]


def _before_pooling(graph: ov.Model) -> ov.Model:
    """The model up to the product of hidden states and mask, which `_convert` made the only one of rank 3
    on the way back from the result.
    """
    node = graph.get_results()[0]
    while node.get_type_name() != "Multiply":
        if node.get_input_size() == 0 or node.get_type_name() == "Add":
            raise ValueError("its pooling was not found")
        node = node.input_value(0).get_node()
    return ov.Model([node.input_value(0)], graph.get_parameters(), "tokens")


def _batches(ids: Sequence[Ids]) -> Iterator[list[int]]:
    """Indices of texts to run together: longest first, like lengths together, a bounded number of tokens each.

    So padding is rare, what a stream works on stays in its cache, and the last batches to finish are short.
    """
    batch: list[int] = []
    for i in sorted(range(len(ids)), key=lambda i: -len(ids[i])):
        if batch and (len(batch) + 1) * len(ids[batch[0]]) > _BATCH_TOKENS:
            yield batch
            batch = []
        batch.append(i)
    if batch:
        yield batch


def _run(model: ov.CompiledModel, ids: Sequence[Ids]) -> Vectors:
    """Vectors of one batch, whose first text is its longest; each call has an inference request of its own."""
    padded = np.zeros((len(ids), len(ids[0])), np.int64)
    mask = np.zeros_like(padded)
    for row, each in enumerate(ids):
        padded[row, : len(each)] = each
        mask[row, : len(each)] = 1
    result = model.create_infer_request().infer({"input_ids": padded, "attention_mask": mask})
    return np.array(result[0], np.float32)


def _described(folder: Path) -> dict[str, Any]:
    """The model's configuration, once it is clear that we compute what the model means."""
    for name in ("config.json", "tokenizer.json", "model.safetensors"):
        if not (folder / name).is_file():
            raise InputError(f"{folder} is no embedding model: it has no {name}", "see `twin models`")
    pooling = _read_json(folder / "1_Pooling" / "config.json", {"pooling_mode_mean_tokens": True})
    modes = [mode for mode, on in pooling.items() if mode.startswith("pooling_mode_") and on is True]
    if modes != ["pooling_mode_mean_tokens"]:
        raise InputError(f"{folder} pools by {modes or 'nothing'}, not by the mean", "choose another model")
    modules = [str(m["type"]).rsplit(".", 1)[-1] for m in _read_json(folder / "modules.json", [])]
    if unknown := set(modules) - {"Transformer", "Pooling", "Normalize"}:
        raise InputError(f"{folder} has layers of a kind not supported: {unknown}", "choose another model")
    config = _read_json(folder / "config.json", None)
    if not isinstance(config, dict) or "hidden_size" not in config:
        raise InputError(f"{folder / 'config.json'} tells no hidden_size", "pull the model again")
    return config


def _window(folder: Path, config: dict[str, Any]) -> int:
    """The smallest of the lengths that the model's files allow."""
    told = (
        _read_json(folder / "sentence_bert_config.json", {}).get("max_seq_length"),
        _read_json(folder / "tokenizer_config.json", {}).get("model_max_length"),
        config.get("max_position_embeddings"),
    )
    lengths = [int(length) for length in told if length is not None]
    if not lengths:
        raise InputError(f"{folder} does not tell how long a text its model can take")
    return min(lengths)


def _read_json(path: Path, absent: Any) -> Any:
    if not path.is_file():
        return absent
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{path} is damaged: {error}", "pull the model again") from error


def _tokenizer(path: Path) -> Tokenizer:
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # tokenizers raises nothing narrower
        raise InputError(f"{path} is damaged: {error}", "pull the model again") from error
    tokenizer.no_truncation()  # the file may ask for both
    tokenizer.no_padding()
    return tokenizer


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _converted(folder: Path, cache: Path, weights: str) -> Path:
    """The converted model's file, made first where it is not there. A kill leaves none or a whole one."""
    version = ov.get_version().split("-")[0]
    kept, aside = cache / f"{weights[:16]}-{version}-{GRAPH}", cache / "new"
    try:
        if not kept.exists():
            cache.mkdir(parents=True, exist_ok=True)
            with open(cache / "lock", "w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                _convert_once(folder, aside, kept)
    except OSError as error:
        way_out = "free some space there, or check its rights"
        raise TwinError(
            f"the converted model cannot be kept in {cache}: {error.strerror}", way_out
        ) from error
    return kept / "model.xml"


def _convert_once(folder: Path, aside: Path, kept: Path) -> None:
    if kept.exists():  # another process made it while we waited
        return
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir()
    _convert(folder, aside / "model.xml")
    for file in aside.iterdir():
        with open(file, "rb") as written:
            os.fsync(written.fileno())
    os.rename(aside, kept)
    sync_folder(kept.parent)


def _convert(folder: Path, target: Path) -> None:
    try:
        import torch
        from transformers import AutoModel
    except ImportError as error:
        raise MissingPart(
            f"the embedding model in {folder} was never converted here, and converting it takes torch: {error}",
            "install it with `pip install 'llm-twin[train]'`; it is needed once",
        ) from error

    class Sentence(torch.nn.Module):
        """The encoder with mean pooling over real tokens (Reimers and Gurevych 2019) and scaling to length 1."""

        def __init__(self, encoder: torch.nn.Module) -> None:
            super().__init__()
            self.encoder = encoder

        def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
            hidden = self.encoder(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
            real = attention_mask.unsqueeze(-1).to(hidden.dtype)
            return torch.nn.functional.normalize((hidden * real).sum(1) / real.sum(1), dim=-1)

    example = torch.ones(2, 8, dtype=torch.long)
    with _loading(folder), _quiet(), torch.no_grad():
        encoder = AutoModel.from_pretrained(folder, attn_implementation="eager", local_files_only=True)
        inputs = {"input_ids": example, "attention_mask": example}
        graph = ov.convert_model(Sentence(encoder.float().eval()), example_input=inputs)
        ov.save_model(graph, target)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the conversion's remarks off the screen: progress bars across ours, and the tracer's on branches."""
    from transformers.utils import logging

    bars, level = logging.is_progress_bar_enabled(), logging.get_verbosity()
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()


@contextmanager
def _loading(path: Path) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # OpenVINO raises RuntimeError, transformers and safetensors several others
        lines = [line for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
        raise TwinError(
            f"the embedding model in {path} cannot be loaded: {lines[-1]}",
            "remove the folder it names and pull the model again",
        ) from error
