"""Cleaning: keep what the author wrote exactly as it was written, drop what the site put around it.

Kept: punctuation, apostrophes, dashes, casing, emoji, paragraph and list breaks, code with its white space.
Dropped, each line with its reason: navigation and buttons, cookie and copyright notes, by-lines, lines
repeated across an author's documents. Undone: hard wraps that a crawler put into paragraphs.
Not covered: telling a quotation or a guest's paragraph from the author's own; only a document that says it
is a guest post is set aside.
"""

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from llm_twin.text import blocks, folded, heading_text
from llm_twin.types import CleanDocument, Document, Skipped

# Interface words that no one writes as a paragraph of their own.
_CHROME = {
    *("subscribe", "subscribesign in", "sign in", "sign up", "sign in sign up", "log in", "share this post"),
    *(
        "copy link",
        "discussion about this post",
        "ready for more",
        "start writingget the app",
        "start writing",
    ),
    *("get the app", "privacy terms collection notice", "substack is the home for great culture", "no posts"),
    *("this site requires javascript to run correctly please turn on javascript or unblock scripts",),
    *("this site requires javascript to run correctly please turn on javascript or", "unblock scripts"),
    *(
        "previousnext",
        "commentreplyshare",
        "listenshare",
        "open in app",
        "skip to content",
        "skip to main content",
    ),
    *("subscribe to the newsletter", "subscribe now", "subscribe to our newsletter", "leave a comment"),
    *(
        "back to top",
        "read more",
        "continue reading",
        "share this article",
        "share on twitter",
        "share on facebook",
    ),
    *(
        "share on linkedin",
        "table of contents toggle",
        "accept all cookies",
        "accept cookies",
        "manage cookies",
    ),
    *("cookie settings", "all rights reserved", "upgrade to paid", "give a gift subscription", "tweet this"),
    *(
        "join the conversation",
        "you might also like",
        "related posts",
        "follow",
        "follow me",
        "toggle navigation",
    ),
}
# Interface words that are also ordinary ones: they go only beside a line that certainly is interface.
_DOUBTFUL = {
    *("facebook", "email", "note", "other", "share", "comments", "restacks", "top", "latest", "discussions"),
    *(
        "previous",
        "next",
        "menu",
        "home",
        "about",
        "archive",
        "search",
        "listen",
        "like",
        "twitter",
        "linkedin",
    ),
    *(
        "youtube",
        "github",
        "instagram",
        "tags",
        "contact",
        "privacy",
        "terms",
        "close",
        "author",
        "published",
    ),
    *("paid", "free", "settings", "notifications", "profile", "reply", "more", "recommended", "newsletter"),
}
_PATTERNS = (
    (
        re.compile(r"^(©|\(c\)|copyright)\W.{0,80}\b(19|20)\d\d\b.{0,80}$|^©.{0,80}$", re.IGNORECASE),
        "copyright",
    ),
    (
        re.compile(
            r"^.{0,60}\b(uses?|accept|about|store) (of )?cookies\b.{0,160}$|\bcookie policy\b", re.IGNORECASE
        ),
        "cookies",
    ),
    (
        re.compile(r"^\d+ (more )?(comments?|repl(y|ies)|likes?|shares?|restacks?)\b.{0,60}$", re.IGNORECASE),
        "counter",
    ),
    (
        re.compile(r"^[\w.-]+\.(substack\.com|medium\.com|ghost\.io|wordpress\.com)$", re.IGNORECASE),
        "site name",
    ),
    (re.compile(r"^(subscribe|sign up) (to|for|now)\b.{0,80}$", re.IGNORECASE), "call to subscribe"),
)
_DATE = re.compile(
    r"^(jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)\w*\.? \d{1,2},? \d{4}$|^\d{4}-\d\d-\d\d$",
    re.IGNORECASE,
)
_COUNT = re.compile(r"^[\d.,]+k?$", re.IGNORECASE)
_GUEST = re.compile(r"^\W*(a )?guest post by\b|\bwritten\W+by\W+our\W+guest\b", re.IGNORECASE | re.MULTILINE)
_INVISIBLE = re.compile("[\u200b\u200c\u2060\ufeff\u00ad]")  # not U+200D, which joins emoji
_MEDIUM_HEAD = re.compile(r"\A.{0,1500}?\d+ min read·.{0,60}?(?:Listen)?Share(?=\S)", re.DOTALL)
_MEDIUM_TAIL = re.compile(
    r"(?:Sign up to discover human stories|[\d.]+K?(?:[\d.]+K?)?FollowWritten by ).*\Z", re.DOTALL
)
_REPEATED_SHARE = 0.1
_REPEATED_LEAST = 4
_NARROWEST_WRAP, _WIDEST_WRAP = 60, 82
_MARK = re.compile(r"\s*([#>|]|\\?[-*+•→↳]\s|\d+\\?[.)]|```)")


