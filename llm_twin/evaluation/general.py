"""Fluency on general text: what fine-tuning on one author costs everywhere else.

The same perplexity is measured for the base and the twin on the author's held-out passages and on short neutral
passages about thirty subjects (general.jsonl, written for this purpose). A twin that learnt a voice gains on
the first and hardly loses on the second. Covered: English prose. Thirty passages say whether something broke; they
do not say what a model knows.
"""

import json
from collections.abc import Sequence
from importlib.resources import files
from typing import Any

import numpy as np

from llm_twin.errors import InputError, TwinError
from llm_twin.evaluation.fluency import Perplexity, Scored, perplexity
from llm_twin.evaluation.intervals import DRAWS, Array, Draws, Estimate, draw, estimate
from llm_twin.evaluation.measure import Ask, Notes
from llm_twin.ports import ChatModel, Progress, silent
from llm_twin.types import Message, Sample, Value

_FILE = "general.jsonl"
_GENERAL_SEED = 1


class GeneralPassage(Value):
    """A passage on a subject, and the request that it answers."""

    topic: str
    prompt: str
    text: str


class DocumentPerplexity(Value):
    """Perplexity of one document under both models; `tokens` says how much it rests on."""

    document: str
    tokens: int
    base: float
    twin: float


class GeneralFluency(Value):
    """What training gained on the author's text and what it cost on general text; lower perplexity is better."""

    author: Perplexity
    general: Perplexity
    gap: Estimate
    """Relative change on general text less that on the author's: above 0, the twin learnt this author."""
    author_documents: tuple[DocumentPerplexity, ...]
    general_documents: tuple[DocumentPerplexity, ...]

    @property
    def forgets(self) -> bool:
        """Whether general text became less expected to the twin, with 95% confidence."""
        return self.general.change.low > 0


def general_passages() -> tuple[GeneralPassage, ...]:
    """The passages that come with the package, each a document of its own."""
    lines = (files(__package__) / _FILE).read_text(encoding="utf-8").splitlines()
    return tuple(GeneralPassage.model_validate(json.loads(line)) for line in lines)


def measure_general(
    base: ChatModel,
    twin: ChatModel,
    held_out: Sequence[Sample],
    ask: Ask,
    notes: Notes,
    progress: Progress = silent,
) -> GeneralFluency:
    """Read both kinds of text with both models: four noted steps, of which `measure` has done two if it ran.

    `held_out` and `ask` must be those of `measure.Material.test` when `notes` is its folder; TwinError if what is
    noted has another length. General passages are asked for without a system prompt. Both models stay open.
    """
    if len({sample.document_id for sample in held_out}) < 2:
        raise InputError("intervals need held-out samples of two documents", "hold out a larger share")
    passages = general_passages()
    asked = [[Message(role="user", content=passage.prompt)] for passage in passages]
    texts = [passage.text for passage in passages]
    prompts, real = [ask(sample) for sample in held_out], [sample.response for sample in held_out]
    return general_fluency(
        author=(
            _read(base, "base-real", prompts, real, notes, progress),
            _read(twin, "twin-real", prompts, real, notes, progress),
        ),
        author_documents=[sample.document_id for sample in held_out],
        general=(
            _read(base, "base-general", asked, texts, notes, progress),
            _read(twin, "twin-general", asked, texts, notes, progress),
        ),
        general_documents=[passage.topic for passage in passages],
    )


def _read(
    model: ChatModel,
    name: str,
    prompts: Sequence[Sequence[Message]],
    texts: Sequence[str],
    notes: Notes,
    progress: Progress,
) -> Scored:
    """Token log probabilities of `texts`, in one batch, noted as `measure` notes its own."""

    def show(done: int, total: int, note: str = "") -> None:
        progress(done, total, f"reading {name}")

    def make() -> list[list[float]]:
        return [[round(float(v), 5) for v in tokens] for tokens in model.score(prompts, texts, show)]

    found: list[Any] = notes.once(f"scores-{name}", make)
    if len(found) != len(texts):
        raise TwinError(
            f"scores-{name} in {notes.folder} is about {len(found)} texts, not {len(texts)}",
            "remove it and evaluate again",
        )
    return [np.array(tokens, np.float64) for tokens in found]


def general_fluency(
    author: tuple[Scored, Scored],
    author_documents: Sequence[str],
    general: tuple[Scored, Scored],
    general_documents: Sequence[str],
) -> GeneralFluency:
    """From token log probabilities under (base, twin). The two kinds of documents are drawn independently."""
    own = draw(author_documents)
    other = draw(general_documents, DRAWS, _GENERAL_SEED)
    changes = [
        _ratio(scored, documents, draws)
        for scored, documents, draws in (
            (general, general_documents, other),
            (author, author_documents, own),
        )
    ]
    fewer = own if len(own.documents) < len(other.documents) else other
    return GeneralFluency(
        author=perplexity(*author, author_documents, own),
        general=perplexity(*general, general_documents, other),
        # The wider tail of the two: the difference is no surer than the smaller set allows.
        gap=estimate(changes[0] - changes[1], fewer),
        author_documents=_by_document(author, author_documents),
        general_documents=_by_document(general, general_documents),
    )


def _ratio(scored: tuple[Scored, Scored], documents: Sequence[str], draws: Draws) -> Array:
    """Relative change of perplexity from base to twin in every draw."""
    base, twin = (draws.mean(np.array([t.sum() for t in one]), documents) for one in scored)
    tokens = draws.mean(np.array([float(len(t)) for t in scored[0]]), documents)
    return np.asarray(np.exp((base - twin) / tokens) - 1, np.float64)


def _by_document(scored: tuple[Scored, Scored], documents: Sequence[str]) -> tuple[DocumentPerplexity, ...]:
    rows: dict[str, list[int]] = {}
    for i, document in enumerate(documents):
        rows.setdefault(document, []).append(i)
    return tuple(
        DocumentPerplexity(
            document=document,
            tokens=sum(len(scored[0][i]) for i in places),
            base=_of(scored[0], places),
            twin=_of(scored[1], places),
        )
        for document, places in rows.items()
    )


def _of(scored: Scored, places: Sequence[int]) -> float:
    return float(np.exp(-np.concatenate([scored[i] for i in places]).mean()))
