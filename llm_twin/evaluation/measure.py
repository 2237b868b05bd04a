"""One evaluation from end to end: let both models answer held-out instructions, then measure the answers.

Every slow step (a model's answers, a model's token scores) is noted in the run's folder as soon as it is
done, so a killed evaluation goes on where it stood. The base model is measured on answers of its own that
are not the ones that set the floor.
"""

import json
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from llm_twin.errors import InputError, MissingPart, TwinError
from llm_twin.evaluation import answers, fluency, style, trust
from llm_twin.evaluation.intervals import Array, Draws, Estimate, draw
from llm_twin.evaluation.power import power
from llm_twin.evaluation.rows import PerDocument, per_document, verifier_digest
from llm_twin.evaluation.scores import Bracketed, Scores, difference, scores
from llm_twin.evaluation.style import Passage, Verifier
from llm_twin.files import write_json
from llm_twin.ports import ChatModel, Embedder, Progress, beginning, silent
from llm_twin.text import words
from llm_twin.types import Message, Sample, Sampling, Value

Ask = Callable[[Sample], Sequence[Message]]
_FLOOR_SEED, _BASE_SEED, _TWIN_SEED, _MACHINE_SEED = 1, 2, 3, 4
VETO_OVER_SELF = 0.05


@dataclass(frozen=True)
class Material:
    """What is measured on what. `train` and `test` are the author's samples of either side; the base model
    answers those of `machine` to serve as background.
    """

    author: str
    train: Sequence[Sample]
    machine: Sequence[Sample]
    test: Sequence[Sample]
    train_texts: Sequence[str]
    test_texts: Sequence[str]
    others_train: Sequence[Passage]
    others_test: Sequence[Passage]
    others_left_out: int = 0
    """Passages by other authors that are on neither side because they repeat another."""


class Memorisation(Value):
    """Shares of word 13-grams that stand in a training document."""

    twin: float
    base: float
    author: float
    """The author's own held-out documents: what repeating oneself amounts to."""

    @property
    def veto(self) -> bool:
        """Whether the twin copies clearly more than the author repeats himself."""
        return self.twin > self.author + VETO_OVER_SELF


class Example(Value):
    """One held-out instruction with what the author and both models wrote."""

    instruction: str
    author: str
    base: str
    twin: str


class Measured(Value):
    """Everything that an evaluation found. `refused` says why there are no scores, if there are none."""

    author: str
    documents: int
    passages: int
    auc: float
    auc_others: float | None
    auc_machine: float | None
    auc_interval: Estimate | None = None
    """The three AUCs with their 95% intervals over documents."""
    auc_others_interval: Estimate | None = None
    auc_machine_interval: Estimate | None = None
    refused: str
    notes: tuple[str, ...] = ()
    """What makes the scores less sure, a sentence each without its capital and full stop."""
    base: Scores | None
    twin: Scores | None
    difference: Estimate | None
    style_floor: float
    style_ceiling: float
    perplexity: fluency.Perplexity | None
    perplexity_missing: str = ""
    """Why there is no perplexity."""
    memorisation: Memorisation
    examples: tuple[Example, ...]
    rows: PerDocument | None = None
    """What the twin's figures are made of, so that another evaluation can be compared with it in pairs."""


