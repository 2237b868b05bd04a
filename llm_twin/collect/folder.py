"""Walking a folder: what is looked at, in which order, and what is nobody's own writing.

Files come in sorted order. Hidden things, vendored and generated folders, and symbolic links (which
could lead anywhere) are passed over.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

VENDORED = frozenset({
    "node_modules", "bower_components", "vendor", "vendors", "third_party", "third-party", "thirdparty",
    "dist", "build", "target", "site-packages", "__pycache__", "venv", "env", "virtualenv", "htmlcov",
    "pods", "carthage", "__pypackages__",
})  # fmt: skip


def is_passed_over(name: str, is_folder: bool) -> bool:
    """Whether a file or folder of this name is hidden, vendored or made by a tool."""
    vendored = is_folder and (name.lower() in VENDORED or name.endswith((".egg-info", ".dist-info")))
    return name.startswith(".") or vendored


def walk(folder: Path, is_whole: Callable[[Path], bool] = lambda _: False) -> Iterator[Path]:
    """Files under `folder`, sorted; folders for which `is_whole` holds are given as they are, not entered.

    So are folders that may not be read, for the caller to fail on one by one.
    """
    with os.scandir(folder) as entries:
        found = sorted(entries, key=lambda entry: entry.name)
    for entry in found:
        is_folder = entry.is_dir(follow_symlinks=False)
        if is_passed_over(entry.name, is_folder):
            continue
        if is_folder and os.access(entry.path, os.R_OK | os.X_OK) and not is_whole(Path(entry.path)):
            yield from walk(Path(entry.path), is_whole)
        elif is_folder or entry.is_file(follow_symlinks=False):  # a link is neither
            yield Path(entry.path)
