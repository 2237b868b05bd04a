"""What OpenVINO GenAI makes of a model folder once and finds there ever after: its own tokenizer, and a draft.

Making the tokenizer out of a GGUF takes two to three times as long as opening the weights, so it is kept beside them.
The engine needs it to follow a JSON schema; no text is read with it (`chat_openvino` says why).
"""

import re
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import openvino_genai as genai

from llm_twin.errors import InputError, TwinError
from llm_twin.models import read_card
from llm_twin.prepare import sync, take


def engine_tokenizer(weights: Path) -> Any:
    """The engine's tokenizer of a GGUF, made when this version of the engine first opens the folder.

    A folder that may not be written keeps nothing: there it is made every time.
    """
    name = f"engine-tokenizer-{genai.__version__}"
    try:
        return genai.Tokenizer(str(_made_once(weights, name, _save_tokenizer)))
    except OSError:
        return genai.Tokenizer(str(weights))


def as_draft(folder: Path) -> Path:
    """The model of `folder` as OpenVINO's own files, made once: the engine takes no GGUF as a draft.

    Raises InputError for a folder that is not a model stored as GGUF, TwinError where the engine cannot load it.
    """
    card = read_card(folder)
    if card.serving is None:
        raise InputError(f"{folder} holds no GGUF to draft with", "choose a model stored as GGUF")
    try:
        return _made_once(folder / card.serving, "draft", _save_model)
    except Exception as error:  # of several kinds
        raise TwinError(f"OpenVINO cannot load {folder} as a draft: {reason(error)}") from error


def _save_tokenizer(weights: Path) -> None:
    genai.Tokenizer(str(weights), enable_save_ov_model=True)


def _save_model(weights: Path) -> None:
    _save_tokenizer(weights)
    genai.ContinuousBatchingPipeline(
        str(weights), genai.SchedulerConfig(), "CPU", {"enable_save_ov_model": True}
    )


def _made_once(weights: Path, name: str, save: Callable[[Path], None]) -> Path:
    """The folder `name` beside `weights` with what `save` writes beside a GGUF; whole, or not there."""
    made = weights.parent / name
    if made.exists():
        return made
    with tempfile.TemporaryDirectory(dir=weights.parent, prefix=f".{name}-") as aside:
        here = Path(aside) / weights.name
        take(weights, here)
        save(here)
        here.unlink()
        sync(Path(aside), [path.name for path in Path(aside).iterdir()])
        if not made.exists():  # another process may have been quicker
            Path(aside).rename(made)
            Path(aside).mkdir()  # for the temporary folder to remove
    return made


def reason(error: Exception) -> str:
    """The engine's first line, without the place in its own sources."""
    first = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
    return re.sub(r"^.*\.(?:cc|cpp|hpp):\d+:\s*", "", first).strip()
