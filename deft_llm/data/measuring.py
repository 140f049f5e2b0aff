"""Measure a video: read it, find the face, align it, measure the motion.

User clips, coded clips of a corpus and simulated clips all take this path, so that training and
inference see the same motion; for all movements of a long video see ``spotters``.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from deft_llm.clip import Clip, Interval
from deft_llm.errors import UserError
from deft_llm.media.face import (
    AlignedClip,
    FaceFinder,
    LandmarkFinder,
    align,
    landmark_finder,
    track_faces,
)
from deft_llm.media.options import WHOLE, ReadOptions
from deft_llm.media.parts import parts_of, split
from deft_llm.media.windows import read_windows
from deft_llm.motion.measure import Measurement, measure
from deft_llm.motion.meter import MotionSettings
from deft_llm.motion.region_paths import REGION_WEIGHTS

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
        return found, strength(self.measurement) if found else 0.0, len(self.measurement.aligned)


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
        # The next window overwrites these frames, so they are read again at the end.
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
    # In the middle of the window, but not before the part that is read.
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
        more = "read more of it (--start, --stop, --stride)"
        whole = "give the video, or the folder of all its frames"
        raise UserError(
            f"{clip.label}: {len(clip)} frame; expected at least 2 to see motion; "
            f"{more if options.partial else whole}"
        )
    track = track_faces(clip, face=options.face)
    return measure(align(clip, track, landmark_finder(options.landmarks)), interval)


def strength(measurement: Measurement) -> float:
    """Motion of the two strongest regions without lids, there and back, over their noise."""
    z = (measurement.table_apex.z + measurement.table_offset.z) / 2
    return float(np.sort(z[REGION_WEIGHTS > 0])[-2:].mean())


def align_coded(
    clip: Clip, finder: FaceFinder | None = None, placer: LandmarkFinder | None = None
) -> AlignedClip:
    """Align the face of a short, coded clip, in which the head hardly moves.

    Args:
        clip: The clip.
        finder: Face finder; None for OpenCV's cascades.
        placer: Places the landmarks; None for `landmark_finder()`.

    Raises:
        UserError: If no face is found.
    """
    return align(clip, track_faces(clip, finder, step=max(1, len(clip) // _LOOKS)), placer)


def measure_coded(
    clip: Clip,
    interval: Interval,
    settings: MotionSettings = CODED,
    finder: FaceFinder | None = None,
    placer: LandmarkFinder | None = None,
) -> Measurement:
    """Measure a clip whose onset, apex and offset are known.

    Args:
        clip: The clip.
        interval: Onset, apex and offset among its frames.
        settings: How motion is measured.
        finder: See ``align_coded``.
        placer: See ``align_coded``.

    Raises:
        UserError: If no face is found, or the interval ends after the clip.
    """
    return measure(align_coded(clip, finder, placer), interval, settings)
