"""The sections on the page: what they show and say, and the page in a browser."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from lxml import html

from llm_twin.evaluation.ares import Triple
from llm_twin.evaluation.ares import measure as measure_ares
from llm_twin.evaluation.canaries import exposed
from llm_twin.evaluation.forgetting import Forgetting
from llm_twin.evaluation.intervals import Estimate
from llm_twin.evaluation.people import Guess, Label, blind_verdict, feedback_stats
from llm_twin.evaluation.ragas_scores import RagasScores
from llm_twin.evaluation.report import Report, page
from llm_twin.types import Feedback

Whole = Callable[..., Report]
HOSTILE = [
    "</style></title><script>alert(1)</script>",
    '"><img src=http://evil.example/x.png onerror=alert(2)>',
    "' onmouseover='alert(3)",
    "{{ 7 * 7 }}{% raw %}{# gone #}",
    "<!-- <svg onload=alert(4)> ]]>",
    "[1](javascript:alert(5)) [99999999999999999999]",
]


def card(report: Report, name: str) -> Any:
    """The part of the page under the heading with this id."""
    tree = html.document_fromstring(page(report))
    (found,) = tree.xpath(f"//*[@aria-labelledby='{name}' and not(self::table)]")
    return found


def shown(report: Report) -> str:
    """The words of the whole page."""
    return said(html.document_fromstring(page(report)).body)


def said(element: Any) -> str:
    for cell in element.iter("td", "th", "li", "h3", "p", "figcaption", "b"):
        cell.tail = " " + (cell.tail or "")
    return " ".join(element.text_content().split())


def changed(value: Any, **fields: Any) -> Any:
    return value.model_copy(update=fields)


# --- pictures -----------------------------------------------------------------------------------------------------


def test_every_opinion_has_a_small_picture_and_its_agreement_a_row(whole: Whole) -> None:
    opinions = card(whole(), "opinions")
    style, delta, refused = opinions.xpath(".//figure")
    for figure in (style, delta):
        assert len(figure.xpath(".//svg[@role='img']//svg")) == 3  # base, twin and author
        assert len(figure.xpath(".//line[@class='interval']")) == 2
    assert refused.xpath(".//svg") == []
    text = said(opinions)
    for words in (
        "2 of 2 opinions",
        "Twin 0.75 0.65 to 0.85",
        "it cannot tell. Plain words.",
        "over 24 documents",
        "0.64",
    ):
        assert words in text, words
    row = opinions.xpath(".//table[@class='drawn named']/tbody/tr")
    assert [" ".join(r.find("th").text_content().split()) for r in row] == ["delta"]


def test_calibration_is_a_picture_with_its_diagonal_and_its_figures_folded_away(whole: Whole) -> None:
    given = whole()
    found = card(given, "calibration")
    assert given.validation and given.validation.calibration
    dots = found.xpath(".//circle")
    assert len(dots) == len(given.validation.calibration.bins)
    diagonal = found.xpath(".//line[@class='limit']")[0]
    assert [diagonal.get(end) for end in ("x1", "y1", "x2", "y2")] == ["0", "100%", "100%", "0"]
    assert len(found.xpath(".//details//tbody/tr")) == len(dots)
    assert found.xpath(".//table[not(ancestor::details)]") == []


def test_the_power_curve_the_dealt_labels_and_the_wording_kept_are_shown(whole: Whole) -> None:
    validation = card(whole(), "validation")
    text = said(validation)
    for words in (
        "40 words for an AUC of 0.8 over everything, more than there are for 0.9",
        "by chance, verifiers fitted alike reach 0.52 (0.43 to 0.61): a coin’s 0.5 lies within",
        "kept 64% of the author’s runs of three words",
        "0.77one document",
    ):
        assert words in text, words
    curve = card(whole(), "power")
    assert len(curve.xpath(".//line[@class='whisker']")) == 3  # two lengths, and one side without a text
    assert [t.text for t in curve.xpath(".//div[@class='ticks']/span")] == ["20", "40"]


@pytest.mark.parametrize(
    ("low", "high", "words"),
    [(0.55, 0.7, "more than a coin"), (0.4, 0.6, "lies within"), (0.3, 0.45, "less than a")],
)
def test_an_auc_by_chance_is_held_against_a_coin(whole: Whole, low: float, high: float, words: str) -> None:
    given = whole()
    dealt = Estimate(value=(low + high) / 2, low=low, high=high)
    assert words in said(
        card(changed(given, validation=changed(given.validation, chance=dealt)), "validation")
    )


def test_every_search_is_a_row_with_baseline_and_significance(whole: Whole) -> None:
    found = card(whole("nothing"), "ablation")
    rows = found.xpath("./table/tbody/tr")
    assert [(r.get("class"), said(r.find("th"))) for r in rows] == [
        ("baseline", "hybridbaseline"), ("worse", "nothingworse, p < 0.001"), ("same", "denseno difference shown"),
    ]  # fmt: skip
    assert all(len(r.xpath(".//line[@class='limit']")) == 1 for r in rows)
    text = said(found.xpath("./details")[0])
    assert text.index("recall@5") < text.index("MRR@10") < text.index("nDCG@10")
    assert "−1.00" in text and "0.0100 one by one" in text


def test_slower_searches_have_a_table_of_their_own_and_what_was_not_asked_says_why(whole: Whole) -> None:
    given = whole("nothing")
    assert given.search
    more = changed(given.search, questions=7)
    search = changed(given.search, more=(more,), left_out={"HyDE": "no model"})
    found = card(changed(given, search=search), "ablation")
    assert [c.text for c in found.xpath("./table/caption")] == [
        "nDCG@10 of 12 questions",
        "nDCG@10 of 7 questions",
    ]
    assert "HyDE: no model" in said(found)


def test_answers_show_both_silences_cited_and_the_pairs(whole: Whole) -> None:
    found = card(whole(), "grounded")
    text = said(found)
    assert "the twin says so 100% of the time; of 2 questions that could be answered it leaves 50%" in text
    titles = [b.text for b in found.xpath(".//figcaption/b")]
    assert titles[:7] == [
        "Grounded", "Citation recall", "Citation precision", "Cited", "Left unanswered", "Silent where it should be",
        "Silent near by",
    ]  # fmt: skip
    assert "Twin: not measured" in text
    assert "Against base" in text and "Against quotes" in text
    assert "always silent" not in text


def test_a_twin_that_answers_nothing_does_not_read_as_perfect(whole: Whole) -> None:
    given = whole()
    assert given.rag
    nothing = Estimate(value=1.0, low=0.6, high=1.0)
    arms = {**given.rag.arms, "twin write": changed(given.rag.arms["twin write"], wrong_abstentions=nothing)}
    text = said(card(changed(given, rag=changed(given.rag, arms=arms)), "grounded"))
    assert "it leaves 100% (60% to 100%) unanswered" in text and "always silent is not right" in text


def test_topic_and_guessing_stand_beside_what_the_twin_knows(whole: Whole) -> None:
    text = said(card(whole("everyday"), "knows"))
    assert "answers 33% rightly and the twin 17%; guessing gets 25%, and choosing by topic alone" in text
    assert "gets 46%: that shows no knowledge" in text
    for words in ("Topic alone 0.46", "Unrelated 0.11", "everyday: not run: everyday", "85 20.9 23.9"):
        assert words in text, words


def test_canaries_are_drawn_and_a_model_that_gives_them_away_is_warned_of(whole: Whole) -> None:
    given = whole()
    quiet = card(given, "privacy")
    assert len(quiet.xpath(".//line[@class='tick']")) == 3
    assert "3 canaries" in said(quiet) and "luck alone does as much" in said(quiet)
    loud = changed(given, privacy=changed(given.privacy, canaries=exposed(["a", "b"], [0.0, 0.0], 255)))
    text = said(card(loud, "privacy"))
    assert (
        "It gives canaries away." in text and "8.0 bits; luck would do that less than once in 1,000" in text
    )


def test_a_judge_is_shown_with_what_it_is_worth(whole: Whole) -> None:
    text = said(card(whole("qwen"), "judged"))
    for words in (
        "qwen can be used as a judge: over 48 pairs it prefers the twin, 62% for the twin (57% to 67%)",
        "same winner for 74% of 46 pairs; one who does not look would for 41% (p < 0.001)",
        "61% went to the reply shown first",
        "Asked again about style, it gives the same grade to 90% of 48 answers (kappa 0.71",
        "accuracy 100%, style 98%, pair 96%",
    ):
        assert words in text, words


def test_an_unusable_judge_grades_nothing_and_still_shows_why(whole: Whole) -> None:
    given = whole("qwen")
    refused = changed(given.judged, unusable="it says A to everything", preference=None, style=None)
    found = card(changed(given, judged=refused), "judged")
    assert "qwen is unusable as a judge: it says A to everything" in said(found)
    assert "same winner for 74%" in said(found)
    assert found.xpath(".//figure") == []


def test_perplexity_stands_by_document_with_the_titles_that_are_known(whole: Whole) -> None:
    given = whole("A title")
    (row,) = card(given, "perplexity").xpath(".//details//tbody/tr")
    assert said(row) == "A title 85 20.9 23.9"
    (row,) = card(changed(given, rag=None), "perplexity").xpath(".//details//tbody/tr")
    assert said(row) == "d1 85 20.9 23.9"


# --- samples ------------------------------------------------------------------------------------------------------


def test_an_answer_stands_beside_the_authors_passage_with_its_sources(whole: Whole) -> None:
    given = whole()
    first, second = card(given, "samples").xpath("./article")
    assert [said(who) for who in first.xpath("./div/div/span[@class='who']")] == [
        "Wren Marlow",
        "Twin, from passages",
    ]
    assert said(first.xpath("./div/div[@class='author']/blockquote")[0]) == "Passage 1. Plain words."
    twin = first.xpath("./div/div[@class='twin']")[0]
    assert said(twin.find("blockquote")) == "Lathes rust in wet weather. [1] Plain words."
    link = twin.xpath("./blockquote/a")[0].get("href")
    assert said(twin.xpath(f".//li[@id='{link[1:]}']")[0]) == "[1] Plain words."
    assert "1 of 1 statements stand in a passage that they cite" in said(twin)
    assert "Nothing relevant was found" in said(second)
    assert "Base, from passages" in said(first.find("details"))


def test_a_report_without_sections_says_nothing_of_them(whole: Whole) -> None:
    bare = whole(
        **dict.fromkeys(("opinions", "validation", "search", "general", "forgetting", "knowledge", "rag"))
    )
    tree = html.document_fromstring(page(changed(bare, privacy=None, judged=None)))
    ids = {e.get("id") for e in tree.iter() if e.get("id")}
    assert not ids & {
        "opinions",
        "validation",
        "ablation",
        "grounded",
        "samples",
        "knows",
        "privacy",
        "judged",
    }


# --- metrics of Ragas, people ------------------------------------------------------------------------------------


def test_metrics_of_ragas_and_tasks_that_did_not_run_stand_on_the_page(whole: Whole) -> None:
    scored = RagasScores(
        samples=9,
        judge="",
        metrics={"rouge_score": Estimate(value=0.37, low=0.3, high=0.4)},
        failed={"rouge_score": 1},
        not_measured={"faithfulness": "no judge was asked"},
    )
    text = shown(whole(ragas=scored, forgetting=Forgetting(tasks=(), not_run={"arc": "no network"})))
    for said in (
        "Ragas",
        "rouge score",
        "0.37",
        "failed on 1",
        "no judge was asked",
        "arc: not run: no network",
    ):
        assert said in text


def test_what_people_and_a_judge_with_labels_say_stands_on_the_page(whole: Whole) -> None:
    when = datetime(2026, 1, 1, tzinfo=UTC)
    guesses = [
        Guess(id=str(i), created=when, model="t", kind="article", real_first=True, picked_first=i < 19)
        for i in range(20)
    ]
    thumb = Feedback(id="f", created=when, model="t", question="q", answer="a b", thumb="up", edit="a c")
    triples = [Triple(f"d{i}", f"Q{i}?", ("p",), f"A{i}.") for i in range(30)]
    judged = measure_ares(triples, [], [], "the-judge", lambda asked: [True] * len(asked))
    page_of = whole(blind=blind_verdict(guesses), feedback=tuple(feedback_stats([thumb])), ares=judged)
    text = shown(page_of)
    assert "recognised 19 times out of 20" in text and "told apart" in text
    assert "1 up, 0 down" in text and "50% of the words" in text
    assert "the-judge judges" in text and "0 of these answers are labelled" in text
    assert "twin evaluate label" in text and "Valid replies" in text
    nobody = "Nobody took the blind test", "No answer got feedback"
    assert not any(words in text for words in nobody)
    assert all(words in shown(whole()) for words in nobody)


def test_a_dimension_with_labels_shows_its_interval_and_what_labels_and_judge_say_alone(whole: Whole) -> None:
    when = datetime(2026, 1, 1, tzinfo=UTC)
    triples = [Triple(f"d{i}", f"Q{i}?", ("p",), f"A{i}.") for i in range(30)]
    labels = [
        Label(
            id=t.question,
            created=when,
            question=t.question,
            passages=t.passages,
            answer=t.answer,
            dimension="answer relevance",
            good=i < 15,
        )
        for i, t in enumerate(triples[:20])
    ]
    judged = measure_ares(triples, labels, [], "the-judge", lambda asked: [True] * len(asked))
    (row,) = html.fromstring(page(whole(ares=judged))).xpath("//tr[th='answer relevance']")
    cells = [" ".join(cell.text_content().split()) for cell in row.findall("td")]
    assert cells[0].startswith("75% ") and cells[1] == "20 of 30"
    assert cells[2].startswith("0.75 ") and cells[4:] == ["75% of 20", "100%", "\N{EN DASH}"]


# --- hostile words, and a browser ---------------------------------------------------------------------------------


@pytest.mark.parametrize("words", HOSTILE)
def test_hostile_words_are_inert_in_every_section(whole: Whole, words: str) -> None:
    given = whole(words, author=words)
    tree = html.document_fromstring(page(given))
    harmless = html.document_fromstring(page(whole()))
    assert tree.findall(".//script") == tree.findall(".//img") == []
    assert len(tree.findall(".//style")) == 1
    assert not [name for e in tree.iter() for name in e.attrib if name.startswith("on")]
    assert not [
        a for a in tree.iter("a") if not a.get("href").startswith(("#source-", "https://", "http://"))
    ]
    tags = [{e.tag for e in t.iter() if isinstance(e.tag, str)} for t in (tree, harmless)]
    assert tags[0] <= tags[1]
    assert len(list(tree.iter())) == len(list(harmless.iter())) or words.startswith("[1]")
    assert words in said(tree) and "49" not in said(card(given, "samples"))


def test_every_picture_of_a_whole_report_has_words_and_every_id_is_its_own(whole: Whole) -> None:
    tree = html.document_fromstring(page(whole()))
    pictures = [s for s in tree.iter("svg") if not any(a.tag == "svg" for a in s.iterancestors())]
    for picture in pictures:
        hidden = [picture.get("aria-hidden"), *(a.get("aria-hidden") for a in picture.iterancestors())]
        assert "true" in hidden or (picture.get("role") == "img" and picture.get("aria-label"))
    ids = [e.get("id") for e in tree.iter() if e.get("id")]
    assert len(ids) == len(set(ids))
    for element in tree.iter():
        target = element.get("aria-labelledby") or element.get("href", "").partition("#")[2]
        assert not target or target in ids


@pytest.mark.slow
@pytest.mark.parametrize("width", [320, 390, 1100])
def test_the_page_is_readable_at_every_width(
    whole: Whole, browser: Any, faults: Callable[[Any], list[str]], tmp_path: Path, width: int
) -> None:
    """In a browser: no fault, nothing wider than the window, no text of a picture cut off or upon another."""
    path = tmp_path / "report.html"
    path.write_text(page(whole("everyday")), encoding="utf-8")
    window = browser.new_page(viewport={"width": width, "height": 900})
    window.goto(path.as_uri())
    assert faults(window) == []
    window.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    assert faults(window) == []
    wider = "[...document.querySelectorAll('table')].filter(t => t.scrollWidth > t.parentElement.clientWidth)"
    assert window.evaluate(f"{wider}.filter(t => !t.closest('.scroll')).map(t => t.innerText)") == []
    pictures = window.evaluate(
        """[...document.querySelectorAll('svg')].map(svg => [...svg.querySelectorAll('text')].map(t => {
            const box = t.getBoundingClientRect();
            return [t.textContent, box.left, box.right];
        }))"""
    )
    for texts in pictures:  # those of one picture stand in one line
        for i, (text, left, right) in enumerate(texts):
            assert left >= 0 and right <= width, text
            for other, begins, ends in texts[:i]:
                assert right <= begins or ends <= left, (text, other)
    window.close()
