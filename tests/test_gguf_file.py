from collections.abc import Callable
from pathlib import Path

import gguf
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llm_twin import gguf_file
from llm_twin.errors import InputError

MakeGguf = Callable[..., Path]
QUERY, NORM = "blk.0.attn_q.weight", "blk.0.attn_norm.weight"


def by_the_package(path: Path) -> dict[str, np.ndarray]:
    """Every tensor as the gguf package reads it."""
    tensors = gguf.GGUFReader(path).tensors
    return {t.name: gguf.quants.dequantize(t.data, t.tensor_type) for t in tensors}


@pytest.mark.parametrize("kind", ["F16", "Q5_0", "Q8_0"])
def test_reads_what_the_gguf_package_wrote(tmp_path: Path, tiny_gguf: MakeGguf, kind: str) -> None:
    path = tiny_gguf(tmp_path / "m.gguf", kind)
    model = gguf_file.read(path)
    fields = gguf.GGUFReader(path).fields
    assert model.architecture == "llama"
    assert model.require("{arch}.context_length") == 128
    assert {key: fields[key].contents() for key in model.metadata} == model.metadata
    assert model.matrix_kinds() == {kind}
    for name, expected in by_the_package(path).items():
        np.testing.assert_array_equal(model.array(name), expected)


@pytest.mark.parametrize(("kind", "stored", "file_type"), [("f16", "F16", 1), ("q8_0", "Q8_0", 7)])
def test_rewrite_keeps_model_and_metadata(
    tmp_path: Path, tiny_gguf: MakeGguf, kind: gguf_file.Kind, stored: str, file_type: int
) -> None:
    source, target = tiny_gguf(tmp_path / "m.gguf", "Q5_0"), tmp_path / "out.gguf"
    calls: list[tuple[int, int]] = []
    gguf_file.rewrite(source, target, kind, progress=lambda done, total, note="": calls.append((done, total)))
    before, after = gguf_file.read(source), gguf_file.read(target)
    assert after.matrix_kinds() == {stored}
    assert after.tensors[NORM].kind == "F32"
    declared = {"general.file_type": file_type, "general.quantization_version": 2}
    assert after.metadata == before.metadata | declared
    old, new = by_the_package(source), by_the_package(target)
    assert list(old) == list(new)
    for name in old:
        np.testing.assert_allclose(new[name], old[name], rtol=0 if stored == "Q8_0" else 2**-11)
    assert calls[-1][0] == calls[-1][1] > 0


def test_at_four_bits_the_vocabulary_keeps_eight(tmp_path: Path, tiny_gguf: MakeGguf) -> None:
    source, target = tiny_gguf(tmp_path / "m.gguf", "F16"), tmp_path / "out.gguf"
    gguf_file.rewrite(source, target, "q4_0")
    kinds = {name: tensor.kind for name, tensor in gguf_file.read(target).tensors.items()}
    assert (kinds["token_embd.weight"], kinds[QUERY], kinds[NORM]) == ("Q8_0", "Q4_0", "F32")
    old, new = by_the_package(source)[QUERY], by_the_package(target)[QUERY]
    blocks = np.abs(old).reshape(-1, 32).max(axis=1, keepdims=True)
    assert (np.abs(new - old).reshape(-1, 32) <= blocks / 8 * 1.01).all(), (
        "a step of 16 between the ends of a block"
    )


def test_patch_changes_what_it_is_asked_to(tmp_path: Path, tiny_gguf: MakeGguf) -> None:
    source, target = tiny_gguf(tmp_path / "m.gguf"), tmp_path / "out.gguf"
    seen = []

    def doubled(name: str, weights: np.ndarray) -> np.ndarray:
        seen.append(name)
        return weights * 2 if name == QUERY else weights

    gguf_file.rewrite(source, target, "f16", doubled)
    old, new = by_the_package(source), by_the_package(target)
    assert seen == ["token_embd.weight", QUERY]  # matrices only
    np.testing.assert_allclose(new[QUERY], old[QUERY] * 2, rtol=2**-11)
    np.testing.assert_allclose(new["token_embd.weight"], old["token_embd.weight"], rtol=2**-11)
    seen.clear()
    gguf_file.rewrite(source, target, "q8_0", doubled, only=[QUERY])
    assert seen == [QUERY]
    np.testing.assert_array_equal(by_the_package(target)["token_embd.weight"], old["token_embd.weight"])


