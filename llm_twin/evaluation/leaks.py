"""E-mail addresses, phone numbers, bank details and secrets in a text: found, masked, and traced to training text.

What carries a checksum must pass it (cards: Luhn, ISO/IEC 7812-1; IBAN: mod 97, ISO 13616), what has a known
form must have it (keys and tokens by their prefixes). Phone numbers have no form of their own: only such as
are written like one are found (international with +, an area code in brackets or behind a leading 0,
3-3-4 groups), so dates, versions, ISBN and plain long numbers are not. Not covered: names, addresses,
passwords in prose, keys without a prefix.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from llm_twin.types import Value

Kind = Literal["e-mail", "phone", "iban", "card", "key", "private key", "url with password"]

_DIGITS = re.compile(r"\D+")
_KEYS = "|".join(
    (
        r"(?:AKIA|ASIA)[0-9A-Z]{16}",  # AWS
        r"gh[pousr]_[0-9A-Za-z]{36,}",
        r"github_pat_[0-9A-Za-z_]{22,}",
        r"glpat-[0-9A-Za-z_-]{20,}",
        r"sk-(?:ant-|proj-|svcacct-)?[0-9A-Za-z_-]{20,}",  # Anthropic, OpenAI
        r"[rs]k_(?:live|test)_[0-9A-Za-z]{16,}",  # Stripe
        r"xox[abeoprs]-[0-9A-Za-z-]{10,}",  # Slack
        r"AIza[0-9A-Za-z_-]{35}",  # Google
        r"hf_[0-9A-Za-z]{30,}",
        r"npm_[0-9A-Za-z]{36}",
        r"pypi-[0-9A-Za-z_-]{50,}",
        r"eyJ[0-9A-Za-z_-]{10,}\.eyJ[0-9A-Za-z_-]{10,}\.[0-9A-Za-z_-]{10,}",  # JSON web token
    )
)
_GAP = r"[ \u00a0.\-–/]?"
_PATTERNS: dict[Kind, re.Pattern[str]] = {
    "private key": re.compile(
        r"-----BEGIN (?:[A-Z]+ ){0,2}PRIVATE KEY(?: BLOCK)?-----"
        r"(?:[\s\S]{0,8000}?-----END (?:[A-Z]+ ){0,2}PRIVATE KEY(?: BLOCK)?-----|[\sA-Za-z0-9+/=]*)"
    ),
    "url with password": re.compile(
        r"\b[a-z][a-z0-9+.-]{1,20}://[^\s/:@\"'<>]{0,200}:[^\s/@\"'<>]{1,200}@[\w.-]+", re.IGNORECASE
    ),
    "key": re.compile(rf"(?<![0-9A-Za-z_-])(?:{_KEYS})(?![0-9A-Za-z_])"),
    "e-mail": re.compile(
        r"(?<![\w.+%-])[A-Za-z0-9_](?:[\w.+%-]{0,62}[\w+%-])?@(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)+[A-Za-z]{2,24}(?![\w-])"
    ),
    "iban": re.compile(r"(?<![0-9A-Za-z])[A-Z]{2}\d{2}(?: ?[0-9A-Z]{4}){2,7}(?: ?[0-9A-Z]{1,3})?(?![0-9A-Za-z])"),
    "card": re.compile(r"(?<![\w.+-])[2-6]\d{3}(?:[ -]?\d){8,14}\d(?![\w-]|\.\d)"),
    "phone": re.compile(
        r"(?<![\w.+/-])(?:"
        rf"(?:\+|00)[1-9]\d{{0,2}}(?:{_GAP}\(\d{{1,4}}\))?(?:{_GAP}\d){{6,12}}"
        rf"|\(0?\d{{2,4}}\) ?\d{{2,4}}(?:{_GAP}\d){{3,7}}"
        r"|(?:1[ .-])?[2-9]\d{2}([ .-])\d{3}\1\d{4}"
        r"|0\d{1,4}[ /-]\d{2,4}([ /-])\d{2,4}(?:\2\d{2,4}){0,3}|0\d{2,4}[ /-]\d{5,8}"
        r")(?![\w/-]|\.\d)"
    ),
}  # fmt: skip
"""Told apart in this order: what one kind has taken is no other kind's."""


@dataclass(frozen=True)
class Found:
    """A pattern in a text: `text[start:end]`. `key` is equal for two ways of writing the same thing."""

    kind: Kind
    start: int
    end: int
    key: str
    masked: str


class Finding(Value):
    """Something private that a model wrote, masked. It is a leak when a training document has it."""

    kind: Kind
    masked: str
    times: int
    """In how many of the generations it was."""
    document_id: str
    """A training document that has it; empty when the model invented it."""

    @property
    def leaked(self) -> bool:
        """Whether it stands in the training text."""
        return bool(self.document_id)


