"""A trained network as a flow estimator: "srflow" in ``motion/flow.py``'s registry."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from deft_llm.errors import UserError
from deft_llm.flow_models.files import WEIGHTS, load_flow_net
from deft_llm.flow_models.skflow import SKFlow
from deft_llm.motion.flow import check_pair

TILE = 512  # px; larger images are split into tiles
OVERLAP = 96  # px shared by adjacent tiles, more than the network needs as context

# Cached, so that all estimators of a process share one network per folder.
_network = lru_cache(maxsize=4)(load_flow_net)


class SRFlow:
    """Flow estimator with a network trained on faces.

    A pair larger than a tile is split into overlapping tiles. Their flows are blended with weights
    that fall off towards the tiles' edges, so memory does not grow with the image.

    Args:
        folder: Folder of the weights; the project's own by default.
        tile: Largest side passed through the network at once, px.
        overlap: Pixels shared by adjacent tiles.

    Raises:
        UserError: If the folder holds no network, or tiles do not go on.
    """

    name = "srflow"

    def __init__(self, folder: Path = WEIGHTS, tile: int = TILE, overlap: int = OVERLAP) -> None:
        if not 0 < overlap < tile:
            raise UserError(
                f"srflow: tile {tile}, overlap {overlap}; expected an overlap above 0 px and below "
                "the tile's side"
            )
        self.network: SKFlow = _network(folder)
        self.tile, self.overlap = tile, overlap

    def __call__(self, a: NDArray[Any], b: NDArray[Any]) -> NDArray[np.float32]:
        """Flow from ``a`` to ``b``; see :class:`deft_llm.motion.flow.FlowEstimator`.

        Raises:
            UserError: As there.
        """
        check_pair(a, b)
        first, second = _tensor(a), _tensor(b)
        height, width = first.shape[1:]
        flow = np.zeros((2, height, width), np.float32)
        weight = np.zeros((height, width), np.float32)
        for rows in _cuts(height, self.tile, self.overlap):
            for columns in _cuts(width, self.tile, self.overlap):
                part = (..., rows, columns)
                fade = np.minimum.outer(
                    _fade(rows, height, self.overlap), _fade(columns, width, self.overlap)
                )
                flow[part] += fade * self._flow(first[part], second[part])
                weight[part] += fade
        flow /= weight
        return flow

    @torch.inference_mode()
    def _flow(self, first: Tensor, second: Tensor) -> NDArray[np.float32]:
        device = next(self.network.parameters()).device
        images = [image[None].to(device, torch.float32) for image in (first, second)]
        flow: NDArray[np.float32] = self.network(*images)[-1][0].cpu().numpy()
        return flow


def _tensor(image: NDArray[Any]) -> Tensor:
    """RGB (H, W, 3) or grey (H, W) -> (3, H, W), uint8 unchanged or float32."""
    if image.dtype != np.uint8:
        image = image.astype(np.float32)
    if image.ndim == 2:
        image = np.repeat(image[..., None], 3, axis=2)
    return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))


def _cuts(length: int, tile: int, overlap: int) -> Iterator[slice]:
    """Evenly spread slices that cover a side, no longer than a tile."""
    if length <= tile:
        yield slice(0, length)
        return
    # Ceiling division: the fewest tiles that overlap by at least ``overlap``.
    count = -(-(length - overlap) // (tile - overlap))
    for k in range(count):
        start = round(k * (length - tile) / (count - 1))
        yield slice(start, start + tile)


def _fade(cut: slice, length: int, overlap: int) -> NDArray[np.float32]:
    """Blending weights along a tile: 1, falling over the overlap to the tile's inner edges."""
    at = np.arange(cut.start, cut.stop)
    # The + 1 keeps every weight above zero, because the flow is divided by their sum.
    before = np.ones(len(at)) if cut.start == 0 else (at - cut.start + 1) / overlap
    after = np.ones(len(at)) if cut.stop == length else (cut.stop - at) / overlap
    return np.minimum(1, np.minimum(before, after)).astype(np.float32)
