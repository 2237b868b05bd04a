"""Filling a prompt: as many passages and earlier turns as fit a budget of tokens and the model's context.

A whole prompt is counted before it is used, and never has more than it may. On the way there each passage is counted
alone, so that a model behind a server is asked little and remembers what it was asked: the parts' counts add up to the
whole's but for a token or two where they meet.
"""

from bisect import bisect_left
from collections.abc import Sequence

from llm_twin import prompts
from llm_twin.errors import InputError
from llm_twin.inference.cite import without_citations
from llm_twin.inference.retrieve import pack
from llm_twin.inference.steps import side_by_side
from llm_twin.ports import ChatModel
from llm_twin.types import Hit, Message

SYSTEM_PROMPT, INSTRUCTED_PROMPT, ANSWER_PROMPT = "twin.v1", "instructed.v1", "answer.v1"
_HISTORY_SHARE = 1 / 3


class Packing:
    """One question's prompt, filled as far as its budget and the model's context allow.

    `instructions` are the caller's own and stand behind the twin's system prompt. `budget` is the most tokens of
    passages and earlier turns together. Raises InputError for a question that leaves them no room.
    """

    def __init__(
        self,
        question: str,
        author: str,
        model: ChatModel,
        max_tokens: int,
        budget: int,
        instructions: Sequence[str] = (),
    ) -> None:
        self._question, self._model = question, model
        self._system = _system(author, instructions)
        self._counts: dict[tuple[tuple[str, ...], int], int] = {}
        self._bare = self._count([], [])
        free = model.context - max_tokens - self._bare
        self._most = self._bare + min(budget, free)
        if free <= 0:
            raise InputError(
                f"the question and its instructions take {self._bare} tokens and the answer up to {max_tokens}, "
                f"but {model.name} has room for {model.context}",
                "ask a shorter question, or for a shorter answer",
            )

    def fill(
        self, hits: Sequence[Hit], passages: int, turns: Sequence[Message], together: bool = False
    ) -> tuple[list[Message], list[Hit], int]:
        """The messages, the hits whose passages they hold, and how many of the earlier `turns` (the newest).

        Hits stand best first, or `together` by their documents. InputError when not one passage fits.
        """
        kept = self._newest(turns)
        room = self._room([], kept)
        fitting = pack(hits, room, self._alone(hits))[:passages] if hits else []
        while fitting:
            shown = side_by_side(fitting) if together else fitting
            if self._room(shown, kept) >= 0:
                return self._messages(shown, kept), shown, len(kept)
            fitting = fitting[:-1]  # pieces together can count more than alone
        raise InputError(
            f"no passage fits the {room} tokens that are left",
            "raise the budget, or ask a shorter question",
        )

    def _newest(self, turns: Sequence[Message]) -> Sequence[Message]:
        """The newest turns that fit their share of the budget, beginning with a question."""
        least = (self._most - self._bare) * (1 - _HISTORY_SHARE)
        starts = [place for place, turn in enumerate(turns) if turn.role == "user"]
        # The later the start, the fewer the tokens: the first that fits is found by halving.
        found = bisect_left(starts, True, key=lambda start: self._room([], turns[start:]) >= least)
        return turns[starts[found] :] if found < len(starts) else []

    def _alone(self, hits: Sequence[Hit]) -> "_Alone":
        first = hits[0]
        return _Alone(self._model, first, self._count([first], []) - self._bare)

    def _room(self, hits: Sequence[Hit], turns: Sequence[Message]) -> int:
        return self._most - self._count(hits, turns)

    def _count(self, hits: Sequence[Hit], turns: Sequence[Message]) -> int:
        """Tokens of the whole prompt; `turns` are always the newest, so that their number tells them."""
        asked = tuple(hit.chunk.id for hit in hits), len(turns)
        if asked not in self._counts:
            self._counts[asked] = self._model.count_tokens(self._messages(hits, turns))
        return self._counts[asked]

    def _messages(self, hits: Sequence[Hit], turns: Sequence[Message]) -> list[Message]:
        asked = prompts.render(
            ANSWER_PROMPT, question=self._question, passages=[hit.chunk.text for hit in hits]
        )
        earlier = [
            Message(
                role=turn.role,
                content=without_citations(turn.content) if turn.role == "assistant" else turn.content,
            )
            for turn in turns
        ]
        return [self._system, *earlier, Message(role="user", content=asked)]


class _Alone:
    """Tokens of a passage in the prompt: its own, and what stands around one, which `first` tells with its `whole`."""

    def __init__(self, model: ChatModel, first: Hit, whole: int) -> None:
        self._model = model
        self._turn = model.count_tokens([Message(role="user", content="")])
        self._around = whole - self._own(first)

    def __call__(self, hit: Hit) -> int:
        return self._own(hit) + self._around

    def _own(self, hit: Hit) -> int:
        return self._model.count_tokens([Message(role="user", content=hit.chunk.text)]) - self._turn


def _system(author: str, instructions: Sequence[str]) -> Message:
    """The prompt that the twin was trained with, and what the caller adds."""
    own = prompts.render(SYSTEM_PROMPT, author=author)
    if instructions:
        own = prompts.render(INSTRUCTED_PROMPT, system=own, instructions="\n\n".join(instructions))
    return Message(role="system", content=own)
