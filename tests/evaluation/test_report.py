import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from lxml import html
from pydantic import ValidationError

from llm_twin.evaluation.fluency import Perplexity
from llm_twin.evaluation.intervals import Estimate
from llm_twin.evaluation.measure import Example, Measured, Memorisation
from llm_twin.evaluation.report import Report, page, write_report
from llm_twin.evaluation.retrieval import Retrieval
from llm_twin.evaluation.scores import Scores
from llm_twin.types import Answer, Chunk, Citation, Hit

HOSTILE = [
    "</style></title><script>alert(1)</script>",
    '"><img src=http://evil.example/x.png onerror=alert(2)>',
    "' onmouseover='alert(3)",
    "{{ 7 * 7 }}{% raw %}{# gone #}",
    "<!-- <svg onload=alert(4)> ]]>",
    "&lt;b&gt; & &amp; \u202egnp.exe\u202c \x00\x1b[31m",
    "[1](javascript:alert(5)) [99999999999999999999]",
]


def about(value: float, spread: float = 0.08) -> Estimate:
    return Estimate(value=value, low=value - spread, high=value + spread)


def of(style: float, relevance: float, fluency: float, variety: float) -> Scores:
    sense = min(relevance, fluency, variety)
    return Scores(
        style=about(style),
        relevance=about(relevance),
        fluency=about(fluency),
        variety=about(variety),
        sense=about(sense),
        twin=about(2 * style * sense / (style + sense)),
        raw={"style": 0.512, "relevance": 0.634, "fluency": -3.217, "variety": 0.968},
    )


def measured(**changed: Any) -> Measured:
    return Measured(**{
        "author": "Wren Marlow", "documents": 6, "passages": 24,
        "auc": 0.97, "auc_others": 0.95, "auc_machine": 0.99, "refused": "",
        "base": of(0.04, 0.55, 0.93, 0.97), "twin": of(0.81, 0.72, 0.88, 1.02), "difference": about(0.69),
        "style_floor": 0.071, "style_ceiling": 0.713,
        "perplexity": Perplexity(
            base=about(31.4, 4), twin=about(22.1, 3), change=Estimate(value=-0.29, low=-0.33, high=-0.25)
        ),
        "memorisation": Memorisation(twin=0.004, base=0.0, author=0.006),
        "examples": (Example(instruction="Why 38?", author="There’ll never be 39.", base="Hooks help.", twin=""),),
        **changed,
    })  # fmt: skip


def answer(**changed: Any) -> Answer:
    passage = Chunk(
        id="c1", document_id="d1", author="Wren Marlow", kind="article", title="38 hooks", text="A ghost on the wall.",
        start=0, end=20, tokens=9,
    )  # fmt: skip
    places = {"document_id": "d1", "start": 0, "end": 20}
    return Answer(**{
        "question": "Why 38?", "text": "A missing tool leaves a ghost [1]; borrow it first [2], not [9].",
        "mode": "write", "found": True, "hits": (Hit(chunk=passage, score=0.9),),
        "citations": (
            Citation(number=1, chunk_id="c1", title="38 hooks", url="https://marlow.example/38", **places),
            Citation(number=2, chunk_id="c2", title="Glue", url=None, **places),
        ),
        **changed,
    })  # fmt: skip


def report(**changed: Any) -> Report:
    return Report(**{
        "created": datetime(2026, 11, 23, 19, 7, tzinfo=UTC), "author": "Wren Marlow",
        "base_model": "qwen2.5-coder-0.5b", "twin_model": "wren-marlow-1", "base_sha256": "1d96" * 16,
        "dataset": {"train": 96, "held out": 24, "written by": "qwen"},
        "measured": measured(),
        "retrieval": Retrieval(
            questions=40, recall_at_5=about(0.92, 0.05), mrr_at_10=about(0.8, 0.05), ndcg_at_10=about(0.84, 0.05)
        ),
        "losses": tuple((step, 4.0 - step / 40) for step in range(1, 61)),
        "minutes": {"index": 0.3, "collect": 0.1, "train": 3.4},
        "answers": (answer(),),
        **changed,
    })  # fmt: skip


def seen(text: str) -> str:
    """The words a reader sees, white space as one space."""
    body = html.document_fromstring(text).body
    for cell in body.iter("td", "th"):
        cell.tail = " "
    return " ".join(body.text_content().split())


# --- the files ----------------------------------------------------------------------------------------------------


