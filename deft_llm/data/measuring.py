"""Measure a video: read it, find the face, align it, measure the motion.

User clips, coded clips of a corpus, simulated clips and windows of a long video all take this path,
so that training and inference see the same motion.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from deft_llm.clip import Clip, Interval
from deft_llm.errors import UserError
from deft_llm.media.cuts import shots
from deft_llm.media.face import AlignedClip, FaceFinder, align, track_faces
from deft_llm.media.options import WHOLE, ReadOptions
from deft_llm.media.windows import Window, read_windows
from deft_llm.motion.measure import Measurement, MotionSettings, expressions, measure
from deft_llm.motion.onset_apex import REGION_WEIGHTS

# For coded intervals: they do not need the motion curve, which takes half of the time.
CODED = MotionSettings(curve=False)
_LOOKS = 4  # frames of a coded clip, besides the last, in which the face is detected


def measure_video(
    source: Path | str | Clip, options: ReadOptions = WHOLE
) -> tuple[Clip, Measurement]:
    """Read a video, find and align the face, and measure the strongest movement.

    A video that does not fit in memory is measured window by window, and one with hard cuts shot
    by shot, so that no motion is measured across a cut. Kept is the strongest movement of all; of
    shots without any, the longest.

    Args:
        source: A video file, an animation, a folder of frames, or a clip.
        options: Which part to read, at which rate, and whose face.

    Returns:
        The part of the video that was measured, and its measurement. Frames are counted from the
        start of the part; times are those of the video.

    Raises:
        UserError: If the source is no video, shows no face, or is too short to show motion.
    """
    best = _strongest(source, options)
    if best.clip is not None:
        return best.clip, best.measurement
    assert not isinstance(source, Clip)
    # Its frames gave way to those of later windows; it fits in one.
    stop = best.start + len(best.measurement.aligned) * options.stride
    window = next(read_windows(source, replace(options, start=best.start, stop=stop)))
    return replace(window.clip, remarks=best.measurement.aligned.remarks), best.measurement


@dataclass(frozen=True)
class _Part:
    """A shot of a video, or of one of its windows.

    Attributes:
        clip: Its frames.
        start: Number of its first frame in the video.
        lasting: Whether the frames stay as they are; a next window overwrites them.
    """

    clip: Clip
    start: int
    lasting: bool


@dataclass(frozen=True)
class _Best:
    """The strongest movement so far, and where it is; see :class:`_Part`."""

    measurement: Measurement
    clip: Clip | None
    start: int

    @property
    def rank(self) -> tuple[bool, float, int]:
        found = self.measurement.found
        strength = _strength(self.measurement) if found else 0.0
        return found, strength, len(self.measurement.aligned)


def _strongest(source: Path | str | Clip, options: ReadOptions) -> _Best:
    """The part with the strongest movement.

    Raises:
        UserError: If none shows a face; what is wrong with the longest part.
    """
    best: _Best | None = None
    problem, length = UserError("nothing to measure"), -1
    for part in _parts(source, options):
        try:
            measurement = _measured(part.clip, options.face)
        except UserError as error:
            if len(part.clip) > length:
                problem, length = error, len(part.clip)
            continue
        kept = part.clip if part.lasting else None
        new = _Best(measurement, kept, part.start)
        if best is None or new.rank > best.rank:
            best = new
    if best is None:
        raise problem
    return best


def _parts(source: Path | str | Clip, options: ReadOptions) -> Iterator[_Part]:
    """The shots of a video, window by window."""
    if isinstance(source, Clip):
        windows = iter([Window(_selected(source, options), options.start, True)])
    else:
        windows = read_windows(source, options)
    for number, window in enumerate(windows):
        whole = window.last and number == 0
        found = shots(window.clip)
        for first, stop in found:
            start = window.first + first * options.stride
            clip = window.clip.part(first, stop) if len(found) > 1 else window.clip
            remarks = (*clip.remarks, *_where(clip, found, window, start, options, whole))
            yield _Part(replace(clip, remarks=remarks), start, whole)


def _where(
    clip: Clip,
    found: list[tuple[int, int]],
    window: Window,
    start: int,
    options: ReadOptions,
    whole: bool,
) -> Iterator[str]:
    """Remarks on which part of the video a clip is, and how its frames are counted."""
    times = window.clip.timestamps
    if not whole:
        yield "the video does not fit in memory and was measured by windows"
    if len(found) > 1:
        cuts = ", ".join(f"{times[first]:.2f} s" for first, _ in found[1:])
        yield f"hard cuts at {cuts}; no motion is measured across them"
    if not whole or len(found) > 1:
        begin, end = clip.timestamps[0], clip.timestamps[-1]
        yield f"the part from {begin:.2f} to {end:.2f} s is shown"
    if start > 0 or options.stride > 1:
        every = f", and only one of {options.stride} was read" if options.stride > 1 else ""
        begin = clip.timestamps[0]
        yield f"frames and seconds count from frame {start} of the video, at {begin:.2f} s{every}"


def _selected(clip: Clip, options: ReadOptions) -> Clip:
    """The frames of a clip that the options ask for, at their rate."""
    if not options.partial and options.fps is None:
        return clip
    chosen = np.arange(len(clip))[options.start : options.stop : options.stride]
    if not len(chosen):
        raise UserError(
            f"clip {clip.name}: no frame in the range from {options.start}; the clip has "
            f"{len(clip)} frames, numbered from 0"
        )
    times = clip.timestamps[chosen] if options.fps is None else chosen / options.fps
    return replace(clip, frames=clip.frames[chosen], timestamps=times)


def _measured(clip: Clip, face: int | None) -> Measurement:
    if len(clip) < 2:
        raise UserError(
            f"clip {clip.name}: {len(clip)} frame; expected at least 2 to see motion; "
            "give the video, or the folder of all its frames"
        )
    return measure(align(clip, track_faces(clip, face=face)))


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


def measure_expressions(clip: Clip, last: bool = True) -> Iterator[Measurement]:
    """Measure every movement of a video window that comes and goes, between its neighbours.

    Args:
        clip: Some seconds of video, with any number of movements or without a face.
        last: Whether the video ends with this window. Otherwise a movement that continues at the
            end of the window is left to the next window.
    """
    found = shots(clip)
    for first, stop in found:
        # What goes on at a hard cut goes on in no later window.
        final = last or stop < len(clip)
        yield from _expressions(clip.part(first, stop) if len(found) > 1 else clip, final)


def _expressions(clip: Clip, last: bool) -> Iterator[Measurement]:
    """Every movement of one shot; see :func:`measure_expressions`."""
    if len(clip) < 2:
        return
    try:
        aligned = align(clip, track_faces(clip))
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
