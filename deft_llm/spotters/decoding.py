"""The published decoders: from the curve of a video to intervals.

``fixed``: Moilanen's threshold, and the same length around every peak (SOFTNet, MEAN, ME-TST).
``scalable``: borders from the edges of the curve (BoostingVRME, arXiv 2508.18834); ``challenge`` is
the variant that its code uses for SAMM's videos of MEGC 2025. Both follow the public code where the
paper is silent. Their threshold is relative to the video's own maximum, so that they find something
in any video, also in one without expressions; our own decoder is in ``hysteresis.py``.

Ours: intervals end at the video's borders, where the public code runs past them; a curve shorter
than the smoothing window keeps its length; frames without a value (NaN) count as 0.

Curves are (T,), 0..1. ``half`` is k_p, half the length of a typical expression in frames
(``priors.half_length``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
from numpy.typing import NDArray
from scipy.signal import find_peaks

from deft_llm.clip import Interval

Curve = NDArray[np.floating]
Floats = NDArray[np.float64]

# All numbers are those of the public code; those of the challenge look as if tuned to it.
PEAK = 0.55  # of the way from the curve's mean to its maximum: height from which a peak counts
CHALLENGE_PEAK = 0.65
NEAR, FAR = 0.2, 0.8  # challenge: the curve has ended below these, near the peak and far from it
REACH = 5  # scalable: an expression reaches at most so many half lengths from its peak
OVERLAP = 0.2  # IoU from which the later of two intervals is dropped


def smooth(curve: Curve, width: int) -> Floats:
    """Mean over ``width`` frames, zero beyond both ends; as long as the curve."""
    # Not numpy's own "same", which lengthens a curve that is shorter than the window.
    full = np.convolve(np.nan_to_num(np.asarray(curve, np.float64)), np.full(width, 1.0 / width))
    first = (width - 1) // 2
    return full[first : first + len(curve)]


def peaks(smoothed: Floats, half: int, share: float = PEAK) -> list[int]:
    """Peaks above ``share`` of the way from mean to maximum, at least ``half`` frames apart."""
    height = smoothed.mean() + share * (smoothed.max() - smoothed.mean())
    return [int(t) for t in find_peaks(smoothed, height=height, distance=max(half, 1))[0]]


def fixed(curve: Curve, half: int) -> list[Interval]:
    """Every peak with ``half`` frames on both sides."""
    if not len(curve):
        return []
    return [
        _clipped(t - half, t, t + half, len(curve)) for t in peaks(smooth(curve, 2 * half), half)
    ]


def scalable(curve: Curve, half: int) -> list[Interval]:
    """Intervals from the edges of the curve; of intervals that overlap, the first is kept.

    The borders start at the first rise before a smoothed peak and the last fall after it, within
    ``half`` frames. They move outwards to where the curve stays below its mean for two frames,
    ``REACH`` half lengths from the peak at most. The apex is the maximum between them.
    """
    if not len(curve):
        return []
    raw = np.nan_to_num(np.asarray(curve, np.float64))
    # The right border is the left one of the reversed curve.
    back, last = raw[::-1], len(raw) - 1
    found = []
    for peak in peaks(smooth(raw, 2 * half), half):
        onset = _scalable_onset(raw, peak, half)
        offset = last - _scalable_onset(back, last - peak, half)
        apex = onset + int(np.argmax(raw[onset : offset + 1]))
        found.append(_clipped(onset, apex, offset, len(raw)))
    return suppress_overlaps(found, half)


def challenge(curve: Curve, half: int) -> list[Interval]:
    """Intervals that end where the smoothed curve stays low for two frames.

    Below ``NEAR`` within ``half`` frames of the peak, else below ``FAR`` within twice that, else
    there. Overlapping intervals stay.
    """
    if not len(curve):
        return []
    smoothed = smooth(curve, 2 * half)
    count = len(smoothed)
    found = []
    for peak in peaks(smoothed, half, CHALLENGE_PEAK):
        low, lowest = max(0, peak - half), max(0, peak - 2 * half)
        high, highest = min(count - 1, peak + half), min(count - 1, peak + 2 * half)
        before = [(range(peak - 1, low - 1, -1), NEAR), (range(low - 1, lowest - 1, -1), FAR)]
        # The public code is not symmetric: here the ranges end earlier, and the second frame
        # below the level is still a part of the interval.
        after = [(range(peak + 1, high), NEAR), (range(high + 1, highest), FAR)]
        onset = _first_low(smoothed, before, -1, lowest)
        offset = _first_low(smoothed, after, 1, highest - 1) + 1
        found.append(_clipped(onset, peak, offset, count))
    return found


def suppress_overlaps(intervals: Iterable[Interval], half: int) -> list[Interval]:
    """Keep an interval if it overlaps none that was kept, in order of onsets.

    Overlapping means an IoU of ``OVERLAP`` (of lengths without the last frame), or apexes at most
    ``half`` frames apart. Heights do not count: a weak interval removes a stronger later one.
    """
    kept: list[Interval] = []
    for new in sorted(intervals, key=lambda interval: interval.onset):
        if all(_overlap(new, old) < OVERLAP and abs(new.apex - old.apex) > half for old in kept):
            kept.append(new)
    return kept


def _scalable_onset(raw: Floats, peak: int, half: int) -> int:
    """Left border of one peak."""
    mean = float(raw.mean())
    nearest = max(0, peak - half)
    # mean / 1.5 as published: a rise may begin below the mean.
    rises = (i - 1 for i in range(nearest + 1, peak) if raw[i] > raw[i - 1] and raw[i] > mean / 1.5)
    onset = next(rises, nearest)
    ends = (
        i + 1
        for i in range(onset - 1, max(1, peak - REACH * half) - 1, -1)  # 1: i - 1 is looked at
        if raw[i] < mean and raw[i - 1] < mean
    )
    return next(ends, onset)


def _first_low(
    smoothed: Floats, searches: Iterable[tuple[range, float]], step: int, otherwise: int
) -> int:
    """The first frame of the ranges that is below its level together with the one beyond it."""
    for frames, level in searches:
        for i in frames:
            beyond = i + step
            if 0 <= beyond < len(smoothed) and smoothed[i] < level and smoothed[beyond] < level:
                return i
    return otherwise


def _overlap(a: Interval, b: Interval) -> float:
    inside = max(0, min(a.offset, b.offset) - max(a.onset, b.onset))
    around = max(a.offset, b.offset) - min(a.onset, b.onset)
    return inside / around if around else 0.0


def _clipped(onset: int, apex: int, offset: int, count: int) -> Interval:
    first, last = max(0, onset), min(count - 1, offset)
    return Interval(first, min(max(apex, first), last), last)


#: The published decoders by name, each for a curve and a half length.
PUBLISHED: dict[str, Callable[[Curve, int], list[Interval]]] = {
    "fixed": fixed,
    "scalable": scalable,
    "challenge": challenge,
}
