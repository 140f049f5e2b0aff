"""Intervals in a long video, searched window by window and explained as they are found.

Windows of ``WINDOW`` seconds overlap (``media.windows``), so every expression lies entirely in some
window; the video is decoded once, and one window is in memory at a time. In each window all
expressions are taken that rise above the noise and return
(``data.measuring.measure_expressions``). Speech also rises and returns, so it is found as well.
The length of a window is our own choice.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from deft_llm.data.measuring import measure_expressions
from deft_llm.media.landmarks import usual_finder
from deft_llm.media.windows import read_windows
from deft_llm.motion.measure import Measurement
from deft_llm.service.clip_service import AS_USUAL, ClipResult, ClipService, ModelChoice
from deft_llm.service.limits import check_video
from deft_llm.viz.report import ClipInfo

WINDOW = 3.0  # s


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
    info = check_video(path, service.limits, long=True)
    reported: list[Found] = []
    whole = ClipInfo(path.name, info.frames, info.fps, float(info.timestamps[-1]))
    for window in read_windows(path, longest=WINDOW):
        clip = window.clip
        new: list[Found] = []
        for each in measure_expressions(clip, window.last, usual_finder()):
            place = _moments(each)
            if not any(_same(place, (f.onset, f.apex, f.offset)) for f in reported):
                explanation = service.models.get(choice.model).explain(each, choice.ablate)
                new.append(Found(*place, ClipResult(whole, each, explanation)))
        # Later windows start later still, so what ended before this one cannot turn up again.
        reported = [f for f in reported if f.offset >= clip.timestamps[0]] + new
        done = min((window.first + len(clip)) / info.frames, 1.0)
        yield 1.0 if window.last else done, tuple(new)


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
