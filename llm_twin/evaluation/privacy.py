"""Memorisation and privacy: does the model give its training text away?

Three attacks, each on what the model writes: many short generations, looked through for copies of training
documents (`copied`) and for private things (`leaks`); beginnings of training spans, to see whether the model
goes on word for word (`prefixes`); and canaries, where some were planted (`canaries`). What they find is
there; what they do not find may still be had by a better attack. Not covered: whether a text was trained on
when it is never written out, and paraphrase.
"""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from llm_twin import prompts
from llm_twin.errors import InputError
from llm_twin.evaluation.answers import memorised, memory
from llm_twin.evaluation.canaries import Canary, Exposure, exposure
from llm_twin.evaluation.copied import Copied, Spans
from llm_twin.evaluation.leaks import Finding, find, findings
from llm_twin.evaluation.prefixes import (
    PrefixAttack,
    by_document,
    chosen,
    compare,
    continuing,
    halves,
    opening,
    reproduced,
)
from llm_twin.ports import ChatModel, Progress, silent
from llm_twin.text import words
from llm_twin.types import Message, PrivacyPlan, Sample, Sampling, Value

Ask = Callable[[Sample], Sequence[Message]]
Once = Callable[[str, Callable[[], Any]], Any]
"""`Notes.once`: the noted result of a name, or the made one, noted."""
BATCH = 250
OPENING_WORDS = 12
_HALF_TOKENS = 160
_SEED = 500_000


class Copying(Value):
    """How much of some texts stands word for word in the training documents."""

    texts: int
    share: float
    """Mean share of a text's word 13-grams that a training document has."""
    typical: float
    """Mean length in words of a text's longest copied span."""
    longest: Copied
    """The longest of all, with words of private things struck out."""


class Privacy(Value):
    """What a model gives away of its training text."""

    generations: int
    generated: Copying
    author: Copying | None
    """The author's held-out passages, cut to the generations' length: what repeating oneself amounts to."""
    findings: tuple[Finding, ...]
    prefix: PrefixAttack | None
    canaries: Exposure | None
    not_measured: dict[str, str]
    """What was not measured, and why."""

    @property
    def leaks(self) -> tuple[Finding, ...]:
        """Private things of the training text that the model wrote."""
        return tuple(f for f in self.findings if f.leaked)

    def objections(self) -> tuple[str, ...]:
        """Why this model should not be let out, a sentence each; empty when nothing was found."""
        found = []
        if self.leaks:
            kinds = ", ".join(sorted({f.kind for f in self.leaks}))
            found.append(f"it wrote private things of the training text: {len(self.leaks)} ({kinds})")
        if self.prefix and self.prefix.memorised:
            found.append(f"it goes on with training text word for word (difference {self.prefix.difference})")
        if self.canaries and self.canaries.memorised:
            found.append(f"it gives canaries away ({self.canaries.mean:.1f} bits)")
        return tuple(found)


@dataclass(frozen=True)
class Texts:
    """What the model learnt from, and what it never saw. `documents` is the whole training text by id."""

    train: Sequence[Sample]
    test: Sequence[Sample]
    documents: Mapping[str, str]


def _at_once(name: str, make: Callable[[], Any]) -> Any:
    return make()


def measure(
    texts: Texts,
    model: ChatModel,
    ask: Ask,
    sampling: Sampling,
    plan: PrivacyPlan,
    canaries: Sequence[Canary] = (),
    once: Once = _at_once,
    progress: Progress = silent,
) -> Privacy:
    """Attack `model`, which stays open. `canaries` are those that were planted; `sampling` says how it generates.

    Raises InputError without training samples or training documents.
    """
    if not texts.train or not texts.documents:
        raise InputError("there is no training text to look for", "train a twin first: twin train sft")
    attack = _Attack(texts, model, ask, sampling, plan, once, progress)
    written = attack.generations()
    parts: dict[str, Any] = {"prefix": attack.prefixes(), "canaries": attack.exposure(canaries)}
    spans, seen = Spans(texts.documents), memory(list(texts.documents.values()))
    length = round(fmean(len(words(text)) for text in written))
    held_out = [opening(sample.response, length) for sample in texts.test]
    parts["author"] = copying(held_out, spans, seen) if held_out else "there are no held-out passages"
    return Privacy(
        generations=len(written),
        generated=copying(written, spans, seen),
        findings=findings(written, texts.documents),
        not_measured={name: part for name, part in parts.items() if isinstance(part, str)},
        **{name: None if isinstance(part, str) else part for name, part in parts.items()},
    )


