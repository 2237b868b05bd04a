"""A ChatModel behind any OpenAI-compatible endpoint: vLLM, TGI, TensorRT-LLM, llama.cpp, Ollama, OpenAI.

The server lays out the conversation and decides what one seed gives; requests run side by side, at most
`concurrency` of them. What an answer read and wrote, and why it ended, is what the server says of it. Tokens are
counted before by its tokenizer where it offers that (vLLM, llama.cpp), else by a figure that they stay under
(`endpoint_tokens`): to ask for the exact one would cost as much as an answer. Token probabilities of a given text are
what vLLM alone returns; elsewhere `score` raises MissingPart.

Not covered: control tokens that stand in what somebody wrote (in-process they are read as characters, here
as the server likes), a repetition penalty where the server knows none, and Ollama's habit of cutting what is
longer than its `num_ctx` without a word. A reply that a provider withholds has finish "content_filter".
"""

import json
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import closing
from contextvars import copy_context
from difflib import get_close_matches
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from llm_twin import waiting
from llm_twin.adapters.endpoint import Endpoint, Refusal
from llm_twin.adapters.endpoint_tokens import EndpointTokens
from llm_twin.errors import InputError, MissingPart, Refused, TwinError, Unavailable
from llm_twin.ports import Progress, silent
from llm_twin.types import Completion, Message, Sampling, Token

_T = TypeVar("_T")
_PROBE = "x"
_TELLING = "ask without logprobs, or serve the model with vLLM or the llama.cpp server"
_SCORES = 'serve the model with vLLM, or score it here with adapters.chat = "openvino"'


