"""The report of one evaluation: `report.json` for machines, and one `report.html` to show around.

The page is whole in itself: no script, no font, no picture from elsewhere, and it forbids them, so it works
offline, on a phone, in light and dark. Every text is escaped, a model's as well as an author's. Not covered:
measuring, and comparing several evaluations.
"""

from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict

from llm_twin.evaluation import answer_pictures, pictures, plots, samples
from llm_twin.evaluation.ablation import Ablation
from llm_twin.evaluation.ares import Ares
from llm_twin.evaluation.forgetting import Forgetting
from llm_twin.evaluation.general import GeneralFluency
from llm_twin.evaluation.intervals import Estimate
from llm_twin.evaluation.judge import Judged
from llm_twin.evaluation.knowledge import Knowledge
from llm_twin.evaluation.measure import VETO_OVER_SELF, Measured
from llm_twin.evaluation.opinions import Opinions
from llm_twin.evaluation.people import Blind, FeedbackStats, in_words
from llm_twin.evaluation.privacy import Privacy
from llm_twin.evaluation.rag import TWIN_ANSWERS, Rag
from llm_twin.evaluation.ragas_scores import RagasScores
from llm_twin.evaluation.retrieval import Retrieval
from llm_twin.evaluation.rows import Part
from llm_twin.evaluation.scores import Scores
from llm_twin.evaluation.style import LEAST_AUC
from llm_twin.evaluation.validation import Validation
from llm_twin.files import write_text
from llm_twin.types import Answer

SENSES = ("relevance", "fluency", "variety")
SENSE_LOSS = 0.1
"""How far the twin's sense may be under the base model's before the page says so."""


class Report(BaseModel):
    """One evaluation and what led to it. The sha256 are of the models' weights, empty where they are not known."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    schema_version: Literal[2] = 2
    created: AwareDatetime
    author: str
    base_model: str
    twin_model: str
    base_sha256: str = ""
    twin_sha256: str = ""
    dataset: dict[str, int | float | str]
    measured: Measured
    retrieval: Retrieval | None = None
    losses: tuple[tuple[int, float], ...] = ()
    """(step, training loss), in order."""
    minutes: dict[str, float] = {}
    """Minutes of each stage, in order."""
    answers: tuple[Answer, ...] = ()
    opinions: Opinions | None = None
    validation: Validation | None = None
    search: Ablation | None = None
    general: GeneralFluency | None = None
    forgetting: Forgetting | None = None
    knowledge: Knowledge | None = None
    rag: Rag | None = None
    ragas: RagasScores | None = None
    privacy: Privacy | None = None
    judged: Judged | None = None
    ares: Ares | None = None
    blind: Blind | None = None
    feedback: tuple[FeedbackStats, ...] = ()
    not_measured: dict[str, str] = {}
    """Sections that could not be measured, or were left out, and why."""
    settings: dict[str, Any] = {}
    """`[evaluate]` and `[privacy]` of this run."""

    def headline(self) -> dict[str, int | float | str]:
        """The few figures to show where there is little room, each with its interval."""
        measured = self.measured
        figures: dict[str, int | float | str] = {}
        if measured.twin and measured.base:
            for name in ("style", "sense", "twin"):
                title = "twin score" if name == "twin" else name
                base, twin = getattr(measured.base, name), getattr(measured.twin, name)
                figures[title] = f"{twin} (base model {base})"
        else:
            figures["scores"] = measured.refused
        figures["perplexity"] = _perplexity(measured)
        copied = measured.memorisation
        figures["memorised"] = (
            f"{copied.twin:.1%} (author {copied.author:.1%}){' VETO' if copied.veto else ''}"
        )
        if self.retrieval:
            figures["recall@5"] = str(self.retrieval.recall_at_5)
            figures["nDCG@10"] = str(self.retrieval.ndcg_at_10)
        return figures

    def beside(self) -> dict[str, Part]:
        """What the gate may look at beside the headline: the twin's rows of each section, by name."""
        rag = self.rag.arms.get(TWIN_ANSWERS) if self.rag else None
        choices = self.knowledge.choices if self.knowledge else None
        found = {
            "retrieval": self.retrieval and self.retrieval.rows,
            "groundedness": rag and rag.rows,
            "multiple choice": choices and choices.rows,
            **{f"task {task.name}": task.rows for task in (self.forgetting.tasks if self.forgetting else ())},
        }
        return {name: rows for name, rows in found.items() if rows}


def write_report(report: Report, folder: Path) -> tuple[Path, Path]:
    """Write `report.json` and `report.html` into `folder`, replacing those of an earlier run; their paths."""
    as_json, as_html = folder / "report.json", folder / "report.html"
    write_text(as_json, report.model_dump_json(indent=1) + "\n")
    write_text(as_html, page(report))
    return as_json, as_html


