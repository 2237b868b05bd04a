"""The whole road, in order. Read from top to bottom: this is all that llm-twin does.

    collect -> index -> dataset -> train -> evaluate -> ask

A stage takes values and ports; this module alone opens the ports, puts the stages in order and notes what
is up to date. Every function may be killed at any moment and run again.
"""

import json
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llm_twin import freshness, wiring
from llm_twin.asker import Asker, Subject, subject
from llm_twin.errors import InputError
from llm_twin.files import write_json, write_lines, write_text
from llm_twin.ports import Progress, silent
from llm_twin.reading import clean_documents, own_documents, read_samples
from llm_twin.text import digest
from llm_twin.types import Answer, CleanDocument, Sampling, Skipped, StageReport
from llm_twin.workspace import Workspace

if TYPE_CHECKING:
    from llm_twin.datasets.instruct import Draft
    from llm_twin.training.rehearsal import Rehearsed

# --- collect: sources -> documents ---------------------------------------------------------------------------


def collect(
    workspace: Workspace, given: Sequence[tuple[str, str | None]] = (), progress: Progress = silent
) -> StageReport:
    """Read `given` (location, author), or everything known, into the document store.

    A location that was collected once is remembered, so that `twin run` refreshes it.
    """
    from llm_twin.collect.crawl import Source
    from llm_twin.collect.crawl import collect as crawl

    started = time.monotonic()
    sources = list(given) or workspace.sources()
    if not sources:
        raise InputError(
            "there is nothing to collect", "name files, folders or addresses: twin collect ./my-articles"
        )
    counts = {"new": 0, "changed": 0, "same": 0}
    skipped = []
    found = crawl(
        [Source(location, author) for location, author in sources],
        wiring.open_fetcher(workspace),
        workspace.author,
        progress,
        workspace.settings.fetch.allow_private,
    )
    workspace.remember([(_absolute(location), author) for location, author in given])
    with closing(wiring.open_documents(workspace)) as store:
        for item in found:
            if isinstance(item, Skipped):
                skipped.append(item)
            else:
                counts[store.save(item)] += 1
        total = sum(1 for _ in store.documents())
    report = StageReport(
        stage="collect",
        counts={**counts, "documents": total},
        skipped=tuple(skipped),
        artefacts=(str(workspace.documents),),
        seconds=time.monotonic() - started,
    )
    return workspace.finish("collect", freshness.collect_inputs(workspace), report)


def _absolute(location: str) -> str:
    return location if "://" in location else str(Path(location).expanduser().resolve())


# --- index: documents -> clean text -> chunks -> vectors -------------------------------------------------------


def index(workspace: Workspace, progress: Progress = silent) -> StageReport:
    """Clean, chunk, embed and store all documents; only what changed is embedded."""
    from llm_twin.features.index import index as index_documents

    started = time.monotonic()
    documents, skipped = clean_documents(workspace)
    embedder = wiring.open_embedder(workspace, progress)
    with closing(wiring.open_vectors(workspace, embedder.dimension)) as store:
        report = index_documents(documents, store, embedder, progress)
    counts = {**report.counts, **_cleaning_counts(documents)}
    report = report.model_copy(
        update={
            "counts": counts,
            "skipped": (*skipped, *report.skipped),
            "artefacts": (str(workspace.vectors),),
            "seconds": time.monotonic() - started,
        }
    )
    return workspace.finish("index", freshness.index_inputs(workspace), report)


def _cleaning_counts(documents: Sequence[CleanDocument]) -> dict[str, int | float]:
    dropped = sum(len(d.dropped) for d in documents)
    kept = sum(1 for d in documents for line in d.text.split("\n") if line.strip())
    share = round(100 * dropped / max(1, dropped + kept), 1)
    return {"lines dropped": dropped, "lines kept": kept, "dropped %": share}


# --- dataset: clean text -> spans -> samples ---------------------------------------------------------------------


