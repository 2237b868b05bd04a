"""Parts are removed in order, looked for, and waited for as long as that can help. No AWS is played here."""

from functools import partial

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError

from llm_twin.adapters.sagemaker_parts import Part, by_hand, clear, is_absent, looked_for


def refused(code: str, words: str = "") -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": words}}, "call")


class Thing:
    """A part whose states are listed, one for each look; the last one stays."""

    def __init__(self, *states: str, fails: Exception | None = None) -> None:
        self.states, self.fails = list(states), fails
        self.removals = 0
        self.part = Part("thing", self.state, self.remove, "aws remove thing")

    def state(self) -> str:
        return self.states.pop(0) if len(self.states) > 1 else self.states[0]

    def remove(self) -> None:
        self.removals += 1
        if self.fails is not None:
            raise self.fails
        if not self.states[0]:
            raise refused("ValidationException", "Could not find thing")


def waited(things: list[Thing], looks: int = 1) -> tuple[dict[str, str], int]:
    """What is left, and how often was waited."""
    pauses: list[float] = []
    left = clear([thing.part for thing in things], pauses.append, looks)
    return {part.name: known for part, known in left.items()}, len(pauses)


def test_what_is_gone_is_waited_for_no_longer() -> None:
    thing = Thing("")
    assert waited([thing]) == ({}, 0) and thing.removals == 1


def test_what_is_being_removed_is_waited_for_and_not_removed_again() -> None:
    thing = Thing("Deleting", "Deleting", "")
    assert waited([thing]) == ({}, 2) and thing.removals == 1


def test_what_cannot_be_removed_while_it_is_made_is_removed_afterwards() -> None:
    thing = Thing("Creating", "InService", "")
    assert waited([thing]) == ({}, 2) and thing.removals == 3


def test_what_was_refused_for_good_is_not_waited_for() -> None:
    thing = Thing("there", fails=refused("AccessDenied", "not for you"))
    left, pauses = waited([thing])
    assert pauses == 0 and left["thing"].startswith("there: ") and "not for you" in left["thing"]


def test_what_comes_up_late_is_removed() -> None:
    thing = Thing("", "InService", "")
    assert waited([thing], looks=2) == ({}, 2) and thing.removals == 2


def test_waiting_ends() -> None:
    left, pauses = waited([Thing("Deleting"), Thing("")])
    assert left == {"thing": "Deleting"} and 12 <= pauses <= 60


def test_parts_are_removed_in_the_order_given() -> None:
    order: list[str] = []
    parts = [Part(name, lambda: "", partial(order.append, name), "") for name in "abc"]
    assert clear(parts, lambda seconds: None) == {} and order == ["a", "b", "c"]


@pytest.mark.parametrize("error", [refused("AccessDenied"), EndpointConnectionError(endpoint_url="x")])
def test_what_cannot_be_looked_for_is_not_called_gone(error: Exception) -> None:
    def unknown() -> str:
        raise error

    part = Part("thing", unknown, lambda: None, "aws remove thing")
    assert looked_for(part).startswith("could not be looked for")
    assert list(clear([part], lambda seconds: None)) == [part] and by_hand([part]) == "aws remove thing"


@pytest.mark.parametrize(
    ("code", "words", "absent"),
    [
        ("ValidationException", "Could not find endpoint", True),
        ("ValidationException", "Nicht gefunden", True),
        ("ResourceNotFound", "", True),
        ("AccessDenied", "role not found", False),
        ("ThrottlingException", "could not find a slot", False),
    ],
)
def test_absence_is_told_by_the_code_and_not_by_words(code: str, words: str, absent: bool) -> None:
    assert is_absent(refused(code, words)) is absent
