"""Each answer is judged in three dimensions, in an order that leaves a random sample to whoever stops."""

from llm_twin.evaluation.labels import ASKED, NEEDED, label_items
from llm_twin.types import Answer, Chunk, Hit


def answer(number: int, found: bool = True) -> Answer:
    chunk = Chunk(
        id=f"c{number}",
        document_id="d",
        author="Wren",
        kind="article",
        title="Tools",
        text=f"Passage {number}.",
        start=0,
        end=10,
        tokens=5,
    )
    hits = (Hit(chunk=chunk, score=0.5),) if found else ()
    return Answer(
        question=f"Question {number}?", text=f"Text {number}.", mode="write", found=found, hits=hits
    )


def test_every_answer_is_asked_about_in_each_dimension_together() -> None:
    items = label_items([answer(n) for n in range(5)])
    assert len(items) == 15 and len({item.id for item in items}) == 15
    for at in range(0, 15, 3):
        three = items[at : at + 3]
        assert [item.dimension for item in three] == list(ASKED)
        assert len({(item.question, item.answer, item.passages) for item in three}) == 1
    number = items[0].question.split()[1].rstrip("?")
    assert (items[0].answer, items[0].passages) == (f"Text {number}.", (f"Passage {number}.",))


def test_the_order_is_random_and_stays() -> None:
    answers = [answer(n) for n in range(12)]
    orders = {tuple(item.question for item in label_items(answers, seed)) for seed in range(8)}
    assert len(orders) == 8
    assert label_items(answers, 3) == label_items(answers[::-1], 3)  # not a matter of how they were given


def test_answers_that_were_given_up_and_repetitions_are_left_out() -> None:
    items = label_items([answer(1), answer(2, found=False), answer(1)])
    assert {item.question for item in items} == {"Question 1?"} and len(items) == 3


def test_what_must_be_read_is_known_for_each_dimension() -> None:
    assert NEEDED.keys() == ASKED.keys()
