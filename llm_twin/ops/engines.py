"""How other engines are started with a model folder of ours: their command lines, each checked against the model.

A model that does not fit one accelerator is split: each layer over several of one machine (tensor parallelism), or
the layers one after the other (pipeline parallelism). Option names are those of each engine's own documentation; vLLM's
are tested against vLLM. Not covered: Ollama, which is set up by a file and not by options (docs/engines.md).
"""

import json
from collections.abc import Callable
from pathlib import Path

from llm_twin.errors import InputError
from llm_twin.settings import EngineSettings

LOOPBACK = "127.0.0.1"


def command(engine: str, model: Path, settings: EngineSettings) -> list[str]:
    """The words of the command that serves the model of the folder `model` under the folder's name.

    Raises InputError for an engine that is not known, for files that the engine needs and the folder lacks, and for a
    model that cannot be split as `settings` say.
    """
    if engine not in ENGINES:
        raise InputError(f"there is no command line for {engine}", f"choose one of {', '.join(ENGINES)}")
    return ENGINES[engine](model, settings)


def _vllm(model: Path, settings: EngineSettings) -> list[str]:
    words = ["vllm", "serve", _splittable(model, settings), "--served-model-name", model.name]
    words += ["--host", LOOPBACK, "--port", str(settings.port)]
    words += ["--max-model-len", str(settings.context), "--max-num-seqs", str(settings.places)]
    words += ["--tensor-parallel-size", str(settings.tensor_parallel)]
    return [*words, "--pipeline-parallel-size", str(settings.pipeline_parallel)]


def _tgi(model: Path, settings: EngineSettings) -> list[str]:
    if settings.pipeline_parallel > 1:
        raise InputError("TGI has no pipeline parallelism", "use engine.tensor_parallel, or vllm")
    words = ["text-generation-launcher", "--model-id", _splittable(model, settings)]
    words += ["--hostname", LOOPBACK, "--port", str(settings.port)]
    words += ["--max-total-tokens", str(settings.context)]
    return [
        *words,
        "--max-concurrent-requests",
        str(settings.places),
        "--num-shard",
        str(settings.tensor_parallel),
    ]


def _tensorrt(model: Path, settings: EngineSettings) -> list[str]:
    words = ["trtllm-serve", _splittable(model, settings), "--host", LOOPBACK, "--port", str(settings.port)]
    words += ["--max_seq_len", str(settings.context), "--max_batch_size", str(settings.places)]
    return [*words, "--tp_size", str(settings.tensor_parallel), "--pp_size", str(settings.pipeline_parallel)]


def _llama_cpp(model: Path, settings: EngineSettings) -> list[str]:
    if settings.tensor_parallel > 1 or settings.pipeline_parallel > 1:
        raise InputError(
            "llama.cpp spreads a model over what accelerators it finds by itself",
            "set engine.tensor_parallel and engine.pipeline_parallel to 1",
        )
    found = sorted(model.glob("*-q8_0.gguf"))
    if not found:
        raise InputError(f"{model} holds no GGUF", "train a twin of a base in GGUF, or use vllm")
    words = ["llama-server", "-m", str(found[0]), "--alias", model.name, "--host", LOOPBACK]
    words += ["--port", str(settings.port)]
    # Its context is shared by all places.
    return [*words, "-c", str(settings.context * settings.places), "-np", str(settings.places)]


ENGINES: dict[str, Callable[[Path, EngineSettings], list[str]]] = {
    "vllm": _vllm,
    "tgi": _tgi,
    "tensorrt-llm": _tensorrt,
    "llama.cpp": _llama_cpp,
}


def _splittable(model: Path, settings: EngineSettings) -> str:
    """The model's safetensors; InputError where there are none, or heads and layers do not divide."""
    folder = model / "safetensors"
    if not (folder / "config.json").exists():
        raise InputError(f"{model} holds no safetensors", "train the twin again: twin train sft")
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    heads, layers = int(config["num_attention_heads"]), int(config["num_hidden_layers"])
    shared = int(config.get("num_key_value_heads") or heads)
    fitting = [n for n in range(1, heads + 1) if heads % n == 0 and (shared % n == 0 or n % shared == 0)]
    if settings.tensor_parallel not in fitting:
        raise InputError(
            f"{heads} attention heads with {shared} of keys and values cannot be split "
            f"over {settings.tensor_parallel} accelerators",
            f"set engine.tensor_parallel to one of {', '.join(map(str, fitting))}",
        )
    if settings.pipeline_parallel > layers:
        raise InputError(
            f"{layers} layers cannot be split into {settings.pipeline_parallel} parts",
            f"set engine.pipeline_parallel to at most {layers}",
        )
    return str(folder)
