"""Markdown as HTML that is safe to show: what a model or a document says can neither run nor load anything.

Two walls, each enough alone: the parser takes no HTML, and what it made goes through an allowlist of tags and
attributes. An image becomes its description, so that reading an answer tells no other server. Not covered:
what a link leads to, once a person follows it.
"""

from collections.abc import Sequence
from functools import cache
from html import escape
from typing import Any

import nh3
from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token

TAGS = frozenset(
    {"a", "blockquote", "br", "code", "em", "hr", "li", "ol", "p", "pre", "s", "strong", "ul"}
    | {"h1", "h2", "h3", "h4", "h5", "h6", "table", "tbody", "td", "th", "thead", "tr"}
)
ATTRIBUTES = {"a": {"href", "title"}, "ol": {"start"}, "code": {"class"}}
SCHEMES = frozenset({"http", "https", "mailto"})


def html_of(markdown: str) -> str:
    """`markdown` as HTML of TAGS alone; links lead to SCHEMES only and open in a tab of their own."""
    return nh3.clean(
        _parser().render(markdown),
        tags=set(TAGS),
        clean_content_tags={"script", "style"},
        attributes={tag: set(names) for tag, names in ATTRIBUTES.items()},
        attribute_filter=_kept,
        url_schemes=set(SCHEMES),
        link_rel="noopener noreferrer nofollow",
        set_tag_attribute_values={"a": {"target": "_blank"}},
    )


@cache
def _parser() -> MarkdownIt:
    parser = MarkdownIt("commonmark", {"html": False}).enable(["table", "strikethrough"])
    parser.add_render_rule("image", _described)
    return parser


def _described(
    renderer: RendererHTML, tokens: Sequence[Token], index: int, options: Any, environment: Any
) -> str:
    """An image's description in place of the image."""
    return escape(renderer.renderInlineAsText(tokens[index].children, options, environment))


def _kept(tag: str, name: str, value: str) -> str | None:
    """An attribute's value, or None: addresses must be whole, and a class may only name a language."""
    if name == "href":
        return value if value.partition(":")[0].lower() in SCHEMES else None
    if name == "class":
        return value if value.startswith("language-") and " " not in value else None
    return value
