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
        x = flow.copy()
        left = wanted - self._apply(x, smooth, shrink)
        scaled = left / diagonal
        direction, energy = scaled, float((left * scaled).sum())
        for _ in range(_SOLVER_STEPS):
            moved = self._apply(direction, smooth, shrink)
            # Once the system is solved, energy and product are both 0.
            length = np.float32(energy / max(float((direction * moved).sum()), 1e-20))
            x += length * direction
            left -= length * moved
            scaled = left / diagonal
            new = float((left * scaled).sum())
            direction = scaled + np.float32(new / max(energy, 1e-20)) * direction
            energy = new
        return x

    def _apply(self, flow: FloatArray, smooth: np.float32, shrink: np.float32) -> FloatArray:
        u, v = flow
        data = np.stack([self.xx * u + self.xy * v, self.xy * u + self.yy * v])
        return np.asarray(data + smooth * _slope(flow) + shrink * flow, np.float32)


def _slope(flow: FloatArray) -> FloatArray:
    """Gradient of half the squared slope: four times a pixel minus its neighbours."""
    out = 4 * flow
    padded = np.pad(flow, ((0, 0), (1, 1), (1, 1)), mode="edge")
    out -= padded[:, :-2, 1:-1] + padded[:, 2:, 1:-1] + padded[:, 1:-1, :-2] + padded[:, 1:-1, 2:]
    return out


def _window(image: FloatArray) -> FloatArray:
    return cv2.GaussianBlur(image, (0, 0), _WINDOW)
