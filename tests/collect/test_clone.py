"""Repositories from the web: what is refused, and a real clone over HTTP from this machine."""

import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from llm_twin.collect import clone, repository
from llm_twin.collect.crawl import Source, collect
from llm_twin.collect.reader import Piece, Tools
from llm_twin.errors import InputError, TwinError
from llm_twin.types import Document, Skipped


@pytest.mark.parametrize(
    ("location", "answer"),
    [
        ("https://github.com/nell/bell", True),
        ("https://www.github.com/nell/bell/", True),
        ("https://github.com/nell/bell/blob/main/README.md", False),
        ("https://github.com/nell", False),
        ("https://github.com/topics/bells", False),
        ("https://git.example/deep/down/bell.git", True),
        ("https://nell.example/on/bread", False),
        ("bell.git", False),
        ("ssh://git@github.com/nell/bell.git", False),
    ],
)
def test_which_addresses_are_repositories(location: str, answer: bool) -> None:
    assert clone.is_git_url(location) is answer


def test_a_repository_has_one_address() -> None:
    for url in (
        "https://www.github.com/nell/bell/",
        "https://GitHub.com/nell/bell.git",
        "https://github.com/nell/bell",
    ):
        assert clone.address_of(url) == "https://github.com/nell/bell"
    assert clone.address_of("https://www.nell.example/bell.git") == "https://www.nell.example/bell"


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("http://git.example/nell/bell.git", "over https only"),
        ("https://git.example/nell/bell.git", "not on the public internet"),
        ("https://git.example/nell/be ll.git", "not the plain address"),
        ("https://git.example\\@127.0.0.1/bell.git", "user name or password"),
        ("https://git.example/bell.git?x=--upload-pack=id", "not the plain address"),
        ("ext::sh -c id", "only http and https"),
        ("file:///etc", "only http and https"),
    ],
)
def test_addresses_that_are_refused_before_git_is_asked(
    url: str, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subprocess, "Popen", lambda *_, **__: pytest.fail("git was asked"))
    with (
        pytest.raises(InputError, match=why),
        clone.cloned(url, resolve=lambda host, port: ["169.254.169.254"]),
    ):
        pass


def git(folder: Path, *words: str) -> None:
    identity = ["-c", "user.name=Nell", "-c", "user.email=nell@nell.example", "-c", "init.defaultBranch=main"]
    subprocess.run(["git", *identity, *words], cwd=folder, check=True, capture_output=True)


@pytest.fixture
def served(tmp_path: Path) -> Path:
    """A folder with a bare repository bell.git, as a server would hold it."""
    work = tmp_path / "work"
    (work / "src").mkdir(parents=True)
    (work / "node_modules").mkdir()
    (work / "README.md").write_text("# Bell\n\nIt’s loud.\n")
    (work / "src" / "naïve ring.py").write_text("def ring():\n\n    return 'late'\n")
    (work / "node_modules" / "x.js").write_text("x")
    (work / "logo.bin").write_bytes(b"\0\1")
    os.symlink("/etc/passwd", work / "passwd.md")
    git(work, "init", "-q")
    git(work, "add", "-A")
    git(work, "commit", "-q", "-m", "one")
    git(tmp_path, "clone", "-q", "--bare", str(work), "bell.git")
    return tmp_path


class GitOverHttp(BaseHTTPRequestHandler):
    """`git http-backend` behind a web server; `/moved/…` redirects, `/slow/…` never answers."""

    root: Path

    def do_GET(self) -> None:
        if self.path.startswith("/moved/"):
            self.send_response(301)
            self.send_header("Location", self.path.removeprefix("/moved"))
            self.send_header("Content-Length", "0")
            self.end_headers()
        elif self.path.startswith("/slow/"):
            time.sleep(3)
        else:
            self.backend()

    do_POST = do_GET

    def backend(self) -> None:
        path, _, query = self.path.partition("?")
        environment = {
            **os.environ,
            "GIT_PROJECT_ROOT": str(self.root),
            "GIT_HTTP_EXPORT_ALL": "1",
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "REQUEST_METHOD": self.command,
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
            "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
        }
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        done = subprocess.run(
            ["git", "http-backend"], input=body, env=environment, capture_output=True, check=True
        )
        head, _, answer = done.stdout.partition(b"\r\n\r\n")
        lines = [line.split(": ", 1) for line in head.decode().split("\r\n")]
        status = next((value for name, value in lines if name == "Status"), "200 OK")
        self.send_response(int(status.split()[0]))
        for name, value in lines:
            if name != "Status":
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def address(served: Path) -> Iterator[str]:
    handler = type("Serving", (GitOverHttp,), {"root": served})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.slow
@pytest.mark.enable_socket
def test_a_clone_gives_documents_and_leaves_nothing_behind(
    address: str,
    piece_of: Callable[..., Piece],
    tools: Tools,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    url = f"http://{address}/bell.git"
    private = Tools(tools.fetcher, tools.child, allow_private=True)
    found = list(repository.read_url(piece_of(url), private))
    documents = [each for each in found if isinstance(each, Document)]
    assert [(each.title, each.text) for each in documents] == [
        ("bell/README.md", "# Bell\n\nIt’s loud."),
        ("bell/src/naïve ring.py", "```python\ndef ring():\n\n    return 'late'\n```"),
    ]
    assert documents[0].source == f"http://{address}/bell/blob/HEAD/README.md"
    assert found[2:] == [Skipped(what="bell: logo.bin", why="neither code nor documentation")]
    assert list((tmp_path / "temporary").iterdir()) == []


@pytest.mark.slow
@pytest.mark.enable_socket
def test_git_connects_to_the_address_that_was_checked(address: str) -> None:
    port = address.partition(":")[2]
    url = f"http://git.no-such-name.invalid:{port}/bell.git"
    with clone.cloned(url, allow_private=True, resolve=lambda *_: ["127.255.255.254", "127.0.0.1"]) as folder:
        assert [blob.path for blob in clone.blobs(folder)] == [
            "README.md",
            "logo.bin",
            "node_modules/x.js",
            "src/naïve ring.py",
        ]


@pytest.mark.slow
@pytest.mark.enable_socket
@pytest.mark.parametrize(
    ("path", "why"), [("/absent.git", "cannot be cloned"), ("/moved/bell.git", "cannot be cloned")]
)
def test_redirects_and_absent_repositories_are_refused(address: str, path: str, why: str) -> None:
    with pytest.raises(InputError, match=why), clone.cloned(f"http://{address}{path}", allow_private=True):
        pass


@pytest.mark.slow
@pytest.mark.enable_socket
def test_a_server_that_never_answers_is_given_up(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clone, "_SECONDS", 1)
    started = time.monotonic()
    with (
        pytest.raises(TwinError, match="longer than 1 s"),
        clone.cloned(f"http://{address}/slow/bell.git", True),
    ):
        pass
    assert time.monotonic() - started < 2.5


@pytest.mark.slow
@pytest.mark.enable_socket
def test_too_many_files_are_refused(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clone, "_ENTRIES", 3)
    bell = clone.cloned(f"http://{address}/bell.git", True)
    with bell as folder, pytest.raises(InputError, match="more than 3 files"):
        clone.blobs(folder)


def test_a_repository_that_is_refused_does_not_end_the_batch(tmp_path: Path, web: Any) -> None:
    (tmp_path / "a.md").write_text("A.")
    sources = [Source("http://git.example/nell/bell.git"), Source(str(tmp_path / "a.md"))]
    refused, document = collect(sources, web, "Nell Harrow")
    assert isinstance(refused, Skipped) and "over https only" in refused.why
    assert isinstance(document, Document)