def test_both_files_are_written_and_the_json_reads_back_whole(tmp_path: Path) -> None:
    given = report()
    as_json, as_html = write_report(given, tmp_path / "new" / "run")
    assert (as_json.name, as_html.name) == ("report.json", "report.html")
    assert Report.model_validate_json(as_json.read_text(encoding="utf-8")) == given
    stored = json.loads(as_json.read_text(encoding="utf-8"))
    assert stored["schema_version"] == 2
    assert list(stored["minutes"]) == ["index", "collect", "train"]
    assert as_html.read_text(encoding="utf-8") == page(given)
    assert sorted(p.name for p in as_json.parent.iterdir()) == ["report.html", "report.json"]


def test_a_later_report_replaces_the_earlier_one(tmp_path: Path) -> None:
    write_report(report(), tmp_path)
    write_report(report(author="Ann Other"), tmp_path)
    assert "Ann Other" in (tmp_path / "report.html").read_text(encoding="utf-8")
    assert json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))["author"] == "Ann Other"


def test_unknown_fields_times_without_a_zone_and_numbers_that_are_none_are_refused() -> None:
    for wrong in ({"colour": "red"}, {"created": "2026-11-23T19:07:00"}, {"losses": ((1, float("nan")),)}):
        with pytest.raises(ValidationError):
            report(**wrong)


# --- a page that is whole in itself -------------------------------------------------------------------------------


def test_the_page_asks_for_nothing_outside_itself() -> None:
    text = page(report())
    tree = html.document_fromstring(text)
    for tag in ("script", "iframe", "object", "embed", "img", "base", "form", "video", "audio"):
        assert tree.findall(f".//{tag}") == []
    assert {e.get("href") for e in tree.iter("link")} == {"data:,"}
    assert not re.search(r"@import|url\(", text)
    assert not [
        a for e in tree.iter() for a in e.attrib if a.startswith("on") or a in ("src", "srcset", "action")
    ]
    policy = tree.find(".//meta[@http-equiv='Content-Security-Policy']").get("content")
    assert policy.startswith("default-src 'none'; style-src 'unsafe-inline'")


def test_the_page_fits_a_phone_and_both_colour_schemes() -> None:
    text = page(report())
    assert "width=device-width" in text
    assert "prefers-color-scheme: dark" in text
    assert "color-scheme: light dark" in text


def test_every_picture_has_words_and_every_table_names_its_rows() -> None:
    tree = html.document_fromstring(page(report()))
    pictures = [s for s in tree.iter("svg") if s.getparent().tag != "svg"]
    assert len(pictures) > 20
    for picture in pictures:
        assert picture.get("aria-hidden") == "true" or (
            picture.get("role") == "img" and picture.get("aria-label")
        )
    for table in tree.iter("table"):
        assert table.find("caption") is not None or table.get("aria-labelledby")
        for row in table.findall(".//tbody/tr"):
            assert row.find("th") is not None or table.findall(".//thead//th[@scope='col']")
    assert tree.find(".").get("lang") == "en"
    assert next(tree.iter("h1", "h2", "h3")).tag == "h1"
    ids = [e.get("id") for e in tree.iter() if e.get("id")]
    assert len(ids) == len(set(ids))
    for pointer in ("aria-labelledby", "href"):
        for element in tree.iter():
            target = element.get(pointer, "")
            if pointer == "aria-labelledby" and target:
                assert target in ids
            if pointer == "href" and target.startswith("#"):
                assert target[1:] in ids


def places_of_marks(table: Any) -> dict[str, list[float]]:
    marks: dict[str, list[float]] = {}
    for row in table.findall(".//tr[@class]"):
        for mark in row.findall(".//td/svg/svg"):
            marks.setdefault(row.get("class"), []).append(float(mark.get("x").rstrip("%")))
    return marks


def test_marks_stand_where_the_figures_say() -> None:
    table = html.document_fromstring(page(report())).find(".//table[@class='drawn']")
    marks = places_of_marks(table)
    assert {who: len(found) for who, found in marks.items()} == {"base": 3, "twin": 3, "author": 3}
    one = marks["author"][0]
    assert marks["author"] == [one] * 3
    bounds = {float(b.get("x1").rstrip("%")) for b in table.iter("line") if b.get("class") == "bound"}
    zero = min(bounds)
    assert bounds == {zero, one}
    for who, scores in (("base", report().measured.base), ("twin", report().measured.twin)):
        assert scores is not None
        for place, name in zip(marks[who], ("style", "sense", "twin"), strict=True):
            value = getattr(scores, name).value
            assert place == pytest.approx(zero + value * (one - zero), abs=0.02)
    interval = next(
        i for i in table.findall(".//tr[@class='twin']/td/svg/line") if i.get("class") == "interval"
    )
    ends = [float(interval.get(end).rstrip("%")) for end in ("x1", "x2")]
    assert ends == pytest.approx([zero + v * (one - zero) for v in (0.73, 0.89)], abs=0.02)


