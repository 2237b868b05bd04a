"""GGUF files: read what they hold, and write a copy of the same model in another number format.

Promises: a damaged file is an `InputError` that names it; a rewrite streams (memory stays near the size
of one tensor), is atomic, and keeps the metadata byte for byte, apart from the format it declares. The
header is read here and not by `gguf.GGUFReader`, which spends six seconds on a vocabulary of 150,000
tokens.

Does not cover: big-endian files, models split over several files, arrays of arrays in the metadata.

Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

import mmap
import os
import struct
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from llm_twin import gguf_numbers as numbers
from llm_twin.errors import InputError
from llm_twin.files import sync_folder
from llm_twin.ports import Progress, silent

Kind = Literal["f16", "q8_0", "q4_0"]
Patch = Callable[[str, numbers.Floats], numbers.Floats]

_MAGIC = b"GGUF"
_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_UINT32, _STRING, _ARRAY = 4, 8, 9
_FILE_TYPE = {"f16": 1, "q4_0": 2, "q8_0": 7}
_VOCABULARY = frozenset({"token_embd.weight", "output.weight"})
"""What rounding harms most, and a looked-up row costs no time: it stays at 8 bits in a 4-bit file."""


class Tensor(NamedTuple):
    """Where a tensor lies. `shape` is numpy's order (rows first); `kind` is ggml's name, such as "Q5_0"."""

    name: str
    shape: tuple[int, ...]
    kind: str
    offset: int
    size: int


@dataclass(frozen=True)
class GgufFile:
    """A model file that was read: its metadata as plain values, and where its parts lie."""

    path: Path
    version: int
    alignment: int
    metadata: dict[str, Any]
    entries: dict[str, tuple[int, int]]
    """Where each metadata entry lies in the file: (start, end) in bytes."""
    tensors: dict[str, Tensor]

    @property
    def architecture(self) -> str:
        """ggml's name of the architecture, such as "llama" or "qwen2"."""
        return str(self.require("general.architecture"))

    def require(self, key: str) -> Any:
        """The metadata under `key`; `{arch}` in it stands for the architecture. InputError when absent."""
        if "{arch}" in key:
            key = key.replace("{arch}", self.architecture)
        if key not in self.metadata:
            raise InputError(f"{self.path} says nothing about {key}", "Use a GGUF file of a language model.")
        return self.metadata[key]

    def matrix_kinds(self) -> set[str]:
        """Number formats of the tensors with more than one dimension."""
        return {tensor.kind for tensor in self.tensors.values() if len(tensor.shape) > 1}

    def array(self, name: str) -> numbers.Floats:
        """One tensor as float32 in numpy's order. InputError when there is none of that name."""
        if name not in self.tensors:
            raise InputError(f"{self.path} has no tensor {name}")
        tensor = self.tensors[name]
        with _readable_numbers(self.path, tensor):
            runs = [
                numbers.dequantised(raw, tensor.kind)
                for raw in numbers.pieces(_bytes_of(_mapped(self.path), tensor), tensor.kind)
            ]
        return np.concatenate(runs).reshape(tensor.shape)


def read(path: Path) -> GgufFile:
    """Read the header of a GGUF file (0.3 s for a vocabulary of 150,000 tokens).

    Raises InputError, naming the file, when it is missing, not a GGUF, damaged or cut short.
    """
    try:
        return _parse(path, _mapped(path))
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise InputError(
            f"{path} is not a whole GGUF file: {error}", "Delete it and fetch it again, or name another file."
        ) from error


