"""A picture of what a network looked at: its heat map on the face, over the whole clip and in time.

Letters: T steps of time, M side of the map, S side of the face.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from deft_llm.viz.overlay import ZOOM, Image, heat_colours, heated, strip

_OPAQUE = 0.75  # the face shows through the hottest place
_PARTS = ("first third", "second third", "last third")


def attention_picture(face: Image, heat: NDArray[np.floating]) -> Image:
    """Draw a heat map on a face: its largest value over time, and in three parts of the time.

    Args:
        face: uint8 RGB (S, S, 3), the apex.
        heat: (T, M, M) in 0..1 from onset to apex, T at least 3.

    Returns:
        Four captioned faces side by side.
    """
    # Uneven if T is no multiple of three.
    parts = np.array_split(heat, len(_PARTS))
    # One scale for all, so that a part in which the network saw little stays dark.
    shown = [heat.max(0), *(part.max(0) for part in parts)]
    captions = ["onset to apex", *_PARTS]
    return strip([_under(face, layer) for layer in shown], captions)


def _under(face: Image, level: NDArray[np.floating]) -> Image:
    side = face.shape[1]
    level = np.clip(cv2.resize(level.astype(np.float32), (side, side)), 0.0, 1.0)
    layer = np.concatenate([heat_colours(level), _OPAQUE * level[..., None]], axis=-1)
    mixed = np.rint(255 * heated(face, layer)).astype(np.uint8)
    size = (ZOOM * side, ZOOM * face.shape[0])
    return np.asarray(cv2.resize(mixed, size, interpolation=cv2.INTER_CUBIC), np.uint8)
