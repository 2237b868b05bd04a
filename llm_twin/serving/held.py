"""The chat models of a server: each opened when it is first needed, kept, and closed with the server."""

import threading

from llm_twin.asker import open_model, twin_folder
from llm_twin.errors import InputError, Refused, TwinError, Unreachable
from llm_twin.ports import ChatModel, Progress
from llm_twin.workspace import Workspace


class Held:
    """The twin and the base model of a workspace; before the first twin they are the same."""

    def __init__(self, workspace: Workspace, progress: Progress) -> None:
        self._workspace, self._progress = workspace, progress
        self._lock = threading.Lock()
        self._open: dict[str, ChatModel] = {}

    def warm(self) -> None:
        """Load the twin now, so that nobody waits for its weights; raises what loading it raises."""
        getattr(self._opened(base=False), "warm", lambda: None)()

    def check(self) -> None:
        """Raise TwinError where the twin is behind a server that does not answer."""
        getattr(self.model(), "reach", lambda: None)()

    def model(self, base: bool = False) -> ChatModel:
        """The model; that it cannot be opened is not the caller's fault, and so a TwinError."""
        try:
            return self._opened(base)
        except (Unreachable, Refused):
            raise
        except InputError as error:
            raise TwinError(str(error), error.way_out) from error

    def close(self) -> None:
        """Free all of them."""
        for model in self._open.values():
            model.close()

    def _opened(self, base: bool) -> ChatModel:
        trained = None if base else twin_folder(self._workspace)
        name = str(trained or "base")
        with self._lock:
            if name not in self._open:
                self._open[name] = open_model(self._workspace, base, self._progress, apart=True)
            return self._open[name]