@dataclass(frozen=True)
class Cleaned:
    """What cleaning returned: clean documents, and those set aside with the reason."""

    documents: tuple[CleanDocument, ...]
    skipped: tuple[Skipped, ...]


def clean(documents: Iterable[Document]) -> Cleaned:
    """Clean all `documents`; repeated lines are judged within each author's own writing."""
    by_author: dict[str, list[Document]] = defaultdict(list)
    for document in documents:
        by_author[document.author].append(document)
    kept: list[CleanDocument] = []
    skipped: list[Skipped] = []
    for author in sorted(by_author):
        texts = {d.id: prepare(d) for d in by_author[author]}
        repeated = repeated_lines(texts.values())
        for document in by_author[author]:
            if _GUEST.search(texts[document.id]):
                skipped.append(
                    Skipped(what=document.title, why="says it is a guest post, so another's words")
                )
                continue
            cleaned = clean_one(document, texts[document.id], repeated)
            if cleaned.text:
                kept.append(cleaned)
            else:
                skipped.append(Skipped(what=document.title, why="nothing but site text"))
    return Cleaned(tuple(sorted(kept, key=lambda c: c.document.id)), tuple(skipped))


def prepare(document: Document) -> str:
    """The text in one encoding of white space, with hard wraps undone; no word or mark is touched."""
    text = unicodedata.normalize("NFC", document.text).replace("\r\n", "\n").replace("\r", "\n")
    text = _INVISIBLE.sub("", text).replace("\u00a0", " ")
    if document.kind == "repository":
        return text.strip("\n")
    if document.platform == "medium" or "medium.com" in (document.url or ""):
        text = _MEDIUM_TAIL.sub("", _MEDIUM_HEAD.sub("", text))
    return unwrap(text)


def repeated_lines(texts: Iterable[str]) -> dict[str, int]:
    """Lines (folded) that stand in too many of the texts to be anyone's prose, with how many texts."""
    counts: Counter[str] = Counter()
    total = 0
    for text in texts:
        total += 1
        counts.update({folded(line) for line, plain in _lines(text) if plain and not line.startswith("#")})
    least = max(_REPEATED_LEAST, round(_REPEATED_SHARE * total))
    return {line: n for line, n in counts.items() if n >= least and line}


def clean_one(document: Document, text: str, repeated: dict[str, int]) -> CleanDocument:
    """Drop the lines of one prepared text that are not the author's."""
    if document.kind == "repository":
        return CleanDocument(document=document, text=text)
    lines = _lines(text)
    reasons = [_reason(line, document, repeated) if plain else "" for line, plain in lines]
    _spread(reasons, [line for line, _ in lines], document)
    kept = [line for (line, _), why in zip(lines, reasons, strict=True) if not why]
    dropped = tuple((line.strip(), why) for (line, _), why in zip(lines, reasons, strict=True) if why)
    return CleanDocument(document=document, text=_without_empty_sections("\n".join(kept)), dropped=dropped)