def page(report: Report) -> str:
    """The report as one HTML page."""
    from jinja2 import Environment, FunctionLoader, StrictUndefined

    environment = Environment(
        loader=FunctionLoader(_source),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        fixed=_fixed,
        percent=_percent,
        reach=_reach,
        chance=_chance,
        measure=answer_pictures.measure_name,
        arm=answer_pictures.arm_name,
        web=samples.web_address,
        sha=lambda sha: sha[:12],
    )
    return environment.get_template("report.html.jinja").render(
        report=report,
        m=report.measured,
        axes=_axes(report),
        curve=plots.curve(report.losses) if len(report.losses) > 1 else None,
        weakest=weakest(report.measured.twin) if report.measured.twin else "",
        senses=SENSES,
        blind_words=in_words(report.blind, report.author) if report.blind else "",
        least_auc=LEAST_AUC,
        veto_over_self=VETO_OVER_SELF,
        sense_loss=SENSE_LOSS,
        **_drawn(report),
    )


def _drawn(report: Report) -> dict[str, Any]:
    """The pictures and samples of the sections, empty or None where a section is not there."""
    validation = report.validation
    beside, further, alone = samples.samples(report.rag, report.answers, report.measured.examples)
    return {
        "opinions": pictures.opinions(report.opinions) if report.opinions else [],
        "words": pictures.words(validation.power) if validation and validation.power else None,
        "reliability": plots.reliability(validation.calibration.bins)
        if validation and validation.calibration
        else (),
        "searches": [answer_pictures.searched(t) for t in report.search.tables] if report.search else [],
        "grounded": answer_pictures.grounded(report.rag) if report.rag else [],
        "gains": answer_pictures.gains(report.rag) if report.rag else [],
        "gains_words": answer_pictures.gains_in_words(report.rag) if report.rag else [],
        "knows": pictures.knows(report.knowledge, report.forgetting, report.general),
        "choices_words": pictures.choices_in_words(report.knowledge.choices)
        if report.knowledge and report.knowledge.choices
        else "",
        "judged": pictures.judged(report.judged) if report.judged else [],
        "unseen_bits": pictures.UNSEEN_BITS,
        "beside": beside,
        "further": further,
        "alone": alone,
        "titles": samples.titles(report.rag, report.answers),
    }


def _perplexity(measured: Measured) -> str:
    found = measured.perplexity
    if found is None:
        return f"not measured: {measured.perplexity_missing}"
    change = found.change
    return (
        f"{found.base.value:.1f} -> {found.twin.value:.1f} "
        f"({change.value:+.0%} [{change.low:+.0%}, {change.high:+.0%}])"
    )


def weakest(scores: Scores) -> str:
    """Which of the three decides the sense score."""
    return min(SENSES, key=lambda name: getattr(scores, name).value)


def _axes(report: Report) -> dict[str, plots.Axis | None]:
    measured = report.measured
    copied, perplexity = measured.memorisation, measured.perplexity
    limit = copied.author + VETO_OVER_SELF
    correlations = report.opinions.correlations if report.opinions else ()
    canaries = report.privacy.canaries if report.privacy else None
    validation = report.validation
    told = [k.auc for k in validation.known if k.auc] if validation else []
    told += [validation.chance] if validation and validation.chance else []
    aucs = [a for a in (measured.auc, measured.auc_others, measured.auc_machine) if a is not None]
    reach = (measured.auc_interval, measured.auc_others_interval, measured.auc_machine_interval)
    aucs += [interval.low for interval in reach if interval]
    return {
        "scores": plots.score_axis(_estimates(measured, ("style", "sense", "twin"))),
        "senses": plots.score_axis(_estimates(measured, SENSES)),
        "perplexity": plots.axis_from_zero([p.high for p in (perplexity.base, perplexity.twin)])
        if perplexity
        else None,
        "copied": plots.axis_from_zero([limit, copied.twin, copied.base, copied.author]),
        "found": plots.Axis(0.0, 1.05),
        "auc": plots.Axis(min(0.5, *aucs) - 0.02, 1.02),
        "share": plots.Axis(-0.02, 1.02),
        "tau": plots.Axis(min([0.0, *(c.tau.low for c in correlations)]) - 0.05, 1.05),
        "known": plots.Axis(min([0.4, *(a.low for a in told)]), 1.02),
        "bits": plots.Axis(-0.2, 1.03 * canaries.most) if canaries else None,
    }


def _estimates(measured: Measured, names: Sequence[str]) -> list[Estimate]:
    both = [scores for scores in (measured.base, measured.twin) if scores]
    return [getattr(scores, name) for scores in both for name in names]


def _fixed(value: float, digits: int = 2) -> str:
    return _signed(f"{value:.{digits}f}")


def _percent(value: float, digits: int = 0) -> str:
    return _signed(f"{100 * value:.{digits}f}") + "%"


def _signed(number: str) -> str:
    """With a real minus sign, and none before a 0."""
    return number.removeprefix("-") if float(number) == 0 else number.replace("-", "\N{MINUS SIGN}")


def _reach(estimate: Estimate, digits: int = 2) -> str:
    return f"{_fixed(estimate.low, digits)} to {_fixed(estimate.high, digits)}"


def _chance(p: float) -> str:
    """A p-value as it may be said: randomisation gives none of 0."""
    return (
        f"p\N{NO-BREAK SPACE}=\N{NO-BREAK SPACE}{p:.3f}"
        if p >= 0.001
        else "p\N{NO-BREAK SPACE}<\N{NO-BREAK SPACE}0.001"
    )


def _source(name: str) -> str:
    return (files("llm_twin.evaluation") / name).read_text(encoding="utf-8")
