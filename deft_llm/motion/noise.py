"""Noise floors of region motion, from frames outside the expression and from sensor noise.

The floor of a region is the robust SD of one component of its head-compensated mean motion over
pairs of frames outside onset-offset: ``1.4826 * median(|u|, |v|)``. Both components are pooled and
taken about zero, because a region at rest does not move; an SD about the median would hide a
steady bias. With fewer than ``MIN_PAIRS`` such pairs the floor is a prior from the sensor noise.

A video codec freezes noise and skips motion that is too small to encode, so pairs at rest look
quieter than they are (17 % of still regions came out active on simulated clips through H.264 at
CRF 18). The part of the prior that ten pairs cannot show is therefore added in quadrature
(``_SYSTEMATIC``); then 2 % of the still regions are active, from brows to chin without lids.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from deft_llm.clip import Interval
from deft_llm.motion.flow import to_grey
from deft_llm.motion.regions import ACTIVE_Z

FloatArray = NDArray[np.float32]

MIN_PAIRS = 8
MAX_PAIRS = 10
MIN_FRAMES = 8  # for a fit to all frames

# Floor = C * noise / RMS grey gradient of the region, in px. The noise is the sensor's, with a
# constant for what the codec hides added in quadrature. C was set on 30 simulated clips without
# any AU (head drift and turns, sensor noise of 1-3 grey levels, 30-100 fps, CRF 18): 2 % active.
_PRIOR = 0.24
_SYSTEMATIC = 0.15
_CODEC_GREY = 1.5
# Of motion fitted to all frames: share of the fitted floor, part of the prior that no frame of a
# clip shows, and what a wrong depth and the light on a turning head leave, px per rad. Chosen on 60
# simulated clips of both heads: 0.5 % of the still regions are active, and 63 % of those that moved
# 0.1 px (0.08 and 3 px per rad: 0.4 and 54 %).
_FITTED, _HIDDEN, _PER_TURN = 1.0, 0.04, 2.0
# From here on, rad, skin near the outline comes into sight or leaves it, and no depth can explain
# it; px per rad beyond. On 60 still faces of both heads, turned by up to 15 degrees, outer brows
# and cheeks seem to move by 2 to 4 px where it is larger, and by at most 0.5 px where it is not.
_FAR_TURN, _PER_FAR_TURN = 0.15, 60.0
# The clips behind these numbers magnify a pixel of the video by 1.2 at most.
_USUAL_MAGNIFICATION = 1.5
# Of 20 still and 10 moving faces of both heads, made smaller and through H.264 at CRF 18, so many
# are said to move: with 26 px between the eyes 14 and 10 by the prior alone, 8 and 10 if it grows
# with the magnification, 6 and 10 with its square; with 18 px (17 and 9 are found) 15 and 8, 9 and
# 7, 2 and 4.
_MAGNIFIED = 2.0
_MIN_FLOOR = 0.004  # px; below this the flow estimator is the limit, not the sensor


def rest_pairs(interval: Interval, present: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Pairs of frames outside the expression, as far apart as onset and apex are.

    Args:
        interval: The expression.
        present: (T,) bool, frames that show the face.

    Returns:
        Up to ``MAX_PAIRS`` pairs (i, j), i < j, with a gap between half and twice apex - onset.
        Pairs with the closest gaps are preferred and spread over the clip. Deterministic.
    """
    gap = max(interval.apex - interval.onset, 1)
    rest = [t for t in np.flatnonzero(present).tolist() if t not in interval]
    known, pairs = set(rest), []
    # From the closest gaps on, until there are three times as many candidates as needed; a long
    # clip has too many pairs to look at all.
    for off in range(gap + 1):
        steps = [d for d in sorted({gap - off, gap + off}) if max(1, gap / 2) <= d <= 2 * gap]
        pairs += [(t, t + d) for t in rest for d in steps if t + d in known]
        if len(pairs) >= 3 * MAX_PAIRS:
            break
    # In order of time, so that the picks spread out.
    pool = sorted(pairs[: 3 * MAX_PAIRS])
    picks = np.unique(np.linspace(0, len(pool) - 1, min(MAX_PAIRS, len(pool))).round())
    return [pool[int(k)] for k in picks] if pool else []


def magnified(prior: FloatArray, magnification: float) -> FloatArray:
    """The prior of a small face, which the canonical square shows enlarged.

    Pixels that were made of one tell no more than it, so a region holds fewer independent ones;
    the noise of one pixel, spread over several, is smooth and looks like texture that moves; and
    the sensor noise, measured by differences of neighbours, is underestimated.

    Args:
        prior: (R,) ``prior_floor``, px.
        magnification: Canonical pixels to a pixel of the video.
    """
    beyond = max(magnification / _USUAL_MAGNIFICATION, 1.0)
    return np.asarray(prior * beyond**_MAGNIFIED, np.float32)


