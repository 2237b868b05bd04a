"""Tokens as the server behind an endpoint counts them: by its own tokenizer, where it offers that.

vLLM and `twin serve-llm` lay out a conversation and count it; llama.cpp lays it out as one text and counts that. Others
(TGI, TensorRT-LLM, Ollama, OpenAI) tell the count of a prompt only with an answer to it. There a conversation counts
as `token_bound` says, which is more than it has. The counts of short single turns, such as passages, are remembered.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from llm_twin.adapters.endpoint import Endpoint, Refusal
from llm_twin.adapters.token_bound import most_tokens
from llm_twin.errors import InputError, Unreachable
from llm_twin.types import Message

_SHORT, _REMEMBERED = 8000, 1024
"""Characters of a turn whose count is remembered, and how many such turns."""


class EndpointTokens:
    """The tokens of the model `name` at `endpoint`."""

    def __init__(self, endpoint: Endpoint, name: str) -> None:
        self._endpoint, self._name = endpoint, name
        self._missing: set[str] = set()
        self._remembered = lru_cache(_REMEMBERED)(lambda turn: self._count([turn]))

    def count(self, messages: Sequence[Message]) -> int:
        """Tokens of the rendered prompt; where the server does not count, a number that they stay under."""
        if len(messages) == 1 and len(messages[0].content) < _SHORT:
            return self._remembered(messages[0])
        return self._count(messages)

    def length(self, text: str) -> int:
        """Tokens of a reply: of a turn with it, less those of a turn without."""
        with_it, without = (self.count([Message(role="user", content=each)]) for each in (text, ""))
        return with_it - without

    def of_prompt(self, messages: Sequence[Message], reply: bool = True) -> list[int] | None:
        """Token ids of the rendered conversation; None where the server does not show them."""
        found = self._tokenized(messages, reply)
        if isinstance(found, dict) and "count" in found:
            return list(found["tokens"]) if found.get("tokens") else None
        return self._laid_out(messages) if reply else None

    def of_text(self, text: str) -> list[int]:
        """Token ids of a text, as vLLM tells them."""
        asked = {"model": self._name, "prompt": text, "add_special_tokens": False}
        return list(self._endpoint.post(f"{self._endpoint.root}/tokenize", asked)["tokens"]) if text else []

    def offered(self, how: str, path: str, *body: dict[str, Any]) -> Any:
        """What a path beside the OpenAI ones answers; None where the server has no such path or refuses."""
        if path in self._missing:
            return None
        try:
            return getattr(self._endpoint, how)(self._endpoint.root + path, *body)
        except Unreachable:
            raise
        except InputError as error:
            if isinstance(error, Refusal) and error.status in (404, 405):
                self._missing.add(path)
            return None

    def _count(self, messages: Sequence[Message]) -> int:
        found = self._tokenized(messages)
        if isinstance(found, dict) and "count" in found:  # vLLM, and `twin serve-llm`
            return int(found["count"])
        ids = self._laid_out(messages)
        return most_tokens(messages) if ids is None else len(ids)

    def _tokenized(self, messages: Sequence[Message], reply: bool = True) -> Any:
        """What /tokenize says of a conversation; None where the server has none."""
        turns = [m.model_dump() for m in messages]
        asked = {"model": self._name, "messages": turns, "add_generation_prompt": reply}
        return self.offered("post", "/tokenize", asked)

    def _laid_out(self, messages: Sequence[Message]) -> list[int] | None:
        """As llama.cpp does it: the conversation as one text, and that text's token ids."""
        turns = [m.model_dump() for m in messages]
        laid_out = self.offered("post", "/apply-template", {"messages": turns})
        if not isinstance(laid_out, dict) or "prompt" not in laid_out:
            return None
        asked = {"content": laid_out["prompt"], "add_special": True, "parse_special": True}
        found = self.offered("post", "/tokenize", asked)
        return list(found["tokens"]) if isinstance(found, dict) and "tokens" in found else None
