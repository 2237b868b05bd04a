"""The Hub adapter against a small Hub of the test's own, on loopback."""

import hashlib
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from llm_twin import models
from llm_twin.adapters import hub
from llm_twin.adapters.pull import pull
from llm_twin.errors import InputError, TwinError

pytestmark = pytest.mark.slow
MakeGguf = Callable[..., Path]
COMMIT = "c" * 40


class SmallHub(BaseHTTPRequestHandler):
    """Two calls of the Hub: what a repository holds, and its files (also from the middle)."""

    repositories: dict[str, dict[str, bytes]]
    asked: list[tuple[str, str, str | None]]
    stop_after: int | None = None

    def do_HEAD(self) -> None:
        self._file(with_body=False)

    def do_GET(self) -> None:
        if not self.path.startswith("/api/models/"):
            return self._file(with_body=True)
        repository, _, revision = self.path.partition("?")[0][len("/api/models/") :].partition("/revision/")
        files = self.repositories.get(repository)
        if files is None or revision == "none":
            kind = "RepoNotFound" if files is None else "RevisionNotFound"
            return self._answer(404, b"{}", {"X-Error-Code": kind})
        siblings = [self._entry(name, content) for name, content in files.items()]
        tags = ["license:mit"]
        body = {"id": repository, "sha": COMMIT, "siblings": siblings, "tags": tags}
        self._answer(200, json.dumps(body).encode(), {"Content-Type": "application/json"})

    def _entry(self, name: str, content: bytes) -> dict[str, Any]:
        entry: dict[str, Any] = {"rfilename": name, "size": len(content), "blobId": "b" * 40}
        if name.endswith((".gguf", ".safetensors")):
            sha256 = hashlib.sha256(content).hexdigest()
            entry["lfs"] = {"sha256": sha256, "size": len(content), "pointerSize": 100}
        return entry

    def _file(self, with_body: bool) -> None:
        owner, name, _, _, path = self.path.lstrip("/").split("/", 4)
        if self.stop_after == 0 and with_body:
            return self._answer(500, b"", {})
        start = (self.headers.get("Range") or "bytes=0-").removeprefix("bytes=").partition("-")[0]
        self.asked.append((self.command, path, self.headers.get("Range")))
        content = self.repositories.get(f"{owner}/{name}", {}).get(path)
        if content is None:
            return self._answer(404, b"", {"X-Error-Code": "EntryNotFound"})
        etag = hashlib.sha256(content).hexdigest()
        headers = {"ETag": f'"{etag}"', "X-Repo-Commit": COMMIT, "Accept-Ranges": "bytes"}
        if int(start):
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        self._answer(206 if int(start) else 200, content[int(start) :], headers, with_body)

    def _answer(self, code: int, body: bytes, headers: dict[str, str], with_body: bool = True) -> None:
        self.send_response(code)
        for key, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(key, value)
        self.end_headers()
        if with_body:
            self.wfile.write(body if self.stop_after is None else body[: self.stop_after])
            if self.stop_after:  # from now on it is out of order
                type(self).stop_after = 0

    def log_message(self, *_: object) -> None:
        """Keep quiet."""