# --- what it says -------------------------------------------------------------------------------------------------


def test_the_figures_stand_in_words_and_tables() -> None:
    text = seen(page(report()))
    for said in (
        "closer to Wren Marlow than its base model: its twin score is 0.76 against 0.07",
        "a difference of 0.69 (0.61 to 0.77)",
        "24 passages of 6 documents",
        "for this twin, relevance",
        "falls by 29% (25% to 33%)",
        "picks the right one 97 times in 100",
        "Asked 40 questions",
        "among its first five 92 times in 100",
        "fell from 3.91 over the first 6 steps to 2.56 over the last 6",
        "sha256 1d961d961d96…",
        "written by qwen",
        "minutes of train 3.4",
        "log-likelihood a token −3.217 −3.217",
        "0.071 for the base model’s answers",
        "2026-11-23 19:07 UTC",
        "There’ll never be 39.",
        "(nothing)",
    ):
        assert said in text, said


def test_a_twin_that_is_no_better_or_worse_is_said_to_be_so() -> None:
    assert "cannot tell the trained twin from its base model" in seen(
        page(report(measured=measured(difference=about(0.05))))
    )
    worse = measured(difference=about(-0.2), twin=of(0.02, 0.3, 0.9, 0.9))
    text = seen(page(report(measured=worse)))
    assert "further from Wren Marlow than its base model" in text
    assert "makes less sense: 0.30 against 0.55" in text
    assert "makes less sense" not in seen(page(report()))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ((0.1, 0.05, 0.2), "rises by 10% (5% to 20%)"),
        ((-0.02, -0.1, 0.05), "changes by −2% (−10% to 5%), which may be chance"),
        ((-0.001, -0.1, 0.05), "changes by 0% (−10% to 5%), which may be chance"),
    ],
)
def test_perplexity_that_does_not_fall_is_not_said_to_fall(change: tuple[float, ...], said: str) -> None:
    value, low, high = change
    moved = Perplexity(base=about(20, 1), twin=about(22, 1), change=Estimate(value=value, low=low, high=high))
    assert said in seen(page(report(measured=measured(perplexity=moved))))


def test_perplexity_that_was_not_measured_says_why() -> None:
    unread = report(
        measured=measured(perplexity=None, perplexity_missing="the server tells no probabilities")
    )
    assert "Not measured: the server tells no probabilities" in seen(page(unread))
    assert unread.headline()["perplexity"] == "not measured: the server tells no probabilities"


def test_a_refused_score_says_why_and_shows_none() -> None:
    refused = (
        "no score: the verifier's AUC on held-out text is 0.71 (other authors 0.66), under 0.8 it cannot tell"
    )
    nothing = measured(
        refused=refused, base=None, twin=None, difference=None, auc=0.71, auc_others=0.66, auc_machine=None
    )
    given = report(measured=nothing)
    text = seen(page(given))
    assert "No score: the verifier's AUC on held-out text is 0.71" in text
    assert "twin score is" not in text and "harmonic" not in text
    assert "falls by 29%" in text and "picks the right one 71 times" in text
    assert given.headline()["scores"] == refused


def test_copying_is_a_veto_in_words() -> None:
    copies = measured(memorisation=Memorisation(twin=0.14, base=0.0, author=0.006))
    text = seen(page(report(measured=copies)))
    assert "Veto: the twin copies. 14.0% of its 13-word runs" in text
    assert "more than 5.6% is copying" in text
    assert "does not recite" not in text
    plain = seen(page(report()))
    assert "Veto" not in plain and "does not recite" in plain
    assert "VETO" in str(report(measured=copies).headline()["memorised"])


def test_over_imitation_is_said_when_the_whole_interval_is_above_the_author() -> None:
    assert "Over-imitation." in seen(page(report(measured=measured(twin=of(1.3, 0.7, 0.9, 0.9)))))
    assert "Over-imitation" not in seen(page(report(measured=measured(twin=of(1.05, 0.7, 0.9, 0.9)))))


def test_what_was_not_measured_is_said_or_left_out() -> None:
    text = seen(
        page(
            report(
                retrieval=None,
                losses=(),
                answers=(),
                minutes={},
                measured=measured(auc_others=None, examples=()),
            )
        )
    )
    assert "Not measured: no question has a source" in text
    assert "No writing by other people was there" in text
    for left_out in ("Learning", "Asked, and answered", "three hands", "minutes of"):
        assert left_out not in text


def test_one_step_is_no_curve() -> None:
    assert "Learning" not in seen(page(report(losses=((1, 2.0),))))
    assert "Learning" in seen(page(report(losses=((1, 2.0), (2, 2.0)))))


