"""The parts of an evaluation beside the headline, each a function from a bench (open models, index, notes) to a
value of the report. One that cannot be measured says why, and the others go on.
"""

from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llm_twin import wiring
from llm_twin.asker import filterable
from llm_twin.bench import Bench
from llm_twin.errors import InputError, MissingPart
from llm_twin.evaluation.rag import TWIN_ANSWERS
from llm_twin.evaluation.style import Passage
from llm_twin.material import spread
from llm_twin.ports import ChatModel
from llm_twin.questions import answers_to, held_out
from llm_twin.reading import read_samples
from llm_twin.text import digest, slug
from llm_twin.types import Answer, Feedback, Message, Sample, Where
from llm_twin.workspace import Workspace

if TYPE_CHECKING:
    from llm_twin.evaluation.forgetting import TaskRuns
    from llm_twin.evaluation.knowledge import ChoiceAccuracy
    from llm_twin.evaluation.retrieval import Retrieval

_PARAPHRASED = 8
_TRIALS = 24
_SHOWN = 4
_THUMBS = 60
"""The newest of users' thumbs are held against the judge; each costs two questions to it."""
_WHOLE_ANSWER, _FIRST_SENTENCE = 120, 48
"""Tokens. Whether an answer is one shows in its first sentence."""


def _passages(samples: Sequence[Sample]) -> list[Passage]:
    return [Passage(s.document_id, s.response) for s in samples]


def retrieval(bench: Bench) -> "Retrieval | None":
    """Today's search on the questions whose source is known; a part of the headline."""
    from llm_twin.evaluation.retrieval import measure
    from llm_twin.inference.retrieve import retrieve

    where = Where(author=bench.workspace.author)
    with closing(wiring.open_vectors(bench.workspace, bench.embedder.dimension)) as store:
        return measure(
            spread(bench.questions, bench.workspace.settings.evaluate.questions),
            bench.chunks,
            lambda question, limit: retrieve(question, store, bench.embedder, where, limit),
            bench.progress,
        )


def opinions(bench: Bench) -> Any:
    """Second opinions on style."""
    from llm_twin.evaluation.opinions import opinions as second

    m, found = bench.material, bench.written
    train, test = _passages(m.train), _passages(m.test)
    return second(train, m.others_train, found.machine, test, m.others_test, found.wrote, found.verifier)


def validation(bench: Bench) -> Any:
    """What the style score is worth for this author."""
    from llm_twin.evaluation.paraphrase import paraphrases
    from llm_twin.evaluation.validation import validate

    m, found = bench.material, bench.written
    some = {s.id for s in spread(m.test, _PARAPHRASED)}
    texts = [s.response for s in m.test if s.id in some]
    said = iter(paraphrases(bench.base, texts, bench.sampling, bench.notes, bench.progress))
    return validate(
        _passages(m.train),
        m.others_train,
        found.machine,
        _passages(m.test),
        m.others_test,
        found.wrote["floor"],
        found.verifier,
        [next(said) if s.id in some else "" for s in m.test],
    )


def search(bench: Bench) -> Any:
    """Today's search beside its halves and each further step, with paired significance.

    Steps that ask the chat model ask the one that is measured, as its answers would.
    """
    from llm_twin.arms import Ground, measure_search
    from llm_twin.evaluation.retrieval import known

    settings, where = bench.workspace.settings.evaluate, Where(author=bench.workspace.author)
    asked = known(spread(bench.questions, settings.questions), bench.chunks)
    many = settings.search_model_arms
    model = bench.twin if many else "[evaluate] search_model_arms is 0, or --quick was given"
    with closing(wiring.open_vectors(bench.workspace, bench.embedder.dimension)) as store:
        ground = Ground(store, bench.embedder, where, filterable(bench.workspace))
        return measure_search(asked, ground, model, many, notes=bench.notes, progress=bench.progress)


def general(bench: Bench) -> Any:
    """Perplexity of the author's and of general text, base and twin."""
    from llm_twin.evaluation.general import measure_general

    return measure_general(
        bench.base, bench.twin, bench.material.test, bench.ask, bench.notes, bench.progress
    )


