"""From a video to what is measured on it: read, find the face, align, measure. The one way there.

A user's clip, a coded clip of a corpus, a simulated one and a stretch of a long video all come
through here, so that training and use see the same motion.
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

# A coded interval is given and its curve is not looked at, which takes half the time.
CODED = MotionSettings(curve=False)
_LOOKS = 4  # frames of a coded clip, beside the last, in which the face is searched


def measure_video(source: Path | str | Clip) -> tuple[Clip, Measurement]:
    """Read a video, find and align its face, measure its strongest movement.

    Args:
        source: A video file, a folder of frames, or a clip.

    Returns:
        The clip and what was measured on it.

    Raises:
        UserError: If it is no video, shows no face, or is too short to show motion.
    """
    clip = source if isinstance(source, Clip) else read_clip(source)
    if len(clip) < 2:
        raise UserError(
            f"clip {clip.name}: {len(clip)} frame; expected at least 2 to see motion; "
            "give the video, or the folder of all its frames"
        )
    return clip, measure(align(clip, track_faces(clip)))


def align_coded(clip: Clip, finder: FaceFinder | None = None) -> AlignedClip:
    """The aligned face of a short, coded clip, in which the head hardly moves.

    Args:
        clip: The clip.
        finder: Face finder; None for OpenCV's cascades.

    Raises:
        UserError: If no face is found in it.
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
    """Every movement of some video that comes and goes, each measured between its neighbours.

    Args:
        clip: Some seconds; may hold several movements, or none, or no face.
        last: Whether the video ends with the stretch. Otherwise a movement that still goes on at
            its end is left to the stretch that follows.
    """
    if len(clip) < 2:
        return
    try:
        aligned = align(clip, track_faces(clip))
    except UserError:  # no face in this stretch
        return
    intervals, end = expressions(aligned), int(np.flatnonzero(aligned.present)[-1])
    before = (0, *(interval.offset for interval in intervals[:-1]))
    after = (*(interval.onset for interval in intervals[1:]), len(clip) - 1)
    for first, interval, final in zip(before, intervals, after, strict=False):
        if interval.offset == end and not last:
            continue
        moments = (interval.onset, interval.apex, interval.offset)
        # Rest is looked for between the neighbours alone: their motion is no noise.
        part = aligned.part(first, final + 1)
        measured = measure(part, Interval(*(t - first for t in moments)))
        if measured.table_apex.active.any():
            yield measured