class HttpChat:
    """The model `model` of the server at `url`; "" is the only one that it serves. Asks for its list when opened.

    `context` 0 asks the server how much fits. Raises InputError when there is no server, the key or the name is
    refused, or the server does not say how much fits.
    """

    def __init__(
        self,
        url: str,
        model: str = "",
        api_key: str = "",
        *,
        context: int = 0,
        concurrency: int = 8,
        timeout_s: float = 300.0,
        attempts: int = 5,
        sleep: Callable[[float], None] = waiting.pause,
    ) -> None:
        self._endpoint = Endpoint(
            url, api_key, places=concurrency, timeout_s=timeout_s, attempts=attempts, sleep=sleep
        )
        self._concurrency, self._closed = concurrency, False
        self._length_key, self._tells_usage = "max_tokens", True
        try:
            served = self._served()
            self.name = _chosen(model, served, self._endpoint.url)
            self._tokens = EndpointTokens(self._endpoint, self.name)
            self.context = context or self._context(served.get(self.name, {}))
        except BaseException:
            self._endpoint.close()
            raise

    def count_tokens(self, messages: Sequence[Message]) -> int:
        """Tokens of the rendered prompt, as the server counts them; a bound where it does not."""
        self._check_open()
        return self._tokens.count(messages)

    def generate(
        self, prompts: Sequence[Sequence[Message]], sampling: Sampling, progress: Progress = silent
    ) -> list[Completion]:
        """One completion a prompt, in order. Prompt i is sampled with seed + i, so that the same one twice differs."""
        self._check_open()
        for messages in prompts:
            self._check_room(messages, sampling)

        def complete(i: int) -> Completion:
            reply = self._chat(self._body(prompts[i], sampling, i))
            choice = reply["choices"][0]
            text = choice["message"].get("content") or ""
            return self._completion(
                prompts[i], sampling, text, reply.get("usage"), choice.get("finish_reason")
            )

        return self._side_by_side(complete, len(prompts), progress)

    def stream(self, messages: Sequence[Message], sampling: Sampling) -> Generator[str, None, Completion]:
        """Pieces of text as they come; closing the generator hangs up, which makes servers stop."""
        heard = _Heard()
        with closing(self._streamed(messages, sampling, heard)) as choices:
            for choice in choices:
                if piece := heard.piece(choice):
                    yield piece
        return self._completion(messages, sampling, heard.text, heard.usage, heard.finish)

    def tokens(self, messages: Sequence[Message], sampling: Sampling) -> Generator[Token, None, Completion]:
        """What `stream` writes, a token at a time with its probability. MissingPart where the server tells none."""
        heard = _Heard()
        with closing(self._streamed(messages, sampling, heard, logprobs=True)) as choices:
            for choice in choices:
                told = (choice.get("logprobs") or {}).get("content") or ()
                if heard.piece(choice) and not told:
                    raise MissingPart(
                        f"the server of {self.name} does not tell how probable words are", _TELLING
                    )
                for token in told:
                    yield Token(text=str(token["token"]), log_probability=float(token["logprob"]))
        return self._completion(messages, sampling, heard.text, heard.usage, heard.finish)

    def _streamed(
        self, messages: Sequence[Message], sampling: Sampling, heard: "_Heard", **more: Any
    ) -> Generator[dict[str, Any], None, None]:
        """The choices of a streamed answer as they come; what the server says of it goes to `heard`."""
        self._check_open()
        self._check_room(messages, sampling)
        body = {**self._body(messages, sampling, 0), "stream": True, **more}
        if self._tells_usage:
            body["stream_options"] = {"include_usage": True}
        for event in self._events(body):
            heard.usage = event.get("usage") or heard.usage
            yield from event.get("choices", [])

    def _events(self, body: dict[str, Any]) -> Iterator[dict[str, Any]]:
        try:
            yield from self._endpoint.events(f"{self._endpoint.url}/chat/completions", body)
        except Refusal as error:  # before the first event
            yield from self._events(self._reworded(body, error))

    def score(
        self, prompts: Sequence[Sequence[Message]], responses: Sequence[str], progress: Progress = silent
    ) -> list[NDArray[np.float64]]:
        """Natural-log probability of each response token given all before it, end of turn included.

        Raises MissingPart where the server does not return probabilities of a given text.
        """
        self._check_open()
        asked = list(zip(prompts, responses, strict=True))
        return self._side_by_side(lambda i: self._scored(*asked[i]), len(asked), progress)

    def close(self) -> None:
        """Hang up."""
        self._closed = True
        self._endpoint.close()

    def _served(self) -> dict[str, dict[str, Any]]:
        """The server's list of models; empty where it keeps none."""
        try:
            listed = self._endpoint.get(f"{self._endpoint.url}/models")
        except Refusal as error:
            if error.status in (404, 405):
                return {}
            raise
        rows = listed.get("data") if isinstance(listed, dict) else None
        if not isinstance(rows, list):
            raise Refused(f"{self._endpoint.url} has no list of models", "endpoint.url must end in /v1")
        return {str(row["id"]): row for row in rows if isinstance(row, dict) and "id" in row}

    def _context(self, row: dict[str, Any]) -> int:
        if row.get("max_model_len"):  # vLLM
            return int(row["max_model_len"])
        props = self._tokens.offered("get", "/props")  # llama.cpp
        slot = props.get("default_generation_settings") if isinstance(props, dict) else None
        if isinstance(slot, dict) and slot.get("n_ctx"):
            return int(slot["n_ctx"])
        raise Refused(
            f"{self._endpoint.url} does not say how many tokens fit {self.name}",
            "set endpoint.context to what its documentation says (Ollama: what num_ctx is)",
        )

    def _body(self, messages: Sequence[Message], sampling: Sampling, place: int) -> dict[str, Any]:
        body: dict[str, Any] = {
            "model": self.name,
            "messages": [m.model_dump() for m in messages],
            self._length_key: sampling.max_tokens,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "seed": sampling.seed + place,
        }
        if sampling.repetition_penalty != 1:  # vLLM's and TGI's name for it, and llama.cpp's
            body |= dict.fromkeys(("repetition_penalty", "repeat_penalty"), sampling.repetition_penalty)
        if sampling.json_schema is not None:
            schema = {"name": "reply", "strict": True, "schema": json.loads(sampling.json_schema)}
            body["response_format"] = {"type": "json_schema", "json_schema": schema}
        return body

    def _chat(self, body: dict[str, Any]) -> dict[str, Any]:
        try:
            reply = self._endpoint.written(f"{self._endpoint.url}/chat/completions", body)
        except Refusal as error:
            return self._chat(self._reworded(body, error))
        if not isinstance(reply, dict) or not reply.get("choices"):
            raise Unavailable(f"{self._endpoint.url}: the server's answer holds no reply", "try again")
        return reply

    def _reworded(self, body: dict[str, Any], error: Refusal) -> dict[str, Any]:
        """`body` as this server wants it, by what it said; remembered for the next. Raises `error` if by nothing."""
        # OpenAI's newer models know the limit of a reply by another name only.
        if "max_completion_tokens" in error.said and "max_tokens" in body:
            self._length_key = "max_completion_tokens"
            return {(self._length_key if k == "max_tokens" else k): v for k, v in body.items()}
        if "stream_options" in error.said and "stream_options" in body:
            self._tells_usage = False
            return {k: v for k, v in body.items() if k != "stream_options"}
        raise error

    def _completion(
        self, messages: Sequence[Message], sampling: Sampling, text: str, usage: Any, finish: Any
    ) -> Completion:
        """What the server says of a text that it wrote, counted where it does not say."""
        read = _number(usage, "prompt_tokens")
        wrote = _number(usage, "completion_tokens")
        read = self.count_tokens(messages) if read is None else read
        wrote = self._tokens.length(text) if wrote is None else wrote
        ended = "length" if wrote >= sampling.max_tokens else "stop"
        return Completion(
            text=text.strip(),
            prompt_tokens=read,
            completion_tokens=wrote,
            finish=_FINISHES.get(finish, "stop") if finish else ended,
        )

    def reach(self) -> None:
        """Raise Unreachable or Unavailable where the server does not answer at once."""
        try:
            self._endpoint.look(f"{self._endpoint.url}/models")
        except Refusal as error:
            if error.status not in (404, 405):
                raise

    def _scored(self, messages: Sequence[Message], response: str) -> NDArray[np.float64]:
        head = self._tokens.of_prompt(messages)
        closing = self._tokens.of_prompt([*messages, Message(role="assistant", content=_PROBE)], reply=False)
        if head is None or closing is None:
            raise self._no_scores()
        probe, reply = self._tokens.of_text(_PROBE), self._tokens.of_text(response)
        if closing[: len(head) + len(probe)] != head + probe or len(closing) <= len(head) + len(probe):
            raise TwinError(f"{self.name}'s chat layout changes a reply, so it cannot be scored", _SCORES)
        ids = [*head, *reply, closing[len(head) + len(probe)]]
        asked = {
            "model": self.name,
            "prompt": ids,
            "max_tokens": 1,
            "temperature": 0,
            "prompt_logprobs": 1,
        }
        answered = self._endpoint.written(f"{self._endpoint.url}/completions", asked)
        found = answered["choices"][0].get("prompt_logprobs") if answered.get("choices") else None
        if not found or len(found) != len(ids):
            raise self._no_scores()
        places = range(len(head), len(ids))
        return np.array([found[i][str(ids[i])]["logprob"] for i in places], np.float64)

    def _no_scores(self) -> MissingPart:
        return MissingPart(
            f"{self._endpoint.url} does not tell how probable a given text is to {self.name}", _SCORES
        )

    def _side_by_side(self, make: Callable[[int], _T], total: int, progress: Progress) -> list[_T]:
        """`make(0)` to `make(total - 1)`, in order; the first failure ends the batch."""
        results: dict[int, _T] = {}
        pool = ThreadPoolExecutor(self._concurrency, thread_name_prefix="endpoint")
        try:
            # In copies of the context, so that these threads too notice when nobody waits any more.
            places = {pool.submit(copy_context().run, make, i): i for i in range(total)}
            for finished in as_completed(places):
                results[places[finished]] = finished.result()
                progress(len(results), total, self.name)
        finally:
            pool.shutdown(cancel_futures=True)
        return [results[i] for i in range(total)]

    def _check_open(self) -> None:
        if self._closed:
            raise TwinError(f"{self.name} was closed")

    def _check_room(self, messages: Sequence[Message], sampling: Sampling) -> None:
        """Refuse what cannot fit, a token being a word at least; the server refuses the rest."""
        least = sum(len(m.content.split()) for m in messages)
        if least + sampling.max_tokens > self.context:
            raise InputError(
                f"a prompt of {least} words and {sampling.max_tokens} tokens for the reply do not fit "
                f"{self.name}'s {self.context}",
                "retrieve fewer passages, shorten the question, or ask for a shorter answer",
            )


