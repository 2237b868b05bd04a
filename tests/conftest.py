"""What tests of several modules share. Unit tests have no network; a test marked `slow` may open sockets."""

import importlib.util
import itertools
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import gguf
import httpx
import numpy as np
import pytest

from llm_twin.errors import InputError
from llm_twin.types import Message, Sampling

REPOSITORY = Path(__file__).parents[1]

TINY_TOKENS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", *"abcdefgh", "Ġ", "Ċ", "ab", "cd", "<tool>"]
TINY_TYPES = [3, 3, 3, *[1] * 12, 4]
TINY_TEMPLATE = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"

MakeGguf = Callable[..., Path]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.get_closest_marker("slow"):
            item.add_marker(pytest.mark.enable_socket)


@pytest.fixture(scope="session")
def models_cache() -> Path:
    """Where models lie: a test that needs one fetches it once and later runs find it."""
    return Path(os.environ.get("TWIN_MODELS__CACHE") or Path.home() / ".cache" / "llm-twin" / "models")


@pytest.fixture(scope="session")
def smol_model(models_cache: Path) -> Path:
    """The folder of the small chat model (for tests marked slow: the first pull takes the network)."""
    from llm_twin.adapters.pull import pull

    return pull("smollm2-135m", models_cache)


@pytest.fixture(scope="session")
def random_lora() -> Callable[..., Path]:
    """A maker of LoRAs on every linear layer of a base, with seeded, non-zero matrices, saved by PEFT."""

    def make(base: Path, folder: Path, rank: int = 4, size: float = 0.05, **settings: object) -> Path:
        import torch
        from peft import LoraConfig, get_peft_model

        from llm_twin.training.load import load_base, quiet

        plain = {"lora_alpha": 2 * rank, "target_modules": "all-linear", "task_type": "CAUSAL_LM"}
        with quiet():
            model, _ = load_base(base, torch.float32)
            peft = get_peft_model(model, LoraConfig(r=rank, **{**plain, **settings}))
            generator = torch.Generator().manual_seed(1)
            for name, parameter in peft.named_parameters():
                if ".lora_" in name:
                    parameter.data = size * torch.randn(parameter.shape, generator=generator)
            peft.save_pretrained(str(folder))
        return folder

    return make


@pytest.fixture(scope="session")
def vllm_python() -> str:
    """A Python that has vLLM, which needs an environment of its own."""
    python = os.environ.get("TWIN_TEST_VLLM")
    if not python:
        pytest.skip("TWIN_TEST_VLLM names no Python that has vLLM (docs/engines.md says how to make one)")
    return python


