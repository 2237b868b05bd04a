"""A git repository from the web, read without ever being checked out.

`git clone` runs bare and shallow, over https only (plain http too where private addresses are allowed),
to an address that was checked and is pinned, without redirects, hooks, submodules, templates, filters,
prompts or anybody's git configuration, under limits of time and size. Files are then read from git's
own store, so links, filters and trees that unfold into millions of files do nothing.

Not covered: private repositories, and addresses of the form git@host:… (clone those yourself and give
the folder).
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from llm_twin.collect.guard import Resolve, checked_addresses, checked_url, system_resolve
from llm_twin.collect.identity import canonical_url
from llm_twin.errors import InputError, MissingPart, TwinError

_FORGES = frozenset({"github.com", "gitlab.com", "codeberg.org", "bitbucket.org"})
_NOT_REPOSITORIES = frozenset({
    "orgs", "topics", "features", "sponsors", "collections", "trending", "settings", "users",
})  # fmt: skip
_PLAIN_URL = re.compile(r"https?://[A-Za-z0-9.-]+(:\d+)?/[\w./~+-]+\Z", re.IGNORECASE | re.ASCII)
_SECONDS = 180
_LIMITS = f"ulimit -f {512 * 2**11}; ulimit -v {4 * 2**20}"
"""Largest file git may write (512 MB, in blocks of 512 bytes) and most memory it may ask for (4 GB)."""
_ENTRIES = 20_000


@dataclass(frozen=True)
class Blob:
    """One file of a repository: its path inside, git's id of its content, its size in bytes."""

    path: str
    sha: str
    size: int


def is_git_url(location: str) -> bool:
    """Whether a URL is a git repository: it ends with .git, or is `owner/name` on a well-known forge."""
    parts = urlsplit(location)
    if parts.scheme.lower() not in ("http", "https"):
        return False
    names = [name for name in parts.path.split("/") if name]
    on_forge = (parts.hostname or "").removeprefix("www.") in _FORGES and len(names) == 2
    return parts.path.endswith(".git") or (on_forge and names[0] not in _NOT_REPOSITORIES)


def address_of(url: str) -> str:
    """One address for a repository: without .git, and on the forges without www."""
    address = canonical_url(url).rstrip("/").removesuffix(".git")
    scheme, _, rest = address.partition("://")
    bare = rest.removeprefix("www.")
    return f"{scheme}://{bare if bare.partition('/')[0] in _FORGES else rest}"


@contextmanager
def cloned(url: str, allow_private: bool = False, resolve: Resolve = system_resolve) -> Iterator[Path]:
    """The folder of a bare, shallow clone of `url`, removed afterwards.

    Raises InputError for an address that is refused or no repository, TwinError when time runs out.
    """
    checked_url(url)
    if not _PLAIN_URL.match(url):  # so that git and this module cannot read the address differently
        raise InputError(f"{url}: not the plain address of a repository", "Write https://host/owner/name.")
    url = f"{address_of(url)}.git"  # without .git, or with www, some forges redirect
    scheme, host, port = checked_url(url)
    if scheme != "https" and not allow_private:
        raise InputError(f"{url}: repositories are cloned over https only", "Write https:// instead.")
    addresses = ",".join(checked_addresses(host, port, allow_private, resolve))
    with tempfile.TemporaryDirectory(prefix="twin-clone-") as folder:
        pinned = f"http.curloptResolve={host}:{port}:{addresses}"
        allowed = f"protocol.{scheme}.allow=always"
        settings = ["protocol.allow=never", allowed, pinned, "http.followRedirects=false"]
        options = [word for setting in settings for word in ("-c", setting)]
        clone = ["clone", "--bare", "--depth=1", "--single-branch", "--no-tags", "--template=", "--quiet"]
        try:
            _git(folder, *options, *clone, "--", url, "repository.git")
        except subprocess.TimeoutExpired as error:
            raise TwinError(
                f"{url}: cloning took longer than {_SECONDS} s", "Clone it and give the folder."
            ) from error
        except subprocess.CalledProcessError as error:
            raise InputError(f"{url}: cannot be cloned ({_reason(error)})", "Check the address.") from error
        yield Path(folder) / "repository.git"


def blobs(repository: Path) -> list[Blob]:
    """The regular files of HEAD in git's order; links and submodules are left out.

    Raises InputError over 20,000 of them.
    """
    found: list[Blob] = []
    command = [*_command(), "--git-dir=.", "ls-tree", "-r", "-l", "-z", "HEAD"]
    with subprocess.Popen(
        command, cwd=repository, env=_environment(repository), stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        for record in _records(process.stdout.fileno()):
            about, _, path = record.partition(b"\t")
            mode, kind, sha, size = about.split()
            if kind == b"blob" and mode.startswith(b"100"):
                found.append(Blob(os.fsdecode(path), sha.decode("ascii"), int(size)))
            if len(found) > _ENTRIES:
                process.kill()
                raise InputError(f"more than {_ENTRIES} files", "Clone it and give the folder that matters.")
    return found


def content(repository: Path, blob: Blob) -> bytes:
    """The bytes of one file."""
    return _git(str(repository), "--git-dir=.", "cat-file", "blob", blob.sha)


def _records(pipe: int) -> Iterator[bytes]:
    """What a process writes, cut at NUL bytes."""
    rest = b""
    while piece := os.read(pipe, 2**16):
        *whole, rest = (rest + piece).split(b"\0")
        yield from whole


def _command() -> list[str]:
    """git under a shell that limits what it may write and hold."""
    return ["sh", "-c", f'{_LIMITS}; exec git "$@"', "git"]


def _git(folder: str, *arguments: str) -> bytes:
    """What git prints. Raises CalledProcessError, and TimeoutExpired once it and its children are ended."""
    process = subprocess.Popen(
        [*_command(), *arguments],
        cwd=folder,
        env=_environment(Path(folder)),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        output, errors = process.communicate(timeout=_SECONDS)
    except BaseException:
        os.killpg(process.pid, signal.SIGKILL)  # the transport is a child of git and would outlive it
        process.communicate()
        raise
    if process.returncode == 127:
        raise MissingPart("git is not installed", "Install it (apt install git), or give a local folder.")
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, "git", output, errors)
    return output


def _environment(folder: Path) -> dict[str, str]:
    """Nothing of the user's: no configuration, no credentials, no prompt, no proxy."""
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": str(folder),
        "LC_ALL": "C",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_ASKPASS": "true",
        "GIT_LFS_SKIP_SMUDGE": "1",
    }


def _reason(error: subprocess.CalledProcessError) -> str:
    """git's own last words, without the address."""
    lines = error.stderr.decode("utf-8", "replace").strip().splitlines()
    return re.sub(r"https?://\S+", "…", lines[-1])[:200] if lines else f"git ended with {error.returncode}"