def rewrite(
    source: Path,
    target: Path,
    kind: Kind,
    patch: Patch | None = None,
    progress: Progress = silent,
    only: Collection[str] | None = None,
) -> None:
    """Write the model in `source` to `target` with its matrices as F16, Q8_0 or Q4_0 (its vocabulary then Q8_0).

    `patch(name, weights)` may return changed weights of the same shape; it sees every matrix, or those
    named in `only`. Tensors of one dimension stay as they are. A matrix whose rows are not a multiple of
    32 becomes F16 in a quantised file, as in llama.cpp. `target` appears whole or not at all. Progress counts
    bytes of `source`. Raises InputError for a damaged source and for names in `only` that it lacks.
    """
    model = read(source)
    if missing := set(only or ()) - set(model.tensors):
        raise InputError(f"{source} has no tensor {min(missing)}")
    data = _mapped(source)
    kinds = {name: _new_kind(tensor, kind) for name, tensor in model.tensors.items()}
    total, done = sum(tensor.size for tensor in model.tensors.values()), 0
    with _whole(target) as out:
        _write_header(out, data, model, kinds, kind)
        for name, tensor in model.tensors.items():
            patched = patch if len(tensor.shape) > 1 and (only is None or name in only) else None
            with _readable_numbers(source, tensor):
                for piece in _converted(model, data, tensor, kinds[name], patched):
                    out.write(piece.data)
            out.write(bytes(-out.tell() % model.alignment))
            done += tensor.size
            progress(done, total, f"writing {target.name}")


def _mapped(path: Path) -> mmap.mmap:
    """The file's bytes, read as they are used; unmapped when the last array that looks into them goes."""
    with path.open("rb") as handle:
        return mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ)


@contextmanager
def _whole(target: Path) -> Iterator[IO[bytes]]:
    """A file that takes its name only once it is complete and on disk."""
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as out:
            yield out
            out.flush()
            os.fsync(out.fileno())
        temporary.replace(target)
        sync_folder(target.parent)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def _readable_numbers(path: Path, tensor: Tensor) -> Iterator[None]:
    try:
        yield
    except NotImplementedError as error:
        raise InputError(
            f"{path} holds {tensor.name} as {tensor.kind}, which cannot be converted",
            "Use a Q8_0, Q4_K_M or F16 file of the same model.",
        ) from error


class _Cursor:
    """Reads the header from front to back and never past the end of the file."""

    def __init__(self, data: mmap.mmap) -> None:
        self.data, self.at, self.end = data, 0, len(data)

    def take(self, size: int) -> bytes:
        self.need(size)
        self.at += size
        return self.data[self.at - size : self.at]

    def need(self, size: int) -> None:
        if size > self.end - self.at:
            raise ValueError(f"it ends at byte {self.end}, inside its header")

    def number(self, code: str) -> Any:
        return struct.unpack("<" + code, self.take(struct.calcsize("<" + code)))[0]

    def string(self) -> str:
        return self.take(self.number("Q")).decode()

    def value(self, kind: int) -> Any:
        if kind == _STRING:
            return self.string()
        if kind == _ARRAY:
            return self.array(self.number("I"), self.number("Q"))
        if kind not in _SCALARS:
            raise ValueError(f"unknown value type {kind}")
        return self.number(_SCALARS[kind])

    def array(self, kind: int, count: int) -> list[Any]:
        if kind == _STRING:
            self.need(count * 8)  # no string is shorter than its own length field
            return [self.string() for _ in range(count)]
        if kind not in _SCALARS:
            raise ValueError(f"an array of value type {kind}")
        code = "<" + _SCALARS[kind]
        return [value for (value,) in struct.iter_unpack(code, self.take(count * struct.calcsize(code)))]


def _parse(path: Path, data: mmap.mmap) -> GgufFile:
    cursor = _Cursor(data)
    if cursor.take(4) != _MAGIC:
        raise ValueError("it does not start with GGUF")
    version, tensor_count, entry_count = cursor.number("I"), cursor.number("Q"), cursor.number("Q")
    if version not in (2, 3):
        raise ValueError(f"version {version} is not one that can be read (2 and 3 are)")
    metadata: dict[str, Any] = {}
    entries: dict[str, tuple[int, int]] = {}
    for _ in range(entry_count):
        start, key = cursor.at, cursor.string()
        if key in metadata:
            raise ValueError(f"{key} is there twice")
        metadata[key] = cursor.value(cursor.number("I"))
        entries[key] = (start, cursor.at)
    alignment = metadata.get("general.alignment", 32)
    if alignment not in {2**power for power in range(3, 17)}:
        raise ValueError(f"an alignment of {alignment}")
    return GgufFile(path, version, alignment, metadata, entries, _tensors(cursor, tensor_count, alignment))


