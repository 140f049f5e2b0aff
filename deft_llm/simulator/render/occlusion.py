"""What of a rendered frame the next one hides."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
_RETURN_PX = 0.1  # a pixel that returns this near to its start is visible in both frames,
_RETURN_SHARE = 0.05  # plus this share of its motion,
_LEAST_COVER = 0.25  # if the head covers at least this share of the target


def occluded(
    forward: Floats, backward: Floats, mask: NDArray[np.bool_], mask_after: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """Pixels of the first frame whose surface the second frame does not show.

    The forward-backward check (Sundaram et al., ECCV 2010): a pixel that is still visible returns
    to where it started. Both flows are exact, so the tolerance (ours) is far tighter than for
    estimated ones: 0.1 px and 5 % of the motion. Pixels at a depth edge that mix two surfaces
    return to neither, and count as occluded.

    Args:
        forward: (2, H, W) pixels, first frame to second.
        backward: (2, H, W) second to first.
        mask: (H, W) where the first frame shows the head.
        mask_after: (H, W) the same for the second.

    Returns:
        (H, W) bool; False outside ``mask``. A pixel that leaves the frame is occluded.
    """
    height, width = mask.shape
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    to_x, to_y = x + forward[0], y + forward[1]
    weight = _sample(mask_after.astype(np.float32), to_x, to_y)
    # The flow is 0 off the mask, so bilinear samples at the silhouette are too small; dividing by
    # the sampled mask makes them means over the covered pixels.
    back = [_sample(channel, to_x, to_y) / np.maximum(weight, 1e-3) for channel in backward]
    missed = np.hypot(forward[0] + back[0], forward[1] + back[1])
    seen = missed <= _RETURN_PX + _RETURN_SHARE * np.hypot(*forward)
    inside = (to_x >= 0) & (to_x <= width - 1) & (to_y >= 0) & (to_y <= height - 1)
    return mask & ~(seen & inside & (weight > _LEAST_COVER))


def _sample(image: Floats, x: Floats, y: Floats) -> Floats:
    values: Floats = cv2.remap(image, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return values