def forgetting(bench: Bench) -> Any:
    """General questions, and the tasks of `[evaluate] tasks`, base and twin."""
    from llm_twin.evaluation.forgetting import EVERYDAY, TaskRun, TaskRuns, forgetting, read_task, run_task

    items = read_task()

    def runs(name: str, model: ChatModel) -> TaskRuns:
        made = bench.notes.once(
            f"task-{EVERYDAY}-{name}",
            lambda: run_task(model, items, progress=bench.progress).model_dump(mode="json"),
        )
        more = [_task(bench, task, name, model) for task in bench.workspace.settings.evaluate.tasks]
        return TaskRuns(
            ran=(TaskRun.model_validate(made), *(run for each in more for run in each.ran)),
            not_run={task: why for each in more for task, why in each.not_run.items()},
        )

    return forgetting(runs("base", bench.base), runs("twin", bench.twin))


def _task(bench: Bench, task: str, name: str, model: ChatModel) -> "TaskRuns":
    """A task of lm-evaluation-harness, or a folder of tasks in its YAML, under one model."""
    from llm_twin.adapters.lm_eval_harness import run_tasks
    from llm_twin.evaluation.forgetting import TaskRuns

    folder = Path(task).expanduser() if Path(task).expanduser().is_dir() else None
    most = bench.workspace.settings.evaluate.task_items

    def make() -> Any:
        found = run_tasks(model, () if folder else (task,), folder, most, bench.progress)
        return found.model_dump(mode="json")

    try:
        return TaskRuns.model_validate(bench.notes.once(f"task-{digest(task)[:12]}-{name}", make))
    except (InputError, MissingPart) as error:
        return TaskRuns(not_run={task: str(error)})


def knowledge(bench: Bench) -> Any:
    """Multiple choice from the training documents, and answers beside the author's own."""
    from llm_twin.evaluation.choices import letters, mcq, resemblance
    from llm_twin.evaluation.knowledge import choice_accuracy, knowledge, open_answers

    choices = mcq(bench.material.train, bench.embedder, bench.workspace.settings.evaluate.choices)
    like = bench.material.train[0]

    def ask(text: str) -> Sequence[Message]:
        return bench.ask(like.model_copy(update={"instruction": text}))

    def chosen(name: str, model: ChatModel) -> Any:
        return bench.notes.once(f"choices-{name}", lambda: letters(model, choices, ask, bench.progress))

    def accuracy() -> "ChoiceAccuracy | str":
        if not choices:
            return "no multiple-choice question could be made of the training documents"
        try:
            answered = chosen("base", bench.base), chosen("twin", bench.twin)
        except MissingPart as error:
            return str(error)
        return choice_accuracy(choices, *answered, resemblance(choices, bench.embedder))

    wrote = {name: [p.text for p in bench.written.wrote[name]] for name in ("base", "twin")}
    return knowledge(
        accuracy(),
        open_answers(bench.material.test, wrote["base"], wrote["twin"], bench.embedder),
    )


def answers(bench: Bench) -> Any:
    """Answers with citations: grounded or not, cited rightly or not, and silence where nothing was written."""
    from llm_twin.evaluation.rag import Arm, measure_rag

    ours, others = bench.unanswerable, bench.about_others

    def arm(name: str, mode: str, model: ChatModel | None) -> Arm:
        given = zip(bench.asked, _answered(bench, name, mode, model), strict=True)
        questions = [*ours.questions, *others.kept.questions]
        said = _noted(bench, f"silence-{name}", questions, mode, model, _FIRST_SENTENCE)
        return Arm(list(given), said[: len(ours.questions)], said[len(ours.questions) :])

    arms = {
        TWIN_ANSWERS: arm(TWIN_ANSWERS, "write", bench.twin),
        "base write": arm("base write", "write", bench.base),
        "quote": arm("quote", "quote", None),
    }
    pairs = ((TWIN_ANSWERS, "base write"), (TWIN_ANSWERS, "quote"))
    left_out = (*ours.left_out, *others.kept.left_out)
    return measure_rag(
        arms, bench.chunks, bench.embedder, left_out=left_out, pairs=pairs, without_others=others.why
    )


