"""What the sections of an evaluation measure on: models, index, notes and questions, each had when first asked for.

Not covered: what is asked of them (`sections`), and which questions (`questions`).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from llm_twin.asker import Subject
from llm_twin.evaluation.measure import Material, Notes, Written, written
from llm_twin.evaluation.unanswerable import Kept, invented, without_words_in
from llm_twin.features.chunk import chunks
from llm_twin.ports import ChatModel, Embedder, Progress
from llm_twin.questions import AboutOthers, about_others, held_out
from llm_twin.reading import own_documents, read_samples
from llm_twin.types import Chunk, CleanDocument, Message, Sample, Sampling
from llm_twin.workspace import Workspace


@dataclass(frozen=True)
class Bench:
    """What the sections measure on; `notes` are those of the headline measurement.

    A model is opened when the first section asks for it, and `close` frees those that were.
    """

    workspace: Workspace
    material: Material
    documents: Sequence[CleanDocument]
    embedder: Embedder
    subjects: tuple[Subject, Subject]
    """The base model, and what is measured beside it."""
    ask: Callable[[Sample], Sequence[Message]]
    sampling: Sampling
    notes: Notes
    progress: Progress
    judging: bool = False
    """Whether the model of `[endpoint]` is asked as well."""

    @cached_property
    def base(self) -> ChatModel:
        """The base model."""
        return self.subjects[0].open(self.workspace)

    @cached_property
    def twin(self) -> ChatModel:
        """What is measured beside it."""
        return self.subjects[1].open(self.workspace)

    def close(self) -> None:
        """Free the models that were opened."""
        for name in ("base", "twin"):
            if name in self.__dict__:
                self.__dict__.pop(name).close()

    @cached_property
    def written(self) -> Written:
        """The verifier and the answers of the headline measurement."""
        return written(self.material, self.notes)

    @cached_property
    def chunks(self) -> list[Chunk]:
        """The author's own passages as the index holds them."""
        own = own_documents(self.workspace, self.documents)
        return [chunk for document in own for chunk in chunks(document, self.embedder)]

    @cached_property
    def questions(self) -> list[Sample]:
        """Requests a model wrote; those of the template name their source."""
        return [s for s in read_samples(self.workspace) if s.written_by != "template"]

    @cached_property
    def asked(self) -> list[Sample]:
        """Held-out requests that are answered with sources."""
        return held_out(self.questions, self.workspace.settings.evaluate.answered)

    @cached_property
    def unanswerable(self) -> Kept:
        """Questions of ours that nothing the author wrote answers."""
        own = own_documents(self.workspace, self.documents)
        kept = without_words_in(invented(), [(d.document.title, d.text) for d in own])
        return replace(kept, questions=kept.questions[: 2 * self.workspace.settings.evaluate.answered])

    @cached_property
    def about_others(self) -> AboutOthers:
        """Questions that other authors' documents answer, and nothing that the author wrote."""
        return about_others(self.workspace, self.documents, self.base, self.embedder, self.notes)
