"""Intervals in a long video: looked for window by window, each explained where it was found.

Windows of ``WINDOW`` seconds overlap by ``OVERLAP``, more than an expression lasts, so that every
one lies whole in some window; only one window is in memory. Of a window all expressions are taken
that come and go above the noise (``data.measuring.measure_expressions``). Speech is motion that
comes and goes as well. Window lengths are our own choice.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from deft_llm.data.measuring import measure_expressions
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
        seen: The stretch of video around it, measured and explained.
    """

    onset: float
    apex: float
    offset: float
    seen: ClipResult


def search_video(
    service: ClipService, path: Path, choice: ModelChoice = AS_USUAL
) -> Iterator[tuple[float, tuple[Found, ...]]]:
    """Go through a video.

    Args:
        service: Limits and models.
        path: The video.
        choice: How the model is to be used.

    Yields:
        Share of the video that is done, and what its newest window holds that was not reported
        before, in order of time: nothing where no motion stood above the noise or no face was
        found.

    Raises:
        UserError: If the video cannot be read or is over a limit.
    """
    check_video(path, service.limits, long=True)
    info = probe(path)
    times = info.timestamps
    reported: list[Found] = []
    whole = ClipInfo(path.name, info.frames, info.fps, float(times[-1]))
    for start, stop in _windows(times):
        clip = read_clip(path, start=start, stop=stop)
        new: list[Found] = []
        for each in measure_expressions(clip, last=stop >= len(times)):
            place = _moments(each)
            if not any(_same(place, (f.onset, f.apex, f.offset)) for f in reported):
                explanation = service.models.get(choice.model).explain(each, choice.ablate)
                new.append(Found(*place, ClipResult(whole, each, explanation)))
        reported = [f for f in reported if f.offset >= clip.timestamps[0]] + new
        yield stop / len(times), tuple(new)


def _windows(times: NDArray[np.float64]) -> Iterator[tuple[int, int]]:
    """First frame and one past the last of each window."""
    begin = float(times[0])
    while True:
        start = int(np.searchsorted(times, begin - 1e-6))
        stop = int(np.searchsorted(times, begin + WINDOW))
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
    """Whether two windows saw one expression: the apex of one lies inside the other."""
    return a[0] <= b[1] <= a[2] or b[0] <= a[1] <= b[2]
