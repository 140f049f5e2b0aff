"""What SOFTNet and MEAN read of a long video: a picture of the motion in a short window per frame.

Liong et al. 2021 (SOFTNet) and 2023 (MEAN). The window begins at the frame and is as long as half
a typical micro-expression, a fifth of a second. Horizontal and vertical flow and optical strain,
less their means at the bridge of the nose; the eyes are blanked; brows and eyes fill the upper half
of the picture, the mouth the lower one; each channel is stretched to its whole range, so a picture
does not tell how strong the motion is. Boxes, sizes and stretching are those of SOFTNet's public
code. Ours: flow by the project's estimator on the aligned face in place of TV-L1 on the cropped
one; flow keeps its sign, as in MEAN; the length of a window is fixed, where the public code takes
it from all subjects, the tested ones with them.

T frames.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from deft_llm.media.canonical import CANONICAL_SIZE
from deft_llm.motion.flow import FlowEstimator, flow_estimator, to_grey
from deft_llm.motion.pixels import smaller
from deft_llm.motion.strain import optical_strain

if TYPE_CHECKING:
    from deft_llm.media.face import AlignedClip

Bytes = NDArray[np.uint8]
Floats = NDArray[np.float32]

SIDE = 42
CHANNELS = ("u", "v", "strain")
#: Seconds of a window: half a typical expression is 0.20 s in CAS(ME)^2 and 0.19 s in SAMM LV.
SECONDS = 0.2
_FACE = 128  # px, side of the face in which flow is measured; margins below are of such a face
_MARGIN, _EYE_MARGIN, _NOSE = 12, 15, 5
_BRIDGE = 28
_EYES = (slice(36, 42), slice(42, 48))


def frames_apart(timestamps: NDArray[np.float64]) -> int:
    """Frames from the first to the last one of a window, at least 1."""
    steps = np.diff(timestamps)
    step = float(np.median(steps)) if steps.size else SECONDS
    return max(1, round(SECONDS / max(step, 1e-3)))


def flow_windows(aligned: AlignedClip, estimator: FlowEstimator | None = None) -> Bytes:
    """The picture of the window that begins at each frame.

    Args:
        aligned: The aligned clip.
        estimator: Flow method, default ``flow_estimator()``.

    Returns:
        uint8 (T, 3, 42, 42): ``CHANNELS``, 0 to 255. 0 throughout where the window's first or last
        frame shows no face, or lies beyond the clip.
    """
    estimator = estimator or flow_estimator()
    apart = frames_apart(aligned.timestamps)
    pictures = np.zeros((len(aligned), len(CHANNELS), SIDE, SIDE), np.uint8)
    points = smaller(aligned.landmarks, CANONICAL_SIZE / _FACE)
    grey = [_small(frame) for frame in aligned.frames]
    for t in range(len(aligned) - apart):
        if aligned.present[t] and aligned.present[t + apart]:
            pictures[t] = window_picture(estimator(grey[t], grey[t + apart]), points)
    return pictures


def window_picture(flow: Floats, points: Floats) -> Bytes:
    """The picture of one flow field.

    Args:
        flow: (2, 128, 128), px, of the face.
        points: (68, 2), its landmarks in px of the field.

    Returns:
        uint8 (3, 42, 42).
    """
    maps = np.stack([*flow, optical_strain(flow)])
    x, y = (round(float(value)) for value in points[_BRIDGE])
    nose = maps[:, _span(y, y, _NOSE), _span(x, x, _NOSE)]
    maps -= nose.mean((1, 2), keepdims=True)
    for eye in _EYES:
        maps[:, _inside(points[eye])] = 0.0
    # Both brows with the eyes below them, and the mouth: first and last row and column.
    upper = (points[[19, 24], 1].min(), points[[41, 46], 1].max(), points[17, 0], points[26, 0])
    lower = (points[50, 1], points[57, 1], points[60, 0], points[64, 0])
    halves = [_resized(maps, box) for box in (upper, lower)]
    picture = np.concatenate(halves, axis=1)
    low, high = picture.min((1, 2), keepdims=True), picture.max((1, 2), keepdims=True)
    stretched = (picture - low) / np.maximum(high - low, 1e-6)
    return np.rint(255 * stretched).astype(np.uint8)


def mirrored(pictures: Bytes) -> Bytes:
    """The pictures (..., 3, 42, 42) of the flipped face."""
    flipped = pictures[..., ::-1].copy()
    u = flipped[..., 0, :, :]
    # Flow to the image's right is now to its left; a stretched channel changes sign by its range,
    # and one without a range stays 0.
    flipped[..., 0, :, :] = np.where(u.any((-2, -1), keepdims=True), 255 - u, 0)
    return flipped


def _small(frame: Bytes) -> Floats:
    small = cv2.resize(to_grey(frame), (_FACE, _FACE), interpolation=cv2.INTER_AREA)
    return np.asarray(small, np.float32)


def _inside(eye: Floats) -> NDArray[np.bool_]:
    """The pixels of an eye and its lids (128, 128)."""
    # Corners move sideways, lids up and down, as in the public code.
    away = np.array([[-1, 0], [0, -1], [0, -1], [1, 0], [0, 1], [0, 1]], np.float32)
    polygon = np.rint(eye + _EYE_MARGIN * away).astype(np.int32)
    mask = np.zeros((_FACE, _FACE), np.uint8)
    cv2.fillPoly(mask, [polygon], 1)
    return mask.astype(bool)


def _resized(maps: Floats, box: tuple[float, float, float, float]) -> Floats:
    """A part of the maps with its margin, as one half of a picture (3, 21, 42)."""
    top, bottom, left, right = (round(float(value)) for value in box)
    rows, columns = _span(top, bottom, _MARGIN), _span(left, right, _MARGIN)
    parts = [cv2.resize(each[rows, columns], (SIDE, SIDE // 2)) for each in maps]
    return np.stack(parts).astype(np.float32)


def _span(low: int, high: int, margin: int) -> slice:
    """From low to high with a margin, as far as it lies in the face; one pixel at least."""
    first = min(max(low - margin, 0), _FACE - 1)
    return slice(first, max(min(high + margin + 1, _FACE), first + 1))
