"""MDMD: main directional maximal difference (Wang et al. 2017), a finder without weights.

A frame is compared with the frame half an expression before it, and that one with the frame half an
expression after it. At the apex of what comes and goes, a region has moved since the former but
hardly between former and latter. The feature is the difference of the two motions along the
direction of the first, averaged over the third of the regions where it is largest, and above its
mean at both sides. Peaks above a share of the way from the video's mean to its maximum are found,
with half an expression on both sides.

Ours: the regions of the ME-TST papers, head motion removed, in place of a grid of blocks; the share
is chosen on training subjects.

T frames, C = 2 R channels: u and v of each region (``data.roi_curves``).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from deft_llm.clip import Expression, Interval
from deft_llm.metrics.spotting import SpottedVideo, count_videos
from deft_llm.spotters.decoding import PEAK, peaks

Floats = NDArray[np.float32]
Curve = NDArray[np.float64]
_SHARES = np.round(np.arange(0.05, 1.0, 0.05), 2)


def mdmd_curve(curves: Floats, half: int) -> Curve:
    """The feature of every frame (T,), px; 0 where a neighbour lies outside the video.

    Args:
        curves: Motion of the regions (C, T), px.
        half: Half the length of a typical expression, frames.
    """
    feature = np.zeros(curves.shape[1])
    if curves.shape[1] <= 2 * half:
        return feature
    motion = curves.reshape(-1, 2, curves.shape[1])  # (R, 2, T)
    before, now, after = (motion[..., s : s + motion.shape[-1] - 2 * half] for s in _starts(half))
    moved, stayed = now - before, after - before
    length = np.linalg.norm(moved, axis=1)
    # At an apex the face is back afterwards: stayed is about 0, and length - along about length.
    along = (stayed * moved).sum(1) / np.maximum(length, 1e-9)
    largest = np.sort(length - along, axis=0)[-max(1, len(motion) // 3) :]
    feature[half : half + largest.shape[1]] = largest.mean(0)
    # At least 1: with a half of one frame, half - 1 would compare every frame with itself.
    apart = max(1, half - 1)
    # What rolls over an end is 0, for the first and last `half` frames have no feature.
    beside = (np.roll(feature, apart) + np.roll(feature, -apart)) / 2
    return np.maximum(feature - beside, 0.0)


def mdmd(curves: Floats, half: int, share: float = PEAK) -> list[Interval]:
    """Intervals of one video, in order of time.

    Args:
        curves: Motion of the regions (C, T), px.
        half: Half the length of a typical expression, frames.
        share: See the module; ``fit_share`` chooses it.
    """
    curve = mdmd_curve(curves, half)
    last = len(curve) - 1
    return [Interval(max(t - half, 0), t, min(t + half, last)) for t in peaks(curve, half, share)]


def fit_share(videos: Iterable[tuple[Floats, Sequence[Expression]]], half: int) -> float:
    """The share of the best greedy F1.

    Args:
        videos: Curves (C, T) and coded expressions of training subjects.
        half: Half the length of a typical expression of theirs, frames.
    """
    given = list(videos)
    scores = []
    for share in _SHARES:
        found = (tuple(map(Expression, mdmd(curves, half, share))) for curves, _ in given)
        spotted = [
            SpottedVideo("", "", tuple(coded), here)
            for (_, coded), here in zip(given, found, strict=True)
        ]
        scores.append(count_videos(spotted).f1)
    return float(_SHARES[int(np.argmax(scores))])


def _starts(half: int) -> tuple[int, int, int]:
    """First frame of each of the three: before, now and after."""
    return 0, half, 2 * half
