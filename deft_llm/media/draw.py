"""Drawing on frames: flow as colour, arrows, landmarks, boxes. Every function returns a new image.

Images are uint8 RGB (H, W, 3); flow is (2, H, W) in pixels, u to the right and v down.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
Colour = tuple[int, int, int]

# Okabe and Ito's colours, which people with colour blindness can also distinguish.
SKY: Colour = (86, 180, 233)
YELLOW: Colour = (240, 228, 66)
VERMILION: Colour = (213, 94, 0)

# iBUG order: first and last index of each line, and whether it is closed.
_LINES = (
    (0, 16, False),
    (17, 21, False),
    (22, 26, False),
    (27, 30, False),
    (31, 35, False),
    (36, 41, True),
    (42, 47, True),
    (48, 59, True),
    (60, 67, True),
)
# Sub-pixel drawing: OpenCV takes fixed-point coordinates with this many fractional bits.
_SHIFT = 4


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


def flow_overlay(
    image: Image, flow: NDArray[np.floating], scale: float | None = None, opacity: float = 0.6
) -> Image:
    """`flow_colours` over the grey image; stronger motion is more opaque."""
    colours = flow_colours(flow, scale).astype(np.float32)
    grey = np.repeat(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[..., None], 3, axis=2)
    weight = opacity * colours.max(axis=-1, keepdims=True) / 255
    return (grey * (1 - weight) + colours * weight).round().astype(np.uint8)


def arrows(
    image: Image,
    starts: NDArray[np.floating],
    vectors: NDArray[np.floating],
    magnify: float = 1.0,
    colour: Colour = YELLOW,
) -> Image:
    """Arrows from `starts` (N, 2) along `vectors` (N, 2), in pixels, `magnify` times as long."""
    picture = image.copy()
    for start, end in zip(_fixed(starts), _fixed(starts + magnify * vectors), strict=True):
        cv2.arrowedLine(picture, start, end, colour, 1, cv2.LINE_AA, _SHIFT, tipLength=0.3)
    return picture


def landmark_lines(image: Image, landmarks: NDArray[np.floating], colour: Colour = SKY) -> Image:
    """The 68 landmarks as lines along jaw, brows, nose, eyes and mouth."""
    picture = image.copy()
    for first, last, closed in _LINES:
        line = np.array(_fixed(landmarks[first : last + 1]), np.int32)
        cv2.polylines(picture, [line], closed, colour, 1, cv2.LINE_AA, _SHIFT)
    return picture


def boxes(
    image: Image, rectangles: NDArray[np.floating], colour: Colour = VERMILION, width: int = 2
) -> Image:
    """Rectangles (N, 4) as x, y, w, h in pixels."""
    picture = image.copy()
    for x, y, w, h in np.atleast_2d(rectangles):
        low, high = _fixed(np.array([[x, y], [x + w, y + h]]))
        cv2.rectangle(picture, low, high, colour, width, cv2.LINE_AA, _SHIFT)
    return picture


def _fixed(points: NDArray[np.floating]) -> list[tuple[int, int]]:
    """Points as OpenCV's fixed-point integers."""
    return [(int(x), int(y)) for x, y in np.round(points * 2**_SHIFT)]
