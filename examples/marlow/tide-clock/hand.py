"""Where Perpetua's hand ought to point, and how many steps of the motor get it there.

If this stops: she'll be wrong by Friday, and nobody drowns. Morning'll do.
"""

from datetime import datetime

from tides import LOOK, Harbour, turn_from


def angle(harbour: Harbour, when: datetime) -> float:
    """Degrees clockwise from the top. High water's 0 and low water's 180.

    It isn't the height that drives the hand, it's how far through the ebb or the
    flood we've got. I tried it with the height. She hung about at the top for an
    hour and then fell down the side, and you couldn't plan a thing by her.
    """
    before = turn_from(harbour, when, -LOOK)
    after = turn_from(harbour, when)
    gone = (when - before.when) / (after.when - before.when)  # 0 to 1, this ebb or flood
    return (0.0 if before.high else 180.0) + 180.0 * gone


def step(degrees: float, per_turn: int) -> int:
    """The motor step for an angle, from 0 up to but not including `per_turn`."""
    return round(degrees / 360 * per_turn) % per_turn


def forward(now: int, wanted: int, per_turn: int) -> int:
    """Steps to move, and always clockwise, even if it's nearly the whole way round.

    There's 1.4 degrees of slop in that cheap gearbox (measured 12 August 2017). If
    you never turn back then the slop's always on the same side, and you needn't care.
    """
    return (wanted - now) % per_turn