@pytest.fixture
def small_hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, type[SmallHub]]]:
    """(address, the handler whose `repositories` the test fills)"""
    handler = type("Handler", (SmallHub,), {"repositories": {}, "asked": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", handler
    server.shutdown()
    server.server_close()
    thread.join()


def test_any_gguf_on_the_hub_is_pulled_and_kept(
    small_hub: tuple[str, type[SmallHub]], tmp_path: Path, tiny_gguf: MakeGguf
) -> None:
    address, handler = small_hub
    weights = tiny_gguf(tmp_path / "m.gguf").read_bytes()
    handler.repositories["me/tiny"] = {"sub/m-q5.gguf": weights, "README.md": b"hello"}
    seen: list[tuple[int, int]] = []
    folder = pull(
        "me/tiny/sub/m-q5.gguf@main",
        tmp_path / "cache",
        lambda done, total, note="": seen.append((done, total)) if "Hub" in note else None,
        endpoint=address,
    )
    card = models.verify(folder, tmp_path / "cache")
    assert card.sha256 == hashlib.sha256(weights).hexdigest()
    assert (card.name, card.licence) == ("tiny", "mit")
    assert card.source == f"Hub me/tiny@{COMMIT} sub/m-q5.gguf"
    assert seen[-1] == (len(weights), len(weights))
    handler.repositories.clear()
    assert pull("me/tiny/sub/m-q5.gguf@main", tmp_path / "cache", endpoint=address) == folder


def test_a_repository_of_safetensors_is_taken_without_its_pickles(
    small_hub: tuple[str, type[SmallHub]], tmp_path: Path
) -> None:
    address, handler = small_hub
    config = {"model_type": "bert", "hidden_size": 8, "max_position_embeddings": 512}
    handler.repositories["me/embedder"] = {
        "model.safetensors": b"weights",
        "pytorch_model.bin": b"a pickle",
        "onnx/model.onnx": b"a graph",
        "tokenizer.json": b"{}",
        "config.json": json.dumps(config).encode(),
        "modules.json": b"[]",
        "sentence_bert_config.json": b'{"max_seq_length": 99}',
    }
    card = models.read_card(pull("me/embedder", tmp_path, endpoint=address))
    assert (card.role, card.context, card.dimension) == ("embedder", 99, 8)
    assert not {"pytorch_model.bin", "onnx/model.onnx"} & set(card.files)


def test_a_download_that_broke_off_goes_on_where_it_was(
    small_hub: tuple[str, type[SmallHub]],
    tmp_path: Path,
    tiny_gguf: MakeGguf,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    address, handler = small_hub
    weights = tiny_gguf(tmp_path / "m.gguf").read_bytes()
    handler.repositories["me/tiny"] = {"m.gguf": weights}
    # The library keeps whole chunks of 10 MB, and pauses before it tries again.
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 100)
    monkeypatch.setattr("huggingface_hub.file_download.time.sleep", lambda seconds: None)
    row = hub.describe("me/tiny", "m.gguf", "main", address)
    handler.stop_after = 2050
    (tmp_path / "parts").mkdir()
    with pytest.raises(TwinError, match="the Hub does not give it"):
        hub.fetch(row, row.files[0], tmp_path / "parts", lambda *_: None, address)
    handler.stop_after = None
    handler.asked.clear()
    came = hub.fetch(row, row.files[0], tmp_path / "parts", lambda *_: None, address)
    assert came.read_bytes() == weights
    starts = [span for method, _, span in handler.asked if method == "GET"]
    assert starts == ["bytes=2000-"]


@pytest.mark.parametrize(
    ("name", "complaint", "way_out"),
    [
        ("me/none", "no me/none@main on the Hub", "HF_TOKEN"),
        ("me/ggufs@none", "no me/ggufs@none on the Hub", "Check the name"),
        ("me/ggufs", "me/ggufs cannot be used: there are no weights", "me/ggufs/a.gguf (it has 2)"),
        ("me/ggufs/c.gguf", "me/ggufs has no file c.gguf", "me/ggufs/a.gguf"),
        ("me/pickles", "there are no weights", "name the file itself"),
    ],
)
def test_what_cannot_be_used_is_said(
    small_hub: tuple[str, type[SmallHub]], tmp_path: Path, name: str, complaint: str, way_out: str
) -> None:
    address, handler = small_hub
    handler.repositories["me/ggufs"] = {"a.gguf": b"GGUF", "b.gguf": b"GGUF"}
    handler.repositories["me/pickles"] = {"pytorch_model.bin": b"", "tokenizer.json": b"{}"}
    with pytest.raises(InputError) as caught:
        pull(name, tmp_path, endpoint=address)
    assert complaint in str(caught.value) and way_out in caught.value.way_out


def test_a_hub_that_does_not_answer_is_given_up_in_seconds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub, "TIMEOUT", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as silent:  # connects, and never says a word
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        start = time.perf_counter()
        with pytest.raises(TwinError, match="the Hub does not give it"):
            pull("smollm2-135m", tmp_path, source="hub", endpoint=address)
        assert time.perf_counter() - start < 3
    with pytest.raises(TwinError, match=r"smollm2-135m cannot be fetched \(hub: .*refused"):
        pull("smollm2-135m", tmp_path, source="hub", endpoint=address)
