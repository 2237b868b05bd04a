"""Who may talk to a local page: whoever has its address, and no page of another site."""

import re
import socket
from collections.abc import Iterator
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from llm_twin.errors import InputError, TwinError
from llm_twin.local_app import HEADERS, MOST_BYTES, known_host, local_app, serve

TOKEN = "t0ken"
HERE = "http://127.0.0.1:8123"
JSON = {"origin": HERE, "content-type": "application/json"}


class Page:
    """What stands behind an app: the bodies it was given."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.error: TwinError | None = None

    def state(self) -> dict[str, Any]:
        if self.error:
            raise self.error
        return {"answers": len(self.bodies)}

    def answer(self, body: bytes) -> dict[str, Any]:
        self.bodies.append(body)
        return self.state()


@pytest.fixture
def page() -> Page:
    return Page()


@pytest.fixture
def app(page: Page) -> Starlette:
    return local_app("blind", page.state, page.answer, TOKEN, "127.0.0.1")


@pytest.fixture
def client(app: Starlette) -> Iterator[TestClient]:
    with TestClient(app, base_url=HERE) as client:
        yield client


def test_the_page_and_its_files_are_served_with_their_types(client: TestClient) -> None:
    for path, kind in {
        "": "html",
        "blind.js": "javascript",
        "page.js": "javascript",
        "page.css": "css",
    }.items():
        got = client.get(f"/{TOKEN}/{path}")
        assert got.status_code == 200 and kind in got.headers["content-type"] and got.text
    assert client.get(f"/{TOKEN}/state").json() == {"answers": 0}


@pytest.mark.parametrize("page_name", ["blind", "label"])
def test_a_page_is_whole_in_itself(page: Page, page_name: str) -> None:
    """No inline script or style, nothing from elsewhere, and every file that it names is served."""
    client = TestClient(local_app(page_name, page.state, page.answer, TOKEN, "127.0.0.1"), base_url=HERE)
    html = client.get(f"/{TOKEN}/").text
    assert not re.search(r"<script(?![^>]* src=)|\son\w+=|\sstyle=|<style|javascript:|https?:", html)
    named = set(re.findall(r"(?:src|href)=\"([^\"]+)\"", html)) - {"data:,"}
    assert named == {"page.css", f"{page_name}.js"}
    script = client.get(f"/{TOKEN}/{page_name}.js").text
    assert set(re.findall(r"from \"\./([^\"]+)\"", script)) == {"page.js"}
    code = script + client.get(f"/{TOKEN}/page.js").text
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|DOMParser", code)
    ids = set(re.findall(r"\bid=\"([^\"]+)\"", html))
    wanted = set(re.findall(r"\$\(\"([\w-]+)\"\)", code))
    assert wanted <= ids


def test_the_policy_forbids_everything_but_the_pages_own_files(client: TestClient) -> None:
    rules = dict(part.strip().split(" ", 1) for part in HEADERS["content-security-policy"].split(";"))
    assert (
        rules["default-src"]
        == rules["frame-ancestors"]
        == rules["base-uri"]
        == rules["form-action"]
        == "'none'"
    )
    assert rules["script-src"] == rules["style-src"] == rules["connect-src"] == "'self'"
    assert "unsafe" not in HEADERS["content-security-policy"]
    for path in ("", "state", "page.js", "nothing"):
        got = client.get(f"/{TOKEN}/{path}")
        assert {name: got.headers.get(name) for name in HEADERS} == HEADERS


@pytest.mark.parametrize(
    "path", ["/", "/t0ke/", "/t0ken2/", "/T0KEN/state", "//", "/%74oken/", f"/x/{TOKEN}/state", f"/{TOKEN}é/"]
)
def test_without_the_token_there_is_nothing(client: TestClient, path: str) -> None:
    got = client.get(path)
    assert (got.status_code, got.text) == (404, "not found")
    assert client.post(path, content=b"{}", headers=JSON).status_code == 404


def test_no_file_beside_the_page_can_be_had(client: TestClient) -> None:
    for path in ("label.html", "../settings.py", "..%2fsettings.py", "%2e%2e/settings.py", "blind.html"):
        assert client.get(f"/{TOKEN}/{path}").status_code == 404


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:8123",
        "127.0.0.1.evil.example",
        "192.168.1.7:8123",
        "",
        "a b",
        "@127.0.0.1",
    ],
)
def test_a_name_that_was_pointed_at_this_machine_is_refused(
    client: TestClient, page: Page, host: str
) -> None:
    assert client.get(f"/{TOKEN}/state", headers={"host": host}).status_code == 421
    sent = {**JSON, "host": host, "origin": f"http://{host}"}
    assert client.post(f"/{TOKEN}/answer", content=b"{}", headers=sent).status_code == 421
    assert page.bodies == []


@pytest.mark.parametrize(
    ("header", "served", "known"),
    [
        ("127.0.0.1:80", "127.0.0.1", True),
        ("LOCALHOST:8123", "127.0.0.1", True),
        ("[::1]:8123", "::1", True),
        ("192.168.1.7:8123", "127.0.0.1", False),
        ("192.168.1.7:8123", "192.168.1.7", True),
        ("127.0.0.1", "192.168.1.7", False),
        ("192.168.1.7:8123", "0.0.0.0", True),
        ("[fd00::7]:8123", "::", True),
        ("evil.example", "0.0.0.0", False),
        ("localhost", "0.0.0.0", True),
        ("127.0.0.1:99999999", "127.0.0.1", False),
    ],
)
def test_which_hosts_are_known(header: str, served: str, known: bool) -> None:
    assert known_host(header, served) is known


def test_an_answer_from_the_page_is_taken(client: TestClient, page: Page) -> None:
    got = client.post(f"/{TOKEN}/answer", content=b'{"a": 1}', headers=JSON)
    assert (got.status_code, got.json(), page.bodies) == (200, {"answers": 1}, [b'{"a": 1}'])


@pytest.mark.parametrize(
    "origin",
    [None, "null", "http://evil.example", "http://127.0.0.1:9", "https://127.0.0.1:8123", "http://127.0.0.1"],
)
def test_an_answer_from_another_page_is_refused(client: TestClient, page: Page, origin: str | None) -> None:
    headers = {"content-type": "application/json"} | ({"origin": origin} if origin else {})
    assert client.post(f"/{TOKEN}/answer", content=b"{}", headers=headers).status_code == 403
    assert page.bodies == []


def test_an_answer_that_a_form_could_send_is_refused(client: TestClient, page: Page) -> None:
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""):
        headers = {"origin": HERE, "content-type": kind}
        assert client.post(f"/{TOKEN}/answer", content=b"{}", headers=headers).status_code == 415
    assert client.get(f"/{TOKEN}/answer").status_code in (404, 405)
    assert page.bodies == []


def test_a_large_answer_is_refused_also_when_it_does_not_say_how_large_it_is(
    client: TestClient, page: Page
) -> None:
    def pieces() -> Iterator[bytes]:
        for _ in range(100):
            yield b"x" * 100

    for content in (b"x" * (MOST_BYTES + 1), pieces()):
        assert client.post(f"/{TOKEN}/answer", content=content, headers=JSON).status_code == 413
    assert page.bodies == []
    assert client.post(f"/{TOKEN}/answer", content=b"x" * MOST_BYTES, headers=JSON).status_code == 200


@pytest.mark.parametrize(
    ("error", "status"), [(InputError("bad thing", "do this"), 400), (TwinError("the disk is full"), 500)]
)
def test_what_went_wrong_is_told_to_the_page(
    client: TestClient, page: Page, error: TwinError, status: int
) -> None:
    page.error = error
    got = client.get(f"/{TOKEN}/state")
    assert got.status_code == status and str(error) in got.json()["error"]


def test_a_port_that_is_taken_is_an_error_with_a_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def taken(*_: object, **__: object) -> None:
        raise OSError(98, "Address already in use")

    monkeypatch.setattr(socket, "create_server", taken)
    with pytest.raises(InputError, match=r"port 8123: .*in use") as caught:
        serve(lambda token, host: None, "127.0.0.1", 8123, False, print)  # type: ignore[arg-type,return-value]
    assert "--port" in caught.value.way_out
