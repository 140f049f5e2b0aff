"""Warps that keep small fractions of a pixel.

OpenCV's ``remap`` rounds positions to a 32nd of a pixel, which is two thirds of a step of 0.05 px.
"""

from __future__ import annotations

import numpy as np

from deft_llm.compiled import compiled
from deft_llm.motion.pixels import FloatArray, grid


@compiled(fastmath=True)
def _weights(t: float) -> tuple[float, float, float, float]:
    """Weights of four neighbours, between the second and third (Keys, 1981, a = -0.5)."""
    return (
        ((-0.5 * t + 1.0) * t - 0.5) * t,
        (1.5 * t - 2.5) * t * t + 1.0,
        ((-1.5 * t + 2.0) * t + 0.5) * t,
        (0.5 * t - 0.5) * t * t,
    )


@compiled(fastmath=True)
def _sample(image: FloatArray, x: FloatArray, y: FloatArray, out: FloatArray) -> None:
    height, width, channels = image.shape
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            # Outside the image, its border goes on.
            px = min(max(x[i, j], 0.0), width - 1.0)
            py = min(max(y[i, j], 0.0), height - 1.0)
            left, top = int(px), int(py)
            wx, wy = _weights(px - left), _weights(py - top)
            for c in range(channels):
                total = 0.0
                for k in range(4):
                    row = min(max(top + k - 1, 0), height - 1)
                    line = 0.0
                    for m in range(4):
                        line += wx[m] * image[row, min(max(left + m - 1, 0), width - 1), c]
                    total += wy[k] * line
                out[i, j, c] = total


def carried(image: FloatArray, offset: FloatArray) -> FloatArray:
    """At every pixel, what lies ``offset`` away in the image.

    Args:
        image: float32 (H, W, C).
        offset: (2, H, W) pixels.

    Returns:
        (H, W, C), by cubic interpolation; an offset of zero changes nothing.
    """
    x, y = grid(*image.shape[:2])
    out = np.empty_like(image, np.float32)
    _sample(np.ascontiguousarray(image, np.float32), x + offset[0], y + offset[1], out)
    return out