def dataset(workspace: Workspace, progress: Progress = silent) -> StageReport:
    """Instruction samples from the author's own sentences, split by document, with a card."""
    from llm_twin.datasets.card import card, counts
    from llm_twin.datasets.curate import prepare
    from llm_twin.datasets.instruct import instruct

    started = time.monotonic()
    inputs = freshness.dataset_inputs(workspace)
    settings = workspace.settings.dataset
    own = own_documents(workspace, clean_documents(workspace)[0])
    kept = prepare(
        own,
        settings.test_share,
        settings.near_duplicate,
        settings.most_contamination,
        settings.seed,
        (settings.least_words, settings.target_words, settings.most_words),
    )
    embedder = wiring.open_embedder(workspace, progress)
    drafts = workspace.dataset / "drafts" / digest(inputs, *(span.text for span, _ in kept.spans))[:12]
    model = None
    if settings.instructions == "model":
        model = wiring.open_chat(
            workspace, wiring.pull_model(workspace, workspace.settings.models.chat, progress)
        )
    samples, refused = instruct(
        kept.spans,
        model,
        embedder,
        settings.seed,
        done=lambda batch: _read_draft(drafts / f"{batch}.json"),
        keep=lambda batch, draft: write_json(drafts / f"{batch}.json", draft),
        progress=progress,
    )
    if model is not None:
        model.close()
    found = counts(samples, kept, refused)
    write_lines(workspace.dataset / "samples.jsonl", (s.model_dump_json() for s in samples))
    write_text(
        workspace.dataset / "card.md", card(workspace.author, samples, kept, refused, settings.model_dump())
    )
    report = StageReport(
        stage="dataset",
        counts=found,
        skipped=kept.dropped,
        artefacts=(str(workspace.dataset / "samples.jsonl"), str(workspace.dataset / "card.md")),
        seconds=time.monotonic() - started,
    )
    return workspace.finish("dataset", inputs, report)


def _read_draft(path: Path) -> "Draft | None":
    if not path.exists():
        return None
    requests, refused = json.loads(path.read_text(encoding="utf-8"))
    return [(str(request), str(writer)) for request, writer in requests], dict(refused)


# --- train: samples -> LoRA -> a model to serve -----------------------------------------------------------------


def train(workspace: Workspace, progress: Progress = silent) -> StageReport:
    """Fine-tune the base model on the train side, merge, and export for serving.

    With `[privacy] canaries` it learns made-up secrets as well, whose exposure an evaluation measures.
    """
    from llm_twin.evaluation.canaries import canaries, planted
    from llm_twin.training.export import export, gguf_obstacle
    from llm_twin.training.rehearsal import how_many
    from llm_twin.training.sft import sft

    started = time.monotonic()
    samples = read_samples(workspace)
    inputs = freshness.train_inputs(workspace)
    base = wiring.pull_model(workspace, workspace.settings.models.chat, progress)
    if obstacle := gguf_obstacle(base):  # said before hours of training, not after them
        raise InputError(obstacle, "choose a base model that is published as GGUF: twin models")
    run, model = workspace.run_folder(inputs), workspace.model_folder(inputs)
    write_json(
        run / "config.json", {"base": workspace.settings.models.chat, **workspace.settings.train.model_dump()}
    )
    plan = workspace.settings.privacy
    samples += planted(canaries(plan.seed, plan.canaries), workspace.author, plan.canary_times)
    recipe = workspace.settings.train
    count = how_many(sum(1 for sample in samples if sample.split == "train"), recipe.rehearsal)
    rehearsed = _rehearsed(workspace, base, run, count, progress)
    tracker = wiring.open_tracker(workspace, run)
    trained = sft(samples, base, run, recipe, tracker, progress, rehearsed)
    if not (model / "model.json").exists():
        export(base, run / "adapter", model, model.name, progress)
    counts: dict[str, Any] = {k: round(v, 3) for k, v in trained.model_dump().items()}
    counts |= {"canaries": plan.canaries} if plan.canaries else {}
    report = StageReport(
        stage="train",
        counts=counts,
        artefacts=(str(model), str(run / "metrics.jsonl"), str(run / "loss.svg")),
        seconds=time.monotonic() - started,
    )
    return workspace.finish("train", inputs, report)


def _rehearsed(
    workspace: Workspace, base: Path, run: Path, count: int, progress: Progress
) -> "list[Rehearsed]":
    """What the base model replies to everyday requests, asked once a run: a run that goes on rehearses the same."""
    from llm_twin.training import rehearsal

    path = run / "rehearsal.jsonl"
    known = rehearsal.kept(path)
    if known is None:
        model = wiring.open_chat(workspace, base) if count else None
        known = rehearsal.rehearse(model, count, workspace.settings.train.seed, progress) if model else []
        if model:
            model.close()
        rehearsal.keep(path, known)
    return known


# --- evaluate: base and twin on held-out documents --------------------------------------------------------------


QUICK: dict[str, Any] = {
    "passages": 12,
    "machine_passages": 24,
    "questions": 40,
    "search_model_arms": 0,
    "max_tokens": 80,
    "sections": ("opinions", "search"),
}
"""`--quick`: fewer passages, shorter answers, and only the sections that ask no model."""


