"""How fast a training runs, told early: the first row of its log may be minutes away."""

from __future__ import annotations

import logging
import time

logger = logging.getLogger(__name__)
_TOLD_AFTER = 5  # steps; the first one also warms up and is not counted


class Pace:
    """Times the first steps of a loop and tells once how long the others will take.

    Args:
        name: What is trained, for the message.
        steps: Steps of the whole loop.
    """

    def __init__(self, name: str, steps: int) -> None:
        self.name, self.steps = name, steps
        self.taken = 0
        self.since = 0.0

    def step(self, done: int) -> None:
        """Note that a step is done.

        Args:
            done: Steps of the loop so far, with those before it was resumed.
        """
        self.taken += 1
        if self.taken == 1:
            self.since = time.monotonic()
        elif self.taken == _TOLD_AFTER and done < self.steps:
            each = (time.monotonic() - self.since) / (_TOLD_AFTER - 1)  # from the end of the first
            left = duration(each * (self.steps - done))
            logger.info(
                "%s: %.2f s a step, about %s for %d more", self.name, each, left, self.steps - done
            )


def duration(seconds: float) -> str:
    """Seconds in words: "40 s", "12 min", "3.5 h", "2.1 days"."""
    for unit, size in (("days", 86400.0), ("h", 3600.0), ("min", 60.0)):
        if seconds >= 2 * size:
            count = seconds / size
            return f"{count:.0f} {unit}" if unit == "min" else f"{count:.1f} {unit}"
    return f"{seconds:.0f} s"
