"""Intervals in a long video: looked for window by window, each explained where it was found.

Windows of ``WINDOW`` seconds overlap by ``OVERLAP``, more than an expression lasts, so that every
one lies whole in some window; only one window is in memory. Of a window all expressions are taken
that come and go above the noise (``motion.measure.expressions``), each measured on the frames
between its neighbours, so that none counts as another's noise. Speech is motion that comes and
goes as well. Window lengths are our own choice.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from deft_llm.clip import Clip, Interval
from deft_llm.errors import UserError
from deft_llm.media.face import AlignedClip, align, track_faces
from deft_llm.media.video import probe, read_clip
from deft_llm.motion.measure import Measurement, expressions, measure
from deft_llm.service.clip_service import AS_USUAL, Choice, ClipResult, ClipService
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
    bench: ClipService, path: Path, choice: Choice = AS_USUAL
) -> Iterator[tuple[float, tuple[Found, ...]]]:
    """Go through a video.

    Args:
        bench: Limits and models.
        path: The video.
        choice: How the model is to be used.

    Yields:
        Share of the video that is done, and what its newest window holds that was not told of
        before, in order of time: nothing where no motion stood above the noise or no face was
        found.

    Raises:
        UserError: If the video cannot be read or is over a limit.
    """
    check_video(path, bench.limits, long=True)
    info = probe(path)
    times = info.timestamps
    told: list[Found] = []
    whole = ClipInfo(path.name, info.frames, info.fps, float(times[-1]))
    for start, stop in _windows(times):
        clip = read_clip(path, start=start, stop=stop)
        measured = _look(clip, last=stop >= len(times)) if len(clip) > 1 else ()
        new: list[Found] = []
        for each in measured:
            place = _moments(each)
            if not any(_same(place, (f.onset, f.apex, f.offset)) for f in told):
                said = bench.models.get(choice.model).explain(each, choice.ablate)
                new.append(Found(*place, ClipResult(whole, each, said)))
        told = [f for f in told if f.offset >= clip.timestamps[0]] + new
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


def _look(clip: Clip, last: bool) -> Iterator[Measurement]:
    """What moved in one window; an expression that goes on at its end is left to the next one."""
    try:
        aligned = align(clip, track_faces(clip))
    except UserError:  # no face in this window
        return
    intervals, end = expressions(aligned), int(np.flatnonzero(aligned.present)[-1])
    before = (0, *(interval.offset for interval in intervals[:-1]))
    after = (*(interval.onset for interval in intervals[1:]), len(clip) - 1)
    for first, interval, final in zip(before, intervals, after, strict=False):
        if interval.offset == end and not last:
            continue
        measured = _measure(aligned, interval, first, final)
        if measured.table_apex.active.any():
            yield measured


def _measure(aligned: AlignedClip, interval: Interval, first: int, last: int) -> Measurement:
    """An interval, measured on frames ``first`` to ``last`` alone."""
    moments = (interval.onset, interval.apex, interval.offset)
    return measure(aligned.part(first, last + 1), Interval(*(t - first for t in moments)))


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
