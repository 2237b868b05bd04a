"""A ChatModel behind a SageMaker endpoint whose container speaks OpenAI's chat protocol (LMI, TGI).

Tokens are counted here, with the twin's own tokenizer and chat layout. `asynchronous` sends the request through S3,
where it may wait in line for a machine. An answer comes whole: `stream` yields it in one piece. Needs the extra `aws`.
Not covered: token probabilities of a given text (`score` raises MissingPart).
"""

import json
import logging
import time
import uuid
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import Any

import boto3
import numpy as np
from botocore.exceptions import BotoCoreError, ClientError
from numpy.typing import NDArray
from tokenizers import Tokenizer

from llm_twin import prompts as prompt_files
from llm_twin import waiting
from llm_twin.errors import InputError, MissingPart, TwinError, Unreachable
from llm_twin.models import read_card
from llm_twin.ports import Progress, silent
from llm_twin.types import Completion, Message, Sampling

_JSON = "application/json"
_LOG = logging.getLogger(__name__)


class SageMakerChat:
    """The endpoint `name` that serves the model of `folder`; `bucket` takes requests where it is `asynchronous`."""

    def __init__(
        self,
        folder: Path,
        name: str,
        *,
        region: str = "",
        bucket: str = "",
        asynchronous: bool = False,
        timeout_s: float = 900.0,
        sleep: Callable[[float], None] = waiting.pause,
    ) -> None:
        self.name, self.context = name, read_card(folder).context
        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._template = (folder / "chat_template.jinja").read_text(encoding="utf-8")
        session = boto3.session.Session(region_name=region or None)
        try:
            self._runtime, self._s3 = session.client("sagemaker-runtime"), session.client("s3")
        except BotoCoreError as error:
            raise InputError(f"AWS: {error}", "set sagemaker.region, or AWS_REGION") from error
        self._bucket, self._asynchronous = bucket, asynchronous
        self._timeout, self._sleep, self._closed = timeout_s, sleep, False

    def count_tokens(self, messages: Sequence[Message]) -> int:
        """Tokens of the rendered prompt."""
        return len(prompt_files.chat_ids(self._tokenizer, self._template, messages))

    def generate(
        self, prompts: Sequence[Sequence[Message]], sampling: Sampling, progress: Progress = silent
    ) -> list[Completion]:
        """One completion a prompt, in order, one call each. Prompt i is sampled with seed + i."""
        done = []
        for i, messages in enumerate(prompts):
            done.append(self._complete(messages, sampling.model_copy(update={"seed": sampling.seed + i})))
            progress(i + 1, len(prompts), self.name)
        return done

    def stream(self, messages: Sequence[Message], sampling: Sampling) -> Generator[str, None, Completion]:
        """The whole completion as one piece."""
        done = self._complete(messages, sampling)
        yield done.text
        return done

    def score(
        self, prompts: Sequence[Sequence[Message]], responses: Sequence[str], progress: Progress = silent
    ) -> list[NDArray[np.float64]]:
        """Raises MissingPart: these containers do not tell how probable a given text is."""
        raise MissingPart(
            f"{self.name} does not tell how probable a given text is",
            'score here: adapters.chat = "openvino"',
        )

    def close(self) -> None:
        """From now on it raises."""
        self._closed = True

    def _complete(self, messages: Sequence[Message], sampling: Sampling) -> Completion:
        if self._closed:
            raise TwinError(f"{self.name} was closed")
        read = self.count_tokens(messages)
        if read + sampling.max_tokens > self.context:
            raise InputError(
                f"{read} prompt tokens and {sampling.max_tokens} for the reply do not fit {self.context}",
                "retrieve fewer passages, or ask for a shorter answer",
            )
        try:
            reply = json.loads((self._later if self._asynchronous else self._now)(_body(messages, sampling)))
            choice, usage = reply["choices"][0], reply["usage"]
            return Completion(
                text=(choice["message"]["content"] or "").strip(),
                prompt_tokens=usage["prompt_tokens"],
                completion_tokens=usage["completion_tokens"],
                finish=choice.get("finish_reason") or "stop",
            )
        except (ValueError, KeyError, IndexError, TypeError) as error:
            raise TwinError(f"{self.name}: the container's answer is no chat completion") from error
        except ClientError as error:
            raise Unreachable(f"{self.name}: {error}", "twin deploy status") from error
        except BotoCoreError as error:
            raise Unreachable(f"AWS: {error}", "check the network and the credentials") from error

    def _now(self, body: bytes) -> Any:
        answered = self._runtime.invoke_endpoint(EndpointName=self.name, ContentType=_JSON, Body=body)
        return answered["Body"].read()

    def _later(self, body: bytes) -> Any:
        """Through S3: the request in, the answer out when it is there."""
        key = f"llm-twin/{self.name}/requests/{uuid.uuid4()}.json"
        self._s3.put_object(Bucket=self._bucket, Key=key, Body=body)
        try:
            answered = self._runtime.invoke_endpoint_async(
                EndpointName=self.name, ContentType=_JSON, InputLocation=f"s3://{self._bucket}/{key}"
            )
            return self._waited(answered["OutputLocation"], answered.get("FailureLocation", ""))
        finally:
            self._forget(key)

    def _forget(self, key: str) -> None:
        """Remove the request; where that fails, the answer is worth more than the failure."""
        try:
            self._s3.delete_object(Bucket=self._bucket, Key=key)
        except (ClientError, BotoCoreError) as error:
            _LOG.warning("s3://%s/%s is left behind: %s", self._bucket, key, error)

    def _waited(self, output: str, failure: str) -> Any:
        end = time.monotonic() + self._timeout
        while time.monotonic() < end:
            if (found := self._object(output)) is not None:
                return found
            if failure and (said := self._object(failure)) is not None:
                raise TwinError(f"{self.name} failed: {said[:300]!r}", "ask again")
            self._sleep(1.0)
        raise TwinError(f"{self.name}: no answer within {self._timeout:g} s", "ask again later")

    def _object(self, location: str) -> bytes | None:
        bucket, _, key = location.removeprefix("s3://").partition("/")
        try:
            return bytes(self._s3.get_object(Bucket=bucket, Key=key)["Body"].read())
        except ClientError as error:
            if error.response["Error"]["Code"] in ("NoSuchKey", "404"):
                return None
            raise


def _body(messages: Sequence[Message], sampling: Sampling) -> bytes:
    body: dict[str, Any] = {
        "messages": [message.model_dump() for message in messages],
        "max_tokens": sampling.max_tokens,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "seed": sampling.seed,
    }
    if sampling.json_schema is not None:
        schema = {"name": "reply", "strict": True, "schema": json.loads(sampling.json_schema)}
        body["response_format"] = {"type": "json_schema", "json_schema": schema}
    return json.dumps(body).encode()
