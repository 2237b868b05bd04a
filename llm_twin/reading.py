"""What earlier stages left in the workspace, read back for the next: documents, clean text, samples."""

from collections.abc import Sequence
from contextlib import closing

from llm_twin import wiring
from llm_twin.errors import InputError
from llm_twin.types import CleanDocument, Document, Sample, Skipped
from llm_twin.workspace import Workspace


def read_documents(workspace: Workspace, author: str | None = None) -> list[Document]:
    """Current documents, ordered by id: all authors', or those of `author`, who may have none.

    Raises InputError when nothing was collected.
    """
    if not workspace.documents.exists():
        raise InputError(f"{workspace.home} holds no documents", "collect some: twin collect ./my-articles")
    with closing(wiring.open_documents(workspace)) as store:
        documents = list(store.documents(author))
    if not documents and author is None:
        raise InputError(f"{workspace.home} holds no documents", "collect some: twin collect ./my-articles")
    return documents


def clean_documents(
    workspace: Workspace, author: str | None = None
) -> tuple[list[CleanDocument], tuple[Skipped, ...]]:
    """What `read_documents` gives, cleaned; each author's is cleaned alone, so it is the same with others or without.

    Cleaning takes a second, so its result is made anew and never stored.
    """
    from llm_twin.features.clean import clean

    cleaned = clean(read_documents(workspace, author))
    return list(cleaned.documents), cleaned.skipped


def own_documents(workspace: Workspace, documents: Sequence[CleanDocument]) -> list[CleanDocument]:
    """The author's prose: every clean document but code repositories. InputError names who else was collected."""
    own = [d for d in documents if d.document.author == workspace.author and d.document.kind != "repository"]
    if not own:
        others = ", ".join(sorted({d.document.author for d in documents}))
        raise InputError(
            f"no writing by {workspace.author} was collected (there is some by {others})",
            "collect some, or set `author` in twin.toml to one of these names",
        )
    return own


def read_samples(workspace: Workspace) -> list[Sample]:
    """The dataset; raises InputError when it was never made."""
    path = workspace.dataset / "samples.jsonl"
    if not path.exists():
        raise InputError(f"there is no dataset for {workspace.author}", "make it: twin dataset")
    return [Sample.model_validate_json(line) for line in path.read_text(encoding="utf-8").splitlines()]
