"""Samples asked as `twin ask` asks: with passages, of which one holds the author's answer and the others do not.

A twin that has only seen bare requests does not know what to do with passages: it repeats their heading or goes its own
way. Trained on some with the passage among others it learns to look (Zhang et al. 2024, "RAFT"). The reply stays the
author's own words. Passages are made of the training side alone, so nothing held out is shown. Not covered: requests
that no passage answers, which serving keeps from the model.
"""

import random
from collections import defaultdict
from collections.abc import Sequence
from itertools import pairwise

from llm_twin import prompts
from llm_twin.types import Message, Sample

ANSWER_PROMPT, SYSTEM_PROMPT = "answer.v1", "twin.v1"
_OTHERS = 2


def grounded(samples: Sequence[Sample], share: float, seed: int = 0) -> dict[str, list[str]]:
    """Passages for `share` of `samples`, by the sample's id, in the order in which they are shown.

    One passage holds the response, together with the next one of its document; the others are responses from elsewhere.
    """
    chance = random.Random(f"grounded {seed}")
    chosen = chance.sample(list(samples), round(share * len(samples)))
    following = _following(samples)
    found = {}
    for sample in chosen:
        own = "\n\n".join([sample.response, *following.get(sample.id, [])])
        elsewhere = [s.response for s in samples if s.document_id != sample.document_id]
        passages = [own, *chance.sample(elsewhere, min(_OTHERS, len(elsewhere)))]
        chance.shuffle(passages)
        found[sample.id] = passages
    return found


def conversation_with(sample: Sample, passages: Sequence[str]) -> list[Message]:
    """What serving asks with when it has found `passages`."""
    asked = prompts.render(ANSWER_PROMPT, question=sample.instruction, passages=list(passages))
    system = prompts.render(SYSTEM_PROMPT, author=sample.author)
    return [Message(role="system", content=system), Message(role="user", content=asked)]


def fewer(passages: Sequence[str], sample: Sample) -> list[str]:
    """The passages without the last that does not hold the response; empty when there is none to spare."""
    spare = [i for i, passage in enumerate(passages) if sample.response not in passage]
    return [passage for i, passage in enumerate(passages) if i != spare[-1]] if spare else []


def _following(samples: Sequence[Sample]) -> dict[str, list[str]]:
    """The response that comes next in the same document, by the id of the one before it."""
    by_document: dict[str, list[Sample]] = defaultdict(list)
    for sample in samples:
        by_document[sample.document_id].append(sample)
    found: dict[str, list[str]] = {}
    for each in by_document.values():
        row = sorted(each, key=lambda s: s.start)
        found |= {a.id: [b.response] for a, b in pairwise(row) if a.response != b.response}
    return found
