"""The colour of each vertex, from a texture picture."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from deft_llm.scans.scan import all_finite

Floats = NDArray[np.float32]


def colours_at(picture: Path, places: Floats) -> tuple[Floats | None, str]:
    """Colours of places in a picture.

    Args:
        picture: Its file.
        places: (V, 2) in 0..1, to the right and up from the lower left corner; NaN for vertices
            that have none, which become grey.

    Returns:
        (V, 3) RGB in 0..1 and no note; None and a note if the picture cannot be read.
    """
    read = cv2.imread(str(picture), cv2.IMREAD_COLOR) if picture.is_file() else None
    if read is None:
        return None, f"texture {picture.name} is missing or not readable: shape alone is used"
    height, width = read.shape[:2]
    known = all_finite(places)
    at = np.clip(np.where(known[:, None], places, 0), 0, 1)
    # 0.5: OpenCV counts from the middle of a pixel, texture coordinates from its edge.
    x = (at[:, 0] * width - 0.5).astype(np.float32)
    y = ((1 - at[:, 1]) * height - 0.5).astype(np.float32)
    rows = 8192  # OpenCV takes pictures of at most 32,767 rows
    sampled = [
        cv2.remap(
            read,
            x[i : i + rows],
            y[i : i + rows],
            cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REPLICATE,
        )
        for i in range(0, len(x), rows)
    ]
    colours = (np.concatenate(sampled)[:, 0, ::-1] / 255).astype(np.float32)  # BGR
    colours[~known] = 0.5
    return colours, ""
