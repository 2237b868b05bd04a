"""Model files from the Hugging Face Hub, through huggingface_hub.

Promises: a Hub that cannot be reached is a `TwinError` within `TIMEOUT` seconds; a download that was
stopped goes on where it was; weights that run code when read (pickles) are never taken. Does not cover:
checking what came (`adapters.pull` does). `HF_TOKEN`, `HF_ENDPOINT` and `HF_HUB_OFFLINE` mean what
huggingface_hub says.
"""

from pathlib import Path
from typing import Any

from huggingface_hub import HfApi, get_hf_file_metadata, hf_hub_url
from huggingface_hub.errors import (
    GatedRepoError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.file_download import http_get
from huggingface_hub.utils import build_hf_headers
from tqdm.auto import tqdm

from llm_twin.errors import InputError, TwinError
from llm_twin.models import HubRepo, ModelFile, ModelRow
from llm_twin.ports import Progress
from llm_twin.prepare import BASE, role_of, wanted

TIMEOUT = 4.0
"""Seconds for the Hub's first answer."""


def describe(repo: str, file: str | None, revision: str, endpoint: str | None = None) -> ModelRow:
    """A catalogue row for any model on the Hub, fixed to the commit that `revision` stands for now.

    Raises InputError when there is no such model or nothing usable in it, TwinError when the Hub can't be
    reached.
    """
    try:
        info = HfApi(endpoint=endpoint).model_info(
            repo, revision=revision, timeout=TIMEOUT, files_metadata=True
        )
    except (RepositoryNotFoundError, RevisionNotFoundError) as error:
        raise _refusal(error, f"{repo}@{revision}") from error
    except Exception as error:  # the Hub's client raises its own, its HTTP library's and the system's
        raise _unreachable(error) from error
    files = {entry.rfilename: entry for entry in info.siblings or []}
    chosen = _chosen(repo, file, list(files))
    licence = next(
        (tag.removeprefix("license:") for tag in info.tags or [] if tag.startswith("license:")), None
    )
    return ModelRow(
        name=repo.partition("/")[2],
        role=role_of(chosen),
        licence=licence,
        hub=HubRepo(repo=repo, revision=info.sha or revision),
        files=tuple(
            ModelFile(
                name=name,
                hub=path,
                size=files[path].size or 0,
                sha256=lfs.sha256 if (lfs := files[path].lfs) else None,
            )
            for name, path in chosen.items()
        ),
    )


def fetch(
    row: ModelRow, file: ModelFile, parts: Path, progress: Progress, endpoint: str | None = None
) -> Path:
    """Download one file of the row into `parts` and return where it lies. TwinError when it can't be had."""
    if row.hub is None or file.hub is None:
        raise TwinError(f"{row.name} is not on the Hub")
    url = hf_hub_url(row.hub.repo, file.hub, revision=row.hub.revision, endpoint=endpoint)
    arrived = parts / file.hub.replace("/", "--")
    try:
        # Asked first and once: the download itself would try again for a while.
        get_hf_file_metadata(url, timeout=TIMEOUT, endpoint=endpoint)
        # Not hf_hub_download, which begins again from nothing after a stop.
        with arrived.open("ab") as out:
            http_get(
                url,
                out,
                resume_size=out.tell(),
                headers=build_hf_headers(),
                expected_size=file.size,
                tqdm_class=_bar(progress, file),
            )
    except OSError as error:
        if error.errno is not None and not isinstance(error, ConnectionError | TimeoutError):
            raise  # the disk's word, not the network's
        raise _unreachable(error) from error
    except Exception as error:  # as above
        raise _unreachable(error) from error
    return arrived


def _chosen(repo: str, file: str | None, names: list[str]) -> dict[str, str]:
    """Which files to take: name in the folder -> path in the repository."""
    ggufs = [name for name in names if name.endswith(".gguf")]
    example = f"For example {repo}/{ggufs[0]} (it has {len(ggufs)})." if ggufs else "It has no GGUF file."
    if file is not None:
        if file not in names:
            raise InputError(f"{repo} has no file {file}", example)
        return {BASE: file}
    try:
        return {name: name for name in wanted(names)}
    except InputError as error:
        raise InputError(f"{repo} cannot be used: {error}", example if ggufs else error.way_out) from error


def _refusal(error: Exception, what: str) -> InputError:
    if isinstance(error, GatedRepoError):
        return InputError(f"{what} is open only to those who asked", "Ask on its page, then set HF_TOKEN.")
    return InputError(f"there is no {what} on the Hub", "Check the name; for a private one set HF_TOKEN.")


def _unreachable(error: Exception) -> TwinError:
    if isinstance(error, OfflineModeIsEnabled):
        return TwinError("HF_HUB_OFFLINE is set")
    reason = (str(error) or type(error).__name__).splitlines()[0]
    return TwinError(f"the Hub does not give it: {reason}")


def _bar(progress: Progress, file: ModelFile) -> Any:
    """huggingface_hub reports to a tqdm class; this one passes the bytes on and draws nothing."""

    class Bar(tqdm):  # type: ignore[misc]
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **{**kwargs, "disable": True})
            self.seen = int(kwargs.get("initial") or 0)

        def update(self, n: float | None = 1) -> None:
            self.seen += int(n or 0)
            progress(min(self.seen, file.size), file.size, f"{file.name} from the Hub")

    return Bar