def combine(pairs: FloatArray, prior: FloatArray) -> FloatArray:
    """Floor from pairs at rest, plus the part of the prior that they cannot show, in quadrature."""
    # The prior was computed with the factor _PRIOR; only the systematic part of it is wanted.
    return np.hypot(pairs, prior * (_SYSTEMATIC / _PRIOR)).astype(np.float32)


def movement_floors(fitted: FloatArray, prior: FloatArray, turn: float) -> FloatArray:
    """Floors of a motion that was fitted to all frames.

    Args:
        fitted: (2, R) what the noise of the clip pretends to (``micro_flow.Movement.floors``), px.
        prior: (R,) ``prior_floor``.
        turn: Turn or nod of the head during the movement, rad.

    Returns:
        (2, R) pixels, one SD of one component.
    """
    turned = _PER_TURN * turn + _PER_FAR_TURN * max(turn - _FAR_TURN, 0.0)
    hidden = np.hypot(prior * (_HIDDEN / _PRIOR), turned)
    return np.hypot(_FITTED * fitted, hidden).astype(np.float32)


def of_search(floors: FloatArray, windows: float) -> FloatArray:
    """Floors for a movement that was searched for, the largest of many chances.

    The floors grow so that ``ACTIVE_Z`` is passed by chance in the strongest of ``windows``
    windows as rarely as in a single one: the tail of a Rayleigh distribution, ``exp(-z^2 / 2)``,
    divided by the number of windows (Bonferroni).

    Args:
        floors: px.
        windows: How many movements would have had room where it was searched; 1 or less changes
            nothing.
    """
    return np.asarray(floors * np.sqrt(1 + 2 * np.log(max(windows, 1.0)) / ACTIVE_Z**2), np.float32)


def robust_floor(motion: FloatArray) -> FloatArray:
    """Floor of every region from its motion over frame pairs at rest.

    Args:
        motion: (P, R, 2), pixels.

    Returns:
        (R,) pixels, one SD of one component.
    """
    pooled = np.abs(motion).transpose(1, 0, 2).reshape(motion.shape[1], -1)
    return np.maximum(1.4826 * np.median(pooled, axis=1), _MIN_FLOOR).astype(np.float32)


def sensor_noise(a: NDArray[Any], b: NDArray[Any]) -> float:
    """Noise of one image from the difference of two, in grey levels.

    Motion and lighting are smooth and noise is not, so the difference is high-passed. Its robust
    SD (1.4826 MAD) is divided by sqrt(2), because the difference holds the noise of two images.

    Args:
        a: uint8 RGB or grey image.
        b: An image of the same size at another time.

    Returns:
        SD in grey levels.
    """
    difference = to_grey(b) - to_grey(a)
    difference -= cv2.GaussianBlur(difference, (0, 0), 2.0)
    return float(1.4826 * np.median(np.abs(difference)) / np.sqrt(2.0))


def prior_floor(grey: FloatArray, masks: FloatArray, sigma: float) -> FloatArray:
    """Floor of every region from the sensor noise of the clip.

    The error of a least-squares flow over a region is proportional to noise over texture: ``0.24 *
    hypot(sigma, 1.5) / g``, where ``g`` is the region's RMS gradient, grey levels per pixel.

    Args:
        grey: (H, W) one image of the clip, 0..255.
        masks: (R, H, W) weights.
        sigma: Sensor noise in grey levels (``sensor_noise``).

    Returns:
        (R,) pixels, one SD of one component.
    """
    smooth = cv2.GaussianBlur(grey, (0, 0), 1.0)
    # Sobel's weights (1 + 2 + 1) over a distance of 2 px sum to 8: grey levels per px.
    dx = cv2.Sobel(smooth, cv2.CV_32F, 1, 0, scale=1 / 8)
    dy = cv2.Sobel(smooth, cv2.CV_32F, 0, 1, scale=1 / 8)
    # Halved: the mean square of one component.
    energy = (dx * dx + dy * dy).ravel() / 2
    total = np.maximum(masks.sum(axis=(1, 2)), 1e-6)
    gradient = np.sqrt(masks.reshape(len(masks), -1) @ energy / total)
    # At least 0.5 grey levels per px: a region without texture would get an unbounded floor.
    floor = _PRIOR * np.hypot(sigma, _CODEC_GREY) / np.maximum(gradient, 0.5)
    return np.maximum(floor, _MIN_FLOOR).astype(np.float32)
