import gguf
import numpy as np
import pytest

from llm_twin import gguf_numbers as numbers


def weights_as(kind: str, rows: int = 8, width: int = 512) -> tuple[np.ndarray, np.ndarray]:
    """(bytes of random weights in `kind`, the weights those bytes stand for by the gguf package)."""
    number = gguf.GGMLQuantizationType[kind]
    weights = np.random.default_rng(1).standard_normal((rows, width)).astype(np.float32)
    raw = gguf.quants.quantize(weights, number)
    return np.frombuffer(raw.tobytes(), np.uint8), gguf.quants.dequantize(raw, number).reshape(-1)


@pytest.mark.parametrize("kind", ["F32", "F16", "BF16", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0"])
def test_pieces_of_a_tensor_give_the_weights_the_package_gives(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw, expected = weights_as(kind)
    monkeypatch.setattr(numbers, "STEP", 1024)
    runs = [numbers.dequantised(piece, kind) for piece in numbers.pieces(raw, kind)]
    assert len(runs) == 4
    np.testing.assert_array_equal(np.concatenate(runs), expected)


@pytest.mark.parametrize("kind", ["Q4_0", "Q5_0"])
def test_one_scale_formats_become_q8_0_without_loss(kind: str) -> None:
    raw, expected = weights_as(kind)
    q8 = numbers.converted(raw, kind, "Q8_0")
    np.testing.assert_array_equal(numbers.dequantised(q8, "Q8_0"), expected)
    # The straight way, through floats, does lose: the copy is what makes the difference.
    straight = numbers.quantised(expected, "Q8_0")
    assert np.abs(numbers.dequantised(straight, "Q8_0") - expected).max() > 0


def test_other_formats_are_rounded_to_the_nearest_of_q8_0() -> None:
    raw, expected = weights_as("Q4_1")
    got = numbers.dequantised(numbers.converted(raw, "Q4_1", "Q8_0"), "Q8_0")
    blocks = expected.reshape(-1, 32)
    half_a_step = np.abs(blocks).max(axis=1, keepdims=True) / 127 / 2
    # A little over half a step, for the scale is itself rounded to 16 bits.
    assert (np.abs(got.reshape(-1, 32) - blocks) <= half_a_step * 1.13).all()
    assert np.abs(got - expected).max() > 0


def test_the_same_format_is_the_same_bytes() -> None:
    raw, _ = weights_as("Q8_0")
    assert numbers.converted(raw, "Q8_0", "Q8_0") is raw


def test_sizes_follow_the_blocks() -> None:
    assert numbers.byte_size((4, 64), "Q5_0") == 4 * 64 // 32 * 22
    assert numbers.byte_size((3,), "F32") == 12
    with pytest.raises(ValueError, match="cannot have the shape"):
        numbers.byte_size((4, 33), "Q8_0")
    with pytest.raises(ValueError, match="cannot have the shape"):
        numbers.byte_size((0, 32), "Q8_0")


def test_kinds_have_their_number_and_name() -> None:
    assert numbers.kind_name(numbers.kind_number("Q6_K")) == "Q6_K"
    with pytest.raises(ValueError):
        numbers.kind_name(9999)
