"""Intervals in a long video: looked for window by window, each explained where it was found.

Windows of ``WINDOW`` seconds overlap by ``OVERLAP``, more than an expression lasts, so that every
one lies whole in some window; only one window is in memory. The finder is that of one clip
(``motion.measure``): the strongest motion of a window, if it stands above the noise. It finds one
expression per window, and blinks or speech can hide it. Window lengths are our own choice.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from deft_llm.clip import Clip
from deft_llm.deft.explain import observe
from deft_llm.errors import UserError
from deft_llm.media.video import probe, read_clip
from deft_llm.service.limits import check_video
from deft_llm.service.workbench import AS_USUAL, Choice, Seen, Workbench
from deft_llm.viz.report import ClipInfo

WINDOW, OVERLAP = 3.0, 1.0  # s


@dataclass(frozen=True)
class Found:
    """One interval of a long video.

    Attributes:
        onset: Seconds from the start of the video.
        apex: The same.
        offset: The same.
        strength: z of the region that stands out most.
        seen: Its window, measured and explained.
    """

    onset: float
    apex: float
    offset: float
    strength: float
    seen: Seen


def search_video(
    bench: Workbench, path: Path, choice: Choice = AS_USUAL
) -> Iterator[tuple[float, Found | None]]:
    """Go through a video.

    Args:
        bench: Limits and models.
        path: The video.
        choice: How the model is to be used.

    Yields:
        Share of the video that is done, and what its newest window holds: None where nothing
        moved above the noise, no face was found, or the motion was told of already.

    Raises:
        UserError: If the video cannot be read or is over a limit.
    """
    check_video(path, bench.limits, long=True)
    info = probe(path)
    times = info.timestamps
    told: list[Found] = []
    whole = ClipInfo(path.name, info.frames, info.fps, float(times[-1]))
    for start, stop in _windows(times):
        found = None
        clip = read_clip(path, start=start, stop=stop)
        if len(clip) > 1:
            found = _look(bench, clip, whole, choice)
        if found is not None and any(_same(found, other) for other in told):
            found = None
        if found is not None:
            told = [*told[-1:], found]
        yield stop / len(times), found


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


def _look(bench: Workbench, clip: Clip, info: ClipInfo, choice: Choice) -> Found | None:
    try:
        _, measurement = observe(clip)
    except UserError:  # no face in this window
        return None
    table, interval = measurement.table_apex, measurement.interval
    if not measurement.found or not table.active.any():
        return None
    said = bench.models.get(choice.model).explain(measurement, choice.blank)
    onset, apex, offset = (
        float(clip.timestamps[t]) for t in (interval.onset, interval.apex, interval.offset)
    )
    return Found(onset, apex, offset, float(table.z.max()), Seen(info, measurement, said))


def _same(a: Found, b: Found) -> bool:
    """Whether two windows saw one expression: the apex of one lies inside the other."""
    return a.onset <= b.apex <= a.offset or b.onset <= a.apex <= b.offset
