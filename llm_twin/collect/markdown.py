"""HTML to Markdown that keeps what a style is made of. Runs in the limited child, never in the parent.

`fragment` writes all of a piece of HTML that is already only the article (feed content). `page` first
finds the article in a whole page: trafilatura decides *which* text is the article, and the matching
elements of the page itself are then written as Markdown, because trafilatura's own Markdown loses blank
lines in code, the marks of quotations, line breaks and code languages. Where fewer than half of the
article's characters are found again in the page's elements, trafilatura's Markdown is taken as it is.

Images go (their captions stay); scripts, forms, buttons and embedded frames go; links stay.
"""

import re
from typing import Any

import lxml.html  # type: ignore[import-untyped]
from bs4 import BeautifulSoup, Tag
from lxml.etree import ParserError  # type: ignore[import-untyped]
from markdownify import MarkdownConverter

from llm_twin.errors import InputError

_NEVER = {
    "script", "style", "noscript", "template", "iframe", "object", "embed", "form", "button", "input",
    "select", "textarea", "svg", "canvas", "video", "audio", "picture", "img",
}  # fmt: skip
_BLOCKS = frozenset({
    "p", "h1", "h2", "h3", "h4", "h5", "h6", "li", "tr", "pre", "blockquote", "div", "section",
    "article", "main", "header", "footer", "aside", "nav", "figure", "figcaption", "dt", "dd", "ul",
    "ol", "dl", "table", "address", "details", "summary", "hr",
})  # fmt: skip
_WAY_OUT = "Save its text as a Markdown file."
_LONG = 40
"""Characters from which text counts as found wherever it stands in the article."""
_LANGUAGE = re.compile(r"^(?:language|lang|highlight-source|brush:?)-?\s*([\w+#.-]+)$")


def fragment(html: str) -> str:
    """All of `html` as Markdown; "" when there is no text in it."""
    soup = BeautifulSoup(_valid(html), "lxml")
    for tag in soup.find_all(_NEVER):
        tag.decompose()
    return _single_blank_lines(str(_writer().convert_soup(soup))).strip()


def _valid(html: str) -> str:
    """Lone surrogates cannot be handed to lxml."""
    return html.encode("utf-8", "replace").decode("utf-8")


def _single_blank_lines(text: str) -> str:
    """Runs of blank lines (left where an image was) become one; code keeps all of them."""
    lines: list[str] = []
    fence = ""
    for line in text.split("\n"):
        mark = re.match(r"\s*(`{3,})", line)
        if mark and not fence:
            fence = mark.group(1)
        elif mark and line.strip() == fence:
            fence = ""
        if fence or line.strip() or (lines and lines[-1].strip()):
            lines.append(line)
    return "\n".join(lines)


def page(html: str, url: str | None) -> dict[str, Any]:
    """The article of a whole page: `text` (Markdown), `title`, `author`, `date`, `url`, `language`.

    Everything but `text` may be None; `url` is the address the page gives as its own (canonical).
    Raises InputError when no article is found.
    """
    from trafilatura import bare_extraction

    tree = _tree(_valid(html))
    if tree is None:
        raise InputError("no article was found in this page", _WAY_OUT)
    html = lxml.html.tostring(tree, encoding="unicode")  # whole, also where the page was a fragment
    found = bare_extraction(
        html,
        url=url,
        with_metadata=True,
        include_comments=False,
        include_tables=True,
        date_extraction_params={"extensive_search": False, "original_date": True},
    )
    if found is None or isinstance(found, dict) or not (found.text or "").strip():
        raise InputError("no article was found in this page", _WAY_OUT)
    return {
        "text": _article(tree, found.text or "") or _plain_article(html),
        "title": found.title,
        "author": found.author,
        "date": found.date,
        "url": _own_address(tree),
        "language": _language(tree),
    }


def _plain_article(html: str) -> str:
    from trafilatura import extract

    text = extract(html, output_format="markdown", include_comments=False, include_links=True)
    return text or ""


def _tree(html: str) -> lxml.html.HtmlElement | None:
    parser = lxml.html.HTMLParser(encoding="utf-8", remove_comments=True, remove_pis=True)
    try:
        return lxml.html.document_fromstring(html.encode("utf-8"), parser=parser)
    except ParserError:
        return None


