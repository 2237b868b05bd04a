"""What a text says is shown; what it would do is not."""

from typing import Any

import pytest
from lxml import html

from llm_twin.serving.render import SCHEMES, TAGS, html_of


def dangers(rendered: str) -> list[str]:
    """What in a piece of HTML could run, load or lead astray."""
    found: list[str] = []
    for element in html.fragment_fromstring(rendered, create_parent="div").iter():
        tag: Any = element.tag
        if tag != "div" and tag not in TAGS:
            found.append(f"<{tag}>")
        for name, value in element.attrib.items():
            if name not in ("href", "title", "rel", "target", "start", "class"):
                found.append(f"{tag} {name}")
            if name == "href" and value.partition(":")[0] not in SCHEMES:
                found.append(value)
    return found


def test_nothing_hostile_survives(hostile: list[str]) -> None:
    assert len(hostile) >= 200
    assert {text: found for text in hostile if (found := dangers(html_of(text)))} == {}


@pytest.mark.parametrize(
    "bad", ["<img src=x>", "<a href='javascript:x'>y</a>", "<p onclick=x>y</p>", "<script>x</script>"]
)
def test_that_check_sees_what_is_dangerous(bad: str) -> None:
    assert dangers(bad)


def test_the_second_wall_stands_alone(hostile: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Even if the parser let HTML through."""
    from markdown_it import MarkdownIt

    monkeypatch.setattr("llm_twin.serving.render._parser", lambda: MarkdownIt("commonmark", {"html": True}))
    assert {text: found for text in hostile if (found := dangers(html_of(text)))} == {}


def test_markdown_is_rendered() -> None:
    assert html_of("# A\n\n*b* **c** ~~d~~ `e`").split("\n") == [
        "<h1>A</h1>",
        "<p><em>b</em> <strong>c</strong> <s>d</s> <code>e</code></p>",
        "",
    ]
    assert "<td>1</td>" in html_of("| a |\n|---|\n| 1 |")
    assert html_of("```python\nx < 1\n```") == '<pre><code class="language-python">x &lt; 1\n</code></pre>\n'
    assert html_of("3. c") == '<ol start="3">\n<li>c</li>\n</ol>\n'
    assert html_of("It holds. [1]") == "<p>It holds. [1]</p>\n"


def test_html_is_shown_as_it_was_written() -> None:
    assert (
        html.fromstring(html_of("use <b>bold</b> & <script>")).text_content().strip()
        == "use <b>bold</b> & <script>"
    )


def test_an_image_is_its_description_and_nothing_is_loaded() -> None:
    assert html_of("![a *tide* clock](https://a.example/x.png)") == "<p>a tide clock</p>\n"


def test_links_lead_to_the_web_in_a_tab_of_their_own() -> None:
    link = html.fromstring(html_of("[x](https://a.example/b)")).find(".//a")
    assert dict(link.attrib) == {
        "href": "https://a.example/b",
        "target": "_blank",
        "rel": "noopener noreferrer nofollow",
    }
    for nowhere in ("[x](/documents)", "[x](#/documents)", "[x](//a.example)"):
        assert "href" not in html_of(nowhere)
    assert "mailto:a@b.example" in html_of("<a@b.example>")
