"""Every prompt and chat layout in one place: training, serving, dataset making and judging render the same files.

A prompt is a Jinja file `NAME.vN.jinja` beside this module; a changed prompt is a new version, because
models and datasets remember which one they were made with. A chat layout is the model's own template,
kept in its folder, so that the token ids of training and of serving come from one function.
"""

import re
import threading
from collections.abc import Sequence
from functools import cache, lru_cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from llm_twin.errors import TwinError
from llm_twin.types import Message

if TYPE_CHECKING:
    from tokenizers import Tokenizer

_SWITCH = threading.Lock()
"""Whether control tokens are read as such is a switch on the tokenizer, so one thread at a time may use it."""


def render(name: str, **values: Any) -> str:
    """The prompt `name` ("answer.v1") filled with `values`; a missing value is an error, never a blank."""
    return str(_environment(strict=True).get_template(f"{name}.jinja").render(**values)).strip()


def conversation(name: str, **values: Any) -> list[Message]:
    """A prompt file of several turns, each opened by a line `--- role`. What `values` bring in opens no turn."""
    marks = {key: f"\x00{i}\x00" for i, key in enumerate(values)}
    pieces = re.split(r"^--- (system|user|assistant)\n", render(name, **marks), flags=re.MULTILINE)
    turns = zip(pieces[1::2], pieces[2::2], strict=True)
    return [
        Message.model_validate({"role": role, "content": _filled(text.strip(), marks, values)})
        for role, text in turns
    ]


def _filled(text: str, marks: dict[str, str], values: dict[str, Any]) -> str:
    for key, mark in marks.items():
        text = text.replace(mark, str(values[key]))
    return text


def chat_prompt(template: str, messages: Sequence[Message], reply: bool = True) -> str:
    """The text a model reads: `messages` in the model's chat layout, ready for its reply when `reply`.

    The date is fixed, because layouts that print today's would make training and serving differ.
    """
    text = _layout(template).render(
        messages=[m.model_dump() for m in messages],
        add_generation_prompt=reply,
        tools=None,
        bos_token="",
        eos_token="",
        strftime_now=lambda _: "2025-01-01",
        raise_exception=_refuse,
    )
    return str(text)


def chat_ids(
    tokenizer: "Tokenizer", template: str, messages: Sequence[Message], reply: bool = True
) -> list[int]:
    """Token ids of `chat_prompt`. Only the layout's own control tokens are control tokens: `<|im_end|>` in
    what someone wrote is read as the characters that it is.
    """
    marked = [m.model_copy(update={"content": f"\x00{i}\x00"}) for i, m in enumerate(messages)]
    pieces = re.split("\x00(\\d+)\x00", chat_prompt(template, marked, reply))
    ids: list[int] = []
    for place, piece in enumerate(pieces):
        written = place % 2 == 1
        ids += _ids(tokenizer, messages[int(piece)].content if written else piece, plain=written)
    return ids


def reply_ids(tokenizer: "Tokenizer", text: str, end_of_turn: int) -> list[int]:
    """Token ids of a reply and the end of its turn: what training learns and scoring scores."""
    return [*_ids(tokenizer, text, plain=True), end_of_turn]


def _ids(tokenizer: "Tokenizer", text: str, plain: bool) -> list[int]:
    """Token ids of `text`, in which control tokens are characters when `plain`."""
    with _SWITCH:
        tokenizer.encode_special_tokens = plain
        return list(tokenizer.encode(text, add_special_tokens=False).ids)


def _refuse(message: str) -> None:
    raise TwinError(f"the model's chat layout refuses this conversation: {message}")


@lru_cache(maxsize=16)
def _layout(template: str) -> Any:
    """A model's chat layout, compiled once: that takes longer than to fill it, and packing passages fills it often."""
    return _environment(strict=False).from_string(template)


@cache
def _environment(strict: bool) -> Any:
    from jinja2 import FunctionLoader, StrictUndefined, Undefined
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    # The same switches as transformers uses for chat templates, and a sandbox because templates are downloads.
    # Chat templates count on undefined names being false; our own prompts must not have any.
    environment = ImmutableSandboxedEnvironment(
        loader=FunctionLoader(_source),
        undefined=StrictUndefined if strict else Undefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.policies["json.dumps_kwargs"] = {"sort_keys": False, "ensure_ascii": False}
    return environment


def _source(name: str) -> str | None:
    path = files(__name__) / name
    return path.read_text(encoding="utf-8") if path.is_file() else None