class Notes:
    """Results of slow steps, one JSON file each, in `folder`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def once(self, name: str, make: Callable[[], Any]) -> Any:
        """The noted result of `name`, or `make()`, noted."""
        path = self.folder / f"{name}.json"
        if not path.exists():
            write_json(path, make())
        return json.loads(path.read_text())


def measure(
    material: Material,
    base: ChatModel,
    twin: ChatModel,
    embedder: Embedder,
    ask: Ask,
    sampling: Sampling,
    notes: Notes,
    progress: Progress = silent,
) -> Measured:
    """Measure `twin` beside `base`. Both models are closed on return. A twin that gives no probabilities of a given
    text (most endpoints) has no perplexity; its sense does not need them, the base model's fluency decides it.

    Raises InputError, before either model does anything, with held-out samples of fewer than two documents.
    """
    _check(material)
    work = _Work(material, ask, sampling, notes, progress)
    wrote = {"twin": work.answers(twin, "twin", material.test, _TWIN_SEED)}
    real_by_twin = work.scored_if_it_can(twin, "twin-real", [s.response for s in material.test])
    twin.close()
    wrote["base"] = work.answers(base, "base", material.test, _BASE_SEED)
    wrote["floor"] = work.answers(base, "floor", material.test, _FLOOR_SEED)
    wrote["greedy"] = work.answers(base, "greedy", material.test, 0, temperature=0.0)
    wrote["machine"] = work.answers(base, "machine", material.machine, _MACHINE_SEED)
    likelihood = {
        name: work.scored(base, f"base-{name}", texts) for name, texts in work.judged(wrote).items()
    }
    base.close()
    verifier = _verifier(material, wrote)
    quantities = {
        "style": _style(verifier, material, wrote),
        "relevance": _relevance(embedder, material, wrote),
        "fluency": _fluency(likelihood),
        "variety": _variety(material, wrote),
    }
    return _found(material, verifier, quantities, wrote, likelihood["real"], real_by_twin)


def _check(material: Material) -> None:
    found = len({s.document_id for s in material.test})
    if found < 2:
        raise InputError(
            f"the held-out samples of {material.author} come from {found} documents, and intervals need two",
            "collect more writing, or hold out a larger share of it",
        )


@dataclass(frozen=True)
class _Work:
    """The slow steps: generation and scoring, noted."""

    material: Material
    ask: Ask
    sampling: Sampling
    notes: Notes
    progress: Progress

    def answers(
        self,
        model: ChatModel,
        name: str,
        samples: Sequence[Sample],
        seed: int,
        temperature: float | None = None,
    ) -> list[str]:
        """What `model` writes for the instructions of `samples`."""
        heat = self.sampling.temperature if temperature is None else temperature
        sampling = self.sampling.model_copy(update={"seed": 100_000 * seed, "temperature": heat})

        def make() -> list[str]:
            prompts = [self.ask(sample) for sample in samples]
            return [c.text for c in model.generate(prompts, sampling, self._showing(f"{name} answers"))]

        return [str(text) for text in self.notes.once(f"answers-{name}", make)]

    def scored(self, model: ChatModel, name: str, texts: Sequence[str]) -> list[Array]:
        """Token log probabilities of `texts` as answers to the test instructions."""

        def make() -> list[list[float]]:
            prompts = [self.ask(sample) for sample in self.material.test]
            found = model.score(prompts, texts, self._showing(f"reading {name}"))
            return [[round(float(v), 5) for v in tokens] for tokens in found]

        return [np.array(tokens, np.float64) for tokens in self.notes.once(f"scores-{name}", make)]

    def scored_if_it_can(self, model: ChatModel, name: str, texts: Sequence[str]) -> list[Array] | str:
        """The same, or why this model gives no probabilities of a given text."""
        try:
            return self.scored(model, name, texts)
        except MissingPart as error:
            return str(error)

    def judged(self, wrote: dict[str, list[str]]) -> dict[str, list[str]]:
        """The texts whose fluency is measured. An empty answer is scored as an end of turn alone."""
        real = [s.response for s in self.material.test]
        shuffled = [answers.shuffled(text, seed) for seed, text in enumerate(real)]
        return {"real": real, "shuffled": shuffled, "twin": wrote["twin"], "base": wrote["base"]}

    def _showing(self, what: str) -> Progress:
        def show(done: int, total: int, note: str = "") -> None:
            self.progress(done, total, what)

        return show


@dataclass(frozen=True)
class Written:
    """What an evaluation noted, read back: the style verifier, and passages as each model wrote them.

    `wrote` has "floor", "base" and "twin", in the order of `Material.test`; `machine` are the background's.
    """

    verifier: Verifier
    wrote: dict[str, list[Passage]]
    machine: list[Passage]


def written(material: Material, notes: Notes) -> Written:
    """Read back what `measure` noted for the same material; TwinError where it did not run."""

    def missing() -> Any:
        raise TwinError(f"{notes.folder} holds no answers", "measure first: twin evaluate")

    wrote = {n: notes.once(f"answers-{n}", missing) for n in ("floor", "base", "twin", "machine")}
    by_test = {name: _passages(material.test, wrote[name]) for name in ("floor", "base", "twin")}
    return Written(_verifier(material, wrote), by_test, _passages(material.machine, wrote["machine"]))


def _passages(samples: Sequence[Sample], texts: Sequence[str]) -> list[Passage]:
    """What was written for each sample, as a passage that stands for the sample's document."""
    return [Passage(s.document_id, text) for s, text in zip(samples, texts, strict=True)]


def _verifier(material: Material, wrote: dict[str, list[str]]) -> Verifier:
    return style.fit(
        [Passage(s.document_id, s.response) for s in material.train],
        material.others_train,
        _passages(material.machine, wrote["machine"]),
        held_out=_held_out(material, wrote),
    )


def _held_out(
    material: Material, wrote: dict[str, list[str]]
) -> tuple[list[Passage], Sequence[Passage], list[Passage]]:
    """Held-out passages of the author, of others and of the base model."""
    own = [Passage(s.document_id, s.response) for s in material.test]
    return own, material.others_test, _passages(material.test, wrote["floor"])


def _style(verifier: Verifier, material: Material, wrote: dict[str, list[str]]) -> Bracketed:
    return Bracketed(
        floor=verifier.probability(wrote["floor"]),
        ceiling=verifier.probability([s.response for s in material.test]),
        values={name: verifier.probability(wrote[name]) for name in ("base", "twin")},
    )


