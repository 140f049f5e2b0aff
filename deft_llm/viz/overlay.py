"""Pictures of motion on the aligned face: heat, region arrows, a labelled strip.

Faces are uint8 RGB (A + S, S, 3): the canonical square of side S below A rows of forehead
(``AlignedClip.pictures``). Flow is (2, S, S) and places are pixels of the square, u and x to the
right, v and y down. Pictures are returned as uint8 RGB, ZOOM times as large, with their own legend,
so that each can be read outside the report.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray

# matplotlib is imported where something is drawn: it takes half a second, and a folder of its own.
if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Image = NDArray[np.uint8]

ZOOM = 2
DPI = 100
HEAT = "inferno"  # monotone in lightness: readable without colour and with any colour vision
ACCENT = "#ffd400"  # yellow on a black edge: seen on any skin
_BAR_STEPS = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0)
_MAGNIFY_STEPS = (1, 2, 5, 10, 20, 50, 100, 200)
_ARROW_LENGTH = 32.0  # the longest arrow, canonical px on the picture
_FADE = 12.0  # px over which the face fades out towards the top of the square


@dataclass(frozen=True)
class Arrow:
    """Motion of one region, for drawing.

    Attributes:
        x: Centre of the region, canonical pixels to the right.
        y: The same, down.
        u: Motion to the right, canonical pixels.
        v: Motion down, canonical pixels.
        active: Whether the motion is above the region's noise floor.
    """

    x: float
    y: float
    u: float
    v: float
    active: bool


def flow_heat(
    face: Image,
    flow: NDArray[np.float32],
    landmarks: NDArray[np.floating],
    floor: float = 0.0,
) -> Image:
    """Draw the magnitude of motion as heat over the face.

    Args:
        face: The frame that the flow starts from.
        flow: Head-compensated motion (2, S, S), pixels.
        landmarks: (68, 2) pixels; the background stays clear, since its flow is meaningless.
        floor: Noise level, pixels: motion below it stays clear as well.

    Returns:
        The picture, with a colour bar from 0 to the 99.5th percentile of the face's motion, or to
        twice the floor or 0.05 px if that is more.
    """
    heat, top = heat_layer(flow, landmarks, floor)
    figure, axes = _canvas(heated(face, heat))
    _colour_bar(axes, face.shape[1], top)
    return _picture(figure)


def heated(face: Image, heat: NDArray[np.floating]) -> NDArray[np.floating]:
    """The face in grey under a layer of heat (``heat_layer``); RGB in 0..1."""
    mixed = np.repeat(face.mean(axis=-1, keepdims=True) / 255.0, 3, axis=-1)
    # The heat covers the square, the face may show more above it.
    square, opacity = mixed[len(face) - len(heat) :], heat[..., 3:]
    square += opacity * (heat[..., :3] - square)
    return mixed


def heat_layer(
    flow: NDArray[np.float32], landmarks: NDArray[np.floating], floor: float = 0.0
) -> tuple[NDArray[np.floating], float]:
    """Magnitude of motion as colours with opacity, to overlay on a face.

    Args:
        flow: As in ``flow_heat``.
        landmarks: As in ``flow_heat``.
        floor: As in ``flow_heat``.

    Returns:
        (S, S, 4) RGB and opacity, 0..1, and the motion in pixels at the end of the colour scale.
    """
    inside = face_mask(landmarks, flow.shape[1])
    magnitude = np.hypot(flow[0], flow[1])
    # A percentile, so that a few outlying pixels do not set the scale; the other two bounds keep
    # a face at rest from being stretched to full colour.
    top = max(float(np.percentile(magnitude[inside > 0.5], 99.5)), 2.0 * floor, 0.05)
    level = np.clip(magnitude / top, 0.0, 1.0)
    above = np.clip((magnitude - floor) / max(top - floor, 1e-6), 0.0, 1.0)
    colours = heat_colours(level)
    # At most 0.8 opaque, so the face shows through; the power below 1 lifts weak motion.
    return np.concatenate([colours, (0.8 * above**0.6 * inside)[..., None]], axis=-1), top


def heat_colours(level: NDArray[np.floating]) -> NDArray[np.floating]:
    """Colours (..., 3) in 0..1 of levels from 0 (no motion) to 1 (the strongest)."""
    import matplotlib

    # Without the darkest quarter of the colour map, or weak motion would darken the face.
    return np.asarray(matplotlib.colormaps[HEAT](0.25 + 0.75 * level))[..., :3]


def face_mask(landmarks: NDArray[np.floating], size: int) -> NDArray[np.float32]:
    """Mask of the face: the hull of the landmarks, extended to the forehead, without the outline.

    The outline is pulled in by a fifth, because flow there mixes face and background. Above the
    square no flow is known, so the mask falls to 0 towards its top: what is drawn by it does not
    end on the forehead in a straight line.

    Args:
        landmarks: (68, 2) pixels.
        size: Side of the square, pixels.

    Returns:
        (size, size), 1 inside, falling to 0 over a few pixels at the edge.
    """
    up = landmarks[27] - landmarks[8]  # chin to the root of the nose
    # iBUG points: 0-16 jaw line, 17-26 brows, 30 tip of the nose.
    outline = landmarks[30] + (landmarks[:17] - landmarks[30]) * 4 / 5
    points = np.concatenate([outline, landmarks[17:], landmarks[17:27] + 0.25 * up])
    # ``fillConvexPoly`` takes whole pixels only; the blur below hides the steps.
    hull = cv2.convexHull(points.astype(np.float32)).round().astype(np.int32)
    mask = cv2.fillConvexPoly(np.zeros((size, size), np.float32), hull, 1.0)
    ramp = np.clip(np.arange(size, dtype=np.float32) / _FADE, 0.0, 1.0)[:, None]
    return np.asarray(ramp * cv2.GaussianBlur(mask, (0, 0), 3.0), dtype=np.float32)


def draw_region_arrows(face: Image, arrows: Sequence[Arrow]) -> Image:
    """Draw the mean motion of each region as a magnified arrow.

    Active regions get an arrow, the others a dot. The factor and a scale bar are in the corner.

    Args:
        face: The frame that the motion starts from.
        arrows: One per measured region.

    Returns:
        The picture.
    """
    # Slightly darker, so that yellow and white stand out on light skin.
    figure, axes = _canvas(face / 255.0 * 0.82)
    size = face.shape[1]
    # The subject faces the camera: their right side is on the left of the picture.
    _text(axes, 6, size - 26, "subject's right", va="center")
    _text(axes, size - 7, size - 26, "left", va="center", ha="right")
    moving = [a for a in arrows if a.active]
    longest = max((float(np.hypot(a.u, a.v)) for a in moving), default=0.0)
    factor = magnification(longest)
    for arrow in arrows:
        if not arrow.active:
            axes.plot(arrow.x, arrow.y, "o", ms=3, mfc="white", mec="black", mew=0.6, alpha=0.75)
    if moving:
        _draw_arrows(axes, moving, factor)
        _scale_bar(axes, size, longest, factor)
    else:
        _text(axes, 8, size - 8, "no region moved above its noise floor")
    return _picture(figure)


def magnification(longest: float) -> int:
    """The largest round factor at which the longest arrow is at most a seventh of the face.

    Args:
        longest: Pixels.

    Returns:
        One of 1, 2, 5, 10 ... 200.
    """
    if longest <= 0:
        return 1
    fitting = [k for k in _MAGNIFY_STEPS if k * longest <= _ARROW_LENGTH]
    # Motion that is too long even at its true size is still drawn at its true size.
    return fitting[-1] if fitting else 1


def strip(pictures: Sequence[Image], captions: Sequence[str]) -> Image:
    """Pictures side by side, each with a caption above it.

    Args:
        pictures: At least one; each is resized to the height of the largest.
        captions: One per picture.

    Returns:
        The strip, on white.

    Raises:
        ValueError: If there is not one caption per picture.
    """
    from matplotlib.figure import Figure

    height, width = max(p.shape[:2] for p in pictures)
    head, gap = 0.075, 0.02  # parts of a picture's width
    # Axes are placed in fractions of the figure, which is so many pictures wide.
    columns, rows = len(pictures) * (1 + gap) - gap, height / width + head
    figure = Figure(figsize=(columns * width / DPI, rows * width / DPI), dpi=DPI)
    for i, (picture, caption) in enumerate(zip(pictures, captions, strict=True)):
        left = i * (1 + gap) / columns
        axes = figure.add_axes((left, 0.0, 1 / columns, 1 - head / rows))
        axes.imshow(_resize(picture, height))
        axes.axis("off")
        # Not the middle of the band: nearer to the picture that it names.
        place = 1 - 0.65 * head / rows
        figure.text(left, place, caption, fontsize=13, color="#222", va="center")
    return _picture(figure)


def encode_png(image: Image) -> bytes:
    """PNG bytes of a picture.

    Args:
        image: uint8 RGB (H, W, 3), or RGB with opacity (H, W, 4).

    Returns:
        The file's content.
    """
    # OpenCV writes BGR.
    order = cv2.COLOR_RGB2BGR if image.shape[-1] == 3 else cv2.COLOR_RGBA2BGRA
    done, data = cv2.imencode(".png", cv2.cvtColor(image, order))
    assert done, image.shape
    return data.tobytes()


def _resize(picture: Image, height: int) -> Image:
    if len(picture) == height:
        return picture
    size = (round(picture.shape[1] * height / len(picture)), height)
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_CUBIC), dtype=np.uint8)


def _canvas(background: NDArray[np.floating]) -> tuple[Figure, Axes]:
    """A frameless figure showing a face in 0..1, with axes in pixels of the square."""
    from matplotlib.figure import Figure

    height, size = background.shape[:2]
    # Not pyplot: it keeps every figure in global state, which the server's threads would share.
    figure = Figure(figsize=(ZOOM * size / DPI, ZOOM * height / DPI), dpi=DPI)
    axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
    show_face(axes, background)
    return figure, axes


def show_face(axes: Axes, face: NDArray[np.floating] | Image, enlarged: int = 1) -> None:
    """Show a face (A + S, S, 3) in axes with pixels of the square as their coordinates.

    Args:
        axes: The axes.
        face: In 0..1, or as uint8.
        enlarged: How many times as large as the square it is; then it is shown as it is.
    """
    height, size = (side / enlarged for side in face.shape[:2])
    # Pixel centres lie at whole numbers and rows count down, as in the array; the rows above the
    # square are negative.
    edges = (-0.5, size - 0.5, size - 0.5, size - height - 0.5)
    axes.imshow(face, interpolation="bicubic" if enlarged == 1 else "none", extent=edges)
    axes.axis(edges)
    axes.axis("off")


def _picture(figure: Figure) -> Image:
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.ascontiguousarray(np.asarray(canvas.buffer_rgba())[..., :3])


def _text(axes: Axes, x: float, y: float, text: str, **style: Any) -> None:
    axes.text(x, y, text, color="white", fontsize=11, path_effects=_outline(), **style)


def _outline() -> list[Any]:
    """A black edge, so that white and yellow are seen on any skin."""
    from matplotlib.patheffects import withStroke

    return [withStroke(linewidth=2.4, foreground="black")]


def _draw_arrows(axes: Axes, arrows: Sequence[Arrow], factor: int) -> None:
    """Arrows of true length; short ones get smaller heads, so the direction stays visible."""
    x, y, u, v = np.array([[a.x, a.y, factor * a.u, factor * a.v] for a in arrows]).T
    # In data coordinates: the y axis points down here, so v needs no change of sign.
    shape = {"angles": "xy", "scale_units": "xy", "scale": 1.0, "units": "dots", "minlength": 0.5}
    # A wide black arrow under a narrow yellow one makes the edge. Heads are given in shaft widths,
    # so they are divided by it to stay the same size.
    for width, style in ((6.5, {"ec": "black", "lw": 1.6, "fc": "black"}), (3.5, {"fc": ACCENT})):
        head = {"headwidth": 18 / width, "headlength": 18 / width, "headaxislength": 16 / width}
        kwargs: dict[str, Any] = {**shape, **head, **style}
        axes.quiver(x, y, u, v, width=width, zorder=4, **kwargs)
    axes.plot(x, y, "o", ms=3.5, mfc=ACCENT, mec="black", mew=0.9, ls="", zorder=5)


def _scale_bar(axes: Axes, size: int, longest: float, factor: int) -> None:
    step = max((s for s in _BAR_STEPS if s <= longest), default=_BAR_STEPS[0])
    y = size - 9
    axes.plot(
        [8, 8 + step * factor], [y, y], color=ACCENT, lw=3, path_effects=_outline(),
        solid_capstyle="butt",
    )  # fmt: skip
    _text(axes, 12 + step * factor, y, f"{step:g} px, drawn ×{factor}", va="center")


def _colour_bar(axes: Axes, size: int, top: float) -> None:
    # px of the square: a third of it, above its lower edge.
    width, height, y = 0.34 * size, 5.0, size - 12.0
    ramp = heat_colours(np.linspace(0.0, 1.0, 128))[None]
    edges = axes.axis()
    axes.imshow(ramp, extent=(24, 24 + width, y + height, y), aspect="auto", zorder=3)
    axes.axis(edges)
    _text(axes, 20, y + height / 2, "0", va="center", ha="right")
    _text(axes, 28 + width, y + height / 2, f"{top:.2g} px", va="center")
