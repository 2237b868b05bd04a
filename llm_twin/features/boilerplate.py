"""Boilerplate: which lines of a collected page are the site's and not the author's, and why.

Judged are whole lines of prose, never code. A line goes when it certainly is interface (a button, a menu, a
cookie note, a copyright), when it stands in too many of the author's documents, or when it could be interface
and stands beside such a line. A paragraph that merely speaks of cookies or of subscribing stays.
Not covered: advertising that a site puts into paragraphs; languages other than English.
"""

import re
from collections import Counter
from collections.abc import Iterable, Sequence

from llm_twin.text import folded, heading_text
from llm_twin.types import Document

Line = tuple[str, bool]
"""A line, and whether it is prose (not code)."""

_REPEATED_SHARE = 0.1
_REPEATED_LEAST = 4
_TITLE_WORDS = 14
_MENU_WORDS = 8


def _phrases(text: str) -> frozenset[str]:
    return frozenset(line.strip() for line in text.split("/"))


# Interface words, folded, that no one writes as a paragraph of their own.
_CHROME = _phrases(
    "subscribe / subscribe now / subscribesign in / subscribe to the newsletter / subscribe to our newsletter /"
    "sign in / sign up / sign in sign up / log in / upgrade to paid / give a gift subscription / ready for more /"
    "share this post / share this article / share on twitter / share on facebook / share on linkedin / tweet this /"
    "copy link / leave a comment / join the conversation / discussion about this post / no posts / previousnext /"
    "commentreplyshare / expand full commentreplyshare / listenshare / open in app / get the app /"
    "start writingget the app / privacy terms collection notice / substack is the home for great culture /"
    "this site requires javascript to run correctly please turn on javascript or unblock scripts /"
    "this site requires javascript to run correctly please turn on javascript or / unblock scripts /"
    "skip to content / skip to main content / back to top / toggle navigation / table of contents toggle /"
    "accept all cookies / accept cookies / manage cookies / cookie settings / cookie policy / all rights reserved /"
    "read more / read full story / continue reading / related posts / you might also like"
)
# After these a site lists other pieces.
_MORE = _phrases("read more / continue reading / related posts / you might also like")
# Interface words that are also ordinary ones: they go only beside a line that certainly is interface.
_DOUBTFUL = _phrases(
    "facebook / email / note / other / share / comments / restacks / top / latest / discussions / previous / next /"
    "menu / home / about / archive / search / listen / like / follow / follow me / twitter / linkedin / youtube /"
    "github / instagram / rss / tags / contact / privacy / terms / close / author / published / paid / free /"
    "settings / notifications / profile / reply / more / recommended / newsletter / start writing / blog"
)
_SITE = r"\b(site|website|experience|browser|traffic|analytics|ads|accept|reject|consent|privacy|policy|settings)\b"
_LETTER = r"\b(newsletter|mailing list|updates?|e-?mails?|inbox|blog|feed|posts?|letters|channel|substack)\b"
_PATTERNS = tuple(
    (re.compile(pattern, re.IGNORECASE), why)
    for pattern, why in (
        (r"^(©|\(c\)).{0,80}\b(19|20)\d\d\b.{0,80}$|^©.{0,80}$|^copyright\W{1,6}(19|20)\d\d\b", "copyright"),
        (
            rf"^(we|(this|our) (web)?site|[\w-]+(\.[\w-]+)+) uses? cookies\b(?=.*{_SITE}).{{0,200}}$",
            "cookies",
        ),
        (rf"^(?=.*{_SITE})(by|to) \w+\b.{{0,160}}\bcookies?\b.{{0,160}}$", "cookies"),
        (
            r"^\d+ (more )?(comments?|repl(y|ies)|likes?|shares?|restacks?)( (by|from|on) .{1,60})?\W{0,4}$",
            "counter",
        ),
        (r"^[\w.-]+\.(substack\.com|medium\.com|ghost\.io|wordpress\.com)$", "site name"),
        (rf"^(subscribe|sign up) (to|for|now)\b(?=.*{_LETTER}).{{0,80}}$", "call to subscribe"),
        (r"^subscribe (to|for)\b[^.?!]{0,60}$", "call to subscribe"),
        (
            r"\breader.supported publication\b|\bbecoming a (free or )?paid subscriber\.$",
            "call to subscribe",
        ),
    )
)
_DATE = re.compile(
    r"^(jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)\w*\.? \d{1,2}(,? \d{4})?$|^\d{4}-\d\d-\d\d$",
    re.IGNORECASE,
)
_COUNT = re.compile(r"^[\d.,]+k?$", re.IGNORECASE)
_LINK = re.compile(r"!?\[([^\]]*)\]\([^)]*\)")
_MENU = re.compile(r"\s*[·•|›»]\s*")
_TITLE = re.compile(r"\s*(?:[-*+•]|\d+[.)])\s+\S.*[^\s.,;:]\s*$")
_LONE_MARK = re.compile(r"\s*(#{1,6}|[*+-](\s+(__|\*\*))?|\||__|\*\*)\s*$")
_RULE = re.compile(r"\s*([*_-]\s*){3,}$")


