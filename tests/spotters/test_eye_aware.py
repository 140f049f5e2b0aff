"""A search that knows what the eyes did leaves out what they explain, and says so."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from deft_llm.clip import Expression, Interval
from deft_llm.media.options import WHOLE, ReadOptions
from deft_llm.motion.eyes import EyeContext
from deft_llm.spotters.eye_aware import EyeAwareFinder
from deft_llm.spotters.finder import Found, Look, Step
from tests.motion.made import measurement_of

BLINK = {"left upper lid": 3.0, "right upper lid": 3.0, "left inner brow": 0.6}
BROW = {**BLINK, "left inner brow": -4.0, "right inner brow": -4.0}


class _Two:
    key, axis, threshold = "two", "px", None

    def search(self, source: Path, options: ReadOptions, cache: Path | None) -> Iterator[Step]:
        expression = Expression(Interval(10, 20, 30), score=0.9)
        found = tuple(Found.of(measurement_of(moved), expression) for moved in (BLINK, BROW))
        frames = np.arange(50)
        yield Step(0.5)
        yield Step(1.0, lambda: Look(frames, frames / 50, np.zeros(50, np.float32), found, ("r",)))


def test_a_blink_alone_is_left_out() -> None:
    eyes = EyeContext(blinks=((0.36, 0.48),), shifts=(), span=(0.0, 1.0))
    finder = EyeAwareFinder(_Two(), eyes)
    assert finder.key != EyeAwareFinder(_Two(), EyeContext((), (), (0.0, 1.0))).key
    first, second = finder.search(Path("a.mp4"), WHOLE, None)
    assert first.look is None
    assert second.look is not None
    look = second.look()
    assert len(look.found) == 1
    regions = {row.region for row in look.found[0].spotted.evidence}
    assert regions == {"left inner brow", "right inner brow"}
    assert look.remarks[0] == "r"
    assert "movement at 0.40 s left out" in look.remarks[1]


def test_it_is_told_that_a_recording_is_of_another_time() -> None:
    """As with a wrong start: what it could explain is listed."""
    told = "the eye recording covers 2.00 to 3.00 s; movements before or after are judged without"
    elsewhere = EyeContext(blinks=((2.36, 2.48),), shifts=(), span=(2.0, 3.0))
    _, step = EyeAwareFinder(_Two(), elsewhere).search(Path("a.mp4"), WHOLE, None)
    assert step.look is not None
    look = step.look()
    assert len(look.found) == 2 and look.remarks == ("r", f"{told} it")