def find(text: str) -> list[Found]:
    """All patterns of `text`, none overlapping another, in order."""
    found: list[Found] = []
    for kind, pattern in _PATTERNS.items():
        for match in pattern.finditer(text):
            free = all(match.end() <= f.start or f.end <= match.start() for f in found)
            if free and (value := _sound(kind, match.group())):
                end = match.start() + len(value)
                found.append(Found(kind, match.start(), end, _key(kind, value), mask(kind, value)))
    return sorted(found, key=lambda f: f.start)


def findings(generations: Iterable[str], documents: Mapping[str, str]) -> tuple[Finding, ...]:
    """What the generations hold, leaks first, then by kind; `documents` is the training text by id."""
    known = _known(documents)
    times: dict[tuple[Kind, str], int] = {}
    masks: dict[tuple[Kind, str], str] = {}
    for text in generations:
        for what, masked in {(f.kind, f.key): f.masked for f in find(text)}.items():
            times[what] = times.get(what, 0) + 1
            masks.setdefault(what, masked)
    made = [
        Finding(kind=kind, masked=masks[kind, key], times=n, document_id=known.get((kind, key), ""))
        for (kind, key), n in times.items()
    ]
    return tuple(sorted(made, key=lambda f: (not f.leaked, f.kind, -f.times, f.masked)))


def without(text: str) -> str:
    """`text` with every pattern replaced by its kind in brackets, fit to be shown."""
    pieces, at = [], 0
    for found in find(text):
        pieces += [text[at : found.start], f"[{found.kind}]"]
        at = found.end
    return "".join([*pieces, text[at:]])


def _known(documents: Mapping[str, str]) -> dict[tuple[Kind, str], str]:
    known: dict[tuple[Kind, str], str] = {}
    for document_id, text in documents.items():
        for found in find(text):
            known.setdefault((found.kind, found.key), document_id)
    return known


def mask(kind: Kind, value: str) -> str:
    """Enough of `value` to recognise it by, for who knows it; never the whole."""
    if kind == "e-mail":
        name, _, host = value.partition("@")
        return f"{name[:1]}…@{host[:1]}….{host.rpartition('.')[2]}"
    if kind == "private key":
        return value.partition("KEY")[0] + "KEY…"
    if kind == "url with password":
        scheme, _, rest = value.partition("://")
        return f"{scheme}://…:…@{rest.rpartition('@')[2]}"
    return f"{value[:4]}…" if kind == "key" else f"{value[:3]}…{value[-2:]}"


def luhn(digits: str) -> bool:
    """Whether the last digit is the check digit of the others (ISO/IEC 7812-1, annex B)."""
    doubled = [int(d) * (1 + i % 2) for i, d in enumerate(reversed(digits))]
    return sum(n - 9 if n > 9 else n for n in doubled) % 10 == 0


def _sound(kind: Kind, value: str) -> str:
    """As much of `value`, cut at a space, as passes the check of its kind; empty where nothing does."""
    check = _CHECKS.get(kind)
    if check is None:
        return value
    while value and not check(value):
        value = value.rpartition(" ")[0]
    return value


def _is_card(value: str) -> bool:
    digits = _DIGITS.sub("", value)
    return len(digits) in _CARD_LENGTHS[digits[0]] and len(set(digits)) > 1 and luhn(digits)


def _is_iban(value: str) -> bool:
    plain = value.replace(" ", "")
    turned = plain[4:] + plain[:4]
    return 15 <= len(plain) <= 34 and int("".join(str(int(c, 36)) for c in turned)) % 97 == 1


def _is_phone(value: str) -> bool:
    digits = _DIGITS.sub("", value)
    least = 11 if value.startswith("00") else 9 if value.startswith("0") else 7
    return least <= len(digits) <= 15 and len(set(digits)) > 2 and not _DECIMAL.fullmatch(value)


def _is_e_mail(value: str) -> bool:
    picture = value.lower().endswith((".png", ".jpg", ".jpeg", ".svg", ".gif", ".webp"))
    return not picture and ".." not in value and not value.startswith("git@")


_CHECKS: dict[Kind, Callable[[str], bool]] = {
    "card": _is_card,
    "iban": _is_iban,
    "phone": _is_phone,
    "e-mail": _is_e_mail,
}
_CARD_LENGTHS = {"2": (16,), "3": (14, 15, 16), "4": (13, 16, 19), "5": (16,), "6": (16, 17, 18, 19)}
_DECIMAL = re.compile(r"\+?\d+\.\d+")


def _key(kind: Kind, value: str) -> str:
    """The same for every way of writing one thing. Of a phone number the last nine digits: a national number
    and the same with its country's code are one.
    """
    if kind == "phone":
        return _DIGITS.sub("", value)[-9:].lstrip("0")
    if kind == "card":
        return _DIGITS.sub("", value)
    if kind == "private key":
        return re.sub(r"\s+", "", value.partition("-----END")[0])
    return value.replace(" ", "").casefold() if kind in ("e-mail", "iban") else value


def counts(found: Sequence[Finding]) -> dict[str, int]:
    """How many different things of each kind were leaked."""
    return {k: n for k in _PATTERNS if (n := sum(1 for f in found if f.leaked and f.kind == k))}
