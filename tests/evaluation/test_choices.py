from collections.abc import Sequence

import numpy as np
import pytest

from llm_twin.adapters.standins import HashEmbedder, ScriptedChat, echo
from llm_twin.evaluation.choices import (
    LETTERS,
    Choice,
    chosen_right,
    letters,
    mcq,
    resemblance,
    whole_sentences,
)
from llm_twin.ports import Progress, silent
from llm_twin.text import words
from llm_twin.types import Message, Sample

EMBEDDER = HashEmbedder(dimension=256)
THINGS = ["lathe", "canal", "violin", "orchard", "kiln", "ledger", "glacier", "beehive"]


def sample(i: int, response: str, document: str = "", written_by: str = "m") -> Sample:
    return Sample(
        id=f"s{i}", document_id=document or f"d{i}", author="A", instruction=f"What about the {THINGS[i % 8]}?",
        response=response, start=0, end=len(response), split="train", written_by=written_by,
    )  # fmt: skip


DEEDS = [
    "oiled its gears before every long winter",
    "walked along those locks with my grandfather",
    "tuned four strings until midnight struck twice",
    "pruned each apple tree while frost held",
    "fired porcelain cups at enormous heat again",
    "balanced columns of ink by candle light",
    "measured blue ice with rope and patience",
    "smoked out wasps without losing any honey",
]


def about(thing: str) -> str:
    return f"Yes. The {thing}: I {DEEDS[THINGS.index(thing)]}. Nothing else mattered."


SAMPLES = [sample(i, about(thing)) for i, thing in enumerate(THINGS)]


def ask(text: str) -> list[Message]:
    return [Message(role="system", content="You are A."), Message(role="user", content=text)]


class Letters(ScriptedChat):
    """Scores the reply "A" to "D" by `rule(letter, option under it, question)`, and the end of turn wildly."""

    def __init__(self, rule) -> None:  # type: ignore[no-untyped-def]
        super().__init__(echo)
        self.rule, self.calls = rule, 0

    def score(
        self, prompts: Sequence[Sequence[Message]], responses: Sequence[str], progress: Progress = silent
    ) -> list[np.ndarray]:  # type: ignore[type-arg]
        self.calls += 1
        rows = []
        for i, (prompt, letter) in enumerate(zip(prompts, responses, strict=True)):
            lines = dict(line.split(". ", 1) for line in prompt[-1].content.splitlines() if line[1:3] == ". ")
            rows.append(
                np.array(
                    [self.rule(letter, lines[letter], prompt[-1].content.splitlines()[0]), -50.0 + i % 7]
                )
            )
        return rows


def test_the_right_option_is_a_whole_sentence_of_the_answer_and_the_others_of_other_documents() -> None:
    choices = mcq(SAMPLES, EMBEDDER, 8)
    assert len(choices) == 8
    for choice in choices:
        own = next(s for s in SAMPLES if s.id == choice.sample_id)
        assert choice.question == own.instruction and choice.document_id == own.document_id
        assert len(choice.options) == 4 == len(set(choice.options))
        for place, option in enumerate(choice.options):
            homes = [s.document_id for s in SAMPLES if option in s.response]
            assert (homes == [own.document_id]) is (place == choice.right)
            assert 0.6 <= len(words(option)) / len(words(choice.options[choice.right])) <= 1.6


def test_questions_follow_from_the_seed_and_the_samples_alone() -> None:
    first = mcq(SAMPLES, EMBEDDER, 5, seed=3)
    assert first == mcq(SAMPLES[::-1], EMBEDDER, 5, seed=3)
    assert first != mcq(SAMPLES, EMBEDDER, 5, seed=4)
    assert len(first) == 5
    places = {c.right for seed in range(5) for c in mcq(SAMPLES, EMBEDDER, 8, seed)}
    assert places == {0, 1, 2, 3}


def test_distractors_are_the_nearest_that_do_not_say_the_same() -> None:
    texts = [
        "I mended the lathe slowly every winter with good oil.",
        "I mended the lathe slowly every winter with the good oil.",  # the right answer again
        "I mended the roof slowly every winter with the old slates.",
        "I mended the roof slowly every winter with the older slates.",  # that option again
        "She mended the lathe slowly one summer with a bad file.",
        "Nobody mended the green umbrella every winter behind doors yesterday.",
        "Their children would rather count seventeen purple ships at dawn.",
    ]
    samples = [sample(8 * i, text, document=f"d{i}") for i, text in enumerate(texts)]
    cosines = EMBEDDER.embed(texts) @ EMBEDDER.embed(texts).T
    assert min(cosines[0, 1], cosines[2, 3]) > 0.85 > cosines[0, 2]
    choice = next(c for c in mcq(samples, EMBEDDER, 7) if c.sample_id == "s0")
    roofs = [option for option in choice.options if option in texts[2:4]]
    assert len(roofs) == 1
    assert set(choice.options) == {texts[0], *roofs, texts[4], texts[5]}


