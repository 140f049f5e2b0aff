"""From a change of grey levels to a field of motion: one linear system for the whole face.

Least squares in small windows with a penalty on the slope of the motion (Bruhn, Weickert and
Schnörr's combination of Lucas-Kanade and Horn-Schunck, IJCV 2005): skin without texture moves with
what lies around it instead of not at all. H, W are the size of the image.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from deft_llm.motion.pixels import slopes

FloatArray = NDArray[np.float32]

_WINDOW = 2.0  # px, SD of the window in which motion is one vector
# Weights of the squared slope of the motion and of the motion itself, (grey levels per px)^2. On
# simulated clips of both heads, 60 finds 6 to 10 % more of the amplitude with a fifth more noise,
# and 1000 a fifth less of the amplitude.
_SMOOTH, _SHRINK = 200.0, 0.3
_SOLVER_STEPS = 30
_LEAST = np.float32(1e-6)


class MotionEquations:
    """The equations of motion of one image: from a change of grey levels to motion."""

    def __init__(self, rest: FloatArray) -> None:
        self.dx, self.dy = slopes(rest)
        self.xx, self.xy, self.yy = (
            _window(a * b) for a, b in ((self.dx, self.dx), (self.dx, self.dy), (self.dy, self.dy))
        )

    def solve(self, change: FloatArray, flow: FloatArray, spread: float) -> FloatArray:
        """Motion (2, H, W) that explains a change beyond the motion that is known.

        Preconditioned conjugate gradients: the system is large, sparse and well conditioned.
        """
        u, v = flow
        # Equations of the whole motion, not of the step: the penalty on its slope has to see
        # what is there already, or each step would smooth only itself.
        wanted = np.stack(
            [
                _window(self.dx * change) + self.xx * u + self.xy * v,
                _window(self.dy * change) + self.xy * u + self.yy * v,
            ]
        )
        # In units of the coefficient's error: a phase that is known less well is smoothed more.
        smooth, shrink = np.float32(_SMOOTH * spread), np.float32(_SHRINK * spread)
        # A phase of no frame has no spread; where there is no texture either, nothing is to solve.
        diagonal = np.maximum(np.stack([self.xx, self.yy]) + 4 * smooth + shrink, _LEAST)
        # Buffers and operations in place: at this size, new arrays cost as much as the sums.
        buffers = _Buffers(flow.shape)
        spare = buffers.spare
        x = flow.copy()
        left = wanted - self._apply(x, smooth, shrink, buffers)
        scaled = left / diagonal
        direction = scaled.copy()
        energy = float(np.multiply(left, scaled, out=spare).sum())
        for _ in range(_SOLVER_STEPS):
            moved = self._apply(direction, smooth, shrink, buffers)
            product = float(np.multiply(direction, moved, out=spare).sum())
            # Once the system is solved, energy and product are both 0.
            length = np.float32(energy / max(product, 1e-20))
            x += np.multiply(length, direction, out=spare)
            left -= np.multiply(length, moved, out=spare)
            np.divide(left, diagonal, out=scaled)
            new = float(np.multiply(left, scaled, out=spare).sum())
            direction *= np.float32(new / max(energy, 1e-20))
            direction += scaled
            energy = new
        return x

    def _apply(
        self, flow: FloatArray, smooth: np.float32, shrink: np.float32, buffers: _Buffers
    ) -> FloatArray:
        """The system's left side for a motion (2, H, W); valid until the next call."""
        u, v = flow
        out, spare, product = buffers.applied, buffers.spare, buffers.spare[0]
        np.multiply(self.xx, u, out=out[0])
        out[0] += np.multiply(self.xy, v, out=product)
        np.multiply(self.xy, u, out=out[1])
        out[1] += np.multiply(self.yy, v, out=product)
        slope = _slope(flow, buffers)
        slope *= smooth
        out += slope
        out += np.multiply(shrink, flow, out=spare)
        return out


class _Buffers:
    """Arrays for the steps of one solution: ``shape`` is that of the motion, (2, H, W)."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        components, height, width = shape
        self.applied, self.spare, self.slope = (np.empty(shape, np.float32) for _ in range(3))
        self.padded = np.empty((components, height + 2, width + 2), np.float32)


def _slope(flow: FloatArray, buffers: _Buffers) -> FloatArray:
    """Gradient of half the squared slope: four times a pixel minus its neighbours."""
    padded, around = buffers.padded, buffers.spare
    padded[:, 1:-1, 1:-1] = flow
    # The border's neighbours outside are the border itself; the corners are nobody's.
    padded[:, 0, 1:-1], padded[:, -1, 1:-1] = flow[:, 0], flow[:, -1]
    padded[:, 1:-1, 0], padded[:, 1:-1, -1] = flow[:, :, 0], flow[:, :, -1]
    np.add(padded[:, :-2, 1:-1], padded[:, 2:, 1:-1], out=around)
    around += padded[:, 1:-1, :-2]
    around += padded[:, 1:-1, 2:]
    out = np.multiply(4, flow, out=buffers.slope)
    out -= around
    return out


def _window(image: FloatArray) -> FloatArray:
    return cv2.GaussianBlur(image, (0, 0), _WINDOW)
