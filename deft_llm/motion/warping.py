"""Warps that keep small fractions of a pixel.

OpenCV's ``remap`` rounds positions to a 32nd of a pixel, which is two thirds of a step of 0.05 px.
"""

from __future__ import annotations

import numpy as np

from deft_llm.motion.pixels import FloatArray, grid


def carried(image: FloatArray, offset: FloatArray) -> FloatArray:
    """At every pixel, what lies ``offset`` away in the image.

    Args:
        image: float32 (H, W, C).
        offset: (2, H, W) pixels.

    Returns:
        (H, W, C), by cubic interpolation; an offset of zero changes nothing.
    """
    # Only here: most clips are measured without a warp, and numba takes half a second to load.
    from deft_llm.motion.warp_kernels import sample

    x, y = grid(*image.shape[:2])
    out = np.empty_like(image, np.float32)
    sample(np.ascontiguousarray(image, np.float32), x + offset[0], y + offset[1], out)
    return out