def evaluate(
    workspace: Workspace,
    progress: Progress = silent,
    quick: bool = False,
    model: str = "",
    judge: bool = False,
) -> StageReport:
    """Measure the twin, or `model`, beside the base model, and the search; write report.json and report.html.

    Only a whole evaluation of the twin counts as the road's; `judge` asks the model of `[endpoint]` as well.
    """
    from llm_twin import sections
    from llm_twin.bench import Bench
    from llm_twin.evaluation.measure import Notes, measure
    from llm_twin.evaluation.report import write_report
    from llm_twin.material import material
    from llm_twin.reporting import evaluation_report, judged_before
    from llm_twin.training.sft import conversation

    started = time.monotonic()
    whole = workspace
    workspace = _quickly(workspace) if quick else workspace
    settings = workspace.settings.evaluate
    sections.check(settings.sections)
    measured_model = subject(workspace, model, progress)
    base_model = subject(workspace, workspace.settings.models.chat, progress)
    subjects = base_model, measured_model
    inputs = freshness.evaluate_inputs(workspace)
    inputs = digest(inputs, model, *_where(workspace, measured_model)) if model else inputs
    folder = workspace.home / "evaluations" / inputs[:12]
    documents, _ = clean_documents(workspace)
    embedder = wiring.open_embedder(workspace, progress)
    wiring.open_vectors(workspace, embedder.dimension).close()  # a damaged index is told now, not at the end
    said = sections.said(workspace, measured_model.name)  # and so is a journal with a damaged line
    if judge:
        wiring.open_endpoint(workspace).close()  # and a judge that is not there
    sampling = Sampling(
        max_tokens=settings.max_tokens, temperature=settings.temperature, top_p=settings.top_p
    )
    found, notes = material(workspace, documents), Notes(folder)
    base, twin = (each.open(workspace) for each in subjects)
    measured = measure(found, base, twin, embedder, conversation, sampling, notes, progress)
    bench = Bench(
        workspace, found, documents, embedder, subjects, conversation, sampling, notes, progress, judge
    )
    with closing(bench):
        parts = said | judged_before(folder) | sections.measured(bench, settings.sections, judge)
    retrieval = sections.retrieval(bench)
    seconds = time.monotonic() - started
    report = evaluation_report(workspace, subjects, measured, retrieval, parts, seconds)
    paths = write_report(report, folder)
    finished = StageReport(
        stage="evaluate",
        counts=report.headline(),
        skipped=tuple(Skipped(what=name, why=why) for name, why in report.not_measured.items()),
        artefacts=tuple(str(path) for path in paths),
        seconds=seconds,
    )
    return finished if quick or model else whole.finish("evaluate", inputs, finished)


def _quickly(workspace: Workspace) -> Workspace:
    evaluate = workspace.settings.evaluate.model_copy(update=QUICK)
    return Workspace(workspace.home, workspace.settings.model_copy(update={"evaluate": evaluate}))


def _where(workspace: Workspace, measured: Subject) -> list[str]:
    """Which weights they are, or which server a model without a folder stands behind."""
    return [measured.sha256] if measured.folder else [workspace.settings.endpoint.url, measured.name]


# --- ask: question -> passages -> an answer with its sources -------------------------------------------------------


def ask(workspace: Workspace, question: str, mode: str = "") -> Answer:
    """The answer to one question."""
    with closing(Asker(workspace, mode)) as asker:
        for piece in asker.stream(question):
            if isinstance(piece, Answer):
                return piece
    raise InputError("the question is empty", "ask something")


def batch(
    workspace: Workspace,
    questions: Path,
    out: Path,
    mode: str = "",
    base: bool = False,
    progress: Progress = silent,
) -> StageReport:
    """Answer a JSONL file of questions into `out`, in their order; killed and run again, it goes on."""
    from llm_twin.inference.batch import answer_file, read_questions

    started = time.monotonic()
    if questions.resolve() == out.resolve():
        raise InputError(f"{out} holds the questions", "name another file for the answers")
    asked, bad = read_questions(questions, workspace.author)
    with closing(Asker(workspace, mode, base, progress)) as asker:
        had, skipped = answer_file(asked, out, asker.using(), progress, asker.made_with)
    return StageReport(
        stage="batch",
        counts={"answered": len(asked) - had - len(skipped), "answered before": had},
        skipped=(*bad, *skipped),
        artefacts=(str(out),),
        seconds=time.monotonic() - started,
    )


# --- run: whatever is out of date, in order -------------------------------------------------------------------------

Stage = Callable[[Workspace, Progress], StageReport]
ROAD: dict[str, Stage] = {
    "collect": lambda workspace, progress: collect(workspace, (), progress),
    "index": index,
    "dataset": dataset,
    "train": train,
    "evaluate": evaluate,
}


def run(workspace: Workspace, show: Callable[[str], Progress] = lambda stage: silent) -> list[StageReport]:
    """Run every stage that is out of date, in order; the reports of those that ran.

    Killed anywhere and run again, it ends where an uninterrupted run would have ended.
    """
    reports = []
    for stage, do in ROAD.items():
        if freshness.is_stale(workspace, stage):
            reports.append(do(workspace, show(stage)))
    return reports
