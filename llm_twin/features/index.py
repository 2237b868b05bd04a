"""The index: after `index` the store holds the chunks of the documents it was given and nothing else.

Only chunks that the store does not have are embedded, batch by batch, each stored at once: a run that is
killed loses one batch at most and the next one goes on from there. Chunks of documents that changed or are
gone leave the index last, so that a search in between still finds the old passages.
Not covered: noticing that a stored vector rotted (see the store's own `verify`).
"""

import time
from collections.abc import Sequence

from llm_twin.features.chunk import chunks
from llm_twin.ports import Embedder, Progress, VectorStore, silent
from llm_twin.types import Chunk, CleanDocument, StageReport

BATCH = 256


def index(
    documents: Sequence[CleanDocument], store: VectorStore, embedder: Embedder, progress: Progress = silent
) -> StageReport:
    """Make `store` hold the chunks of `documents`, and report how many were embedded, kept and deleted.

    `progress` counts the chunks to embed. Raises what the store and the embedder raise; what was stored
    until then stays.
    """
    began = time.monotonic()
    wanted = {chunk.id: chunk for document in documents for chunk in chunks(document, embedder)}
    stored = store.chunk_ids()
    new = [chunk for chunk in wanted.values() if chunk.id not in stored]
    gone = stored - wanted.keys()
    _embed(new, store, embedder, progress)
    if gone:
        store.delete(gone)
    store.optimize()  # also when nothing is new: an earlier run may have been killed just before it
    counts: dict[str, int | float | str] = {
        "documents": len(documents),
        "chunks": len(wanted),
        "embedded": len(new),
        "kept": len(wanted) - len(new),
        "deleted": len(gone),
        "longest chunk": max((chunk.tokens for chunk in wanted.values()), default=0),
        "window": embedder.window,
    }
    return StageReport(stage="index", counts=counts, seconds=time.monotonic() - began)


def _embed(new: Sequence[Chunk], store: VectorStore, embedder: Embedder, progress: Progress) -> None:
    """Embed and store batch by batch; each batch is on the disk before the next one begins."""
    for start in range(0, len(new), BATCH):
        batch = new[start : start + BATCH]
        store.upsert(batch, embedder.embed([chunk.embedded_text for chunk in batch]))
        progress(start + len(batch), len(new), "embedded")