def _own_address(tree: lxml.html.HtmlElement) -> str | None:
    """The canonical address the page states, when it is a web address."""
    paths = ("//link[@rel='canonical']/@href", "//meta[@property='og:url']/@content")
    for address in (value for path in paths for value in tree.xpath(path)):
        if re.match(r"https?://[^/\s]+", address):
            return str(address).strip()
    return None


def _language(tree: lxml.html.HtmlElement) -> str | None:
    stated = str(tree.get("lang") or "").strip()
    return re.split(r"[-_]", stated)[0].lower() or None


def _article(tree: lxml.html.HtmlElement, extracted: str) -> str:
    """The elements of `tree` whose text is in `extracted`, as Markdown; "" when that finds too little."""
    body = tree.find(".//body")
    if body is None:
        return ""
    for tag in list(body.iter(*_NEVER)):
        tag.drop_tree()
    whole = _letters(extracted)
    lines = {_letters(line) for line in extracted.splitlines()}
    leaves = [element for element in body.iter() if _is_leaf(element)]
    kept = [leaf for leaf in leaves if _is_kept(leaf, whole, lines)]
    anchors = [leaf for leaf in kept if len(_letters(leaf.text_content())) >= _LONG] or kept
    if not anchors:
        return ""
    root = _common_ancestor(anchors)
    inside, keep = set(root.iter()), set(kept)
    for leaf in leaves:
        if leaf in inside and leaf not in keep and leaf is not root and _letters(leaf.text_content()):
            leaf.drop_tree()
    if 2 * len(_letters(root.text_content())) < len(whole):
        return ""
    return fragment(lxml.html.tostring(root, encoding="unicode", with_tail=False))


def _letters(text: str) -> str:
    """Letters and digits only, casefolded: the same for the page's text and the extractor's."""
    return "".join(character for character in text if character.isalnum()).casefold()


def _is_leaf(element: lxml.html.HtmlElement) -> bool:
    """A block element with no block inside: a paragraph, a heading, a list item, a table row …"""
    if element.tag not in _BLOCKS:
        return False
    return next(element.iterdescendants(*_BLOCKS), None) is None


def _is_kept(leaf: lxml.html.HtmlElement, whole: str, lines: set[str]) -> bool:
    """Short text must be lines of their own in the article, or "Share" would be found in any sentence."""
    letters = _letters(leaf.text_content())
    if not letters or len(letters) >= _LONG:
        return bool(letters) and letters in whole
    parts = leaf.xpath(".//text() | .//br")  # in the order of the page
    text = "".join(part if isinstance(part, str) else "\n" for part in parts)
    return all(_letters(line) in lines for line in text.splitlines() if _letters(line))


def _common_ancestor(elements: list[lxml.html.HtmlElement]) -> lxml.html.HtmlElement:
    common = [elements[0], *elements[0].iterancestors()]
    for element in elements[1:]:
        above = {element, *element.iterancestors()}
        common = [ancestor for ancestor in common if ancestor in above]
    return common[0]


def _code_language(tag: Tag) -> str:
    """The language a code block's classes (or its child's, or its parents') name; "" when none do."""
    for element in (tag, tag.find("code"), tag.parent, tag.parent and tag.parent.parent):
        for name in element.get_attribute_list("class") if isinstance(element, Tag) else []:
            match = _LANGUAGE.match(str(name))
            if match:
                return match.group(1)
    return ""


def _writer() -> MarkdownConverter:
    """No escapes: backslashes before `_` and `*` would count as the author's own punctuation later on."""
    return _Writer(heading_style="ATX", bullets="-", escape_asterisks=False, escape_underscores=False)


class _Writer(MarkdownConverter):
    """markdownify with fences that code cannot break out of, and with the language of the code."""

    def convert_pre(self, el: Tag, text: str, parent_tags: set[str]) -> str:
        for line_break in el.find_all("br"):
            line_break.replace_with("\n")
        code = el.get_text().strip("\n")
        if not code.strip():
            return ""
        longest = max((len(run) for run in re.findall(r"`{3,}", code)), default=2)
        fence = "`" * (longest + 1)
        return f"\n\n{fence}{_code_language(el)}\n{code}\n{fence}\n\n"
