"""Hard cuts: where one picture does not continue the one before.

A cut must not be confused with a step of light, a flash, noise, or a head that moves fast. So
pictures are compared by structure: blocks of one are sought in the other, by correlation, which
knows neither brightness nor contrast. A cut is a single step at which the blocks are not found
again, with steps before and after it that are far smaller; a fast movement lasts for several
frames. Pictures that are nearly black or white, as in a flash, are left out of the comparison.

Where a new thing enters an unchanged picture, blocks of the picture before are found again; the
better of both directions counts. A cut between two shots of one person before one background may
be missed.
"""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np
from numpy.typing import NDArray

from deft_llm.clip import Clip

FloatArray = NDArray[np.float32]

#: Pictures are compared at this longer side, pixels.
_SIDE = 96
#: Side of a block, and how far it is sought in each direction.
_BLOCK, _REACH = 24, 20
#: Blocks with less contrast than this SD in grey levels say nothing.
_CONTRAST = 4.0
#: At least so many blocks have to say something.
_BLOCKS = 4
#: Grey levels outside of these are clipped; blocks are left out from this share of clipped pixels.
_DARK, _BRIGHT, _CLIPPED = 4.0, 250.0, 0.3
#: Mean correlation of the blocks below which two pictures may be of different shots: on 45 pairs of
#: rendered people in the same place, 90 % are below 0.81; a head that moves by a fifth of the
#: picture or rolls by 15 degrees in one frame stays above 0.85.
_DIFFERENT = 0.84
#: The same where the colours differ as well, by the shared part of their histograms.
_DIFFERENT_COLOURED, _COLOURS = 0.92, 0.7
#: Where this share of the blocks is found again like this, something new came into one picture.
_FOUND, _KEPT = 0.95, 0.4
#: A cut changes so many times more than the steps around it, of which this many count on each side.
_STANDS_OUT, _AROUND = 3.0, 3
#: Changes below this are taken as none: it keeps noise from making a still video's steps matter.
_STILL = 0.01
#: Pictures that correlate at their place better than this are of one shot, without a search.
_SAME = 0.97


def shots(clip: Clip) -> list[tuple[int, int]]:
    """Split a clip at its hard cuts.

    Args:
        clip: The clip.

    Returns:
        First frame, and one past the last, of each shot, in order; the clip itself if it has no
        cut. Blank frames between two shots belong to none.
    """
    steps = list(_steps(clip.frames))
    change = np.array([step[2] for step in steps])
    differs = np.array([step[3] for step in steps], bool)
    found, begin = [], 0
    for at in np.flatnonzero(differs):
        around = np.concatenate([change[max(0, at - _AROUND) : at], change[at + 1 :][:_AROUND]])
        # At the ends of a clip one side tells; a clip of two pictures tells nothing.
        if len(around) < 2 or change[at] < _STANDS_OUT * max(float(around.max()), _STILL):
            continue
        before, after = steps[at][:2]
        found.append((begin, before + 1))
        begin = after
    return [*found, (begin, len(clip))]


def _steps(frames: NDArray[np.uint8]) -> Iterator[tuple[int, int, float, bool]]:
    """From each picture to the next one that is not blank: both numbers, change, difference."""
    last = None
    for index, frame in enumerate(frames):
        small = _small(frame)
        grey = np.asarray(cv2.cvtColor(small, cv2.COLOR_RGB2GRAY), np.float32)
        if _clipped(grey).mean() > 0.5:
            continue
        if last is not None:
            before, grey_before, small_before = last
            alike, kept = similarity(grey_before, grey)
            differs = alike < _DIFFERENT or (
                alike < _DIFFERENT_COLOURED and _shared_colours(small_before, small) < _COLOURS
            )
            yield before, index, 1 - alike, differs and kept < _KEPT
        last = (index, grey, small)


def _small(frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
    height, width = frame.shape[:2]
    scale = _SIDE / max(height, width)
    size = (max(_BLOCK, round(width * scale)), max(_BLOCK, round(height * scale)))
    return np.asarray(cv2.resize(frame, size, interpolation=cv2.INTER_AREA), np.uint8)


def _clipped(grey: FloatArray) -> NDArray[np.bool_]:
    return (grey < _DARK) | (grey > _BRIGHT)


def similarity(a: FloatArray, b: FloatArray) -> tuple[float, float]:
    """How well the blocks of one picture are found in the other.

    Args:
        a: Grey levels (H, W).
        b: The next picture, (H, W).

    Returns:
        Mean correlation of the blocks at their best places, -1 to 1, and the share of blocks that
        are found unchanged, 0 to 1; each of the better direction. 1 and 1 if too few blocks have
        any contrast.
    """
    if a.std() > _CONTRAST and b.std() > _CONTRAST:
        whole = float(np.corrcoef(a.ravel(), b.ravel())[0, 1])
        if whole > _SAME:
            return whole, 1.0
    both = [s for s in (np.array(_found(a, b)), np.array(_found(b, a))) if len(s) >= _BLOCKS]
    mean = max((float(scores.mean()) for scores in both), default=1.0)
    return mean, max((float((scores > _FOUND).mean()) for scores in both), default=1.0)


def _found(a: FloatArray, b: FloatArray) -> list[float]:
    """Correlation of each block of `a` with its best place in `b`."""
    wide = np.asarray(
        cv2.copyMakeBorder(b, _REACH, _REACH, _REACH, _REACH, cv2.BORDER_REPLICATE), np.float32
    )
    clipped, scores = _clipped(a), []
    half = _BLOCK // 2
    for top in range(0, a.shape[0] - _BLOCK + 1, half):
        for left in range(0, a.shape[1] - _BLOCK + 1, half):
            place = np.s_[top : top + _BLOCK, left : left + _BLOCK]
            if a[place].std() < _CONTRAST or clipped[place].mean() > _CLIPPED:
                continue
            around = wide[top : top + _BLOCK + 2 * _REACH, left : left + _BLOCK + 2 * _REACH]
            match = cv2.matchTemplate(around, a[place], cv2.TM_CCOEFF_NORMED)
            # Where `b` is flat, the correlation is not defined.
            scores.append(float(np.nan_to_num(match, nan=0.0, posinf=0.0, neginf=0.0).max()))
    return scores


def _shared_colours(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> float:
    """Shared part of the histograms of two pictures' colours without brightness, 0 to 1."""
    return float(np.minimum(_colours(a), _colours(b)).sum())


def _colours(image: NDArray[np.uint8]) -> FloatArray:
    # Four grey levels more, so that dark pixels, whose colour is noise, are near to grey.
    values = image.reshape(-1, 3).astype(np.float32) + 4
    values = values[(values.max(axis=1) < _BRIGHT) & (values.min(axis=1) > _DARK)]
    share = values / values.sum(axis=1, keepdims=True)
    table, _, _ = np.histogram2d(share[:, 0], share[:, 1], bins=16, range=[[0.2, 0.6], [0.2, 0.5]])
    table = cv2.GaussianBlur(table.astype(np.float32), (0, 0), 0.7)
    return np.asarray(table / max(float(table.sum()), 1.0), np.float32)
