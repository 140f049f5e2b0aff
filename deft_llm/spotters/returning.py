"""The project's own finder: movements that come and go, window by window, without a network.

Windows of ``WINDOW`` seconds overlap (``media.windows``), so every expression lies entirely in some
window; the video is decoded once, and one window is in memory at a time. In each window all
movements are taken that rise above the noise and return (``onset_apex.returning_intervals``).
Speech also rises and returns, so it is found as well. The length of a window is our own choice.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from deft_llm.clip import Clip, Expression, Interval
from deft_llm.data.measuring import strength
from deft_llm.errors import NoFaceError
from deft_llm.media.cuts import shots
from deft_llm.media.face import align, landmark_finder, track_faces
from deft_llm.media.options import WHOLE, ReadOptions
from deft_llm.media.video import probe
from deft_llm.media.windows import Window, read_windows
from deft_llm.motion.measure import Measurement, measure, watch_expressions
from deft_llm.motion.onset_apex import DETECTION_Z
from deft_llm.motion.region_paths import distance_from_rest
from deft_llm.motion.visibility import on_part
from deft_llm.spotters.finder import Found, Look, Step

WINDOW = 3.0  # s
_VERSION = 1  # of the search; a change makes logged results invalid


class ReturningFinder:
    """Finds movements that come and go above the noise; it names no emotion."""

    key = f"returning {_VERSION}"
    axis = "motion of the face, px"
    # Each region has its own noise floor, which a single curve cannot show.
    threshold: float | None = None

    def search(
        self, source: Path, options: ReadOptions = WHOLE, cache: Path | None = None
    ) -> Iterator[Step]:
        """See ``finder.Finder``; nothing is kept."""
        available = probe(source, fps=options.fps).frames
        count = max(len(range(available)[options.start : options.stop : options.stride]), 1)
        for window in read_windows(source, options, longest=WINDOW):
            read = (window.first - options.start) // options.stride + len(window.clip)
            done = 1.0 if window.last else min(read / count, 1.0)
            yield Step(done, partial(look_at, window, options))


def look_at(window: Window, options: ReadOptions = WHOLE) -> Look:
    """Measure every movement of a window that comes and goes, between its neighbours.

    Args:
        window: Some seconds of video, with any number of movements or without a face. A movement
            that continues at its end is left to the next window if there is one.
        options: Whose face, who places its landmarks, and the stride.
    """
    clip = window.clip
    curve = np.full(len(clip), np.nan, np.float32)
    found: list[Found] = []
    remarks: dict[str, None] = {}
    found_shots = shots(clip)
    for after, _ in found_shots[1:]:
        cut = f"hard cut at {clip.timestamps[after]:.2f} s; no motion is measured across it"
        remarks[cut] = None
    for first, stop in found_shots:
        # What goes on at a hard cut goes on in no later window.
        final = window.last or stop < len(clip)
        part = clip.part(first, stop)
        start = window.first + first * options.stride
        # A slice of the curve is a view: what is written there stands in the curve.
        for measured, at in _movements(part, final, options, curve[first:stop], remarks):
            inside = (measured.interval.onset, measured.interval.apex, measured.interval.offset)
            place = Interval(*(start + (at + t) * options.stride for t in inside))
            z = strength(measured)
            # 0.5 at the threshold of detection.
            found.append(Found.of(measured, Expression(place, score=z / (z + DETECTION_Z))))
    frames = window.first + options.stride * np.arange(len(clip))
    return Look(frames, clip.timestamps.copy(), curve, tuple(found), tuple(remarks))


def _movements(
    clip: Clip,
    last: bool,
    options: ReadOptions,
    curve: NDArray[np.float32],
    remarks: dict[str, None],
) -> Iterator[tuple[Measurement, int]]:
    """Every movement of one shot, with the first frame of its part; fills curve and remarks."""
    if len(clip) < 2:
        return
    try:
        track = track_faces(clip, face=options.face)
        aligned = align(clip, track, landmark_finder(options.landmarks))
    except NoFaceError:  # in this shot, or not the one of that number
        return
    remarks.update(dict.fromkeys((*track.remarks, *on_part(aligned))))
    intervals, trajectory = watch_expressions(aligned)
    curve[:] = distance_from_rest(trajectory, intervals)
    # The last frame that shows a face, where a movement that is cut off ends.
    end = int(np.flatnonzero(aligned.present)[-1])
    before = (0, *(interval.offset for interval in intervals[:-1]))
    after = (*(interval.onset for interval in intervals[1:]), len(clip) - 1)
    for first, interval, final in zip(before, intervals, after, strict=False):
        if interval.offset == end and not last:
            continue
        moments = (interval.onset, interval.apex, interval.offset)
        # Cut at the neighbours, so that their motion does not count as noise of the face at rest.
        part = aligned.part(first, final + 1)
        inside = Interval(*(t - first for t in moments))
        measured = measure(part, inside, trajectory=trajectory.part(first, final + 1))
        if measured.table_apex.active.any():
            yield measured, first
