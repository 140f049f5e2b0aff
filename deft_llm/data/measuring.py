"""Measure a video: read it, find the face, align it, measure the motion.

User clips, coded clips of a corpus, simulated clips and windows of a long video all take this path,
so that training and inference see the same motion.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from deft_llm.clip import Clip, Interval
from deft_llm.errors import UserError
from deft_llm.media.face import AlignedClip, FaceFinder, align, track_faces
from deft_llm.media.video import read_clip
from deft_llm.motion.measure import Measurement, MotionSettings, expressions, measure

# For coded intervals: they do not need the motion curve, which takes half of the time.
CODED = MotionSettings(curve=False)
_LOOKS = 4  # frames of a coded clip, besides the last, in which the face is detected


def measure_video(
    source: Path | str | Clip, interval: Interval | None = None
) -> tuple[Clip, Measurement]:
    """Read a video, find and align the face, and measure the strongest movement.

    Args:
        source: A video file, a folder of frames, or a clip.
        interval: Onset, apex and offset among the frames; None finds them.

    Returns:
        The clip and its measurement.

    Raises:
        UserError: If the source is no video, shows no face, or is too short to show motion, or the
            interval ends after it.
    """
    clip = source if isinstance(source, Clip) else read_clip(source)
    if len(clip) < 2:
        raise UserError(
            f"clip {clip.name}: {len(clip)} frame; expected at least 2 to see motion; "
            "give the video, or the folder of all its frames"
        )
    return clip, measure(align(clip, track_faces(clip)), interval)


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


def measure_expressions(clip: Clip, last: bool = True) -> Iterator[Measurement]:
    """Measure every movement of a video window that comes and goes, between its neighbours.

    Args:
        clip: Some seconds of video, with any number of movements or without a face.
        last: Whether the video ends with this window. Otherwise a movement that continues at the
            end of the window is left to the next window.
    """
    if len(clip) < 2:
        return
    try:
        aligned = align(clip, track_faces(clip))
    except UserError:  # no face in this window
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