def _relevance(embedder: Embedder, material: Material, wrote: dict[str, list[str]]) -> Bracketed:
    def vectors(texts: Sequence[str]) -> Any:
        return embedder.embed([beginning(text, embedder) for text in texts])

    real = vectors([s.response for s in material.test])
    floor, ceiling = answers.relevance_bounds(real, [s.document_id for s in material.test])
    values = {name: answers.relevance(vectors(wrote[name]), real) for name in ("base", "twin")}
    return Bracketed(floor, ceiling, values)


def _fluency(likelihood: dict[str, list[Array]]) -> Bracketed:
    means = {name: fluency.mean_log_likelihood(scored) for name, scored in likelihood.items()}
    return Bracketed(means["shuffled"], means["real"], {name: means[name] for name in ("base", "twin")})


def _variety(material: Material, wrote: dict[str, list[str]]) -> Bracketed:
    """Variety is a property of a document's passages together; each of them carries its document's value."""
    real = [s.response for s in material.test]
    compared = [real, wrote["base"], wrote["twin"], wrote["greedy"]]
    lengths = [min(len(words(text)) for text in texts) for texts in zip(*compared, strict=True)]
    repeated = [answers.said_twice(text, n) for text, n in zip(wrote["greedy"], lengths, strict=True)]

    def by_document(texts: Sequence[str]) -> Array:
        groups: dict[str, list[int]] = defaultdict(list)
        for i, sample in enumerate(material.test):
            groups[sample.document_id].append(i)
        share = {
            d: answers.variety([texts[i] for i in rows], [lengths[i] for i in rows])
            for d, rows in groups.items()
        }
        return np.array([share[s.document_id] for s in material.test], np.float64)

    values = {name: by_document(wrote[name]) for name in ("base", "twin")}
    return Bracketed(by_document(repeated), by_document(real), values)


def _found(
    material: Material,
    verifier: Verifier,
    quantities: dict[str, Bracketed],
    wrote: dict[str, list[str]],
    real_by_base: list[Array],
    real_by_twin: list[Array] | str,
) -> Measured:
    documents = [s.document_id for s in material.test]
    draws = draw(documents)
    held_out = _held_out(material, wrote)
    told = trust.aucs(verifier, *held_out)
    refused = _refusal(len(draws.documents), told, quantities)
    found = power(verifier.probability, *held_out)
    read, missing = (None, real_by_twin) if isinstance(real_by_twin, str) else (real_by_twin, "")
    return Measured(
        author=material.author,
        documents=len(draws.documents),
        passages=len(documents),
        auc=verifier.auc,
        auc_others=verifier.auc_others,
        auc_machine=verifier.auc_machine,
        auc_interval=told["all"],
        auc_others_interval=told.get("others"),
        auc_machine_interval=told.get("machine"),
        refused=refused,
        notes=trust.notes(
            len(draws.documents), [s.response for s in material.test], found, material.others_left_out
        ),
        base=None if refused else scores("base", quantities, documents, draws),
        twin=None if refused else scores("twin", quantities, documents, draws),
        difference=None if refused else difference("twin", "base", quantities, documents, draws),
        style_floor=float(quantities["style"].floor.mean()),
        style_ceiling=float(quantities["style"].ceiling.mean()),
        perplexity=fluency.perplexity(real_by_base, read, documents, draws) if read else None,
        perplexity_missing=missing,
        memorisation=_memorisation(material, wrote),
        examples=_examples(material, wrote, draws),
        rows=per_document(quantities, material.test, _background(material, wrote), read),
    )


def _background(material: Material, wrote: dict[str, list[str]]) -> str:
    others = [p.text for p in material.others_train]
    return verifier_digest([s.response for s in material.train], others, wrote["machine"])


def _refusal(documents: int, told: Mapping[str, Estimate], quantities: dict[str, Bracketed]) -> str:
    """Why there is no score; empty where there is one."""
    if np.isnan(quantities["relevance"].ceiling).all():
        return (
            "no score: every held-out document has one passage, so nothing says how near two passages "
            "of one document are; collect longer documents"
        )
    why = trust.refusal(documents, told)
    return f"no score: {why}; collect more of the author's writing" if why else ""


def _memorisation(material: Material, wrote: dict[str, list[str]]) -> Memorisation:
    seen = answers.memory(material.train_texts)
    shares = {name: float(answers.memorised(wrote[name], seen).mean()) for name in ("twin", "base")}
    return Memorisation(**shares, author=float(answers.memorised(material.test_texts, seen).mean()))


def _examples(material: Material, wrote: dict[str, list[str]], draws: Draws) -> tuple[Example, ...]:
    """The first passage of each of the first held-out documents: chosen by place, not by result."""
    first = {s.document_id: i for i, s in reversed(list(enumerate(material.test)))}
    rows = [first[d] for d in draws.documents if d in first][:5]
    return tuple(
        Example(
            instruction=material.test[i].instruction,
            author=material.test[i].response,
            base=wrote["base"][i],
            twin=wrote["twin"][i],
        )
        for i in rows
    )
