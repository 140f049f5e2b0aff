"""Inputs of graphs of action units: patches of flow at 65 points of the face, and the coded AUs.

FED-PsyAU (arXiv 2507.20557) reads 161 patches in four groups of AUs; the groups overlap, and
only 65 points are distinct. Those are what a network gets here (``patches``), in the order of the
public code: brows, lids and glabella, bridge and sides of the nose, cheeks, upper lip, lower lip
and chin. Which landmark is which point is not published; ``POINTS`` is our own choice.

Letters: N clips, P points, S side of a flow map, K side of a patch.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from deft_llm import facs
from deft_llm.data.records import ClipRecord
from deft_llm.media.canonical import CANONICAL_LANDMARKS, CANONICAL_SIZE
from deft_llm.motion.encoding import encode_flow

Floats = NDArray[np.float32]
#: AUs of the graph, in its order: the upper face, then the lower.
GRAPH_AUS: tuple[int, ...] = (1, 2, 4, 5, 6, 7, 9, 10, 12, 14, 15, 17)
PATCH = 5  # K
_PICTURE = 128  # px of the face picture in which the published patches have K pixels


def _cheek(eye: int, jaw: int, nostril: int, corner: int) -> list[tuple[int, ...]]:
    """Ten points of a cheek, each the mean of some landmarks."""
    return [
        *[(eye, eye, nostril), (eye, nostril, nostril), (eye, jaw), (eye, eye, jaw)],
        *[(eye, corner), (eye, corner, corner), (nostril, corner), (nostril, jaw)],
        *[(corner, jaw), (corner, corner, jaw)],
    ]


#: The landmarks (``facs``, 68) whose mean is each point; one that is named twice counts twice.
POINTS: tuple[tuple[int, ...], ...] = (
    *((i,) for i in range(17, 27)),  # brows
    *((i,) for i in range(36, 48)),  # lids
    (21, 22),  # glabella
    *((i,) for i in range(27, 36)),  # bridge and sides of the nose
    *_cheek(41, 3, 31, 48),
    *_cheek(46, 13, 35, 54),
    *((i,) for i in range(48, 55)),  # upper lip with the corners of the mouth
    *((i,) for i in range(55, 60)),  # lower lip
    (8, 57),  # chin
)
_PLACE = {tuple(sorted(anchors)): i for i, anchors in enumerate(POINTS)}
#: Point i of the mirrored face is point ``MIRRORED_POINTS[i]``.
MIRRORED_POINTS: tuple[int, ...] = tuple(
    _PLACE[tuple(sorted(facs.MIRROR_68[a] for a in anchors))] for anchors in POINTS
)


def _grid() -> Tensor:
    """Where the patches lie, (1, P * K, K, 2): x and y in -1..1 from edge to edge of the face."""
    points = np.stack([CANONICAL_LANDMARKS[list(anchors)].mean(0) for anchors in POINTS])
    # Patches have the published size relative to the face, whatever the resolution of the map.
    steps = (np.arange(PATCH) - PATCH // 2) * CANONICAL_SIZE / _PICTURE
    x = np.broadcast_to(points[:, None, None, 0] + steps, (len(points), PATCH, PATCH))
    y = np.broadcast_to(points[:, None, None, 1] + steps[:, None], x.shape)
    # Pixel centres lie half a pixel from the edge.
    places = (np.stack([x, y], axis=-1) + 0.5) * 2 / CANONICAL_SIZE - 1
    return torch.from_numpy(places.reshape(1, -1, PATCH, 2).astype(np.float32))


def flow_patches(flow: NDArray[Any], side: int | None) -> Floats:
    """Patches of the flow from onset to apex.

    Faces are aligned to the canonical landmarks, so the points are the same in every clip.

    Args:
        flow: (N, 2, 3, S, S): both phases of u, v and strain.
        side: Side of a network's maps, which patches do not depend on.

    Returns:
        (N, P, 3, K, K) of encoded flow (``motion/encoding.py``).
    """
    maps = torch.from_numpy(encode_flow(flow[:, 0])[0])
    grid = _grid().expand(len(maps), -1, -1, -1)
    # (N, 3, P * K, K): one call for all patches, which lie below each other.
    found = F.grid_sample(maps, grid, padding_mode="border", align_corners=False)
    return np.ascontiguousarray(
        found.unflatten(2, (len(POINTS), PATCH)).transpose(1, 2).numpy(), np.float32
    )


def mirror_patches(patches: Tensor) -> Tensor:
    """Patches (..., P, 3, K, K) of the left-right flipped clips."""
    flipped = patches[..., list(MIRRORED_POINTS), :, :, :].flip(-1)
    flipped[..., 0, :, :] *= -1  # u points to the image's right
    return flipped


def coded_aus(record: ClipRecord) -> Floats:
    """Which AUs of the graph are coded, (12,) of 0 and 1; NaN if nobody coded the clip's AUs."""
    if not record.aus_known:
        return np.full(len(GRAPH_AUS), np.nan, np.float32)
    numbers = {facs.au_number(code) for code in record.aus}
    return np.array([number in numbers for number in GRAPH_AUS], np.float32)