def _lines(text: str) -> list[tuple[str, bool]]:
    """(line, is it prose?) for every line; lines of code are not prose and are never judged."""
    lines = text.split("\n")
    prose = [True] * len(lines)
    for block in blocks(text):
        if block.kind == "code":
            first = text.count("\n", 0, block.start)
            prose[first : first + text.count("\n", block.start, block.end) + 1] = [False] * (
                text.count("\n", block.start, block.end) + 1
            )
    return list(zip(lines, prose, strict=True))


def _reason(line: str, document: Document, repeated: dict[str, int]) -> str:
    """Why a line certainly is not the author's; "" when it may be."""
    plain = folded(line)
    bare = heading_text(line)
    if not plain:
        return ""
    if plain in _CHROME:
        return "interface"
    for pattern, why in _PATTERNS:
        if pattern.search(bare):
            return why
    if line.startswith("#") and plain == folded(document.title):
        return "title"
    if plain in repeated and not (plain in _DOUBTFUL or _is_short_step(line)):
        return f"repeated in {repeated[plain]} documents"
    return ""


def _is_short_step(line: str) -> bool:
    """Short labels such as `Solution:` or `Step 1` recur in anyone's writing; they are structure."""
    return len(folded(line).split()) < 3


def _spread(reasons: list[str], lines: Sequence[str], document: Document) -> None:
    """Mark doubtful lines (buttons, counters, by-lines) that stand beside marked ones, until none is left."""
    filled = [i for i, line in enumerate(lines) if folded(line)]
    changed = True
    while changed:
        changed = False
        for place, i in enumerate(filled):
            beside = [filled[p] for p in (place - 1, place + 1) if 0 <= p < len(filled)]
            if not reasons[i] and any(reasons[j] for j in beside) and _is_doubtful(lines[i], document):
                reasons[i] = "interface beside interface"
                changed = True


def _is_doubtful(line: str, document: Document) -> bool:
    plain, bare = folded(line), heading_text(line)
    return (
        plain in _DOUBTFUL
        or plain == folded(document.author)
        or bool(_DATE.match(bare) or _COUNT.match(bare))
        or (plain == folded(document.title) and len(plain) > 0)
    )


def _without_empty_sections(text: str) -> str:
    """Marks that cleaning left without content (a lone `#`, a bullet, a rule at an end) and spare blank lines."""
    kept = [line.rstrip() for line in text.split("\n")]
    kept = [line for line in kept if not re.fullmatch(r"#{1,6}|[*\-+]\s*|\|(\s*\|)*|---\|---", line.strip())]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(kept)).strip("\n")


def unwrap(text: str) -> str:
    """Undo a crawler's hard wrap: join a line with the next where the next word would not have fitted.

    A text counts as wrapped when no prose line that is continued passes 82 columns and ten or more end
    just before a word that did not fit. Every other line break is the author's and stays.
    """
    lines = text.split("\n")
    continued = [i for i in _continued(text) if not _MARK.match(lines[i + 1])]
    column = max((len(lines[i].rstrip()) for i in continued), default=0)
    wraps = [i for i in continued if len(lines[i].rstrip()) + 1 + len(lines[i + 1].split()[0]) > column]
    if column > _WIDEST_WRAP or column < _NARROWEST_WRAP or len(wraps) < 10:
        return text
    for i in reversed(wraps):
        lines[i : i + 2] = [lines[i].rstrip() + " " + lines[i + 1].lstrip()]
    return "\n".join(lines)


def _continued(text: str) -> list[int]:
    """Numbers of prose lines that are followed by another line without a blank one between.

    A heading ends with its line in Markdown, so a long one's broken-off rest looks like a paragraph below it.
    """
    lines = _lines(text)
    return [
        i
        for i, ((line, prose), (below, below_prose)) in enumerate(pairwise(lines))
        if prose and below_prose and line.strip() and below.strip() and not below.startswith("#")
    ]
