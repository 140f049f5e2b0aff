"""The canonical face: 68 landmarks of a symmetric mean adult face on a 224-pixel square.

Landmarks are in iBUG order, numbered from image left to image right, so 0-16 is the jaw, 17-21 the
subject's right brow, 22-26 the left brow, 27-35 the nose, 36-41 the right eye, 42-47 the left eye,
48-67 the mouth.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

#: Side of the canonical image, pixels.
CANONICAL_SIZE = 224
#: Distance of the eye centres in it, pixels; relates motion in pixels to the size of a face.
INTEROCULAR = 80.0

_MIDLINE = (CANONICAL_SIZE - 1) / 2
_EYE_LINE = 58.0

# Image-right half as (distance from the midline, distance below the eye line), pixels.
# Brows, eyes, nose, mouth: mean shape of the 300-W training faces (the one that dlib and FAN
# normalise with), symmetrised and scaled to INTEROCULAR, lips closed. Jaw: own choice, with the
# 300-W proportions (width 2.34 and height 1.89 interoculars).
_JAW = [(93.5, 4), (92, 26), (89, 48), (84.5, 70), (76, 91), (63.5, 110), (48, 127), (29, 142)]
_CHIN = (0.0, 151.0)
_BROW = [(14.6, -21.0), (30.1, -27.4), (46.7, -29.8), (62.6, -26.8), (74.0, -16.6)]
_BRIDGE = [(0.0, -2.0), (0.0, 13.8), (0.0, 29.3), (0.0, 45.3)]
_NOSTRILS = [(0.0, 62.3), (9.5, 59.5), (18.6, 56.1)]
_EYE = [(23.5, 2.4), (33.9, -5.5), (45.8, -5.6), (55.7, 0.1), (46.2, 4.3), (34.4, 4.4)]
_OUTER_LIP = [(35.9, 85.3), (22.5, 80.0), (9.3, 77.3)]  # corner, then towards the middle
_OUTER_LIP_MIDDLE, _LOWER_LIP_MIDDLE = (0.0, 79.6), (0.0, 104.8)
_LOWER_LIP = [(22.9, 98.1), (10.1, 103.7)]
_INNER_LIP = [(30.2, 86.0), (9.4, 86.4)]
_INNER_LIP_MIDDLE, _INNER_LOWER_MIDDLE = (0.0, 87.2), (0.0, 89.6)
_INNER_LOWER = (9.4, 89.2)


def _mirrored(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    return [(-x, y) for x, y in points]


def _mean_shape() -> NDArray[np.float32]:
    """Assemble the half shapes in iBUG order, (68, 2)."""
    # iBUG numbers each eye from its image-left corner: the outer corner of the image-left eye, the
    # inner corner of the image-right eye.
    left_eye = [_mirrored(_EYE)[i] for i in (3, 2, 1, 0, 5, 4)]
    mouth = [
        *_mirrored(_OUTER_LIP),
        _OUTER_LIP_MIDDLE,
        *_OUTER_LIP[::-1],
        *_LOWER_LIP,
        _LOWER_LIP_MIDDLE,
        *_mirrored(_LOWER_LIP[::-1]),
        *_mirrored(_INNER_LIP),
        _INNER_LIP_MIDDLE,
        *_INNER_LIP[::-1],
        _INNER_LOWER,
        _INNER_LOWER_MIDDLE,
        *_mirrored([_INNER_LOWER]),
    ]
    nose = [*_BRIDGE, *_mirrored(_NOSTRILS[:0:-1]), *_NOSTRILS]
    jaw = [*_mirrored(_JAW), _CHIN, *_JAW[::-1]]
    points = [*jaw, *_mirrored(_BROW[::-1]), *_BROW, *nose, *left_eye, *_EYE, *mouth]
    shape = np.add(points, (_MIDLINE, _EYE_LINE)).astype(np.float32)
    shape.setflags(write=False)  # a module constant that all parts share
    return shape


#: float32 (68, 2), x and y in pixels of the canonical image.
CANONICAL_LANDMARKS: NDArray[np.float32] = _mean_shape()


def five_points(landmarks: NDArray[np.floating]) -> NDArray[np.float64]:
    """Eye centres, nose tip and mouth corners, image-left first, of (..., 68, 2) landmarks."""
    points = [
        landmarks[..., 36:42, :].mean(axis=-2),
        landmarks[..., 42:48, :].mean(axis=-2),
        landmarks[..., 30, :],
        landmarks[..., 48, :],
        landmarks[..., 54, :],
    ]
    return np.stack(points, axis=-2).astype(np.float64)


def fit_similarity(
    source: NDArray[np.floating], target: NDArray[np.floating]
) -> NDArray[np.float64]:
    """Least-squares rotation, scale and shift that map `source` to `target`.

    Args:
        source: (N, 2) points, N >= 2, not all the same.
        target: (N, 2) points.

    Returns:
        (2, 3) matrix ``[[a, -b, tx], [b, a, ty]]``.
    """
    centre, goal = source.mean(axis=0), target.mean(axis=0)
    p, q = source - centre, target - goal
    # Closed form for four parameters. With centred points it cannot become a reflection, unlike a
    # general Procrustes fit.
    a = float((p * q).sum() / (p**2).sum())
    b = float((p[:, 0] * q[:, 1] - p[:, 1] * q[:, 0]).sum() / (p**2).sum())
    linear = np.array([[a, -b], [b, a]])
    return np.column_stack([linear, goal - linear @ centre])


def transform(matrix: NDArray[np.floating], points: NDArray[np.floating]) -> NDArray[np.float64]:
    """Apply a (2, 3) matrix to points (..., 2)."""
    return np.asarray(points @ matrix[:, :2].T + matrix[:, 2], np.float64)


def transform_flow(
    flow: NDArray[np.float32], matrix: NDArray[np.floating], size: tuple[int, int]
) -> NDArray[np.float32]:
    """A flow (2, h, w) as it is after the picture was moved by a (2, 3) matrix.

    Args:
        flow: Pixels.
        matrix: From its pixels to those of the result.
        size: Width and height of the result.

    Returns:
        (2, H, W) pixels of the result; 0 outside the given flow.
    """
    u, v = (cv2.warpAffine(channel, matrix, size, flags=cv2.INTER_LINEAR) for channel in flow)
    # Vectors also rotate and scale with the picture; the translation moves only their position.
    turn = matrix[:, :2].astype(np.float32)
    return np.stack([turn[0, 0] * u + turn[0, 1] * v, turn[1, 0] * u + turn[1, 1] * v])


def compose(outer: NDArray[np.floating], inner: NDArray[np.floating]) -> NDArray[np.float64]:
    """The (2, 3) matrix that applies `inner`, then `outer`."""
    linear = outer[:, :2] @ inner[:, :2]
    return np.column_stack([linear, outer[:, :2] @ inner[:, 2] + outer[:, 2]])


def invert(matrix: NDArray[np.floating]) -> NDArray[np.float64]:
    """The inverse of a (2, 3) matrix."""
    linear = np.linalg.inv(matrix[:, :2])
    return np.column_stack([linear, -linear @ matrix[:, 2]])
