"""The number formats of GGUF tensors: bytes to weights, weights to bytes, and one format to another.

Promises: what Q8_0 can hold exactly (Q4_0 and Q5_0, which also have one scale for 32 weights) is copied
into it without rounding. Everything else goes through float32, with the `gguf` package's arithmetic.

Does not cover: choosing a format (see `gguf_file.rewrite`), formats that the `gguf` package cannot read.

Formats: https://github.com/ggml-org/ggml/blob/master/src/ggml-common.h
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Bytes = NDArray[np.uint8]

STEP = 1 << 16
"""Weights converted at a time: enough that numpy's cost per call vanishes, few enough for the cache."""


def kind_name(number: int) -> str:
    """ggml's name of type `number`, such as "Q5_0". Raises ValueError when there is none."""
    from gguf import GGMLQuantizationType

    return GGMLQuantizationType(number).name


def kind_number(kind: str) -> int:
    """The number that stands for `kind` in a file."""
    from gguf import GGMLQuantizationType

    return int(GGMLQuantizationType[kind])


def byte_size(shape: tuple[int, ...], kind: str) -> int:
    """Bytes of a tensor; `shape` in numpy's order. Raises ValueError when its rows hold no whole blocks."""
    weights, size = _block(kind)
    elements = 1
    for length in shape:
        elements *= length
    if elements == 0 or shape[-1] % weights:
        raise ValueError(f"a tensor of type {kind} cannot have the shape {shape}")
    return elements // weights * size


def pieces(raw: Bytes, kind: str) -> Iterator[Bytes]:
    """A tensor's bytes in runs of `STEP` weights (the last may be shorter)."""
    weights, size = _block(kind)
    step = STEP // weights * size
    for start in range(0, raw.size, step):
        yield raw[start : start + step]


def dequantised(raw: Bytes, kind: str) -> Floats:
    """The weights in a run of whole blocks, flat. NotImplementedError for an unreadable kind."""
    from gguf import GGMLQuantizationType, quants

    # As one row: the package takes 16 rows at a time, which is slow for the narrow rows of a small model.
    weights: Floats = quants.dequantize(raw.reshape(1, -1), GGMLQuantizationType[kind])
    return weights.reshape(-1).astype(np.float32, copy=False)


def quantised(weights: Floats, kind: str) -> NDArray[Any]:
    """Flat weights (a multiple of the kind's block) in the format `kind`."""
    from gguf import GGMLQuantizationType, quants

    result: NDArray[Any] = quants.quantize(weights, GGMLQuantizationType[kind])
    return result


def converted(raw: Bytes, old: str, new: str) -> NDArray[Any]:
    """A run of whole blocks in another format; without loss where the new one allows it."""
    if old == new:
        return raw
    if new == "Q8_0" and old in _EXACT:
        return _EXACT[old](raw)
    return quantised(dequantised(raw, old), new)


def _block(kind: str) -> tuple[int, int]:
    from gguf import GGML_QUANT_SIZES, GGMLQuantizationType

    weights, size = GGML_QUANT_SIZES[GGMLQuantizationType[kind]]
    return weights, size


def _q8_from_q4_0(raw: Bytes) -> Bytes:
    """Q4_0 is scale * (q - 8), Q8_0 is scale * q."""
    blocks = raw.reshape(-1, 18)
    return _q8_blocks(blocks[:, :2], _nibbles(blocks[:, 2:]), 8)


def _q8_from_q5_0(raw: Bytes) -> Bytes:
    """Q5_0 is scale * (q - 16); the fifth bits of a block's 32 weights stand in four bytes of their own."""
    blocks = raw.reshape(-1, 22)
    fifth = np.unpackbits(blocks[:, 2:6], axis=1, bitorder="little")
    return _q8_blocks(blocks[:, :2], _nibbles(blocks[:, 6:]) | (fifth << np.uint8(4)), 16)


def _nibbles(packed: Bytes) -> Bytes:
    """(n, 16) bytes to (n, 32) numbers: the low halves first, then the high ones."""
    return np.concatenate((packed & 15, packed >> 4), axis=1)


def _q8_blocks(scales: Bytes, numbers: Bytes, zero: int) -> Bytes:
    out = np.empty((len(numbers), 34), np.uint8)
    out[:, :2] = scales
    # Unsigned wrap-around is two's complement: the byte that ggml reads as a signed number.
    out[:, 2:] = numbers - np.uint8(zero)
    return out.reshape(-1)


_EXACT: dict[str, Callable[[Bytes], Bytes]] = {"Q4_0": _q8_from_q4_0, "Q5_0": _q8_from_q5_0}
