"""The compiled loop of ``warping``: numba takes half a second to load, so it has its own module."""

from __future__ import annotations

from deft_llm.compiled import compiled
from deft_llm.motion.pixels import FloatArray


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
def sample(image: FloatArray, x: FloatArray, y: FloatArray, out: FloatArray) -> None:
    """Fill ``out`` with the image (H, W, C) at the positions x and y, each (H, W), px."""
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
