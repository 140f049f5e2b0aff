"""LBP-TOP: local binary patterns on three orthogonal planes, with a linear classifier.

G. Zhao and M. Pietikainen, "Dynamic texture recognition using local binary patterns with an
application to facial expressions", PAMI 29 (2007); the baseline of every micro-expression corpus.
Eight neighbours at radius 1 in the planes XY, XT and YT, uniform patterns (59 bins), concatenated
histograms of the blocks of a grid. Our own choice: square roots of the histograms (Hellinger),
the grid of 5x5 blocks that SMIC's baseline uses, and a logistic regression.

Letters: N clips, T frames, S side.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from deft_llm.errors import UserError
from deft_llm.recognizers.linear import GridLinear

Floats = NDArray[np.float32]
# Once around the centre: uniform patterns need neighbouring bits to be neighbouring pixels.
_CIRCLE = ((-1, -1), (-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1))
_PLANES = ((1, 2), (0, 2), (0, 1))  # axes of (T, H, W): XY, XT, YT


def _uniform_bins() -> NDArray[np.int64]:
    """Pattern (0..255) -> bin: one for each of the 58 uniform patterns, one for all others."""
    bits = (np.arange(256)[:, None] >> np.arange(8)) & 1
    changes = (bits != np.roll(bits, 1, axis=1)).sum(1)
    bins = np.full(256, 58)
    bins[changes <= 2] = np.arange(58)  # uniform: at most two changes around
    return bins


_BINS = _uniform_bins()


def lbp_top(volume: NDArray[np.floating], blocks: int = 5) -> Floats:
    """The descriptor of one grey volume.

    Args:
        volume: (T, S, S), any unit; T at least 3.
        blocks: Blocks along each side.

    Returns:
        (blocks * blocks * 3 * 59,): for each block and plane a histogram that sums to 1.

    Raises:
        UserError: If there are fewer than three frames, or a block is smaller than a pixel.
    """
    frames, height, width = volume.shape
    if frames < 3 or min(height, width) - 2 < blocks:
        raise UserError(
            f"LBP-TOP: {frames} frames of {height}x{width}; expected at least 3 frames and "
            f"{blocks + 2} pixels a side"
        )
    centre = volume[1:-1, 1:-1, 1:-1]  # only voxels with all neighbours in every plane
    row = np.arange(height - 2) * blocks // (height - 2)  # of the voxels with neighbours
    column = np.arange(width - 2) * blocks // (width - 2)
    block = np.broadcast_to(row[:, None] * blocks + column, centre.shape)
    histograms = np.empty((blocks * blocks, 3, 59), np.float32)
    for plane, (a, b) in enumerate(_PLANES):
        pattern = np.zeros(centre.shape, np.int64)
        for bit, (da, db) in enumerate(_CIRCLE):
            shift = [0, 0, 0]
            shift[a], shift[b] = da, db
            place = tuple(slice(1 + s, n - 1 + s) for s, n in zip(shift, volume.shape, strict=True))
            # An equal neighbour counts as brighter, by definition of LBP.
            pattern |= (volume[place] >= centre).astype(np.int64) << bit
        # One bincount for all blocks: block number and bin together index one long histogram.
        cells = np.bincount((block * 59 + _BINS[pattern]).ravel(), minlength=blocks**2 * 59)
        counts = cells.reshape(blocks**2, 59)
        histograms[:, plane] = counts / counts.sum(1, keepdims=True)
    return histograms.ravel()


class LbpTop(GridLinear):
    """LBP-TOP of the grey frames with a logistic regression."""

    inputs = ("frames",)
    blocks = 5

    def _describe(self, inputs: dict[str, Floats]) -> Floats:
        grey = inputs["frames"].mean(2)  # (N, T, S, S)
        return np.sqrt(np.stack([lbp_top(volume, self.blocks) for volume in grey]))
