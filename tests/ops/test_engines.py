"""Command lines of other engines: what each is told, and what a model cannot be split into."""

import json
import subprocess
from pathlib import Path

import pytest

from llm_twin.errors import InputError
from llm_twin.ops.engines import ENGINES, command
from llm_twin.settings import EngineSettings

TWO_BY_THREE = EngineSettings(tensor_parallel=2, pipeline_parallel=3)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A model of 14 heads that share 2 of keys and values, and 24 layers: the default's shape."""
    folder = tmp_path / "a-twin"
    (folder / "safetensors").mkdir(parents=True)
    shape = {"num_attention_heads": 14, "num_key_value_heads": 2, "num_hidden_layers": 24}
    (folder / "safetensors" / "config.json").write_text(json.dumps(shape))
    (folder / "twin-q8_0.gguf").touch()
    return folder


def option(words: list[str], name: str) -> str:
    return words[words.index(name) + 1]


@pytest.mark.parametrize(
    ("engine", "tensor", "pipeline"),
    [
        ("vllm", "--tensor-parallel-size", "--pipeline-parallel-size"),
        ("tensorrt-llm", "--tp_size", "--pp_size"),
    ],
)
def test_how_a_model_is_split_is_passed_on(model: Path, engine: str, tensor: str, pipeline: str) -> None:
    words = command(engine, model, TWO_BY_THREE)
    assert (option(words, tensor), option(words, pipeline)) == ("2", "3")
    assert str(model / "safetensors") in words


def test_tgi_splits_each_layer_and_no_more(model: Path) -> None:
    words = command("tgi", model, EngineSettings(tensor_parallel=14))
    assert option(words, "--num-shard") == "14"
    with pytest.raises(InputError, match="no pipeline parallelism"):
        command("tgi", model, TWO_BY_THREE)


def test_llama_cpp_gets_the_gguf_and_room_for_all_places(model: Path) -> None:
    words = command("llama.cpp", model, EngineSettings(context=2048, places=4))
    assert option(words, "-m") == str(model / "twin-q8_0.gguf")
    assert (option(words, "-c"), option(words, "-np")) == ("8192", "4")
    with pytest.raises(InputError, match="by itself"):
        command("llama.cpp", model, TWO_BY_THREE)
    (model / "twin-q8_0.gguf").unlink()
    with pytest.raises(InputError, match="no GGUF"):
        command("llama.cpp", model, EngineSettings())


@pytest.mark.parametrize("engine", ENGINES)
def test_all_listen_to_this_machine_alone_at_the_port_that_is_set(model: Path, engine: str) -> None:
    words = command(engine, model, EngineSettings(port=4711))
    assert option(words, "--port") == "4711"
    assert "127.0.0.1" in words


@pytest.mark.parametrize("many", [3, 4, 7, 28])
def test_what_the_heads_cannot_be_split_into_is_refused_with_what_they_can(model: Path, many: int) -> None:
    with pytest.raises(InputError, match=f"over {many} accelerators") as raised:
        command("vllm", model, EngineSettings(tensor_parallel=many))
    assert "one of 1, 2, 14" in raised.value.way_out


def test_more_parts_than_layers_are_refused(model: Path) -> None:
    assert command("vllm", model, EngineSettings(pipeline_parallel=24))
    with pytest.raises(InputError, match="24 layers"):
        command("vllm", model, EngineSettings(pipeline_parallel=25))


def test_an_engine_or_a_file_that_is_not_there_is_named(model: Path) -> None:
    with pytest.raises(InputError, match="mlx") as raised:
        command("mlx", model, EngineSettings())
    assert "tensorrt-llm" in raised.value.way_out
    (model / "safetensors" / "config.json").unlink()
    with pytest.raises(InputError, match="no safetensors"):
        command("vllm", model, EngineSettings())


@pytest.mark.slow
def test_vllm_knows_every_option_that_it_is_given(vllm_python: str, model: Path) -> None:
    read = """
import json, sys
from vllm.entrypoints.launchers.cli_args import make_arg_parser
from vllm.utils.argparse_utils import FlexibleArgumentParser
found = make_arg_parser(FlexibleArgumentParser()).parse_args(sys.argv[1:])
print(json.dumps([found.tensor_parallel_size, found.pipeline_parallel_size, found.max_model_len, found.port]))
"""
    words = command("vllm", model, TWO_BY_THREE)[2:]
    done = subprocess.run([vllm_python, "-c", read, *words], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    assert json.loads(done.stdout.splitlines()[-1]) == [2, 3, TWO_BY_THREE.context, TWO_BY_THREE.port]