_FINISHES = {"length": "length", "content_filter": "content_filter"}
"""Servers have more words for the end than these; all others are an end like any."""


class _Heard:
    """What a streamed answer said, and what the server said of it."""

    def __init__(self) -> None:
        self.text = self.finish = ""
        self.usage: Any = None

    def piece(self, choice: dict[str, Any]) -> str:
        """The text of `choice`, noted."""
        self.finish = choice.get("finish_reason") or self.finish
        piece = str((choice.get("delta") or {}).get("content") or "")
        self.text += piece
        return piece


def _number(usage: Any, name: str) -> int | None:
    """One of the counts in `usage`, where it is there."""
    found = usage.get(name) if isinstance(usage, dict) else None
    return found if isinstance(found, int) else None


def _chosen(model: str, served: dict[str, Any], url: str) -> str:
    """The name to ask for. Raises Refused for one that the server does not list."""
    if not served:
        if not model:
            raise Refused(f"{url} does not list its models", "name one in endpoint.model")
        return model
    if not model and len(served) == 1:
        return next(iter(served))
    if model in served:
        return model
    if f"{model}:latest" in served:  # Ollama's tags
        return f"{model}:latest"
    names = (get_close_matches(model, served, n=3, cutoff=0.3) if model else []) or list(served)[:5]
    problem = f"{url} serves no {model!r}" if model else f"{url} serves {len(served)} models"
    raise Refused(problem, f"set endpoint.model to one that it serves: {', '.join(names)}")
