"""Measure a video: read it, find the face, align it, measure the motion.

User clips, coded clips of a corpus, simulated clips and windows of a long video all take this path,
so that training and inference see the same motion.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from deft_llm.clip import Clip, Interval
from deft_llm.errors import UserError
from deft_llm.media.cuts import shots
from deft_llm.media.face import AlignedClip, FaceFinder, align, landmark_finder, track_faces
from deft_llm.media.landmarks import DEFAULT_FINDER
from deft_llm.media.options import WHOLE, ReadOptions
from deft_llm.media.parts import parts_of, split
from deft_llm.media.windows import read_windows
from deft_llm.motion.measure import Measurement, expressions, measure
from deft_llm.motion.meter import MotionSettings
from deft_llm.motion.onset_apex import REGION_WEIGHTS

# For coded intervals: they do not need the motion curve, which takes half of the time.
CODED = MotionSettings(curve=False)
_LOOKS = 4  # frames of a coded clip, besides the last, in which the face is detected


def measure_video(
    source: Path | str | Clip, options: ReadOptions = WHOLE, interval: Interval | None = None
) -> tuple[Clip, Measurement]:
    """Read a video, find and align the face, and measure the strongest movement.

    A video that does not fit in memory is measured window by window, and one with hard cuts shot
    by shot, so that no motion is measured across a cut. Kept is the strongest movement of all; of
    shots without any, the longest.

    Args:
        source: A video file, an animation, a folder of frames, or a clip.
        options: Which part to read, at which rate, whose face, and who places its landmarks.
        interval: Onset, apex and offset among the frames that are read; None finds them.

    Returns:
        The part of the video that was measured, and its measurement. Frames are counted from the
        start of the part; times are those of the video.

    Raises:
        UserError: If the source is no video, shows no face, or is too short to show motion, or the
            interval ends after it.
    """
    if interval is not None:
        return _given(source, options, interval)
    best = _strongest(source, options)
    if best.room and not isinstance(source, Clip):
        return _around(source, options, best)
    assert best.clip is not None
    return best.clip, best.measurement


@dataclass(frozen=True)
class _Best:
    """The strongest movement so far.

    Attributes:
        measurement: Its measurement.
        clip: The part that was measured; None if its frames have been overwritten.
        start: Number of its first frame in the video.
        room: Frames of its window; 0 if the video was read whole.
    """

    measurement: Measurement
    clip: Clip | None
    start: int
    room: int

    @property
    def rank(self) -> tuple[bool, float, int]:
        found = self.measurement.found
        # Of parts without a movement, the longest.
        return found, _strength(self.measurement) if found else 0.0, len(self.measurement.aligned)


def _strongest(source: Path | str | Clip, options: ReadOptions) -> _Best:
    """The part with the strongest movement.

    Raises:
        UserError: If none shows a face; what is wrong with the longest part.
    """
    best: _Best | None = None
    problem, length = UserError("no part can be measured"), -1
    for part in parts_of(source, options):
        try:
            measurement = _measured(part.clip, options)
        except UserError as error:
            if len(part.clip) > length:
                problem, length = error, len(part.clip)
            continue
        new = _Best(measurement, None if part.room else part.clip, part.start, part.room)
        if best is None or new.rank > best.rank:
            best = new
    if best is None:
        raise problem
    return best


def _around(source: Path | str, options: ReadOptions, best: _Best) -> tuple[Clip, Measurement]:
    """Read a movement again, in the middle of a window, and measure it there.

    In its first window, the end of that window may have cut it off.
    """
    step = options.stride
    apex = best.start + best.measurement.interval.apex * step
    centred = apex - min(best.room // 2, (apex - options.start) // step) * step
    end = min(centred + best.room * step, options.stop or sys.maxsize)
    try:
        return _again(source, replace(options, start=centred, stop=end), apex, best.room)
    except UserError:
        # The face may be there for too small a share of this window.
        end = best.start + len(best.measurement.aligned) * step
        return _again(source, replace(options, start=best.start, stop=end), apex, best.room)


def _again(
    source: Path | str, options: ReadOptions, apex: int, room: int
) -> tuple[Clip, Measurement]:
    """Measure the shot around frame `apex` in the only window that the options ask for."""
    parts = list(split(next(read_windows(source, options)), options, room))
    begun = [part for part in parts if part.start <= apex]
    part = begun[-1] if begun else parts[0]
    return part.clip, _measured(part.clip, options)


def _given(
    source: Path | str | Clip, options: ReadOptions, interval: Interval
) -> tuple[Clip, Measurement]:
    """The part of the video that holds the given frames, and its measurement."""
    read = 0
    for part in parts_of(source, options):
        first = (part.start - options.start) // options.stride
        read = first + len(part.clip)
        if first <= interval.onset and interval.offset < read:
            frames = (t - first for t in (interval.onset, interval.apex, interval.offset))
            return part.clip, _measured(part.clip, options, Interval(*frames))
    raise UserError(
        f"frames {interval.onset} to {interval.offset} (--interval): expected frames of one shot; "
        f"{read} frames are read, numbered from 0"
    )


def _measured(clip: Clip, options: ReadOptions, interval: Interval | None = None) -> Measurement:
    if len(clip) < 2:
        raise UserError(
            f"clip {clip.name}: {len(clip)} frame; expected at least 2 to see motion; "
            "give the video, or the folder of all its frames"
        )
    track = track_faces(clip, face=options.face)
    return measure(align(clip, track, landmark_finder(options.landmarks)), interval)


def measure_all(
    source: Path | str | Clip, options: ReadOptions = WHOLE
) -> Iterator[tuple[Clip, Measurement]]:
    """Measure every movement of a video by itself: those that come and go, and the strongest.

    Args:
        source: As in ``measure_video``.
        options: As in ``measure_video``.

    Yields:
        In order of time, the part of the video and its measurement; of a video without any
        movement, the one of ``measure_video``.

    Raises:
        UserError: As ``measure_video``.
    """
    seen = -1.0  # time up to which movements have been measured: windows overlap
    for part in parts_of(source, options):
        try:
            strongest = _measured(part.clip, options)
        except UserError:
            continue
        times = part.clip.timestamps
        found = (strongest.interval, *strongest.others) if strongest.found else ()
        for interval in sorted(found, key=lambda each: each.apex):
            if times[interval.apex] <= seen:
                continue
            seen = float(times[interval.offset])
            same = interval == strongest.interval
            yield part.clip, strongest if same else measure(strongest.aligned, interval)
    if seen < 0:
        yield measure_video(source, options)


def _strength(measurement: Measurement) -> float:
    """Motion of the two strongest regions without lids, there and back, over their noise."""
    z = (measurement.table_apex.z + measurement.table_offset.z) / 2
    return float(np.sort(z[REGION_WEIGHTS > 0])[-2:].mean())


def align_coded(clip: Clip, finder: FaceFinder | None = None) -> AlignedClip:
    """Align the face of a short, coded clip, in which the head hardly moves.

    Args:
        clip: The clip.
        finder: Face finder; None for OpenCV's cascades.

    Raises:
        UserError: If no face is found.
    """
    return align(clip, track_faces(clip, finder, step=max(1, len(clip) // _LOOKS)))


def measure_coded(
    clip: Clip,
    interval: Interval,
    settings: MotionSettings = CODED,
    finder: FaceFinder | None = None,
) -> Measurement:
    """Measure a clip whose onset, apex and offset are known.

    Args:
        clip: The clip.
        interval: Onset, apex and offset among its frames.
        settings: How motion is measured.
        finder: See ``align_coded``.

    Raises:
        UserError: If no face is found, or the interval ends after the clip.
    """
    return measure(align_coded(clip, finder), interval, settings)


def measure_expressions(
    clip: Clip, last: bool = True, landmarks: str = DEFAULT_FINDER
) -> Iterator[Measurement]:
    """Measure every movement of a video window that comes and goes, between its neighbours.

    Args:
        clip: Some seconds of video, with any number of movements or without a face.
        last: Whether the video ends with this window. Otherwise a movement that continues at the
            end of the window is left to the next window.
        landmarks: Name of the landmark finder.
    """
    found = shots(clip)
    for first, stop in found:
        # What goes on at a hard cut goes on in no later window.
        final = last or stop < len(clip)
        part = clip.part(first, stop) if len(found) > 1 else clip
        yield from _expressions(part, final, landmarks)


def _expressions(clip: Clip, last: bool, landmarks: str) -> Iterator[Measurement]:
    """Every movement of one shot; see :func:`measure_expressions`."""
    if len(clip) < 2:
        return
    try:
        aligned = align(clip, track_faces(clip), landmark_finder(landmarks))
    except UserError:  # no face in this shot
        return
    # The last frame that shows a face, where a movement that is cut off ends.
    intervals, end = expressions(aligned), int(np.flatnonzero(aligned.present)[-1])
    before = (0, *(interval.offset for interval in intervals[:-1]))
    after = (*(interval.onset for interval in intervals[1:]), len(clip) - 1)
    for first, interval, final in zip(before, intervals, after, strict=False):
        if interval.offset == end and not last:
            continue
        moments = (interval.onset, interval.apex, interval.offset)
        # Cut at the neighbours, so that their motion does not count as noise of the face at rest.
        part = aligned.part(first, final + 1)
        measured = measure(part, Interval(*(t - first for t in moments)))
        if measured.table_apex.active.any():
            yield measured
