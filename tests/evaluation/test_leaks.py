import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_twin.evaluation.leaks import Finding, counts, find, findings, luhn, mask, without

# Put together from pieces, so that no scanner takes this file for a leak.
AWS = "AKIA" + "IOSFODNN7EXAMPLE"
GITHUB = "ghp_" + "a1B2" * 9
OPENAI = "sk-" + "proj-" + "Zx9" * 12
TOKEN = "eyJ" + "hbGciOiJIUzI1NiJ9" + ".eyJ" + "zdWIiOiIxMjM0In0" + "." + "sflKxwRJSMeKKF2QT4"
STRIPE = "sk_" + "live_" + "4eC39HqLyjWDarjtT1zdp7dc"
KEY_BLOCK = "-----BEGIN RSA " + "PRIVATE KEY-----\nMIIEow+/==\nabc\n-----END RSA " + "PRIVATE KEY-----"

THERE = [
    ("e-mail", "ann.o'hara? no: ann_hara+news@mail.example.co.uk.", "ann_hara+news@mail.example.co.uk"),
    ("e-mail", "<wren@example.org>", "wren@example.org"),
    ("phone", "call +44 20 7946 0958 now", "+44 20 7946 0958"),
    ("phone", "call +44 (0)20 7946 0958 now", "+44 (0)20 7946 0958"),
    ("phone", "(212) 555-0187", "(212) 555-0187"),
    ("phone", "212-555-0187", "212-555-0187"),
    ("phone", "Tel. 030/12345678,", "030/12345678"),
    ("phone", "01 23 45 67 89", "01 23 45 67 89"),
    ("phone", "+4915112345678", "+4915112345678"),
    ("phone", "0049 151 12345678", "0049 151 12345678"),
    ("iban", "to DE89 3704 0044 0532 0130 00 AND soon", "DE89 3704 0044 0532 0130 00"),
    ("iban", "GB82WEST12345698765432", "GB82WEST12345698765432"),
    ("card", "4111 1111 1111 1234? no, 4012 8888 8888 1881", "4012 8888 8888 1881"),
    ("card", "378282246310005", "378282246310005"),
    ("card", "card 5555-5555-5555-4444.", "5555-5555-5555-4444"),
    ("key", f"export AWS={AWS}", AWS),
    ("key", f"token: {GITHUB}!", GITHUB),
    ("key", OPENAI, OPENAI),
    ("key", STRIPE, STRIPE),
    ("key", f"Bearer {TOKEN}", TOKEN),
    ("private key", f"see {KEY_BLOCK} there", KEY_BLOCK),
    ("url with password", "postgres://ann:s3cret@db.example.org:5432/x", "postgres://ann:s3cret@db.example.org"),
    ("url with password", "redis://:s3cret@cache", "redis://:s3cret@cache"),
]  # fmt: skip
NEAR_MISSES = [
    "2024-01-15 and 15.01.2024, 05-12-2023, 01/02/2023 10:30:45",
    "version 1.12.3, 192.168.100.200, 3.14159265358979, +3.14159265",
    "ISBN 978-3-16-148410-0 and 0-306-40615-2, ORCID 0000-0002-1825-0097",
    "in 1939-1945 there were 10,000,000 of 123456789 and 1700000000000",
    "4111 1111 1111 1112 fails Luhn, 4242424242424 is too short for one",
    "DE89370400440532013001 fails mod 97",
    "@ann, ann at example.org, a@b, ann@localhost, logo@2x.png, git@github.com:ann/lathe.git",
    "sk-learn, sk-short, AKIA123, ghp_short, eyJhbGciOi.x.y",
    "https://example.org:8080/@ann and http://localhost:3000 and mailto:someone",
    "-----BEGIN PUBLIC KEY-----",
    "0000000000000000 and 000-000-0000",
]


@pytest.mark.parametrize(("kind", "text", "value"), THERE, ids=lambda v: str(v)[:24])
def test_what_is_there_is_found_whole(kind: str, text: str, value: str) -> None:
    assert [(f.kind, text[f.start : f.end]) for f in find(text)] == [(kind, value)]


@pytest.mark.parametrize("text", NEAR_MISSES)
def test_near_misses_are_not_found(text: str) -> None:
    assert find(text) == []


@pytest.mark.parametrize("value", [value for _, _, value in THERE])
def test_a_mask_never_holds_the_value(value: str) -> None:
    (found,) = find(value)
    assert value not in found.masked
    private = value.partition("@")[0] if found.kind == "e-mail" else value[4:-2]
    assert private not in found.masked


def test_masks_by_hand() -> None:
    assert mask("e-mail", "wren@example.co.uk") == "w…@e….uk"
    assert mask("phone", "+44 20 7946 0958") == "+44…58"
    assert (
        mask("url with password", "postgres://ann:s3cret@db.example.org") == "postgres://…:…@db.example.org"
    )
    assert mask("private key", KEY_BLOCK) == "-----BEGIN RSA PRIVATE KEY…"


def test_luhn_on_the_standards_own_example_and_on_every_wrong_digit() -> None:
    assert luhn("79927398713")
    assert not any(luhn(f"7992739871{d}") for d in "012456789")


@given(st.text("0123456789", min_size=1, max_size=18))
def test_luhn_agrees_with_the_check_digit_computed_the_other_way_round(digits: str) -> None:
    odd_places = digits[::-1][::2]
    total = sum(map(int, digits[::-1][1::2])) + sum(sum(divmod(2 * int(d), 10)) for d in odd_places)
    assert luhn(digits + str(-total % 10))
    assert not luhn(digits + str((1 - total) % 10))


def test_a_leak_is_told_from_an_invention_however_it_is_written() -> None:
    training = {"one": "Write to Wren@Example.org.", "two": "Ring (020) 7946 0958 or 4012888888881881."}
    said = [
        "wren@example.org, really wren@example.org",
        "wren@example.org and nobody@example.net",
        "+44 20 7946 0958",
        "4012 8888 8888 1881",
    ]
    found = findings(said, training)
    assert {(f.kind, f.times, f.document_id) for f in found} == {
        ("e-mail", 2, "one"),
        ("phone", 1, "two"),
        ("card", 1, "two"),
        ("e-mail", 1, ""),
    }
    assert [f.leaked for f in found] == [True, True, True, False]
    assert counts(found) == {"e-mail": 1, "card": 1, "phone": 1}


def test_nothing_private_gives_no_findings() -> None:
    assert findings(["The lathe hums at 3000 rpm."], {"one": "The lathe hums."}) == ()


def test_without_shows_the_text_without_the_secret() -> None:
    assert without(f"Mail wren@example.org, use {AWS}.") == "Mail [e-mail], use [key]."
    assert without("Nothing here.") == "Nothing here."


def test_findings_are_plain_json() -> None:
    (found,) = findings(["wren@example.org"], {})
    assert Finding.model_validate_json(found.model_dump_json()) == found


def test_hostile_text_takes_no_time() -> None:
    rng = random.Random(0)
    for piece in ("1 ", "a@", "a.", "+1 (", "://:", "-----BEGIN PRIVATE KEY-----", "DE89 ", "eyJ.", "0/1"):
        find(piece * 5000)
    find("".join(rng.choice("0123456789 -+@.:/aA") for _ in range(20000)))
