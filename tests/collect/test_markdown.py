"""HTML to Markdown: what a style is made of stays, what is not the article goes."""

from pathlib import Path

import pytest

from llm_twin.collect import markdown
from llm_twin.errors import InputError


def test_a_page_becomes_its_article(data: Path) -> None:
    found = markdown.page((data / "page.html").read_text("utf-8"), None)
    assert found["text"] == (
        "# On bread\n\n"
        "I don’t trust a loaf that’s “perfect” — it’s hiding something; most of us are, before noon.\n\n"
        "Weigh the flour.  \nWarm the water.  \nWait.\n\n"
        "## What the oven knows\n\n"
        "- Heat first, bread second, patience third of all.\n"
        "- Use `set_oven(230)` and mean it.\n\n"
        "> A recipe is only a rumour with numbers in it.\n\n"
        "```python\n"
        'def bake(loaf):\n    if loaf.cold:\n        return "no"\n\n    return heat(loaf,   minutes=40)\n'
        "```\n\n"
        "My grandmother never measured anything in her whole life, and her bread was *terrible*, and we ate "
        "all of it: see [the longer story](https://nell.example/grandmother)."
    )
    assert (found["title"], found["author"], found["date"]) == ("On bread", "Nell Harrow", "2024-03-05")
    assert (found["url"], found["language"]) == ("https://nell.example/on-bread?utm_source=feed", "en")


def test_a_page_without_an_article_is_refused() -> None:
    with pytest.raises(InputError, match="no article"):
        markdown.page("<html><body><script>run()</script></body></html>", None)
    with pytest.raises(InputError, match="no article"):
        markdown.page("", None)


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ("<p>a * b_c_d #5 [x]</p>", "a * b_c_d #5 [x]"),
        ("<p>One.</p><p>Two.</p>", "One.\n\nTwo."),
        ("<p>one<br>two</p>", "one  \ntwo"),
        ("<p>a</p><figure><img src='x' alt='y'></figure><p>b</p>", "a\n\nb"),
        ("<p>a<script>alert(1)</script></p><form><button>Subscribe</button></form>", "a"),
        ("<ol><li>one</li><li>two</li></ol>", "1. one\n2. two"),
        ("<blockquote><p>her words</p></blockquote>", "> her words"),
        ("<pre>a<br>  b<br><br>\tc</pre>", "```\na\n  b\n\n\tc\n```"),
        ("<pre>x ``` y</pre>", "````\nx ``` y\n````"),
        ("<div class='highlight language-rust'><pre>fn</pre></div>", "```rust\nfn\n```"),
        ("<pre><code class='lang-c++'>int</code></pre>", "```c++\nint\n```"),
        ("<pre>a\n\n\n\nb</pre>", "```\na\n\n\n\nb\n```"),
        ("<p>fish &amp; chips &lt;3 🫖 naïve</p>", "fish & chips <3 🫖 naïve"),
        ("", ""),
    ],
)
def test_fragments(html: str, text: str) -> None:
    assert markdown.fragment(html) == text


def page(article: str) -> str:
    menu = "".join(f"<li><a href='/{n}'>Menu entry number {n}</a></li>" for n in range(9))
    return f"<html><body><ul>{menu}</ul><main>{article}</main><div><p>Share</p></div></body></html>"


SENTENCES = [
    f"This is sentence number {n} of the article, and it isn’t short at all, mind you." for n in range(12)
]


def test_short_paragraphs_of_the_article_stay_and_short_ones_around_it_go() -> None:
    body = "".join(f"<p>{sentence}</p>" for sentence in SENTENCES) + "<p>Hm.</p><p>I share everything.</p>"
    text = markdown.page(page(body), None)["text"]
    assert text == "\n\n".join([*SENTENCES, "Hm.", "I share everything."])


def test_short_boilerplate_inside_the_article_goes() -> None:
    widget = "<div class='share-buttons'><p>Share</p><p>Copy link</p></div>"
    body = "".join(f"<p>{sentence}</p>" for sentence in SENTENCES)
    html = page(f"<article>{body}{widget}<p>I share everything; copy links at will.</p></article>")
    assert markdown.page(html, None)["text"] == "\n\n".join(
        [*SENTENCES, "I share everything; copy links at will."]
    )


def test_an_old_page_of_line_breaks_in_a_table_is_found() -> None:
    text = markdown.page(page(f"<table><tr><td>{'<br><br>'.join(SENTENCES)}</td></tr></table>"), None)["text"]
    assert all(sentence in text for sentence in SENTENCES)
    assert "Menu entry" not in text


def test_text_that_no_element_holds_alone_is_taken_as_trafilatura_gives_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(markdown, "_is_leaf", lambda element: False)
    body = "".join(f"<p>{sentence}</p>" for sentence in SENTENCES)
    assert all(sentence in markdown.page(page(body), None)["text"] for sentence in SENTENCES)
