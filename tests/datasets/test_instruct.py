"""Samples answer with the author's own words, and their requests were checked, whoever wrote them."""

import json
import re
from collections.abc import Callable, Sequence

import pytest

from llm_twin.adapters.standins import HashEmbedder, ScriptedChat
from llm_twin.datasets.instruct import (
    BATCH,
    SCHEMA,
    TEMPLATE,
    Draft,
    instruct,
    section_request,
    telling_words,
)
from llm_twin.datasets.spans import Span, spans
from llm_twin.ports import Progress, silent
from llm_twin.text import folded
from llm_twin.types import CleanDocument, Completion, Message, Sample, Sampling, Split

MakeClean = Callable[..., CleanDocument]
Spans = list[tuple[Span, Split]]

# Subjects without a word in common, so that a bag of words can tell them apart.
SUBJECTS = {
    "owls": "Owls hunt voles by night because their feathers make hardly any sound in flight.",
    "bread": "Sourdough rises slowly, therefore flour, water plus salt must rest before baking.",
    "boats": "Wooden boats leak until planks swell; tar between seams keeps them tight enough.",
    "clocks": "Pendulum clocks drift when brass expands, which summer heat does each afternoon.",
}


def questions(messages: Sequence[Message]) -> str:
    """A model that asks about the passage's first and last words."""
    found = re.findall(r"\w+", messages[-1].content)
    return json.dumps({"instruction": f"Would you tell me {found[0]} {found[1]} {found[2]} {found[-1]}?"})


class Recording(ScriptedChat):
    """Keeps what it was asked and how."""

    def __init__(self, script: Callable[[Sequence[Message]], str]) -> None:
        super().__init__(script, name="recording")
        self.calls: list[tuple[int, Sampling]] = []

    def generate(
        self, prompts: Sequence[Sequence[Message]], sampling: Sampling, progress: Progress = silent
    ) -> list[Completion]:
        self.calls.append((len(prompts), sampling))
        return super().generate(prompts, sampling, progress)


@pytest.fixture
def subjects(cleaned: MakeClean) -> Spans:
    """One span a subject, each a document of its own; the last is held out."""
    found = [
        Span(
            cleaned(f"## More on {title}\n\n{text}", title=f"About {title}"),
            13 + len(title),
            0,
            (f"More on {title}",),
        )
        for title, text in SUBJECTS.items()
    ]
    whole = [Span(s.document, s.start, len(s.document.text), s.path) for s in found]
    assert [span.text for span in whole] == list(SUBJECTS.values())
    return [(span, "test" if i == len(whole) - 1 else "train") for i, span in enumerate(whole)]


def make(found: Spans, model: ScriptedChat | None, **given: object) -> tuple[list[Sample], dict[str, int]]:
    return instruct(found, model, HashEmbedder(512), **given)  # type: ignore[arg-type]


def test_every_response_is_the_span_and_every_request_the_models(subjects: Spans) -> None:
    samples, refused = make(subjects, Recording(questions))
    assert refused == {}
    assert [sample.response for sample in samples] == list(SUBJECTS.values())
    assert samples[0].instruction == "Would you tell me Owls hunt voles flight?"
    assert [sample.split for sample in samples] == ["train", "train", "train", "test"]
    for sample, (span, _) in zip(samples, subjects, strict=True):
        assert sample.response == span.document.text[sample.start : sample.end]
        assert (sample.document_id, sample.author) == (span.document.document.id, "Ada")
        assert sample.written_by == "recording"
    assert len({sample.id for sample in samples}) == 4


def test_the_model_is_held_to_the_schema_and_shown_the_passage(subjects: Spans) -> None:
    seen: list[str] = []

    def script(messages: Sequence[Message]) -> str:
        seen.append(messages[-1].content)
        return questions(messages)

    model = Recording(script)
    make(subjects, model)
    assert seen == list(SUBJECTS.values())
    assert [sampling.json_schema for _, sampling in model.calls] == [SCHEMA]


