"""Perpetua: print the tide, draw the face, or drive the motor.

    python tide_clock.py                           the sea as it is
    python tide_clock.py --at 2020-03-11T18:00Z    the sea as it was, or will be
    python tide_clock.py --drive                   steps for the motor, a line a minute

If this stops: switch her off and on. She finds her own place again, so long as
you've set the hand to the top by finger first. She can't see where it is.
"""

import argparse
import math
import time
from datetime import UTC, datetime
from pathlib import Path

from hand import angle, forward, step
from tides import Harbour, height, load, next_turns, slope

HERE = Path(__file__).parent
ROWS, COLUMNS = 11, 23  # letters are about twice as tall as they're wide, so it comes out round


def face(degrees: float) -> str:
    """The slate, in letters. There are 4 marks on it, and that's plenty."""
    grid = [[" "] * COLUMNS for _ in range(ROWS)]
    middle_row, middle_column = ROWS // 2, COLUMNS // 2
    for row, column, mark in ((0, 11, "H"), (10, 11, "L"), (5, 22, "e"), (5, 0, "f")):
        grid[row][column] = mark  # high at the top, low at the bottom, ebb right, flood left
    for tenth in range(9):
        reach = tenth / 10
        row = middle_row - round(reach * middle_row * math.cos(math.radians(degrees)))
        column = middle_column + round(reach * middle_column * math.sin(math.radians(degrees)))
        grid[row][column] = "o" if tenth == 0 else "*"
    return "\n".join("".join(line).rstrip() for line in grid)


def report(harbour: Harbour, when: datetime) -> str:
    """Everything you'd want to know before you went down to the boat."""
    way = "filling" if slope(harbour, when) > 0 else "draining"
    lines = [f"{harbour.name}, {when:%d %b %Y %H:%M} UTC, {height(harbour, when):.2f} m and {way}", ""]
    lines += [face(angle(harbour, when)), ""]
    for turn in next_turns(harbour, when, 4):
        lines.append(f"{'high' if turn.high else 'low':>5}  {turn.when:%a %H:%M}  {turn.height:.2f} m")
    return "\n".join(lines)


def drive(harbour: Harbour) -> None:
    """Write steps to standard output once a minute, for whatever's holding the motor.

    I keep the pins out of here. The motor's been changed twice and the tide hasn't.
    """
    now = 0
    while True:
        wanted = step(angle(harbour, datetime.now(UTC)), harbour.steps_per_turn)
        print(forward(now, wanted, harbour.steps_per_turn), flush=True)  # flush, or she'll sit and think
        now = wanted
        time.sleep(60)


def main() -> None:
    """Read the arguments and do as we're told."""
    parser = argparse.ArgumentParser(description="A clock for the tide.")
    parser.add_argument("--harbour", type=Path, default=HERE / "harbour.toml", help="your own pole's numbers")
    parser.add_argument("--at", type=datetime.fromisoformat, help="a moment, such as 2020-03-11T18:00Z")
    parser.add_argument("--drive", action="store_true", help="drive the motor until you're told to stop")
    chosen = parser.parse_args()
    harbour = load(chosen.harbour)
    if chosen.drive:
        drive(harbour)
    when = chosen.at or datetime.now(UTC)
    if when.tzinfo is None:
        # No guessing. I guessed once, in March, and the hens were shut out for an hour.
        parser.error(f"--at {when.isoformat()} has no time zone, so put a Z on the end for UTC")
    print(report(harbour, when.astimezone(UTC)))


if __name__ == "__main__":
    main()