def _answered(bench: Bench, name: str, mode: str, model: ChatModel | None) -> list[Answer]:
    """Answers to the questions asked, which people label as well."""
    return _noted(bench, f"asked-{name}", [s.instruction for s in bench.asked], mode, model)


def _noted(
    bench: Bench,
    name: str,
    questions: Sequence[str],
    mode: str,
    model: ChatModel | None,
    longest: int = _WHOLE_ANSWER,
) -> list[Answer]:
    """Answers to `questions` of at most so many tokens, noted under `name`."""

    def make() -> list[Any]:
        found = answers_to(bench.workspace, questions, bench.embedder, model, mode, longest, bench.progress)
        return [answer.model_dump(mode="json") for answer in found]

    noted = bench.notes.once(name.replace(" ", "-"), make) if questions else []
    return [Answer.model_validate(answer) for answer in noted]


def _twin_answers(bench: Bench) -> list[Answer]:
    """What the twin answered to the questions that can be answered."""
    return _answered(bench, TWIN_ANSWERS, "write", bench.twin)


def ragas(bench: Bench) -> Any:
    """The twin's answers by the metrics of Ragas: those that need no model, and where one judges the others."""
    from llm_twin.adapters.ragas_metrics import ragas as scores
    from llm_twin.evaluation.ragas_scores import RagasScores, rag_samples

    answered = list(zip(bench.asked, _twin_answers(bench), strict=True))
    samples = rag_samples(answered, bench.chunks)
    if not samples:
        raise InputError("the twin answered none of the questions", "look at the section answers")

    def made(judge: ChatModel | None) -> Any:
        name = f"ragas-{slug(judge.name)}" if judge else "ragas"
        return bench.notes.once(
            name, lambda: scores(samples, bench.embedder, judge, bench.progress).model_dump(mode="json")
        )

    if not bench.judging:
        return RagasScores.model_validate(made(None))
    with closing(wiring.open_endpoint(bench.workspace)) as judge:
        return RagasScores.model_validate(made(judge))


def privacy(bench: Bench) -> Any:
    """What the twin gives away of what it was trained on, planted canaries with it."""
    from llm_twin.evaluation.canaries import canaries
    from llm_twin.evaluation.privacy import Texts, measure

    plan, trained = bench.workspace.settings.privacy, bench.workspace.finished("train")
    # Another model, given with --model, was not trained with them.
    of_twin = trained is not None and Path(trained.report.artefacts[0]) == bench.subjects[1].folder
    side = {s.document_id: s.split for s in read_samples(bench.workspace)}
    training = {d.document.id: d.text for d in bench.documents if side.get(d.document.id) == "train"}
    return measure(
        Texts(bench.material.train, bench.material.test, training),
        bench.twin,
        bench.ask,
        bench.sampling,
        plan,
        canaries=canaries(plan.seed, plan.canaries) if of_twin else (),
        once=bench.notes.once,
        progress=bench.progress,
    )


def judged(bench: Bench) -> Any:
    """What the model of `[endpoint]` says of accuracy and style; it must be a stronger one than those it judges."""
    from llm_twin.evaluation.judge import Case, Thumb, judge
    from llm_twin.journal import Journal

    wrote = {name: [p.text for p in bench.written.wrote[name]] for name in ("base", "twin")}
    cases = [
        Case(s.document_id, s.instruction, s.response, twin, base)
        for s, twin, base in zip(bench.material.test, wrote["twin"], wrote["base"], strict=True)
    ]
    passages = [s.response for s in spread(bench.material.train, 24)]
    feedback = Journal(bench.workspace.home / "feedback.jsonl", Feedback).read()
    thumbs = [Thumb(f.question, f.answer, f.thumb == "up") for f in feedback if f.thumb]
    with closing(wiring.open_endpoint(bench.workspace)) as model:
        return judge(cases, passages, model, bench.notes, thumbs=thumbs[-_THUMBS:], progress=bench.progress)


