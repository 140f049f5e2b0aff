"""The crop that the network sees: an enlarged, upright face box in grey.

A placement is a similarity transform (2, 3) from canonical pixels to the image. A face box gives
one without tilt, 68 points give one with tilt.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from deft_llm.media.canonical import (
    CANONICAL_LANDMARKS,
    INTEROCULAR,
    compose,
    fit_similarity,
    five_points,
    invert,
)
from deft_llm.media.landmarks import EYE_DISTANCE, EYE_HEIGHT

#: Side of a face box on the canonical face, px.
BOX = INTEROCULAR / EYE_DISTANCE
#: Side of the crop, in box widths: room for a chin that the box leaves out, and for a box that is
#: off by a tenth.
ENLARGED = 1.5
_BELOW = 0.08  # distance of the crop's centre below the box's, in box widths

_EYES = five_points(CANONICAL_LANDMARKS)[:2].mean(axis=0)
_BOX_CENTRE = _EYES + np.array([0.0, (0.5 - EYE_HEIGHT) * BOX])
_CENTRE = _BOX_CENTRE + np.array([0.0, _BELOW * BOX])


def placed_by_box(box: NDArray[np.floating]) -> NDArray[np.float64]:
    """The placement (2, 3) of a face box (x, y, w, h); see ``media.finders.FaceBox``."""
    scale = float(box[2]) / BOX
    centre = np.array([box[0] + box[2] / 2, box[1] + box[3] / 2])
    return np.column_stack([scale * np.eye(2), centre - scale * _BOX_CENTRE])


def placed_by_points(points: NDArray[np.floating]) -> NDArray[np.float64]:
    """The placement (2, 3) of landmarks (68, 2): least squares from the canonical face."""
    return fit_similarity(CANONICAL_LANDMARKS.astype(np.float64), points)


def to_crop(placement: NDArray[np.floating], side: int) -> NDArray[np.float64]:
    """The matrix (2, 3) from image pixels to a crop of ``side`` pixels."""
    scale = side / (ENLARGED * BOX)
    middle = (side - 1) / 2
    canonical_to_crop = np.column_stack([scale * np.eye(2), middle - scale * _CENTRE])
    return compose(canonical_to_crop, invert(placement))


def cut(
    image: NDArray[np.uint8], placement: NDArray[np.floating], side: int
) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """Cut a face out, without aliasing.

    Args:
        image: uint8 RGB (H, W, 3) or grey (H, W).
        placement: (2, 3) from canonical to image pixels.
        side: Side of the crop, px.

    Returns:
        Grey uint8 (side, side), with the border repeated outside the image; and the matrix (2, 3)
        from image to crop pixels.
    """
    if image.ndim == 3:
        image = np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), np.uint8)
    matrix = to_crop(placement, side)
    return warp(image, matrix, side), matrix


def warp(image: NDArray[np.uint8], matrix: NDArray[np.float64], side: int) -> NDArray[np.uint8]:
    """Warp an image (H, W) or (H, W, 3) to a crop by a matrix (2, 3), without aliasing."""
    scale = float(np.hypot(matrix[0, 0], matrix[1, 0]))
    first = matrix
    if scale < 0.5:
        # Bilinear sampling skips pixels when it shrinks an image: average over areas first.
        height, width = image.shape[:2]
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        image = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
        sx, sy = size[0] / width, size[1] / height
        # Pixel centres are integers, so resizing maps x to sx (x + 1/2) - 1/2; this is its inverse.
        back = np.array([[1 / sx, 0, (1 / sx - 1) / 2], [0, 1 / sy, (1 / sy - 1) / 2]])
        first = compose(matrix, back)
    crop = cv2.warpAffine(
        image, first, (side, side), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    return np.asarray(crop, np.uint8)
