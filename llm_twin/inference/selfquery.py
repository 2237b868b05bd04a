"""Self-query: the filters that a question names in passing ("in your posts of 2023") as a filter of the search.

Two ways, and the caller says which: `by_model` asks the chat model for JSON that a schema holds to the known
authors, kinds and platforms, and believes only what the question has a word for; `by_rules` looks for a few
English phrases and is right more often than it finds something. What a filter leaves out cannot be found, so
both prefer none to a wrong one.
Not covered: filters that are not meant as such and look it, other languages (rules), negations.
"""

import calendar
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any, get_args

from llm_twin import prompts
from llm_twin.ports import ChatModel, Progress, silent
from llm_twin.text import words
from llm_twin.types import Kind, Sampling, Where

SELFQUERY_PROMPT = "selfquery.v1"
_TOKENS = 100
_FIELDS = ("author", "kind", "platform", "published_from", "published_to")
_DATE = {"type": "string", "pattern": r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$"}

_KINDS: tuple[tuple[Kind, str], ...] = (
    ("article", r"articles?|essays?|blog ?posts?"),
    ("post", r"posts?"),
    ("repository", r"repositor(?:y|ies)|repos?"),
    ("message", r"messages?|e-?mails?"),
)
_OWNER = r"(?:an?|the|any|all|my|your|his|her|their|which|what|old(?:er)?|recent|latest)\s+"
_WRITING = re.compile(
    r"\b(?:wr[io]te|written|writing|publish(?:ed)?|posted|said|articles?|essays?|posts?|messages?|e-?mails?)\b",
    re.I,
)
_MONTHS = {name.lower(): i for i, name in enumerate(calendar.month_name) if name}
_POINT = rf"(?:(?P<month{{0}}>{'|'.join(_MONTHS)})\s+)?(?P<year{{0}}>(?:19|20)\d\d)"
_RANGE = re.compile(
    rf"\b(?:between|from)\s+{_POINT.format('')}\s+(?:and|to|until)\s+{_POINT.format('2')}\b", re.I
)
_AFTER_YEAR = (
    r"(?=\s*(?:$|[^\w\s]|(?:about|on|say|said|and|that|which|did|do|does|is|are|was|were|how|what|why)\b))"
)
_SINGLE = re.compile(
    rf"\b(?P<how>since|after|before|until|in|of|from|during)\s+{_POINT.format('')}\b{_AFTER_YEAR}", re.I
)
_TIME = re.compile(r"\b(?:years?|months?|weeks?|days?|today|yesterday|recent(?:ly)?|latest|lately|newest)\b")
_LAST = re.compile(r"\b(?P<which>last|this)\s+(?P<unit>year|month)\b", re.I)


@dataclass(frozen=True)
class SelfQuery:
    """The filter that `question` names; `refused` says what the model named that cannot be a filter, "" if nothing."""

    question: str
    where: Where
    refused: str = ""


@dataclass(frozen=True)
class Known:
    """What there is to filter by, and the day that "last year" is counted from."""

    authors: Sequence[str]
    platforms: Sequence[str]
    today: date


def narrowed(where: Where, found: Where) -> Where:
    """`where` with the fields of `found` that it leaves open: what the caller fixed stays fixed."""
    fixed = {field: value for field, value in where if value is not None}
    return found.model_copy(update=fixed)


def by_model(
    questions: Sequence[str], model: ChatModel, known: Known, progress: Progress = silent
) -> list[SelfQuery]:
    """The filters of each question, in order, in one batch of the model, at temperature 0.

    A filter that no word of the question stands for is refused: a small model fills in what the prompt's examples
    have (the default one gave 50 of 50 questions a date or a kind that none of them named).
    """
    sampling = Sampling(max_tokens=_TOKENS, temperature=0, json_schema=_schema(known))
    asks = [
        prompts.conversation(
            SELFQUERY_PROMPT,
            question=question,
            today=known.today.isoformat(),
            authors=", ".join(known.authors) or "none",
            platforms=", ".join(known.platforms) or "none",
        )
        for question in questions
    ]
    replies = model.generate(asks, sampling, progress)
    return [_read(q, reply.text, known) for q, reply in zip(questions, replies, strict=True)]


def by_rules(question: str, known: Known) -> SelfQuery:
    """The filters that plain phrases of `question` name. A date counts only where writing is spoken of."""
    first, last = _dates(question, known.today) if _WRITING.search(question) else (None, None)
    where = Where(
        author=_only(question, {name: name for name in known.authors}),
        kind=_kind(question),
        platform=_only(
            question, {_site(name): name for name in known.platforms}, r"(?:on|from|in)\s+(?:your\s+)?"
        ),
        published_from=first,
        published_to=last,
    )
    return SelfQuery(question, where)


def _schema(known: Known) -> str:
    choices = {"author": list(known.authors), "kind": list(get_args(Kind)), "platform": list(known.platforms)}
    properties: dict[str, Any] = {name: {"enum": [*values, None]} for name, values in choices.items()}
    for name in _FIELDS[3:]:
        properties[name] = {"anyOf": [_DATE, {"type": "null"}]}
    schema = {
        "type": "object",
        "properties": properties,
        "required": list(_FIELDS),
        "additionalProperties": False,
    }
    return json.dumps(schema)


def _read(question: str, reply: str, known: Known) -> SelfQuery:
    """The filter in `reply`. What it names that is no filter is left out and told, the rest stays."""
    try:
        said = json.loads(reply)
        named = {field: said[field] for field in _FIELDS if said.get(field) is not None}
    except (ValueError, KeyError, TypeError, AttributeError):
        return SelfQuery(question, Where(), f"the reply is no whole JSON: {reply[:60]!r}")
    kept: dict[str, Any] = {}
    refused = []
    for field, value in named.items():
        if _is_known(field, value, known) and _is_said(field, value, question):
            kept[field] = date.fromisoformat(value) if field.startswith("published") else value
        else:
            refused.append(f"{field} {value!r}")
    first, last = kept.get("published_from"), kept.get("published_to")
    if first and last and first > last:
        refused.append(f"{first} to {last}")
        del kept["published_from"], kept["published_to"]
    return SelfQuery(question, Where(**kept), ", ".join(refused))


def _is_known(field: str, value: Any, known: Known) -> bool:
    if field.startswith("published"):
        try:
            date.fromisoformat(value)
        except (TypeError, ValueError):
            return False
        return True
    choices = {"author": known.authors, "kind": get_args(Kind), "platform": known.platforms}
    return value in choices[field]


def _is_said(field: str, value: str, question: str) -> bool:
    """Whether a word of `question` stands for `value`: its year or a word of time, a name's word, a kind's noun."""
    said = question.casefold()
    if field.startswith("published"):
        return value[:4] in said or bool(_TIME.search(said))
    if field == "kind":
        return any(re.search(rf"\b(?:{noun})\b", said) for kind, noun in _KINDS if kind == value)
    names = [_site(value), value] if field == "platform" else words(value)
    return any(re.search(rf"(?<!\w){re.escape(name.casefold())}(?!\w)", said) for name in names)


def _only(question: str, names: dict[str, str], before: str = "") -> str | None:
    """The one of `names` that stands in `question` behind `before`; None where none does, or two do."""
    found = {
        value
        for name, value in names.items()
        if re.search(rf"(?<!\w){before}{re.escape(name)}(?!\w)", question, re.I)
    }
    return found.pop() if len(found) == 1 else None


def _site(platform: str) -> str:
    """What people call a platform: `medium` of `blog.medium.com`."""
    parts = platform.split(".")
    return parts[-2] if len(parts) > 1 else platform


def _kind(question: str) -> Kind | None:
    """The kind of writing that is asked for: "in your posts", "articles about"; the longest name wins."""
    for kind, noun in _KINDS:
        asked = rf"\b(?:in|from|of)\s+{_OWNER}(?:{noun})\b|\b(?:{noun})\s+(?:about|on|from|of|since|before)\b"
        if re.search(asked, question, re.I):
            return kind
    return None


def _dates(question: str, today: date) -> tuple[date | None, date | None]:
    """First and last day that `question` names, None for an open end."""
    if found := _RANGE.search(question):
        first, last = _span(found, "")[0], _span(found, "2")[1]
        return (first, last) if first <= last else (None, None)
    if found := _LAST.search(question):
        return _recent(found["which"].lower() == "last", found["unit"].lower(), today)
    if found := _SINGLE.search(question):
        return _one(found["how"].lower(), *_span(found, ""))
    return None, None


def _one(how: str, first: date, last: date) -> tuple[date | None, date | None]:
    if how == "since":
        return first, None
    if how == "after":
        return last + timedelta(days=1), None
    if how == "before":
        return None, first - timedelta(days=1)
    return (None if how == "until" else first), last


def _span(found: re.Match[str], which: str) -> tuple[date, date]:
    """First and last day of the month or the year that was named."""
    year, month = int(found[f"year{which}"]), found[f"month{which}"]
    number = _MONTHS[month.lower()] if month else 0
    return _month(year, number) if number else (date(year, 1, 1), date(year, 12, 31))


def _recent(last: bool, unit: str, today: date) -> tuple[date, date]:
    if unit == "year":
        year = today.year - last
        return date(year, 1, 1), date(year, 12, 31)
    day = today.replace(day=1) - timedelta(days=1) if last else today
    return _month(day.year, day.month)


def _month(year: int, month: int) -> tuple[date, date]:
    return date(year, month, 1), date(year, month, calendar.monthrange(year, month)[1])
