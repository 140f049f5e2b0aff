"""Flow as colour.

Pictures are uint8 RGB (H, W, 3); flow is (2, H, W) in pixels, u to the right and v down.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]


def flow_colours(flow: NDArray[np.floating], scale: float | None = None) -> Image:
    """Flow as an HSV wheel: direction is hue, magnitude is brightness.

    Right is red, down yellow-green, left cyan, up violet; no motion is black.

    Args:
        flow: (2, H, W) pixels.
        scale: Magnitude of full brightness, pixels; None for the 99th percentile.
    """
    magnitude = np.hypot(flow[0], flow[1])
    if scale is None:
        scale = float(np.percentile(magnitude, 99))  # not the maximum: single wild pixels
    # OpenCV stores 8-bit hue in steps of two degrees, 0..179; rounding can give 180, which wraps.
    hue = np.degrees(np.arctan2(flow[1], flow[0])) % 360 / 2
    value = 255 * np.clip(magnitude / max(scale, 1e-6), 0, 1)
    hsv = np.stack([hue % 180, np.full_like(hue, 255), value], axis=-1).round().astype(np.uint8)
    hsv[..., 0] %= 180
    return np.asarray(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB), np.uint8)


# Baker's wheel: steps from red to yellow, green, cyan, blue, magenta and back.
_WHEEL_STEPS = (15, 6, 4, 11, 13, 6)
_WHEEL_CORNERS = (
    (255, 0, 0),
    (255, 255, 0),
    (0, 255, 0),
    (0, 255, 255),
    (0, 0, 255),
    (255, 0, 255),
)


def middlebury_colours(flow: NDArray[np.floating], scale: float | None = None) -> Image:
    """Flow in the colours that flow papers use (Baker et al., IJCV 2011).

    Right is red, down yellow, left cyan-blue, up violet; no motion is white, and motion beyond
    the scale is darkened.

    Args:
        flow: (2, H, W) pixels.
        scale: Magnitude of full saturation, pixels; None for the largest in the flow.
    """
    wheel = np.concatenate(
        [
            np.linspace(start, end, steps, endpoint=False)
            for start, end, steps in zip(
                _WHEEL_CORNERS, _WHEEL_CORNERS[1:] + _WHEEL_CORNERS[:1], _WHEEL_STEPS, strict=True
            )
        ]
    )
    magnitude = np.hypot(flow[0], flow[1])
    radius = magnitude / max(float(magnitude.max()) if scale is None else scale, 1e-6)
    # Negated as in the reference code, so that the wheel starts with red at image right.
    place = (np.arctan2(-flow[1], -flow[0]) / np.pi + 1) / 2 * (len(wheel) - 1)
    low = place.astype(int)
    share = (place - low)[..., None]
    colour = (1 - share) * wheel[low] + share * wheel[(low + 1) % len(wheel)]
    inside = np.minimum(radius, 1)[..., None]
    # 0.75 is how the reference code darkens what is beyond the scale.
    shown = np.where(radius[..., None] <= 1, 255 - inside * (255 - colour), 0.75 * colour)
    return shown.round().astype(np.uint8)
