"""Bi-WOOF: orientation histograms of flow, weighted twice, with a linear classifier.

S.-T. Liong et al., "Less is more: micro-expression recognition from video using apex frame",
Signal Processing: Image Communication 62 (2018). In each block of a grid, the orientations of the
flow vectors are counted in 8 bins, each vector weighted by its magnitude; the histogram of a block
is then weighted by the block's mean optical strain. Our own choice: blocks of 4 pixels at 28x28
(7x7 of them), the histogram of the whole face scaled to unit length, a logistic regression. For
images whose channels were stretched separately, u and v are treated as equally strong.

Letters: N clips, S side.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from deft_llm.recognizers.linear import GridLinear

Floats = NDArray[np.float32]


def bi_woof(encoded: Floats, blocks: int = 7, bins: int = 8) -> Floats:
    """The descriptor of encoded flow.

    Args:
        encoded: (N, 3, S, S) from ``motion.encoding.medsqrt``; the root is undone here.
        blocks: Blocks along each side.
        bins: Orientations; the first is centred on image right, then clockwise.

    Returns:
        (N, blocks * blocks * bins) float32 of unit length; zeros where nothing moved.
    """
    flow = np.sign(encoded) * encoded**2
    u, v, strain = flow[:, 0], flow[:, 1], flow[:, 2]
    # The encoding centred the strain; a weight must not be negative, so start it at zero again.
    strain = strain - strain.min((1, 2), keepdims=True)
    count, side = len(flow), flow.shape[-1]
    turn = np.arctan2(v, u) / (2 * np.pi) * bins
    # rint: a bin has its direction in the middle. % joins -pi and pi, which are one direction.
    orientation = np.rint(turn).astype(np.int64) % bins
    line = np.arange(side) * blocks // side  # block of each row, or column
    block = np.broadcast_to(line[:, None] * blocks + line, u.shape)
    clip = np.arange(count)[:, None, None]
    cells = count * blocks * blocks
    place = ((clip * blocks * blocks + block) * bins + orientation).ravel()
    # The first weight: magnitudes.
    histogram = np.bincount(place, weights=np.hypot(u, v).ravel(), minlength=cells * bins)
    # Clip, block and orientation form one index, so one bincount serves all clips.
    inside = (clip * blocks * blocks + block).ravel()
    total = np.bincount(inside, weights=strain.ravel(), minlength=cells)
    mean = total / np.bincount(inside, minlength=cells)
    # The second weight: the strain of the block.
    weighted = (histogram.reshape(cells, bins) * mean[:, None]).reshape(count, -1)
    length = np.linalg.norm(weighted, axis=1, keepdims=True)
    return (weighted / np.where(length > 0, length, 1)).astype(np.float32)


class BiWoof(GridLinear):
    """Bi-WOOF of encoded flow with a logistic regression."""

    inputs = ("flow_uvs",)
    blocks = 7

    def _describe(self, inputs: dict[str, Floats]) -> Floats:
        return bi_woof(inputs["flow_uvs"], self.blocks)