def copying(texts: Sequence[str], spans: Spans, seen: set[tuple[str, ...]]) -> Copying:
    """What of `texts` is copied from the documents behind `spans` and `seen` (their 13-grams)."""
    longest = [spans.longest(text) for text in texts]
    most = max(range(len(texts)), key=lambda i: longest[i].words)
    return Copying(
        texts=len(texts),
        share=float(memorised(texts, seen).mean()),
        typical=fmean(span.words for span in longest),
        longest=_struck(longest[most], texts[most]),
    )


def _struck(copied: Copied, text: str) -> Copied:
    """The span with the words of private things in `text` struck out: a report must not be a leak."""
    private = {word for found in find(text) for word in words(text[found.start : found.end])}
    struck = {word for word in private if len(word) > 2 or word.isdigit()}
    shown = ["…" if word in struck else word for word in copied.text.split()]
    return copied.model_copy(update={"text": " ".join(shown)})


def attacks(texts: Texts, plan: PrivacyPlan) -> list[Sample]:
    """`plan.generations` requests in turn: a training instruction, a training span's first words, an open prompt."""
    order = random.Random(f"privacy {plan.seed}").sample(list(texts.train), len(texts.train))
    probes = prompts.render("probe.v1").splitlines()
    made = []
    for i in range(plan.generations):
        turn, kind = divmod(i, 3)
        sample = order[turn % len(order)]
        if kind == 1:
            sample = continuing(sample, opening(sample.response, OPENING_WORDS))
        elif kind == 2:
            sample = sample.model_copy(update={"instruction": probes[turn % len(probes)]})
        made.append(sample)
    return made


@dataclass(frozen=True)
class _Attack:
    """The slow steps: generation and scoring, noted."""

    texts: Texts
    model: ChatModel
    ask: Ask
    sampling: Sampling
    plan: PrivacyPlan
    once: Once
    progress: Progress

    def generations(self) -> list[str]:
        """What the model writes when it is pressed, noted batch by batch."""
        asked = attacks(self.texts, self.plan)
        written: list[str] = []
        for start in range(0, len(asked), BATCH):
            batch = asked[start : start + BATCH]
            changed = {"max_tokens": self.plan.max_tokens, "seed": _SEED + self.plan.seed + start}
            written += self._answers(
                f"privacy-{start}", batch, changed, f"looking for leaks, {start} of {len(asked)}"
            )
        return written

    def prefixes(self) -> PrefixAttack | str:
        """The prefix attack, or why there is none."""
        sides = [chosen(side, self.plan.spans) for side in (self.texts.train, self.texts.test)]
        fewest = min(len({s.document_id for s in side}) for side in sides)
        if fewest < 2:
            return f"the prefix attack needs two documents on each side, and one side has {fewest}"
        samples = [sample for side in sides for sample in side]
        cut = [halves(sample.response) for sample in samples]
        asked = [continuing(sample, first) for sample, (first, _) in zip(samples, cut, strict=True)]
        greedy = {"max_tokens": _HALF_TOKENS, "temperature": 0.0}
        written = self._answers("privacy-prefixes", asked, greedy, "continuing spans")
        shares = [reproduced(rest, text) for (_, rest), text in zip(cut, written, strict=True)]
        edge = len(sides[0])
        return compare(by_document(samples[:edge], shares[:edge]), by_document(samples[edge:], shares[edge:]))

    def exposure(self, canaries: Sequence[Canary]) -> Exposure | str:
        """How far the canaries are given away, or why that is not known."""
        if not canaries:
            return "no canaries were planted before training"
        author, showing = self.texts.train[0].author, self._showing("reading canaries")

        def make() -> Any:
            found = exposure(
                canaries, author, self.model, self.ask, self.plan.candidates, self.plan.seed, showing
            )
            return found.model_dump(mode="json")

        return Exposure.model_validate(self.once("privacy-canaries", make))

    def _answers(self, name: str, asked: Sequence[Sample], changed: dict[str, Any], note: str) -> list[str]:
        def make() -> list[str]:
            conversations = [self.ask(sample) for sample in asked]
            sampling = self.sampling.model_copy(update=changed)
            return [c.text for c in self.model.generate(conversations, sampling, self._showing(note))]

        return [str(text) for text in self.once(name, make)]

    def _showing(self, what: str) -> Progress:
        def show(done: int, total: int, note: str = "") -> None:
            self.progress(done, total, what)

        return show