@pytest.fixture(scope="session")
def vllm_server(
    vllm_python: str,
    smol_model: Path,
    random_lora: Callable[..., Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[str]:
    """The address of a real vLLM that serves a twin's safetensors: the small model with a LoRA merged in."""
    from llm_twin.training.export import export

    folder = tmp_path_factory.mktemp("vllm")
    twin = export(smol_model, random_lora(smol_model, folder / "lora", size=1e-3), folder / "twin", "marlow")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [vllm_python, "-m", "vllm.entrypoints.openai.api_server", "--model", str(twin / "safetensors")]
    command += ["--served-model-name", "marlow", "--port", str(port), "--max-model-len", "2048"]
    command += ["--dtype", "float32", "--enforce-eager"]  # in bfloat16 a batch parts from a single answer
    environment = {**os.environ, "VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_NO_USAGE_STATS": "1"}
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)
    try:
        for _ in range(600):
            assert server.poll() is None, (folder / "log").read_text()[-3000:]
            with suppress(httpx.TransportError):
                if httpx.get(f"http://127.0.0.1:{port}/health").status_code == 200:
                    break
            time.sleep(0.5)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait(60)


@pytest.fixture(scope="session")
def shared_articles() -> Path:
    """Real articles beside the repository, for tests on real input."""
    path = REPOSITORY.parent / "shared" / "data" / "articles"
    if not path.is_dir():
        pytest.skip("the articles for tests on real input do not lie beside the repository")
    return path


@pytest.fixture(scope="session")
def hostile() -> list[str]:
    """Texts that try to run in a page, as serving/hostile.py makes them."""
    spec = importlib.util.spec_from_file_location("hostile", Path(__file__).parent / "serving" / "hostile.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found: list[str] = module.payloads()
    return found


FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A real Chromium."""
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if path is None:
        pytest.skip("there is no Chromium here (Debian and Ubuntu: apt install chromium)")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def faults() -> Callable[[Any], list[str]]:
    """faults(page): what axe-core finds in both colour schemes; the page must not be wider than its window."""

    def found_by_axe(page: Any) -> list[str]:
        from axe_playwright_python.sync_playwright import Axe

        found = []
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            for fault in Axe().run(page).response["violations"]:
                found.append(f"{scheme}: {fault['id']} ({fault['impact']}): {fault['nodes'][0]['html']}")
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        return found

    return found_by_axe


@pytest.fixture(scope="session")
def tiny_gguf() -> MakeGguf:
    """A maker of whole, tiny chat models, written by the gguf package itself."""

    def make(path: Path, kind: str = "Q5_0", leave_out: str = "", **metadata: Any) -> Path:
        rng = np.random.default_rng(0)
        writer = gguf.GGUFWriter(path, "llama")
        writer.add_context_length(128)
        writer.add_embedding_length(64)
        writer.add_tokenizer_model(metadata.pop("tokenizer_model", "gpt2"))
        writer.add_tokenizer_pre(metadata.pop("pre", "smollm"))
        if leave_out != "tokens":
            writer.add_token_list(TINY_TOKENS)
        writer.add_token_types(TINY_TYPES)
        writer.add_token_merges(["a b", "c d"])
        writer.add_eos_token_id(2)
        if leave_out != "template":
            writer.add_chat_template(TINY_TEMPLATE)
        for key, value in metadata.items():
            writer.add_bool(f"tokenizer.ggml.{key}", value)
        number = gguf.GGMLQuantizationType[kind]
        for name, shape in {"token_embd.weight": (16, 64), "blk.0.attn_q.weight": (64, 64)}.items():
            weights = rng.standard_normal(shape).astype(np.float32)
            writer.add_tensor(name, gguf.quants.quantize(weights, number), raw_dtype=number)
        writer.add_tensor("blk.0.attn_norm.weight", rng.standard_normal(64).astype(np.float32))
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        return path

    return make


# --- an OpenAI-compatible server on this machine ---------------------------------------------------------

Lists = Callable[[list[dict[str, str]], bool], list[int]]


class OpenAiServer:
    """A ChatModel behind the paths that vLLM has, on loopback.

    `layout(messages, reply)` gives the token ids of a conversation, `plain(text)` those of a text. `faults` are
    answered first, one a request: (status, headers, body). `without` names the paths that it does not have.
    """

    def __init__(self, model: Any, layout: Lists, plain: Callable[[str], list[int]], key: str = "") -> None:
        self.model, self.layout, self.plain, self.key = model, layout, plain, key
        self.faults: list[tuple[int, dict[str, str], bytes]] = []
        self.without: set[str] = set()
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.heads: dict[tuple[int, ...], list[dict[str, str]]] = {}
        self.texts: dict[tuple[int, ...], str] = {}
        self.lock = threading.Lock()
        serving = self

        class Answer(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                serving.handle(self, {})

            def do_POST(self) -> None:
                serving.handle(self, json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
        self.url = f"http://127.0.0.1:{self.server.server_port}/v1"
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01})
        self.thread.start()

    def handle(self, request: BaseHTTPRequestHandler, body: dict[str, Any]) -> None:
        with self.lock:
            self.asked.append((request.path, body))
            fault = self.faults.pop(0) if self.faults else None
        try:
            if fault:
                return self.send(request, *fault)
            if self.key and request.headers.get("Authorization") != f"Bearer {self.key}":
                return self.send_json(request, 401, {"error": {"message": "Incorrect API key provided"}})
            answer = {} if request.path in self.without else self.answers()
            if request.path not in answer:
                return self.send_json(request, 404, {"detail": "Not Found"})
            if body.get("stream"):
                return self.send_stream(request, body)
            self.send_json(request, 200, answer[request.path](body))
        except InputError as error:
            self.send_json(request, 400, {"error": {"message": str(error)}})
        except (BrokenPipeError, ConnectionResetError):
            pass

    def answers(self) -> dict[str, Callable[[dict[str, Any]], dict[str, Any]]]:
        return {
            "/v1/models": lambda _: {
                "data": [{"id": self.model.name, "object": "model", "max_model_len": self.model.context}]
            },
            "/v1/chat/completions": self.chat,
            "/v1/completions": self.complete,
            "/tokenize": self.tokenize,
        }

    def sampling(self, body: dict[str, Any]) -> Sampling:
        schema = body.get("response_format", {}).get("json_schema", {}).get("schema")
        return Sampling(
            max_tokens=body["max_tokens"],
            temperature=body["temperature"],
            top_p=body["top_p"],
            seed=body["seed"],
            json_schema=json.dumps(schema) if schema else None,
        )

    def chat(self, body: dict[str, Any]) -> dict[str, Any]:
        messages = [Message.model_validate(m) for m in body["messages"]]
        (done,) = self.model.generate([messages], self.sampling(body))
        message = {"role": "assistant", "content": done.text}
        return {
            "choices": [{"index": 0, "message": message, "finish_reason": done.finish}],
            "usage": usage_of(done),
        }

    def tokenize(self, body: dict[str, Any]) -> dict[str, Any]:
        if "messages" in body:
            ids = self.layout(body["messages"], body["add_generation_prompt"])
            self.heads[tuple(ids)] = body["messages"]
        else:
            ids = self.plain(body["prompt"])
            self.texts[tuple(ids)] = body["prompt"]
        return {"count": len(ids), "max_model_len": self.model.context, "tokens": ids}

    def complete(self, body: dict[str, Any]) -> dict[str, Any]:
        """Probabilities of the prompt: a head that was tokenised before, a text that was, the end of the turn."""
        ids = tuple(body["prompt"])
        size = max(n for n in range(1, len(ids)) if ids[:n] in self.heads)
        messages = [Message.model_validate(m) for m in self.heads[ids[:size]]]
        text = self.texts[ids[size:-1]] if ids[size:-1] else ""
        (scores,) = self.model.score([messages], [text])
        known = [None, *[-0.5] * (size - 1), *scores.tolist()]
        rows = [
            None if v is None else {str(i): {"logprob": v, "rank": 1}}
            for i, v in zip(ids, known, strict=True)
        ]
        return {"choices": [{"index": 0, "text": "", "prompt_logprobs": rows}]}

    def send_stream(self, request: BaseHTTPRequestHandler, body: dict[str, Any]) -> None:
        messages = [Message.model_validate(m) for m in body["messages"]]
        write = self.model.tokens if body.get("logprobs") else self.model.stream
        stream, done = write(messages, self.sampling(body)), []

        def whole() -> Iterator[Any]:
            done.append((yield from stream))

        heard = whole()
        pieces = itertools.chain([next(heard, "")], heard)  # what is refused is refused before the head
        request.send_response(200)
        request.send_header("Content-Type", "text/event-stream")
        request.end_headers()
        try:
            for piece in pieces:
                choice = {"index": 0, "delta": {"content": getattr(piece, "text", piece)}}
                if body.get("logprobs"):
                    told = {"token": piece.text, "logprob": piece.log_probability}
                    choice["logprobs"] = {"content": [told]}
                self.send_event(request, {"choices": [choice], "usage": None})
            end = {"index": 0, "delta": {}, "finish_reason": done[0].finish}
            self.send_event(request, {"choices": [end]})
            if body.get("stream_options", {}).get("include_usage"):
                self.send_event(request, {"choices": [], "usage": usage_of(done[0])})
            request.wfile.write(b"data: [DONE]\n\n")
        finally:
            stream.close()

    def send_event(self, request: BaseHTTPRequestHandler, event: dict[str, Any]) -> None:
        request.wfile.write(b"data: " + json.dumps(event).encode() + b"\n\n")
        request.wfile.flush()

    def send_json(self, request: BaseHTTPRequestHandler, status: int, body: dict[str, Any]) -> None:
        self.send(request, status, {"Content-Type": "application/json"}, json.dumps(body).encode())

    def send(
        self, request: BaseHTTPRequestHandler, status: int, headers: dict[str, str], body: bytes
    ) -> None:
        request.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            request.send_header(name, value)
        request.end_headers()
        request.wfile.write(body)

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


def usage_of(done: Any) -> dict[str, int]:
    return {"prompt_tokens": done.prompt_tokens, "completion_tokens": done.completion_tokens}


class WordIds:
    """Token ids as the stand-in counts them: a role, a word, and the end of a turn that is the last."""

    def __init__(self) -> None:
        self.ids: dict[str, int] = {}

    def plain(self, text: str) -> list[int]:
        return [self.ids.setdefault(word, len(self.ids)) for word in re.findall(r"\s*\S+", text)]

    def layout(self, messages: list[dict[str, str]], reply: bool) -> list[int]:
        marks = [[f"<{m['role']}>"] for m in messages]
        turns = [
            self.plain(mark[0]) + self.plain(m["content"]) for mark, m in zip(marks, messages, strict=True)
        ]
        return [i for turn in turns for i in turn] + self.plain("<assistant>" if reply else "<end>")


@pytest.fixture(scope="session")
def openai_server() -> Iterator[Callable[..., OpenAiServer]]:
    """A maker of servers: `openai_server(model, layout, plain, key)`; without a layout, the stand-in's."""
    opened = []

    def make(
        model: Any,
        layout: Lists | None = None,
        plain: Callable[[str], list[int]] | None = None,
        key: str = "",
    ) -> OpenAiServer:
        words = WordIds()
        opened.append(OpenAiServer(model, layout or words.layout, plain or words.plain, key))
        return opened[-1]

    yield make
    for server in opened:
        server.close()


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a Redis of its own, on a socket in the file system."""
    program = shutil.which("redis-server")
    if program is None:
        pytest.skip("there is no redis-server here (Debian and Ubuntu: apt install redis-server)")
    folder = tmp_path_factory.mktemp("redis")
    options = ["--port", "0", "--unixsocket", str(folder / "s"), "--dir", str(folder), "--appendonly", "yes"]
    with subprocess.Popen([program, *options], stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        next(line for line in server.stdout if "eady to accept connections" in line)
        yield f"unix://{folder / 's'}"
        server.terminate()
