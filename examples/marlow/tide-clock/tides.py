"""How high the sea is at the quay, and when it next turns round.

If this stops: you've got a window. Look out of it.

The height's a mean level plus a handful of cosine waves, 1 for each pull on the
water. It's the same sum the big brass tide machines did with pulleys, only mine
doesn't need oiling. It knows nothing about weather, and a week of low pressure
will put 20 cm on the water and make a liar of it.
"""

import math
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice
from pathlib import Path

LOOK = timedelta(minutes=10)  # how far we stride when we're hunting for a turn
CLOSE_ENOUGH = timedelta(seconds=1)  # the quay can't tell a second from a sneeze


@dataclass(frozen=True)
class Wave:
    """A single pull on the water."""

    name: str
    speed: float  # degrees an hour
    amplitude: float  # metres
    phase: float  # degrees, at the harbour's epoch


@dataclass(frozen=True)
class Harbour:
    """A place with a pole in it."""

    name: str
    mean_level: float  # metres
    epoch: datetime  # UTC, and it's got to say so
    waves: tuple[Wave, ...]
    steps_per_turn: int


@dataclass(frozen=True)
class Turn:
    """High or low water: the minute the sea changes its mind."""

    when: datetime
    height: float  # metres
    high: bool


def load(path: Path) -> Harbour:
    """Read a harbour from its TOML file.

    A missing key's a KeyError and I've left it that way. I'd sooner she stopped
    than guessed at somebody's harbour.
    """
    with path.open("rb") as file:
        raw = tomllib.load(file)
    waves = tuple(Wave(name, **numbers) for name, numbers in raw["constituents"].items())
    return Harbour(raw["name"], raw["mean_level"], raw["epoch"], waves, raw["hand"]["steps_per_turn"])


def _degrees(harbour: Harbour, wave: Wave, when: datetime) -> float:
    hours = (when - harbour.epoch).total_seconds() / 3600
    # Minus the phase. I know the sign's right, because the pole says so.
    # I don't know why it's right.
    return wave.speed * hours - wave.phase


def height(harbour: Harbour, when: datetime) -> float:
    """Metres of water on the pole at `when`."""
    return harbour.mean_level + sum(
        wave.amplitude * math.cos(math.radians(_degrees(harbour, wave, when))) for wave in harbour.waves
    )


def slope(harbour: Harbour, when: datetime) -> float:
    """How fast it's rising, in metres an hour. Falling's negative."""
    return -sum(
        wave.amplitude * math.radians(wave.speed) * math.sin(math.radians(_degrees(harbour, wave, when)))
        for wave in harbour.waves
    )


def turn_from(harbour: Harbour, start: datetime, stride: timedelta = LOOK) -> Turn:
    """The first turn you'd meet walking from `start`. Give it a negative stride to walk backwards.

    I don't look at the heights, which lie nearly flat for half an hour around high
    water. The slope goes straight through nothing, and you can't miss it.
    """
    here = start
    rising = slope(harbour, here) > 0
    while (slope(harbour, here + stride) > 0) == rising:
        here += stride
    there = here + stride
    while abs(there - here) > CLOSE_ENOUGH:  # halve the gap till it's not worth halving
        middle = here + (there - here) / 2
        if (slope(harbour, middle) > 0) == rising:
            here = middle
        else:
            there = middle
    # walking backwards, a sea that's rising is on its way up from a low
    return Turn(there, height(harbour, there), high=rising == (stride > timedelta(0)))


def turns(harbour: Harbour, start: datetime) -> Iterator[Turn]:
    """Every turn after `start`, for as long as you keep asking."""
    while True:
        turn = turn_from(harbour, start)
        yield turn
        start = turn.when + LOOK  # a step past it, or we'd only find the same one again


def next_turns(harbour: Harbour, start: datetime, count: int) -> list[Turn]:
    """The next `count` turns, soonest first."""
    return list(islice(turns(harbour, start), count))
