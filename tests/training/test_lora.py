import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from llm_twin import gguf_file
from llm_twin.errors import InputError
from llm_twin.training.lora import adapted, read_lora, reordered

MakeModel = Callable[..., Path]
QUERY = "base_model.model.model.layers.0.self_attn.q_proj"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory, tiny_model: MakeModel) -> gguf_file.GgufFile:
    return gguf_file.read(tiny_model(tmp_path_factory.mktemp("model") / "base") / "base.gguf")


def write_lora(
    folder: Path, module: str = QUERY, outputs: int = 64, inputs: int = 64, **settings: object
) -> Path:
    folder.mkdir(exist_ok=True)
    rng = np.random.default_rng(0)
    a = rng.standard_normal((4, inputs)).astype(np.float32)
    b = rng.standard_normal((outputs, 4)).astype(np.float32)
    save_file(
        {f"{module}.lora_A.weight": a, f"{module}.lora_B.weight": b}, folder / "adapter_model.safetensors"
    )
    plain = {"peft_type": "LORA", "r": 4, "lora_alpha": 8, "target_modules": ["q_proj"], "bias": "none"}
    (folder / "adapter_config.json").write_text(json.dumps(plain | settings))
    return folder


@pytest.mark.parametrize(
    ("settings", "scale"), [({}, 2.0), ({"use_rslora": True}, 4.0), ({"lora_alpha": 2}, 0.5)]
)
def test_the_scale_is_alpha_over_rank_or_over_its_root(
    tmp_path: Path, settings: dict[str, object], scale: float
) -> None:
    assert read_lora(write_lora(tmp_path / "a", **settings)).scale == scale


def test_a_patch_adds_the_scaled_product_in_the_files_order_of_rows(
    tmp_path: Path, model: gguf_file.GgufFile
) -> None:
    lora = read_lora(write_lora(tmp_path / "a"))
    a, b = lora.matrices["model.layers.0.self_attn.q_proj"]
    merge = adapted(lora, model)
    assert merge.tensors == ["blk.0.attn_q.weight"]
    changed = merge.patch("blk.0.attn_q.weight", np.ones((64, 64), np.float32))
    np.testing.assert_allclose(changed, 1 + reordered(2 * b @ a, 4), rtol=1e-5)


def test_rows_are_reordered_as_llama_cpp_does() -> None:
    # Two heads of four rows: the two halves of each head are interleaved.
    rows = np.arange(8, dtype=np.float32)[:, None]
    assert reordered(rows, 2)[:, 0].tolist() == [0, 2, 1, 3, 4, 6, 5, 7]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("alpha_pattern", {"q_proj": 4}),
        ("rank_pattern", {"q_proj": 2}),
        ("use_dora", True),
        ("bias", "all"),
        ("lora_bias", True),
        ("fan_in_fan_out", True),
        ("modules_to_save", ["lm_head"]),
        ("trainable_token_indices", [1, 2]),
        ("layer_replication", [[0, 1]]),
        ("init_lora_weights", "pissa"),
        ("init_lora_weights", "pissa_niter_4"),
        ("something_of_next_year", 1),
    ],
)
def test_what_a_plain_merge_would_get_wrong_is_refused_by_name(
    tmp_path: Path, key: str, value: object
) -> None:
    with pytest.raises(InputError, match=f"trained with {key} = "):
        read_lora(write_lora(tmp_path / "a", **{key: value}))


def test_settings_that_only_concern_training_are_accepted(tmp_path: Path) -> None:
    settings = {
        "lora_dropout": 0.1,
        "init_lora_weights": "gaussian",
        "layers_to_transform": [0],
        "revision": "x",
    }
    assert read_lora(write_lora(tmp_path / "a", **settings)).scale == 2.0


@pytest.mark.parametrize(
    ("module", "outputs", "inputs", "why"),
    [
        ("base_model.model.lm_head", 48, 64, "lm_head has no place .* output layer is its embedding"),
        (
            "base_model.model.model.layers.9.self_attn.q_proj",
            64,
            64,
            r"layers\.9\.self_attn\.q_proj has no place",
        ),
        ("base_model.model.model.layers.0.adapter", 64, 64, r"layers\.0\.adapter has no place"),
        (QUERY, 32, 64, r"q_proj does not fit blk\.0\.attn_q\.weight"),
        (QUERY, 64, 32, r"q_proj does not fit blk\.0\.attn_q\.weight"),
    ],
)
def test_a_matrix_without_a_place_is_named(
    tmp_path: Path, model: gguf_file.GgufFile, module: str, outputs: int, inputs: int, why: str
) -> None:
    with pytest.raises(InputError, match=why):
        adapted(read_lora(write_lora(tmp_path / "a", module, outputs, inputs)), model)


def test_an_untied_output_layer_has_a_place(tmp_path: Path, tiny_model: MakeModel) -> None:
    model = gguf_file.read(tiny_model(tmp_path / "base", tied=False) / "base.gguf")
    rows = model.tensors["output.weight"].shape[0]
    lora = read_lora(write_lora(tmp_path / "a", "base_model.model.lm_head", rows))
    assert adapted(lora, model).tensors == ["output.weight"]


def test_an_unknown_architecture_is_refused(tmp_path: Path, model: gguf_file.GgufFile) -> None:
    other = gguf_file.GgufFile(
        model.path, 3, 32, model.metadata | {"general.architecture": "mamba"}, model.entries, model.tensors
    )
    with pytest.raises(InputError, match="architecture mamba"):
        adapted(read_lora(write_lora(tmp_path / "a")), other)


@pytest.mark.parametrize(
    "key", [f"{QUERY}.lora_embedding_A", f"{QUERY}.lora_magnitude_vector.weight", f"{QUERY}.bias", "weight"]
)
def test_tensors_of_another_kind_are_refused_by_name(tmp_path: Path, key: str) -> None:
    folder = write_lora(tmp_path / "a")
    save_file({key: np.ones((4, 4), np.float32)}, folder / "adapter_model.safetensors")
    with pytest.raises(InputError, match=f"holds {key}"):
        read_lora(folder)


def test_half_a_pair_and_another_rank_are_refused(tmp_path: Path) -> None:
    folder = write_lora(tmp_path / "a", r=8)
    with pytest.raises(InputError, match="is not of rank 8"):
        read_lora(folder)
    save_file({f"{QUERY}.lora_A.weight": np.ones((4, 64), np.float32)}, folder / "adapter_model.safetensors")
    with pytest.raises(InputError, match="only one of its two"):
        read_lora(folder)


@pytest.mark.parametrize("name", ["adapter_config.json", "adapter_model.safetensors"])
@pytest.mark.parametrize("content", [None, b"", b"{", b"{}", b"\xff\xfe\x00"])
def test_missing_and_broken_files_are_named(tmp_path: Path, name: str, content: bytes | None) -> None:
    folder = write_lora(tmp_path / "a")
    (folder / name).unlink()
    if content is not None:
        (folder / name).write_bytes(content)
    with pytest.raises(InputError, match=name):
        read_lora(folder)


def test_half_precision_matrices_are_read(tmp_path: Path) -> None:
    import torch
    from safetensors.torch import load_file
    from safetensors.torch import save_file as save_tensors

    folder = write_lora(tmp_path / "a")
    tensors = load_file(folder / "adapter_model.safetensors")
    save_tensors({k: t.to(torch.bfloat16) for k, t in tensors.items()}, folder / "adapter_model.safetensors")
    (a, b) = read_lora(folder).matrices["model.layers.0.self_attn.q_proj"]
    assert a.dtype == b.dtype == np.float32
