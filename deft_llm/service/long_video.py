"""Intervals in a long video, searched window by window and explained as they are found.

Windows of ``WINDOW`` seconds overlap by ``OVERLAP``, longer than an expression lasts, so every
expression lies entirely in some window; only one window is in memory at a time. In each window all
expressions are taken that rise above the noise and return
(``data.measuring.measure_expressions``). Speech also rises and returns, so it is found as well.
Window lengths are our own choice.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from deft_llm.data.measuring import measure_expressions
from deft_llm.media.landmarks import usual_finder
from deft_llm.media.video import probe, read_clip
from deft_llm.motion.measure import Measurement
from deft_llm.service.clip_service import AS_USUAL, ClipResult, ClipService, ModelChoice
from deft_llm.service.limits import check_video
from deft_llm.viz.report import ClipInfo

WINDOW, OVERLAP = 3.0, 1.0  # s


@dataclass(frozen=True)
class Found:
    """One interval of a long video.

    Attributes:
        onset: Seconds from the start of the video.
        apex: The same.
        offset: The same.
        seen: The part of the video around it, measured and explained.
    """

    onset: float
    apex: float
    offset: float
    seen: ClipResult


def search_video(
    service: ClipService, path: Path, choice: ModelChoice = AS_USUAL
) -> Iterator[tuple[float, tuple[Found, ...]]]:
    """Search a video for intervals.

    Args:
        service: Limits and models.
        path: The video.
        choice: Model and options.

    Yields:
        Share of the video searched so far, and the new intervals of the latest window, in order of
        time; none if no motion was above the noise or no face was found.

    Raises:
        UserError: If the video cannot be read or exceeds a limit.
    """
    check_video(path, service.limits, long=True)
    info = probe(path)
    times = info.timestamps
    reported: list[Found] = []
    whole = ClipInfo(path.name, info.frames, info.fps, float(times[-1]))
    for start, stop in _windows(times):
        clip = read_clip(path, start=start, stop=stop)
        new: list[Found] = []
        for each in measure_expressions(clip, stop >= len(times), usual_finder()):
            place = _moments(each)
            if not any(_same(place, (f.onset, f.apex, f.offset)) for f in reported):
                explanation = service.models.get(choice.model).explain(each, choice.ablate)
                new.append(Found(*place, ClipResult(whole, each, explanation)))
        # Later windows start later still, so what ended before this one cannot turn up again.
        reported = [f for f in reported if f.offset >= clip.timestamps[0]] + new
        yield stop / len(times), tuple(new)


def _windows(times: NDArray[np.float64]) -> Iterator[tuple[int, int]]:
    """First frame and one past the last of each window."""
    begin = float(times[0])
    while True:
        # The tolerance keeps a frame whose time misses the border by rounding.
        start = int(np.searchsorted(times, begin - 1e-6))
        stop = int(np.searchsorted(times, begin + WINDOW))
        # Motion needs two frames; a gap in the video may leave a window empty. The last window is
        # widened instead of skipped, so that progress reaches the end.
        if stop - start > 1 or stop >= len(times):
            yield min(start, max(stop - 2, 0)), max(stop, 1)
        if stop >= len(times):
            return
        begin += WINDOW - OVERLAP


def _moments(measurement: Measurement) -> tuple[float, float, float]:
    """Onset, apex and offset in seconds of the video."""
    times, interval = measurement.aligned.timestamps, measurement.interval
    onset, apex, offset = (
        float(times[t]) for t in (interval.onset, interval.apex, interval.offset)
    )
    return onset, apex, offset


def _same(a: tuple[float, float, float], b: tuple[float, float, float]) -> bool:
    """Whether two windows found the same expression: the apex of one lies inside the other."""
    return a[0] <= b[1] <= a[2] or b[0] <= a[1] <= b[2]