@pytest.mark.parametrize(
    ("request_", "why"),
    [
        ("Why though?", "too short or too long"),
        ("Would you say more " + "and more " * 22 + "please?", "too short or too long"),
        ("What does the passage say of owls?", "speaks of the passage"),
        ("What does The Author think of owls?", "speaks of the passage"),
        ("So owls hunt voles by night because their feathers make noise?", "copies the span"),
        ("Why do you keep your owls free of meetings?", "is about an example of the prompt"),
    ],
)
def test_a_request_that_will_not_do_is_asked_for_again_and_counted(
    subjects: Spans, request_: str, why: str
) -> None:
    answers = iter([request_, "How do owls hunt voles at night?"])
    model = Recording(lambda messages: json.dumps({"instruction": next(answers)}))
    (sample,), refused = make(subjects[:1], model)
    assert sample.instruction == "How do owls hunt voles at night?"
    assert refused == {why: 1}
    assert len(model.calls) == 2
    assert model.calls[1][1].temperature > model.calls[0][1].temperature
    assert model.calls[1][1].seed != model.calls[0][1].seed


def test_a_request_that_other_documents_answer_better_is_refused(cleaned: MakeClean) -> None:
    texts = [f"Owls hunt voles number {i} at night." for i in range(8)]
    others = [cleaned(text, title=text) for text in texts]
    bread = cleaned(SUBJECTS["bread"], title="Bread")
    found: Spans = [(Span(d, 0, len(d.text), ()), "train") for d in [bread, *others]]
    model = Recording(
        lambda messages: (
            json.dumps({"instruction": "Which owls hunt voles at night?"})
            if "Sourdough" in messages[-1].content
            else questions(messages)
        )
    )
    samples, refused = make(found, model)
    assert refused["other documents answer it better"] == 3
    assert samples[0].written_by == TEMPLATE and samples[0].response == bread.text


def test_spans_of_the_same_document_may_answer_it_too(cleaned: MakeClean) -> None:
    sentences = [SUBJECTS["bread"], *(f"Owls hunt voles number {i} at night." for i in range(8))]
    document = cleaned(" ".join(sentences), title="All")
    places = [(document.text.index(each), len(each)) for each in sentences]
    found: Spans = [(Span(document, at, at + length, ()), "train") for at, length in places]
    model = Recording(lambda messages: json.dumps({"instruction": "Which owls hunt voles at night?"}))
    samples, refused = make(found, model)
    assert samples[0].written_by == "recording" and "other documents answer it better" not in refused


def test_requests_of_later_batches_are_held_against_their_own_spans(cleaned: MakeClean) -> None:
    texts = [f"Loaf{i} yeast{i} flour{i} salt{i}." for i in range(BATCH)]
    texts += [f"Owls hunt voles at night for reason{i}." for i in range(8)]
    found: Spans = [(Span(cleaned(text, title=text), 0, len(text), ()), "train") for text in texts]
    samples, refused = make(found, Recording(questions))
    assert refused == {} and {sample.written_by for sample in samples} == {"recording"}


def test_templates_of_later_batches_name_their_own_spans_words(cleaned: MakeClean) -> None:
    texts = ["".join(f"{letter * n} " for n in (5, 6, 7)).strip() + "." for letter in "abcdefghijklmnopqrstu"]
    document = cleaned(" ".join(texts), title="All")
    places = [(document.text.index(each), len(each)) for each in texts]
    samples, _ = make([(Span(document, at, at + length, ()), "train") for at, length in places], None)
    assert len(samples) == len(texts) > BATCH
    for sample in samples[1:]:
        assert sample.instruction.split("touching on ")[1].rstrip(".").split(" and ")[0] in sample.response


def test_one_request_is_not_asked_twice(subjects: Spans, cleaned: MakeClean) -> None:
    twin = cleaned(SUBJECTS["owls"], title="Owls again")
    found: Spans = [subjects[0], (Span(twin, 0, len(twin.text), ()), "train")]
    model = Recording(lambda messages: json.dumps({"instruction": "How do owls hunt voles at night?"}))
    samples, refused = make(found, model)
    assert refused == {"asked before": 3}
    assert [sample.written_by for sample in samples] == ["recording", TEMPLATE]


@pytest.mark.parametrize(
    "reply", ['{"instruction": "How do ow', "How do owls hunt?", "[]", '{"question": "x"}', "null"]
)
def test_a_reply_that_is_no_request_leads_to_the_template(subjects: Spans, reply: str) -> None:
    (sample,), refused = make(subjects[:1], Recording(lambda _: reply))
    assert sample.written_by == TEMPLATE and refused == {}
    assert sample.instruction == section_request(subjects[0][0])


def test_without_a_model_the_titled_section_is_asked_for(subjects: Spans) -> None:
    samples, refused = make(subjects, None)
    assert refused == {}
    assert samples[0].instruction == 'Write about "More on owls" as part of a piece called "About owls".'
    assert {sample.written_by for sample in samples} == {TEMPLATE}


