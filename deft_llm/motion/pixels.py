"""Small operations on grey images that everything which measures motion shares.

H, W are the size of an image; motion is in its pixels, u to the right and v down.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]

_ROUNDS = 6  # of the fixed-point iteration that inverts a motion
_LIGHT = 10.0  # px, SD: what changes more slowly over the face is light, not motion


@lru_cache(maxsize=16)
def grid(height: int, width: int) -> tuple[FloatArray, FloatArray]:
    """Coordinates x and y of every pixel, each (H, W); read-only because they are cached."""
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    x.setflags(write=False)  # callers share the cached arrays
    y.setflags(write=False)
    return x, y


def carried_back(image: FloatArray, flow: FloatArray, method: int = cv2.INTER_CUBIC) -> FloatArray:
    """An image as it looked before a motion: at every pixel, what lies at its end.

    Args:
        image: (H, W).
        flow: (2, H, W) pixels.
        method: OpenCV's interpolation. Linear blurs, and biases steps of a fraction of a pixel;
            it is enough where the whole face votes on few numbers.

    Returns:
        (H, W); outside the image, its border goes on.
    """
    x, y = grid(*image.shape)
    where = (x + flow[0], y + flow[1])
    return np.asarray(cv2.remap(image, *where, method, borderMode=cv2.BORDER_REPLICATE))


def origins(flow: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Where each pixel came from: positions x with x + flow(x) = the pixel.

    Args:
        flow: (2, H, W) pixels, known where the motion starts; smooth.

    Returns:
        x and y, each (H, W).
    """
    xs, ys = grid(*flow.shape[1:])
    u, v = np.ascontiguousarray(flow[0]), np.ascontiguousarray(flow[1])
    x, y = xs, ys
    for _ in range(_ROUNDS):
        x, y = xs - cv2.remap(u, x, y, cv2.INTER_LINEAR), ys - cv2.remap(v, x, y, cv2.INTER_LINEAR)
    return x, y


def slopes(image: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Change of an image to the right and downwards, each (H, W), grey levels per px."""
    # Scharr's weights (3 + 10 + 3) over a distance of 2 px sum to 32.
    dx = cv2.Scharr(image, cv2.CV_32F, 1, 0, scale=1 / 32)
    dy = cv2.Scharr(image, cv2.CV_32F, 0, 1, scale=1 / 32)
    return dx, dy


def without_light(change: FloatArray) -> FloatArray:
    """A difference of images without what a change of light makes of it: without its local mean."""
    return np.asarray(change - cv2.GaussianBlur(change, (0, 0), _LIGHT), np.float32)


def smaller(points: NDArray[Any], scale: float) -> NDArray[Any]:
    """Points (N, 2) of an image in one that is ``scale`` times smaller."""
    # Pixel centres are at whole numbers, so scaling needs the half-pixel shift.
    return (points + 0.5) / scale - 0.5
