"""What the page needs beside the API, and that its files are served under the rules they were written for."""

import re
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path

from starlette.testclient import TestClient

Client = Callable[..., TestClient]
PAGE = Path(str(files("llm_twin") / "web" / "app"))


def test_markdown_is_rendered_without_what_could_run(client: Client) -> None:
    given = {"text": "**b** <script>x</script> ![d](https://a.example/x.png)"}
    said = client().post("/render", json=given)
    assert said.json() == {"html": "<p><strong>b</strong> &lt;script&gt;x&lt;/script&gt; d</p>\n"}


def test_too_long_a_text_is_refused(client: Client) -> None:
    refused = client().post("/render", json={"text": "x" * 50_001})
    assert refused.status_code == 422 and "error" in refused.json()


def test_the_page_and_all_it_names_are_served(client: Client) -> None:
    web = client(page=PAGE)
    response = web.get("/")
    assert response.status_code == 200
    policy = response.headers["content-security-policy"]
    assert "default-src 'none'" in policy and "script-src 'self'" in policy and "unsafe" not in policy
    names = re.findall(r"<(?:script|link)[^>]*(?:src|href)=\"([\w.]+)\"", response.text)
    assert {"app.css", "app.js", "theme.js"} <= set(names)
    for name in names:
        assert web.get(f"/{name}").status_code == 200


def test_the_files_hold_no_inline_script_style_or_html_from_text() -> None:
    html = (PAGE / "index.html").read_text()
    assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son\w+=|javascript:|https?://", html)
    for script in PAGE.glob("*.js"):
        code = script.read_text()
        assert not re.search(
            r"innerHTML|outerHTML|insertAdjacent|document\.write|\beval\(|new Function", code
        ), script
        for name in re.findall(r"from \"\./([^\"]+)\"", code):
            assert (PAGE / name).is_file()
