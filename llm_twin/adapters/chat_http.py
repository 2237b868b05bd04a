"""A ChatModel behind any OpenAI-compatible endpoint: vLLM, TGI, TensorRT-LLM, llama.cpp, Ollama, OpenAI.

The server lays out the conversation and decides what one seed gives; requests run side by side, at most
`concurrency` of them. Tokens are counted by the server: by its tokenizer where it offers that (vLLM,
llama.cpp), else by the usage of a reply of one token, which is exact and costs what the prompt costs.
Token probabilities of a given text are what vLLM alone returns; elsewhere `score` raises MissingPart.

Not covered: control tokens that stand in what somebody wrote (in-process they are read as characters, here
as the server likes), a repetition penalty where the server knows none, and Ollama's habit of cutting what is
longer than its `num_ctx` without a word. A reply that a provider withholds has finish "content_filter".
"""

import json
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from difflib import get_close_matches
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from llm_twin.adapters.endpoint import Endpoint, Refusal
from llm_twin.errors import InputError, MissingPart, TwinError, Unreachable
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
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._endpoint = Endpoint(
            url, api_key, connections=concurrency, timeout_s=timeout_s, attempts=attempts, sleep=sleep
        )
        self._concurrency, self._closed = concurrency, False
        self._length_key = "max_tokens"
        self._missing: set[str] = set()
        try:
            served = self._served()
            self.name = _chosen(model, served, self._endpoint.url)
            self.context = context or self._context(served.get(self.name, {}))
        except BaseException:
            self._endpoint.close()
            raise

    def count_tokens(self, messages: Sequence[Message]) -> int:
        """Tokens of the rendered prompt, as the server counts them. Raises MissingPart where it does not."""
        self._check_open()
        found = self._tokenized(messages)
        if isinstance(found, dict) and "count" in found:  # vLLM, and `twin serve-llm`
            return int(found["count"])
        ids = self._laid_out_ids(messages)
        if ids is not None:
            return len(ids)
        reply = self._chat(self._body(messages, Sampling(max_tokens=1, temperature=0), 0))
        count = reply["usage"].get("prompt_tokens") if isinstance(reply.get("usage"), dict) else None
        if not count:
            raise MissingPart(
                f"{self._endpoint.url} does not count tokens",
                "use a server that reports usage, such as vLLM or the llama.cpp server",
            )
        return int(count)

    def generate(
        self, prompts: Sequence[Sequence[Message]], sampling: Sampling, progress: Progress = silent
    ) -> list[Completion]:
        """One completion a prompt, in order. Prompt i is sampled with seed + i, so that the same one twice differs."""
        self._check_open()
        for messages in prompts:
            self._check_room(messages, sampling)

        def complete(i: int) -> Completion:
            return self._completion(self._chat(self._body(prompts[i], sampling, i)))

        return self._side_by_side(complete, len(prompts), progress)

    def stream(self, messages: Sequence[Message], sampling: Sampling) -> Iterator[str]:
        """Pieces of text as they come; closing the iterator hangs up, which makes servers stop."""
        for choice in self._streamed(messages, sampling):
            if piece := choice.get("delta", {}).get("content"):
                yield str(piece)

    def tokens(self, messages: Sequence[Message], sampling: Sampling) -> Iterator[Token]:
        """What `stream` writes, a token at a time with its probability. MissingPart where the server tells none."""
        for choice in self._streamed(messages, sampling, logprobs=True):
            told = (choice.get("logprobs") or {}).get("content") or ()
            if choice.get("delta", {}).get("content") and not told:
                raise MissingPart(f"{self._endpoint.url} does not tell how probable its words are", _TELLING)
            for token in told:
                yield Token(text=str(token["token"]), log_probability=float(token["logprob"]))

    def _streamed(
        self, messages: Sequence[Message], sampling: Sampling, **more: Any
    ) -> Iterator[dict[str, Any]]:
        """The choices of a streamed answer as they come."""
        self._check_open()
        self._check_room(messages, sampling)
        body = {**self._body(messages, sampling, 0), "stream": True, **more}
        for event in self._endpoint.events(f"{self._endpoint.url}/chat/completions", body):
            yield from event.get("choices", [])

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
            raise InputError(f"{self._endpoint.url} has no list of models", "endpoint.url must end in /v1")
        return {str(row["id"]): row for row in rows if isinstance(row, dict) and "id" in row}

    def _context(self, row: dict[str, Any]) -> int:
        if row.get("max_model_len"):  # vLLM
            return int(row["max_model_len"])
        props = self._offered("get", "/props")  # llama.cpp
        slot = props.get("default_generation_settings") if isinstance(props, dict) else None
        if isinstance(slot, dict) and slot.get("n_ctx"):
            return int(slot["n_ctx"])
        raise InputError(
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
            reply = self._endpoint.post(f"{self._endpoint.url}/chat/completions", body)
        except Refusal as error:
            # OpenAI's newer models know the limit of a reply by another name only, and say so.
            if "max_completion_tokens" not in error.said or "max_tokens" not in body:
                raise
            self._length_key = "max_completion_tokens"
            return self._chat({(self._length_key if k == "max_tokens" else k): v for k, v in body.items()})
        if not isinstance(reply, dict) or not reply.get("choices"):
            raise TwinError(f"{self._endpoint.url}: the server's answer holds no reply", "try again")
        return reply

    def _completion(self, reply: dict[str, Any]) -> Completion:
        usage, choice = reply.get("usage"), reply["choices"][0]
        if not isinstance(usage, dict) or "completion_tokens" not in usage:
            raise TwinError(f"{self._endpoint.url} does not report token usage", "switch it on there")
        return Completion(
            text=(choice["message"].get("content") or "").strip(),
            prompt_tokens=usage["prompt_tokens"],
            completion_tokens=usage["completion_tokens"],
            finish=choice.get("finish_reason") or "stop",
        )

    def reach(self) -> None:
        """Raise Unreachable where the server does not answer."""
        self._served()

    def _tokenized(self, messages: Sequence[Message], reply: bool = True) -> Any:
        """What /tokenize says of a conversation; None where the server has none."""
        turns = [m.model_dump() for m in messages]
        asked = {"model": self.name, "messages": turns, "add_generation_prompt": reply}
        return self._offered("post", "/tokenize", asked)

    def _prompt_ids(self, messages: Sequence[Message], reply: bool = True) -> list[int] | None:
        """Token ids of the rendered conversation; None where the server does not show them."""
        found = self._tokenized(messages, reply)
        if isinstance(found, dict) and "count" in found:
            return list(found["tokens"]) if found.get("tokens") else None
        return self._laid_out_ids(messages) if reply else None

    def _laid_out_ids(self, messages: Sequence[Message]) -> list[int] | None:
        """As llama.cpp does it: the conversation as one text, and that text's token ids."""
        turns = [m.model_dump() for m in messages]
        laid_out = self._offered("post", "/apply-template", {"messages": turns})
        if not isinstance(laid_out, dict) or "prompt" not in laid_out:
            return None
        asked = {"content": laid_out["prompt"], "add_special": True, "parse_special": True}
        found = self._offered("post", "/tokenize", asked)
        return list(found["tokens"]) if isinstance(found, dict) and "tokens" in found else None

    def _offered(self, how: str, path: str, *body: dict[str, Any]) -> Any:
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

    def _scored(self, messages: Sequence[Message], response: str) -> NDArray[np.float64]:
        head = self._prompt_ids(messages)
        closing = self._prompt_ids([*messages, Message(role="assistant", content=_PROBE)], reply=False)
        if head is None or closing is None:
            raise self._no_scores()
        probe, reply = self._text_ids(_PROBE), self._text_ids(response)
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
        answered = self._endpoint.post(f"{self._endpoint.url}/completions", asked)
        found = answered["choices"][0].get("prompt_logprobs") if answered.get("choices") else None
        if not found or len(found) != len(ids):
            raise self._no_scores()
        places = range(len(head), len(ids))
        return np.array([found[i][str(ids[i])]["logprob"] for i in places], np.float64)

    def _text_ids(self, text: str) -> list[int]:
        asked = {"model": self.name, "prompt": text, "add_special_tokens": False}
        return list(self._endpoint.post(f"{self._endpoint.root}/tokenize", asked)["tokens"]) if text else []

    def _no_scores(self) -> MissingPart:
        return MissingPart(
            f"{self._endpoint.url} does not tell how probable a given text is to {self.name}", _SCORES
        )

    def _side_by_side(self, make: Callable[[int], _T], total: int, progress: Progress) -> list[_T]:
        """`make(0)` to `make(total - 1)`, in order; the first failure ends the batch."""
        results: dict[int, _T] = {}
        pool = ThreadPoolExecutor(self._concurrency, thread_name_prefix="endpoint")
        try:
            places = {pool.submit(make, i): i for i in range(total)}
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


def _chosen(model: str, served: dict[str, Any], url: str) -> str:
    """The name to ask for. Raises InputError for one that the server does not list."""
    if not served:
        if not model:
            raise InputError(f"{url} does not list its models", "name one in endpoint.model")
        return model
    if not model and len(served) == 1:
        return next(iter(served))
    if model in served:
        return model
    if f"{model}:latest" in served:  # Ollama's tags
        return f"{model}:latest"
    names = (get_close_matches(model, served, n=3, cutoff=0.3) if model else []) or list(served)[:5]
    problem = f"{url} serves no {model!r}" if model else f"{url} serves {len(served)} models"
    raise InputError(problem, f"set endpoint.model to one that it serves: {', '.join(names)}")
