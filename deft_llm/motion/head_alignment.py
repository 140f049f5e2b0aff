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
from deft_llm.motion.pixels import carried_back, grid, slopes, without_light

FloatArray = NDArray[np.float32]

# Places among the six numbers, of which scale and rotation stand between.
SHIFT, TURN, NOD = slice(0, 2), 4, 5
_TUKEY = 4.0  # outlier bound, in robust SDs of the difference
_LEAST_NOISE = 0.3  # grey levels: rounding alone has an SD of 0.29
_STEADY = 1e-6


class HeadAligner:
    """Rigid motion of a face from one reference image to others.

    Args:
        reference: (H, W) float32 grey levels, a little blurred.
        landmarks: (68, 2) or (68, 3) pixels of the reference; see ``head_points``.
    """

    def __init__(self, reference: FloatArray, landmarks: NDArray[Any]) -> None:
        height, width = reference.shape
        self.reference = reference
        bridge = np.asarray(landmarks[27, :2], np.float32)
        x, y = (axis - middle for axis, middle in zip(grid(height, width), bridge, strict=True))
        z = head_depth(landmarks, height, width)
        one, nil = np.ones_like(x), np.zeros_like(x)
        # Columns: shift u, shift v, scale, rotation, turn, nod.
        self.u = np.stack([one, nil, x, -y, z, nil])
        # v points down, so a positive rotation is clockwise on the screen.
        self.v = np.stack([nil, one, y, x, nil, z])
        dx, dy = slopes(reference)
        weight = rigid_zones(landmarks, height, width)
        self.inside = weight > 0
        self.weight = weight[self.inside].astype(np.float64)
        # What a unit of each number does to the grey levels.
        effects = (without_light(u * dx + v * dy) for u, v in zip(self.u, self.v, strict=True))
        self.effects = np.stack([effect[self.inside] for effect in effects]).astype(np.float64)

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
            carried = carried_back(image, self.field(motion), cv2.INTER_LINEAR)
            # The image is carried back to the reference, whose slopes then serve every step.
            left = without_light(self.reference - carried)[self.inside].astype(np.float64)
            # 1.4826 times the median deviation is the SD of Gaussian noise.
            noise = max(1.4826 * float(np.median(np.abs(left))), _LEAST_NOISE)
            votes = self.weight * np.clip(1 - (left / (_TUKEY * noise)) ** 2, 0, None) ** 2
            weighted = self.effects * votes
            system = weighted @ self.effects.T
            # A trace of damping keeps a face without any texture solvable.
            system[np.diag_indices(6)] *= 1 + _STEADY
            motion += np.linalg.lstsq(system, weighted @ left, rcond=None)[0]
        return motion
