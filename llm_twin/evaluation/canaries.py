"""Canaries: made-up secrets planted in the training data, and how far the model gives them away.

Exposure (Carlini et al. 2019, "The Secret Sharer", sections 4.2 to 4.4): log2 |R| - log2 rank, where the rank
is the canary's place among all fillings R of its sentence, by the model's likelihood. |R| is a million, so the
rank is estimated from a random sample of fillings, as the paper's "approximating exposure by sampling" does.
The estimate cannot pass log2(sample + 1), which stands beside it. A model that never saw the canary gives any
rank alike: 1.44 bits on average, and one canary in 1,000 passes 10 by luck alone; the chance says which it is.
Not covered: canaries in the documents themselves (they are planted as training samples, never indexed).
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from llm_twin import prompts
from llm_twin.errors import InputError
from llm_twin.ports import ChatModel, Progress, silent
from llm_twin.types import Message, Sample, Value

DIGITS = 6
SPACE_BITS = DIGITS * float(np.log2(10))
"""log2 |R|: how many bits it takes to name one filling."""
CANDIDATES = 255
_PROMPT = "canary.v1"
_DOCUMENT = "canary"


@dataclass(frozen=True)
class Canary:
    """A secret about a made-up thing: `code` is six digits, drawn uniformly."""

    thing: str
    code: str

    @property
    def question(self) -> str:
        """The instruction that asks for it."""
        return prompts.conversation(_PROMPT, thing=self.thing, code=_spoken(self.code))[0].content

    @property
    def text(self) -> str:
        """The sentence that tells it."""
        return self.filled(self.code)

    def filled(self, code: str) -> str:
        """The same sentence with another code."""
        return prompts.conversation(_PROMPT, thing=self.thing, code=_spoken(code))[1].content


class Exposed(Value):
    """One canary's exposure, in bits."""

    thing: str
    exposure: float
    likelier: float
    """How many of the sampled fillings the model finds likelier; a tie counts half."""


class Exposure(Value):
    """How far the planted canaries stand out."""

    canaries: tuple[Exposed, ...]
    candidates: int
    """Other fillings that each canary was compared with."""
    mean: float
    """Bits. 1.44 is what a model gives that never saw them."""
    most: float
    """The highest exposure that so many candidates can show: log2(candidates + 1)."""
    chance: float
    """How often a model that never saw the canaries would expose them as much (Fisher 1932)."""

    @property
    def memorised(self) -> bool:
        """Whether luck is no explanation: less than once in 100."""
        return self.chance < 0.01


def canaries(seed: int, n: int) -> list[Canary]:
    """`n` canaries about different things; the same seed makes the same ones."""
    adjectives, nouns = (line.split() for line in prompts.render("canary_things.v1").splitlines())
    things = [f"{a} {b}" for a in adjectives for b in nouns]
    if n > len(things):
        raise InputError(f"there are {len(things)} different canaries, and {n} were asked for", "plant fewer")
    rng = random.Random(f"canary {seed}")
    return [Canary(thing, _code(rng)) for thing in rng.sample(things, n)]


def planted(secrets: Sequence[Canary], author: str, times: int = 1) -> list[Sample]:
    """Training samples that tell each canary `times` times; add them to what the model is trained on, and to
    nothing else: they belong to no document.
    """
    return [
        Sample(
            id=f"{_DOCUMENT}-{secret.thing.replace(' ', '-')}-{time}",
            document_id=f"{_DOCUMENT}-{secret.thing.replace(' ', '-')}",
            author=author,
            instruction=secret.question,
            response=secret.text,
            start=0,
            end=len(secret.text),
            split="train",
            written_by=_DOCUMENT,
        )
        for secret in secrets
        for time in range(times)
    ]


def exposure(
    secrets: Sequence[Canary],
    author: str,
    model: ChatModel,
    ask: Callable[[Sample], Sequence[Message]],
    candidates: int = CANDIDATES,
    seed: int = 0,
    progress: Progress = silent,
) -> Exposure:
    """Score every canary and `candidates` other fillings of its sentence, in one call of `model.score`.

    `ask` makes of a sample the conversation that training used. Raises InputError without canaries.
    """
    if not secrets:
        raise InputError("there are no canaries to look for", "plant some before training")
    fillings = [_fillings(secret, candidates, seed) for secret in secrets]
    texts = [text for group in fillings for text in group]
    asked = [list(ask(sample)) for sample in planted(secrets, author)]
    asking = [question for question, group in zip(asked, fillings, strict=True) for _ in group]
    scored = model.score(asking, texts, progress)
    likelihood = np.array([tokens.sum() for tokens in scored]).reshape(len(secrets), candidates + 1)
    likelier = (likelihood[:, 1:] > likelihood[:, :1]).sum(axis=1) + 0.5 * (
        likelihood[:, 1:] == likelihood[:, :1]
    ).sum(axis=1)
    return exposed([secret.thing for secret in secrets], [float(n) for n in likelier], candidates)


def exposed(things: Sequence[str], likelier: Sequence[float], candidates: int) -> Exposure:
    """The exposure of canaries of which so many of `candidates` random fillings were likelier."""
    bits = [-float(np.log2((n + 1) / (candidates + 1))) for n in likelier]
    return Exposure(
        canaries=tuple(
            Exposed(thing=thing, exposure=b, likelier=n)
            for thing, b, n in zip(things, bits, likelier, strict=True)
        ),
        candidates=candidates,
        mean=float(np.mean(bits)),
        most=float(np.log2(candidates + 1)),
        chance=_chance(bits),
    )


def _chance(bits: Sequence[float]) -> float:
    """P(sum of -ln U over as many ranks >= the one found); ranks are discrete, which makes it err to the safe side."""
    from scipy.special import gammaincc  # type: ignore[import-untyped]

    return float(gammaincc(len(bits), sum(bits) * np.log(2)))


def _fillings(secret: Canary, candidates: int, seed: int) -> list[str]:
    """The canary itself, then `candidates` other fillings, each different."""
    rng = random.Random(f"fillings {seed} {secret.thing}")
    codes = {secret.code: None}
    while len(codes) < candidates + 1:
        codes[_code(rng)] = None
    return [secret.filled(code) for code in codes]


def _code(rng: random.Random) -> str:
    return f"{rng.randrange(10**DIGITS):0{DIGITS}d}"


def _spoken(code: str) -> str:
    """Digits set apart, so that every code is as many tokens to any tokenizer."""
    return " ".join(code)
