"""The two ways a command can fail, so that a caller can tell whose move it is.

`InputError` is for what a person can put right (a path, a key, a file); `TwinError` for everything
that went wrong on our side of the line. The command line maps them to exit codes 2 and 1.
"""


class TwinError(Exception):
    """Something failed that the user's input did not cause (exit code 1).

    `way_out` says what to do next, in one sentence; it is shown under the message.
    """

    def __init__(self, message: str, way_out: str = "") -> None:
        super().__init__(message)
        self.way_out = way_out


class InputError(TwinError):
    """Bad input or configuration (exit code 2); the message names the thing."""


class MissingPart(InputError):
    """An optional part is not installed or not pulled; `way_out` holds the command that brings it."""


class Unreachable(InputError):
    """A server that is needed does not answer: it is to be started, or its address corrected."""


class Unavailable(TwinError):
    """A server that is needed is there and fails us for now: busy, too slow, or broken off.

    `seconds` is how long it asks to be left alone, where it says so.
    """

    def __init__(self, message: str, way_out: str = "", seconds: float = 0.0) -> None:
        super().__init__(message, way_out)
        self.seconds = seconds


class Refused(InputError):
    """A server that is needed will not do what is asked.

    `told` is what somebody may read of it who only asks ours: nothing where key, address or name are to be put right.
    """

    def __init__(self, message: str, way_out: str = "", told: str = "") -> None:
        super().__init__(message, way_out)
        self.told = told
