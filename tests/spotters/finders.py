"""A finder of tests, which has seen everything before."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from deft_llm.clip import Evidence, Expression, Interval
from deft_llm.media.options import ReadOptions
from deft_llm.motion.measure import Measurement
from deft_llm.spotters.finder import Found, Kind, Look, Spotted, Step

FPS = 25


def spotted(
    onset: int, apex: int, offset: int, kind: Kind = "micro", motion: float = 1.0
) -> Spotted:
    """An expression by its frames."""
    place = Interval(onset, apex, offset)
    return Spotted(
        Expression(place, score=0.75),
        (onset / FPS, apex / FPS, offset / FPS),
        kind,
        {},
        ("1", "2"),
        (Evidence("left inner brow", "up", motion, 9.0, ("1",)),),
    )


class KnownFinder:
    """Windows of 75 frames that share 25, and the same expressions whatever the video shows.

    Args:
        found: The expressions of the video.
        measurement: Of each of them.
        frames: Of the video.
        before: Called before each look with its number.
        thinned: The curve has one of so many frames.
        again: Each window is shown twice; the second shows no new frame, as a short shot.
        reached: Share of the video that its last window reaches, such as by a stride.
    """

    key, axis, threshold = "known", "score", 0.5

    def __init__(
        self,
        found: Sequence[Spotted],
        measurement: Measurement,
        frames: int,
        before: Callable[[int], None] = lambda number: None,
        thinned: int = 1,
        again: bool = False,
        reached: float = 1.0,
    ) -> None:
        self.found, self.measurement, self.frames = found, measurement, frames
        self.before, self.thinned = before, thinned
        self.again, self.reached = again, reached

    def search(self, source: Path, options: ReadOptions, cache: Path | None) -> Iterator[Step]:
        """See ``finder.Finder``."""
        yield Step(0.0)
        for number, first in enumerate(range(0, self.frames - 25, 50)):
            stop = min(first + 75, self.frames)

            def look(number: int = number, first: int = first, stop: int = stop) -> Look:
                self.before(number)
                here = [s for s in self.found if self._whole(s, first, stop)]
                frames = np.arange(first, stop)
                frames = frames[frames % self.thinned == 0]
                return Look(
                    frames,
                    frames / FPS,
                    np.linspace(0, 0.9, len(frames), dtype=np.float32),
                    tuple(Found(each, self.measurement) for each in here),
                )

            for _ in range(2 if self.again else 1):
                yield Step(self.reached * stop / self.frames, look)

    @staticmethod
    def _whole(each: Spotted, first: int, stop: int) -> bool:
        inside = each.expression.interval
        return first <= inside.onset and inside.offset < stop
