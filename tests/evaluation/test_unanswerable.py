from llm_twin.evaluation.support import read
from llm_twin.evaluation.unanswerable import Unanswerable, foreign, invented, without_words_in
from llm_twin.types import Sample


def sample(name: str, document: str, instruction: str) -> Sample:
    return Sample(
        id=name, document_id=document, author="B", instruction=instruction, response="x",
        start=0, end=1, split="test", written_by="m",
    )  # fmt: skip


def test_the_list_is_broad_and_each_subject_is_in_its_question() -> None:
    questions = invented()
    assert len(questions) >= 40
    assert len({q.question for q in questions}) == len(questions)
    for question in questions:
        subject = read(" ".join(question.subject)).words
        assert subject and subject <= read(question.question).words, question
        assert question.question.endswith("?")


def test_a_question_is_left_out_where_one_document_holds_its_whole_subject() -> None:
    prune = Unanswerable(question="How do you prune an old pear tree?", subject=("prune", "pear"))
    falcon = Unanswerable(question="How did you train your falcon?", subject=("falcon",))
    apart = [("d1", "I was pruning roses."), ("d2", "A pear fell.")]
    assert without_words_in([prune, falcon], apart).questions == (prune.question, falcon.question)
    found = without_words_in([prune, falcon], [*apart, ("d3", "Pruned the pears today.")])
    assert found.questions == (falcon.question,)
    assert [(s.what, s.why) for s in found.left_out] == [(prune.question, "d3 holds all of: prune, pear")]


def test_questions_for_other_authors_are_one_a_document() -> None:
    samples = [
        sample("1", "x", "How does the tide clock count the waves?"),
        sample("2", "x", "Why did the pump fail?"),
        sample("3", "y", "What happened then?"),  # says nothing without its document
        sample("4", "z", "Why did the old pump fail?"),
    ]
    assert [q.question for q in foreign(samples, 20)] == [samples[0].instruction, samples[3].instruction]
    assert len(foreign(samples, most=1)) == 1
    (pump,) = foreign(samples[3:], 1)
    assert without_words_in([pump], [("d", "The pump was old, and it failed.")]).questions == ()


def test_words_of_asking_are_no_part_of_a_subject() -> None:
    (pump,) = foreign([sample("1", "x", "Can you explain and describe why the old pump failed?")], 1)
    assert pump.subject == foreign([sample("1", "x", "Why had the old pump failed?")], 1)[0].subject
    assert without_words_in([pump], [("d", "The pump was old, and it failed.")]).questions == ()


def test_a_word_whose_stem_has_a_stem_of_its_own_is_found() -> None:
    (brass,) = foreign([sample("1", "x", "Which processes dress brass?")], 1)
    found = without_words_in([brass], [("d", "Brass is dressed by a process.")])
    assert found.questions == () and "brass" in found.left_out[0].why