def repeated_lines(pieces: Iterable[Sequence[Line]]) -> dict[str, int]:
    """Lines (folded) that stand in too many of an author's pieces to be prose, with how many pieces.

    Too many is a tenth of them and at least four, so a refrain of a few pieces is safe. Headings and
    labels of one or two words recur in anyone's writing and do not count.
    """
    counts: Counter[str] = Counter()
    total = 0
    for lines in pieces:
        total += 1
        counts.update({_shown(line) for line, prose in lines if prose and not line.startswith("#")})
    least = max(_REPEATED_LEAST, round(_REPEATED_SHARE * total))
    return {line: n for line, n in counts.items() if n >= least and len(line.split()) > 2}


def reasons(lines: Sequence[Line], document: Document, repeated: dict[str, int]) -> list[str]:
    """For each line why it is not the author's; "" when it is, or when it is blank."""
    found = [_certain(line, document, repeated) if prose else "" for line, prose in lines]
    filled = [i for i, (line, _) in enumerate(lines) if line.strip()]
    _mark_comments(found, lines)
    _mark_further_reading(found, lines, filled)
    _mark_doubtful(found, lines, document)
    _mark_left_over(found, lines, filled)
    return found


def _certain(line: str, document: Document, repeated: dict[str, int]) -> str:
    """Why a line certainly is not the author's, whatever stands around it."""
    plain = _shown(line)
    if not plain:
        return ""
    if plain in _CHROME:
        return "interface"
    bare = heading_text(_LINK.sub(r"\1", line))
    for pattern, why in _PATTERNS:
        if pattern.search(bare):
            return why
    if _is_menu(bare):
        return "navigation"
    if line.startswith("#") and plain == folded(document.title):
        return "title"
    return f"repeated in {repeated[plain]} documents" if plain in repeated else ""


def _shown(line: str) -> str:
    """The words of a line that a reader sees, folded: a link's text, not its address."""
    return folded(_LINK.sub(r"\1", line))


def _is_menu(line: str) -> bool:
    """`Home · Essays · About`: short parts, at least two of them interface."""
    parts = [folded(part) for part in _MENU.split(line)]
    known = sum(part in _DOUBTFUL or part in _CHROME for part in parts)
    short = all(len(part.split()) <= _MENU_WORDS for part in parts)
    return len(parts) > 2 and known > 1 and short and not line.startswith("|")  # a row of a table


def _mark_comments(found: list[str], lines: Sequence[Line]) -> None:
    """Readers' comments as Substack's pages give them: a table of one cell that ends in three glued buttons."""
    first = -1
    for i, (line, prose) in enumerate([*lines, ("", True)]):
        if prose and line.strip():
            first = i if first < 0 else first
            continue
        text = " ".join(each for each, _ in lines[first:i]) if first >= 0 else ""
        if text.startswith("|") and "commentReplyShare" in text:
            found[first:i] = ["a reader's comment"] * (i - first)
        first = -1


def _mark_further_reading(found: list[str], lines: Sequence[Line], filled: Sequence[int]) -> None:
    """The titles under `Read more` at the very end."""
    titles: list[int] = []
    for i in reversed(filled):
        line, prose = lines[i]
        if found[i] and _shown(line) in _MORE:
            for title in titles:
                found[title] = "titles of other pieces"
            return
        if not found[i]:
            if not prose or not _TITLE.match(line) or len(_shown(line).split()) > _TITLE_WORDS:
                return
            titles.append(i)


def _mark_doubtful(found: list[str], lines: Sequence[Line], document: Document) -> None:
    """Doubtful lines (buttons, counters, by-lines) that stand beside marked ones, until none is left."""
    filled = [i for i, (line, _) in enumerate(lines) if folded(line)]
    changed = True
    while changed:
        changed = False
        for place, i in enumerate(filled):
            beside = [filled[p] for p in (place - 1, place + 1) if 0 <= p < len(filled)]
            line, prose = lines[i]
            if prose and not found[i] and any(found[j] for j in beside) and _is_doubtful(line, document):
                found[i] = "interface beside interface"
                changed = True


def _is_doubtful(line: str, document: Document) -> bool:
    plain, bare = _shown(line), heading_text(line)
    return plain in _DOUBTFUL | {folded(document.author), folded(document.title)} or bool(
        _DATE.match(bare) or _COUNT.match(bare)
    )


def _mark_left_over(found: list[str], lines: Sequence[Line], filled: Sequence[int]) -> None:
    """Marks without content, and at the end rules and headings below which everything is gone."""
    for i in filled:
        line, prose = lines[i]
        underline = line.startswith("-") and i > 0 and lines[i - 1][0].strip() and not found[i - 1]
        if prose and not found[i] and not underline and _LONE_MARK.match(line):
            found[i] = "a mark without content"
    gone = False
    for i in reversed(filled):
        line, prose = lines[i]
        if not found[i] and not (prose and (_RULE.match(line) or (gone and line.startswith("#")))):
            return
        gone = gone or bool(found[i])
        found[i] = found[i] or "nothing is left below it"