def _tensors(cursor: _Cursor, count: int, alignment: int) -> dict[str, Tensor]:
    rows = []
    for _ in range(count):
        name, dimensions = cursor.string(), cursor.number("I")
        if not 1 <= dimensions <= 4:
            raise ValueError(f"tensor {name} has {dimensions} dimensions")
        shape = tuple(cursor.number("Q") for _ in range(dimensions))[::-1]
        rows.append((name, shape, numbers.kind_name(cursor.number("I")), cursor.number("Q")))
    start = cursor.at + -cursor.at % alignment
    tensors = {
        name: Tensor(name, shape, kind, start + offset, numbers.byte_size(shape, kind))
        for name, shape, kind, offset in rows
    }
    if len(tensors) < count:
        raise ValueError("a tensor is there twice")
    for tensor in tensors.values():
        if (end := tensor.offset + tensor.size) > cursor.end:
            raise ValueError(f"{tensor.name} should end at byte {end}, the file ends at {cursor.end}")
    return tensors


def _new_kind(tensor: Tensor, kind: Kind) -> str:
    if len(tensor.shape) == 1:
        return tensor.kind
    if kind == "f16" or tensor.shape[-1] % 32:
        return "F16"
    return "Q4_0" if kind == "q4_0" and tensor.name not in _VOCABULARY else "Q8_0"


def _write_header(
    out: IO[bytes], data: mmap.mmap, model: GgufFile, kinds: dict[str, str], kind: Kind
) -> None:
    declared = {"general.file_type": _FILE_TYPE[kind], "general.quantization_version": 2}
    kept = [data[start:end] for key, (start, end) in model.entries.items() if key not in declared]
    out.write(_MAGIC + struct.pack("<IQQ", model.version, len(kinds), len(kept) + len(declared)))
    out.writelines(kept)
    for key, value in declared.items():
        out.write(_packed(key) + struct.pack("<II", _UINT32, value))
    offset = 0
    for name, tensor in model.tensors.items():
        shape = tensor.shape[::-1]
        out.write(_packed(name) + struct.pack(f"<I{len(shape)}Q", len(shape), *shape))
        out.write(struct.pack("<IQ", numbers.kind_number(kinds[name]), offset))
        offset += numbers.byte_size(tensor.shape, kinds[name])
        offset += -offset % model.alignment
    out.write(bytes(-out.tell() % model.alignment))


def _packed(text: str) -> bytes:
    raw = text.encode()
    return struct.pack("<Q", len(raw)) + raw


def _converted(
    model: GgufFile, data: mmap.mmap, tensor: Tensor, new_kind: str, patch: Patch | None
) -> Iterator[NDArray[Any]]:
    """The tensor's bytes in its new format, piece by piece."""
    if patch is None:
        for raw in numbers.pieces(_bytes_of(data, tensor), tensor.kind):
            yield numbers.converted(raw, tensor.kind, new_kind)
        return
    weights = patch(tensor.name, model.array(tensor.name))
    if weights.shape != tensor.shape:
        raise ValueError(f"{tensor.name}: the patch returned {weights.shape} for {tensor.shape}")
    flat = np.ascontiguousarray(weights, dtype=np.float32).reshape(-1)
    for start in range(0, flat.size, numbers.STEP):
        yield numbers.quantised(flat[start : start + numbers.STEP], new_kind)


def _bytes_of(data: mmap.mmap, tensor: Tensor) -> numbers.Bytes:
    return np.frombuffer(data, np.uint8, tensor.size, tensor.offset)