def test_topic_alone_does_not_tell_the_right_option() -> None:
    rng = np.random.default_rng(5)
    stock = [f"word{i}" for i in range(60)]

    def answer(i: int) -> str:
        told = (" ".join(rng.choice(stock, 9, replace=False)) for _ in range(4))
        return " ".join(f"The {line}." for line in told)

    samples = [
        sample(i, answer(i), document=f"d{i % 12}").model_copy(
            update={"instruction": " ".join(rng.choice(stock, 6, replace=False))}
        )
        for i in range(60)
    ]
    choices = mcq(samples, EMBEDDER, 40)
    cosines = np.array(resemblance(choices, EMBEDDER))
    nearer = [(row > row[c.right]).sum() for row, c in zip(cosines, choices, strict=True)]
    assert len(choices) == 40
    assert np.bincount(nearer, minlength=4).min() >= 8, (
        "0 to 3 options are nearer to the question, as often each"
    )
    assert chosen_right(cosines.tolist(), [c.right for c in choices]).mean() < 0.35


def test_left_out_are_template_requests_and_answers_without_a_sentence_or_company() -> None:
    template = [s.model_copy(update={"written_by": "template"}) for s in SAMPLES]
    assert mcq(template, EMBEDDER, 8) == []
    assert mcq(SAMPLES[:3], EMBEDDER, 8) == [], (
        "two other documents offer no three distractors of this length"
    )
    listed = [*SAMPLES, sample(9, "- oil\n- rags\n- a vice", document="d9")]
    assert "s9" not in {c.sample_id for c in mcq(listed, EMBEDDER, 20)}
    alone = [s.model_copy(update={"document_id": "one"}) for s in SAMPLES]
    assert mcq(alone, EMBEDDER, 8) == []


def test_questions_are_spread_over_documents() -> None:
    many = [sample(i, about(THINGS[i % 8]), document="big") for i in range(0, 40, 8)]
    found = mcq([*many, *SAMPLES[1:]], EMBEDDER, 6)
    assert len({c.document_id for c in found}) >= 5


def test_whole_sentences_are_statements_of_some_length_on_one_line() -> None:
    text = (
        "Why would anyone oil a lathe on Sundays? I do it then because it is quiet. Too short.\n\n"
        "Ηταν μια ήσυχη μέρα και κανείς δεν μιλούσε. A line that the author left without any end\n\n"
        "→ An arrow leads into this line of a list. Image of a lathe by the author [Source: his cellar]\n\n"
        "“Nobody ever asked me about it (not once).”"
    )
    assert whole_sentences(text) == [
        "I do it then because it is quiet.",
        "Ηταν μια ήσυχη μέρα και κανείς δεν μιλούσε.",
        "“Nobody ever asked me about it (not once).”",
    ]


def test_a_model_that_likes_a_letter_gets_exactly_chance() -> None:
    choices = mcq(SAMPLES, EMBEDDER, 8)
    biased = Letters(lambda letter, option, question: {"A": -0.1, "B": -3.0, "C": -2.0, "D": -9.0}[letter])
    scores = letters(biased, choices, ask)
    assert chosen_right(scores, [c.right for c in choices]).tolist() == [0.25] * len(choices)
    assert biased.calls == 1


def test_a_model_that_knows_is_right_whatever_letter_it_likes() -> None:
    choices = mcq(SAMPLES, EMBEDDER, 8)
    taste = {"A": 0.0, "B": -30.0, "C": -7.0, "D": -2.0}

    right = {c.question: c.options[c.right] for c in choices}

    def knows(letter: str, option: str, question: str) -> float:
        return taste[letter] + (0.1 if option == right[question] else 0.0)

    scores = letters(Letters(knows), choices, ask)
    assert chosen_right(scores, [c.right for c in choices]).tolist() == [1.0] * len(choices)


def test_an_options_score_is_the_mean_over_the_letters_it_stood_under() -> None:
    choice = Choice(sample_id="s", document_id="d", question="Q?", options=("w", "x", "y", "z"), right=2)
    weight = {"w": 1.0, "x": 2.0, "y": 4.0, "z": 8.0}
    taste = dict(zip(LETTERS, (16.0, 32.0, 64.0, 128.0), strict=True))
    met: set[tuple[str, str]] = set()

    def rule(letter: str, option: str, question: str) -> float:
        met.add((letter, option))
        return weight[option] * taste[letter]

    (scores,) = letters(Letters(rule), [choice], ask)
    assert len(met) == 16, "each option stands under each letter"
    assert scores == [w * (16 + 32 + 64 + 128) / 4 for w in weight.values()]


def test_the_prompt_shows_question_options_and_nothing_twice() -> None:
    seen: list[str] = []

    def spy(text: str) -> list[Message]:
        seen.append(text)
        return ask(text)

    choice = Choice(sample_id="s", document_id="d", question="Why?", options=("w", "x", "y", "z"), right=0)
    letters(Letters(lambda *_: 0.0), [choice], spy)
    end = "\n\nWhich of these is the answer? Reply with its letter alone."
    assert seen[0] == "Why?\n\nA. w\nB. x\nC. y\nD. z" + end
    assert seen[1] == "Why?\n\nA. x\nB. y\nC. z\nD. w" + end
    assert len(seen) == 4


def test_ties_share_what_there_is_to_win() -> None:
    assert chosen_right([[1, 1, 0, 0], [0, 2, 1, 1], [3, 3, 3, 3]], [0, 0, 2]).tolist() == [0.5, 0.0, 0.25]


def test_resemblance_is_the_cosine_of_option_and_question() -> None:
    choices = mcq(SAMPLES, EMBEDDER, 2)
    found = resemblance(choices, EMBEDDER)
    one = EMBEDDER.embed([choices[1].question])[0] @ EMBEDDER.embed([choices[1].options[3]])[0]
    assert found[1][3] == pytest.approx(float(one), abs=1e-6)
    assert np.shape(found) == (2, 4)
