"""The report of one evaluation: `report.json` for machines, and one `report.html` to show around.

The page is whole in itself: no script, no font, no picture from elsewhere, and it forbids them, so it works
offline, on a phone, in light and dark. Every text is escaped, a model's as well as an author's. Not covered:
measuring, and comparing several evaluations.
"""

import re
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict

from llm_twin.evaluation import plots
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
from llm_twin.evaluation.rag import Rag
from llm_twin.evaluation.ragas_scores import RagasScores
from llm_twin.evaluation.retrieval import Retrieval
from llm_twin.evaluation.scores import Scores
from llm_twin.evaluation.style import LEAST_AUC
from llm_twin.evaluation.validation import Validation
from llm_twin.files import write_text
from llm_twin.types import Answer, Citation

SENSES = ("relevance", "fluency", "variety")
SENSE_LOSS = 0.1
"""How far the twin's sense may be under the base model's before the page says so."""
_CITED = re.compile(r"\[(\d{1,4})\]")


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
        fixed=_fixed, percent=_percent, reach=_reach, web=web_address, sha=lambda sha: sha[:12]
    )
    return environment.get_template("report.html.jinja").render(
        report=report,
        m=report.measured,
        axes=_axes(report),
        curve=plots.curve(report.losses) if len(report.losses) > 1 else None,
        weakest=weakest(report.measured.twin) if report.measured.twin else "",
        senses=SENSES,
        blind_words=in_words(report.blind, report.author) if report.blind else "",
        answers=[(answer, linked(answer), _passages(answer)) for answer in report.answers],
        least_auc=LEAST_AUC,
        veto_over_self=VETO_OVER_SELF,
        sense_loss=SENSE_LOSS,
    )


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


def linked(answer: Answer) -> list[tuple[str, int | None]]:
    """The answer cut at its citations: (text, None) or ("[2]", 2); a number that cites nothing stays text."""
    known = {citation.number for citation in answer.citations}
    pieces: list[tuple[str, int | None]] = []
    for i, piece in enumerate(_CITED.split(answer.text)):
        cited = i % 2 == 1
        pieces.append(
            (f"[{piece}]" if cited else piece, int(piece) if cited and int(piece) in known else None)
        )
    return pieces


def web_address(url: str | None) -> str | None:
    """The address where it is safe to follow, else None: a link must not be able to run anything."""
    return url if url and url.lower().startswith(("https://", "http://")) else None


def _passages(answer: Answer) -> list[tuple[Citation, str]]:
    texts = {hit.chunk.id: hit.chunk.text for hit in answer.hits}
    return [(citation, texts.get(citation.chunk_id, "")) for citation in answer.citations]


def _axes(report: Report) -> dict[str, plots.Axis | None]:
    measured = report.measured
    copied, perplexity = measured.memorisation, measured.perplexity
    limit = copied.author + VETO_OVER_SELF
    aucs = [a for a in (measured.auc, measured.auc_others, measured.auc_machine) if a is not None]
    return {
        "scores": plots.score_axis(_estimates(measured, ("style", "sense", "twin"))),
        "senses": plots.score_axis(_estimates(measured, SENSES)),
        "perplexity": plots.axis_from_zero([p.high for p in (perplexity.base, perplexity.twin)])
        if perplexity
        else None,
        "copied": plots.axis_from_zero([limit, copied.twin, copied.base, copied.author]),
        "found": plots.Axis(0.0, 1.05),
        "auc": plots.Axis(min(0.5, *aucs) - 0.02, 1.02),
    }


def _estimates(measured: Measured, names: Sequence[str]) -> list[Estimate]:
    both = [scores for scores in (measured.base, measured.twin) if scores]
    return [getattr(scores, name) for scores in both for name in names]


def _fixed(value: float, digits: int = 2) -> str:
    return f"{value:.{digits}f}".replace("-", "\N{MINUS SIGN}")


def _percent(value: float, digits: int = 0) -> str:
    return f"{100 * value:.{digits}f}%".replace("-", "\N{MINUS SIGN}")


def _reach(estimate: Estimate, digits: int = 2) -> str:
    return f"{_fixed(estimate.low, digits)} to {_fixed(estimate.high, digits)}"


def _source(name: str) -> str:
    return (files("llm_twin.evaluation") / name).read_text(encoding="utf-8")