def test_the_headline_has_the_figures_with_their_intervals() -> None:
    assert report().headline() == {
        "style": "0.81 [0.73, 0.89] (base model 0.04 [-0.04, 0.12])",
        "sense": "0.72 [0.64, 0.80] (base model 0.55 [0.47, 0.63])",
        "twin score": "0.76 [0.68, 0.84] (base model 0.07 [-0.01, 0.15])",
        "perplexity": "31.4 -> 22.1 (-29% [-33%, -25%])",
        "memorised": "0.4% (author 0.6%)",
        "recall@5": "0.92 [0.87, 0.97]",
        "nDCG@10": "0.84 [0.79, 0.89]",
    }


# --- answers with citations ---------------------------------------------------------------------------------------


def test_citations_link_to_their_source_and_unknown_numbers_stay_text() -> None:
    tree = html.document_fromstring(page(report(answers=(answer(), answer(text="Again [2].")))))
    links = [(a.text, a.get("href")) for a in tree.iter("a") if a.get("href").startswith("#")]
    assert links == [("[1]", "#source-1-1"), ("[2]", "#source-1-2"), ("[2]", "#source-2-2")]
    assert tree.get_element_by_id("source-1-1").find(".//a").get("href") == "https://marlow.example/38"
    assert tree.get_element_by_id("source-1-2").find(".//a") is None
    assert "A ghost on the wall." in tree.get_element_by_id("source-1-1").text_content()
    assert "borrow it first [2], not [9]." in seen(page(report()))


def test_nothing_found_is_said() -> None:
    nothing = answer(found=False, text="I’ve not written about that.", citations=(), hits=())
    text = seen(page(report(answers=(nothing,))))
    assert "Nothing relevant was found" in text
    assert "Twin, from passages" in text
    assert "Quotes" in seen(page(report(answers=(answer(mode="quote"),))))


@pytest.mark.parametrize(
    "url",
    [
        None,
        "",
        "javascript:alert(1)",
        " https://a.example",
        "data:text/html,x",
        "//a.example",
        "file:///etc/passwd",
    ],
)
def test_only_web_addresses_become_links(url: str | None) -> None:
    place = Citation(number=1, chunk_id="c1", document_id="d", title="T", url=url, start=0, end=1)
    tree = html.document_fromstring(page(report(answers=(answer(citations=(place,)),))))
    assert [a.get("href") for a in tree.iter("a")] == ["#source-1-1"]


# --- hostile words ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("words", HOSTILE)
def test_hostile_words_are_shown_as_words_wherever_they_stand(words: str, tmp_path: Path) -> None:
    place = Citation(number=1, chunk_id=words, document_id=words, title=words, url=words, start=0, end=1)
    chunk = Chunk(
        id=words,
        document_id="d",
        author="A",
        kind="post",
        title=words,
        text=words,
        start=0,
        end=len(words),
        tokens=1,
    )
    answers = (
        Answer(
            question=words,
            text=words,
            mode="write",
            found=True,
            citations=(place,),
            hits=(Hit(chunk=chunk, score=1),),
        ),
    )
    example = Example(instruction=words, author=words, base=words, twin=words)
    found = measured(author=words, examples=(example,))
    hostile = report(
        author=words, base_model=words, twin_model=words, base_sha256=words, dataset={words: words},
        minutes={words: 1.0}, answers=answers, measured=found,
    )  # fmt: skip
    text = page(hostile)
    tree, harmless = (
        html.document_fromstring(text.replace("\x00", "\ufffd").replace("\x1b", "")),
        page(report()),
    )
    assert tree.findall(".//script") == tree.findall(".//img") == []
    assert len(tree.findall(".//style")) == 1
    assert not [name for e in tree.iter() for name in e.attrib if name.startswith("on")]
    assert {e.tag for e in tree.iter() if isinstance(e.tag, str)} <= {
        e.tag for e in html.document_fromstring(harmless).iter() if isinstance(e.tag, str)
    }
    quote = tree.find(".//blockquote").text_content()
    assert quote == words.replace("\x00", "\ufffd").replace("\x1b", "")
    as_json, _ = write_report(hostile, tmp_path)
    assert Report.model_validate_json(as_json.read_text(encoding="utf-8")) == hostile


def test_a_hostile_reason_for_a_refusal_is_shown_as_words() -> None:
    refused = measured(refused=HOSTILE[0], base=None, twin=None, difference=None)
    assert "<script>" not in page(report(measured=refused))


def test_text_from_right_to_left_stays_in_its_own_box() -> None:
    tree = html.document_fromstring(page(report(author="\u202eevil")))
    for element in tree.iter():
        if isinstance(element.tag, str) and "\u202e" in (element.text or "") and element.tag != "title":
            assert element.tag == "bdi" or element.get("dir") == "auto"