def test_rows_that_hold_no_whole_block_become_f16(tmp_path: Path) -> None:
    writer = gguf.GGUFWriter(tmp_path / "m.gguf", "llama")
    writer.add_tensor("odd.weight", np.ones((4, 48), np.float16))
    writer.add_tensor("even.weight", np.ones((4, 64), np.float16))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    gguf_file.rewrite(tmp_path / "m.gguf", tmp_path / "out.gguf", "q8_0")
    kinds = {t.name: t.kind for t in gguf_file.read(tmp_path / "out.gguf").tensors.values()}
    assert kinds == {"odd.weight": "F16", "even.weight": "Q8_0"}


def test_a_rewrite_that_fails_leaves_the_old_file(tmp_path: Path, tiny_gguf: MakeGguf) -> None:
    source, target = tiny_gguf(tmp_path / "m.gguf"), tmp_path / "out.gguf"
    target.write_bytes(b"old")
    with pytest.raises(ValueError, match="returned"):
        gguf_file.rewrite(source, target, "f16", lambda name, weights: weights[:1])
    assert target.read_bytes() == b"old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m.gguf", "out.gguf"]


def test_unknown_tensors_are_refused(tmp_path: Path, tiny_gguf: MakeGguf) -> None:
    source = tiny_gguf(tmp_path / "m.gguf")
    with pytest.raises(InputError, match=r"no tensor blk\.9"):
        gguf_file.rewrite(source, tmp_path / "out.gguf", "f16", lambda n, w: w, only=["blk.9"])
    with pytest.raises(InputError, match=r"no tensor blk\.9"):
        gguf_file.read(source).array("blk.9")
    with pytest.raises(InputError, match=r"says nothing about llama\.rope"):
        gguf_file.read(source).require("{arch}.rope")


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "empty"),
        (b"not a model at all", "does not start with GGUF"),
        (b"GGUF\x09\0\0\0" + bytes(16), "version 9"),
        (b"GGUF\x03\0\0\0" + bytes(8) + b"\xff" * 8, "ends at byte"),
    ],
)
def test_other_files_are_named_and_refused(tmp_path: Path, content: bytes, why: str) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(content)
    with pytest.raises(InputError, match=why) as caught:
        gguf_file.read(path)
    assert str(path) in str(caught.value)
    assert caught.value.way_out


def test_missing_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.gguf cannot be read: No such file"):
        gguf_file.read(tmp_path / "none.gguf")


def test_a_file_cut_short_anywhere_is_refused(tmp_path: Path, tiny_gguf: MakeGguf) -> None:
    whole = tiny_gguf(tmp_path / "m.gguf").read_bytes()
    path = tmp_path / "cut.gguf"
    # The last tensor's padding is all that may be missing.
    last = max(t.offset + t.size for t in gguf_file.read(tmp_path / "m.gguf").tensors.values())
    for length in [*range(0, last, 97), last - 1]:
        path.write_bytes(whole[:length])
        with pytest.raises(InputError, match=r"cut\.gguf"):
            gguf_file.read(path)
    path.write_bytes(whole[:last])
    gguf_file.read(path)


@settings(deadline=None, max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(at=st.integers(0, 1200), value=st.binary(min_size=1, max_size=8))
def test_damage_in_the_header_never_ends_in_another_error(
    tmp_path: Path, tiny_gguf: MakeGguf, at: int, value: bytes
) -> None:
    whole = tmp_path / "whole.gguf"
    if not whole.exists():
        tiny_gguf(whole)
    data = bytearray(whole.read_bytes())
    data[at : at + len(value)] = value
    (tmp_path / "damaged.gguf").write_bytes(data)
    try:
        gguf_file.read(tmp_path / "damaged.gguf")
    except InputError as error:
        assert "damaged.gguf" in str(error)