def test_spans_of_one_section_are_told_apart_by_their_words(cleaned: MakeClean) -> None:
    text = " ".join(SUBJECTS.values())
    document = cleaned(text, title="All of it")
    places = [(text.index(each), text.index(each) + len(each)) for each in SUBJECTS.values()]
    found: Spans = [(Span(document, a, b, ()), "train") for a, b in places]
    samples, refused = make(found, None)
    requests = [sample.instruction for sample in samples]
    assert requests[0] == 'Write a passage of a piece called "All of it".'
    assert len({folded(request) for request in requests}) == 4
    assert all(", touching on " in request for request in requests[1:])
    assert refused == {"asked before": 3}


def test_telling_words_are_those_that_few_other_spans_have(cleaned: MakeClean) -> None:
    texts = [
        "owls hunt with silent wings",
        "owls sleep with folded wings",
        "owls owls owls hunt silent voles",
    ]
    found = [Span(cleaned(text, title=text), 0, len(text), ()) for text in texts]
    assert telling_words(found)[1][:2] == ["folded", "sleep"]
    assert telling_words(found)[2][0] == "voles"


def test_a_span_that_even_the_template_cannot_serve_is_left_out(cleaned: MakeClean) -> None:
    document = cleaned("It is so. It is so. It is so.", title="So")
    found: Spans = [(Span(document, a, a + 9, ()), "train") for a in (0, 10, 20)]
    samples, refused = make(found, None)
    assert [sample.start for sample in samples] == [0]
    assert refused["asked before"] >= 2


def many(cleaned: MakeClean, count: int) -> Spans:
    """More spans than a batch holds."""
    texts = [f"Number{i} alpha{i} beta{i} gamma{i} delta{i} omega{i}." for i in range(count)]
    return [(Span(cleaned(text, title=f"T{i}"), 0, len(text), ()), "train") for i, text in enumerate(texts)]


def test_a_run_goes_on_where_a_killed_one_stood(cleaned: MakeClean) -> None:
    found = many(cleaned, 2 * BATCH + 3)
    whole, refused = make(found, Recording(questions))
    kept: dict[int, Draft] = {}

    def killed(done: int, total: int, note: str) -> None:
        if done >= 2 * BATCH:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make(found, Recording(questions), keep=kept.__setitem__, progress=killed)
    assert sorted(kept) == [0, 1]
    stored = dict(json.loads(json.dumps(list(kept.items()))))
    model = Recording(questions)
    resumed, again = make(found, model, done=stored.get)
    assert (resumed, again) == (whole, refused)
    assert [number for number, _ in model.calls] == [3]


def test_a_resumed_run_remembers_what_was_asked_and_refused(subjects: Spans, cleaned: MakeClean) -> None:
    request = "How do owls hunt voles at night?"
    filler = many(cleaned, BATCH - 1)
    twin = cleaned(SUBJECTS["owls"], title="Owls again")
    found: Spans = [subjects[0], *filler, (Span(twin, 0, len(twin.text), ()), "train")]
    written = [
        (request, "recording"),
        *((f"Filler number {i}, what is it?", TEMPLATE) for i in range(BATCH - 1)),
    ]
    model = Recording(lambda messages: json.dumps({"instruction": request}))
    samples, refused = make(
        found, model, done=lambda n: (written, {"copies the span": 2}) if n == 0 else None
    )
    assert refused == {"copies the span": 2, "asked before": 3}
    assert samples[0].instruction == request and samples[-1].written_by == TEMPLATE


def test_the_same_seed_gives_the_same_samples_and_progress_ends_at_the_total(cleaned: MakeClean) -> None:
    found, seen = many(cleaned, BATCH + 1), []
    first = make(
        found, Recording(questions), seed=3, progress=lambda done, total, note: seen.append((done, total))
    )
    assert first == make(found, Recording(questions), seed=3)
    assert seen == [(BATCH, BATCH + 1), (BATCH + 1, BATCH + 1)]


def test_samples_of_the_examples_are_verbatim_and_their_requests_differ(
    examples: list[CleanDocument],
) -> None:
    by_id = {each.document.id: each for each in examples}
    found: Spans = [(span, "train") for each in examples for span in spans(each)]
    samples, _ = make(found, None)
    assert len(samples) > 0.95 * len(found) > 100
    assert len({folded(sample.instruction) for sample in samples}) == len(samples)
    for sample in samples:
        assert sample.response == by_id[sample.document_id].text[sample.start : sample.end]