def ares(bench: Bench) -> Any:
    """The model of `[endpoint]` on passages and answers, held to people's labels (`twin evaluate label`).

    People label some of the answers that it reads; the more it reads beside those, the narrower the interval.
    """
    from llm_twin.evaluation.ares import Triple, by_model, measure, trials
    from llm_twin.evaluation.people import Label
    from llm_twin.journal import Journal

    triples = [
        Triple(asked.document_id, answer.question, tuple(h.chunk.text for h in answer.hits), answer.text)
        for asked, answer in _pool(bench)
        if answer.found
    ]
    if not triples:
        raise InputError("the twin answered none of the questions", "look at the section answers")
    labels = Journal(bench.workspace.home / "labels.jsonl", Label).read()
    with closing(wiring.open_endpoint(bench.workspace)) as model:
        made = trials(spread(bench.material.test, _TRIALS))
        return measure(triples, labels, made, model.name, by_model(model, bench.notes, bench.progress))


def _pool(bench: Bench) -> list[tuple[Sample, Answer]]:
    """The twin's answers to the questions asked, which people label, and to more held-out requests beside them."""
    asked, most = {s.id for s in bench.asked}, bench.workspace.settings.evaluate.judged
    more = [s for s in held_out(bench.questions, most) if s.id not in asked]
    questions = [s.instruction for s in more]
    found = _twin_answers(bench) + _noted(bench, "judged-twin-write", questions, "write", bench.twin)
    return list(zip([*bench.asked, *more], found, strict=True))


def said(workspace: Workspace, twin: str) -> dict[str, Any]:
    """The report's fields for what people said so far: of `twin` in the blind test, and of every model's answers."""
    from llm_twin.evaluation.blind import verdict
    from llm_twin.evaluation.people import Guess, feedback_stats
    from llm_twin.journal import Journal

    guesses = [g for g in Journal(workspace.home / "blind.jsonl", Guess).read() if g.model == twin]
    feedback = Journal(workspace.home / "feedback.jsonl", Feedback).read()
    return {
        "blind": verdict(guesses) if guesses else None,
        "feedback": tuple(feedback_stats(feedback)),
    }


SECTIONS: dict[str, tuple[str, Callable[[Bench], Any]]] = {
    "opinions": ("opinions", opinions),
    "validation": ("validation", validation),
    "search": ("search", search),
    "general": ("general", general),
    "forgetting": ("forgetting", forgetting),
    "knowledge": ("knowledge", knowledge),
    "answers": ("rag", answers),
    "privacy": ("privacy", privacy),
}
"""A section of `[evaluate] sections` -> the field of the report that it fills, and what fills it."""
OPTIONAL: dict[str, tuple[str, Callable[[Bench], Any]]] = {"ragas": ("ragas", ragas)}
"""The same for sections that need an extra, and so are measured where `[evaluate] sections` names them."""
JUDGED: dict[str, tuple[str, Callable[[Bench], Any]]] = {"judged": ("judged", judged), "ares": ("ares", ares)}
"""The same for what `--judge` adds."""


def check(names: Sequence[str]) -> None:
    """InputError for a section that does not exist."""
    for name in names:
        if name not in SECTIONS | OPTIONAL:
            raise InputError(
                f"there is no section {name!r} of an evaluation", f"known: {', '.join(SECTIONS | OPTIONAL)}"
            )


def measured(bench: Bench, names: Sequence[str], judge: bool = False) -> dict[str, Any]:
    """The report's fields for the sections `names`, and with `judge` for what the model of `[endpoint]` says.

    `not_measured` says why of every other.
    """
    missing = {
        name: "left out by [evaluate] sections, or by --quick" for name in SECTIONS if name not in names
    }
    wanted = {name: (SECTIONS | OPTIONAL)[name] for name in names} | (JUDGED if judge else {})
    found: dict[str, Any] = {}
    for name, (field, make) in wanted.items():
        try:
            found[field] = make(bench)
        except (InputError, MissingPart) as error:
            missing[name] = str(error)
    if "search" in found:
        missing |= {f"search: {name}": why for name, why in found["search"].left_out.items()}
    if "rag" in found:  # chosen by place and not by result
        found["answers"] = tuple(_twin_answers(bench)[:_SHOWN])
    return {**found, "not_measured": missing}
