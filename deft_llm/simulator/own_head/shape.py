"""The reference face of the own head, as formulas: outline, depth, eyes, brows and mouth.

The proportions are those of the mean 68-point face (eye centres 6.3 cm apart). A point of the
face is given by its frontal position (x, y) in cm; functions use |x|, so everything is symmetric.
The skull is a generalised ellipsoid: at polar angle phi about (0, `CENTRE_Y`) its outline has the
radius `outline(phi)`, and psi in 0..pi runs from the middle of the face over the outline (pi/2) to
the back of the head. Features are analytic bumps on the depth.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline, PchipInterpolator

Array = NDArray[np.float64]

CENTRE_Y = -1.5
EYE_X, EYEBALL_RADIUS, EYEBALL_Z = 3.12, 1.22, 7.4
EYE_HALF_WIDTH, EYE_UPPER, EYE_LOWER = 1.34, 0.54, 0.42
LID_THICKNESS = 0.1
MOUTH_Y, MOUTH_HALF_WIDTH = -6.72, 2.7
NOSTRIL = (0.62, -4.72)

_OUTLINE = np.array(
    [
        *((0.0, -11.9), (1.5, -11.7), (3.1, -10.8), (4.6, -9.3), (5.7, -7.4), (6.5, -5.0)),
        *((6.95, -2.5), (7.15, 0.0), (7.35, 2.5), (7.25, 5.0), (6.6, 8.0), (5.1, 10.2)),
        *((2.7, 11.5), (0.0, 11.9)),
    ]
)
BROW_X = np.array([1.05, 1.45, 2.4, 3.7, 4.9, 5.7])
_BROW_Y = np.array([1.62, 1.72, 2.08, 2.28, 2.05, 1.4])
brow_line = PchipInterpolator(BROW_X, _BROW_Y)
_nose_height = PchipInterpolator(
    [-6.0, -5.4, -4.95, -4.6, -4.2, -3.7, -3.0, -1.5, 0.1, 1.2, 2.2],
    [0.0, 0.04, 0.3, 1.1, 1.9, 2.3, 2.05, 1.3, 0.6, 0.35, 0.0],
)
_nose_width = PchipInterpolator([-5.0, -3.7, -2.5, 0.0, 1.5, 2.2], [1.0, 0.95, 0.8, 0.7, 1.0, 1.2])


def _outline_spline() -> CubicSpline:
    phi = np.arctan2(_OUTLINE[:, 1] - CENTRE_Y, _OUTLINE[:, 0])
    radius = np.hypot(_OUTLINE[:, 0], _OUTLINE[:, 1] - CENTRE_Y)
    # Zero slope at chin and crown, or the mirrored half would join at a kink.
    return CubicSpline(phi, radius, bc_type=((1, 0.0), (1, 0.0)))


outline = _outline_spline()


def smoothstep(t: Array, low: float = 0.0, high: float = 1.0) -> Array:
    """0 below `low`, 1 above `high`, a smooth cubic between."""
    t = np.clip((t - low) / (high - low), 0.0, 1.0)
    return t * t * (3.0 - 2.0 * t)


def bump(x: Array, y: Array, cx: float, cy: float, sx: float, sy: float) -> Array:
    """A Gaussian of height 1 at (cx, cy), standard deviations sx and sy (cm)."""
    return np.exp(-0.5 * (((x - cx) / sx) ** 2 + ((y - cy) / sy) ** 2))


def frontal_to_disc(xy: Array) -> Array:
    """Map frontal positions (N, 2) inside the outline to the disc, where distance is arc-like."""
    phi = np.arctan2(xy[:, 1] - CENTRE_Y, np.abs(xy[:, 0]))
    psi = np.arcsin(np.clip(outline_share(xy), 0.0, 1.0))
    radius = outline(phi) * psi
    return np.stack([radius * np.cos(phi), radius * np.sin(phi) + CENTRE_Y], axis=1)


def disc_to_head(ab: Array) -> tuple[Array, Array, Array]:
    """Map disc points (N, 2), x >= 0, to (frontal xy (N, 2), psi (N,), z without features)."""
    phi = np.arctan2(ab[:, 1] - CENTRE_Y, ab[:, 0])
    size = outline(phi)
    psi = np.minimum(np.hypot(ab[:, 0], ab[:, 1] - CENTRE_Y) / size, np.pi)
    s = np.sin(psi)
    xy = np.stack([size * s * np.cos(phi), size * s * np.sin(phi) + CENTRE_Y], axis=1)
    down = np.maximum(0.0, -np.sin(phi)) ** 2 * smoothstep(-xy[:, 1], 2.0, 6.0)
    front = (1.0 - s ** (2.4 + 5.0 * down)) ** (0.5 - 0.14 * down)
    back = np.sqrt(np.maximum(1.0 - s**2.4, 0.0))
    z = np.where(psi <= np.pi / 2, 9.1 * front, -8.8 * back) + 0.4
    return xy, psi, z


def outline_share(xy: Array) -> Array:
    """Relative radius of frontal positions (N, 2): 0 at mid-face, 1 on the outline."""
    x, y = np.abs(xy[:, 0]), xy[:, 1] - CENTRE_Y
    share: Array = np.hypot(x, y) / outline(np.arctan2(y, x))
    return share


def eye_contour(angle: Array, offset: float = 0.0) -> Array:
    """Points (N, 2) around the subject's left eye opening; 0 the outer corner, pi/2 the top.

    Args:
        angle: radians.
        offset: distance outside the lid margin, cm.
    """
    cos, sin = np.cos(angle), np.sin(angle)
    height = np.where(sin > 0, EYE_UPPER, EYE_LOWER)
    # An exponent above 1 narrows the eye towards its corners.
    almond = np.sign(sin) * np.abs(sin) ** 1.1
    x = EYE_X + (EYE_HALF_WIDTH + offset) * cos
    y = height * almond + offset * sin + 0.06 * cos
    return np.stack([x, y], axis=1)


def mouth_line(x: Array) -> Array:
    """Y of the line between the closed lips; beyond the corners, the corners' height."""
    t = np.clip(np.abs(x) / MOUTH_HALF_WIDTH, 0.0, 1.0)
    return MOUTH_Y + 0.1 * np.cos(3.0 * np.pi * t) * (1.0 - t) ** 1.0 - 0.1 * (1.0 - t * t)


def lip_borders(x: Array) -> tuple[Array, Array]:
    """Y of the (upper, lower) border of the red of the lips at |x| up to the corner."""
    t = np.clip(np.abs(x) / MOUTH_HALF_WIDTH, 0.0, 1.0)
    upper = MOUTH_Y + 0.58 * (1.0 - t**1.9) + 0.1 * (np.exp(-(((t - 0.2) / 0.13) ** 2)) - 0.3)
    lower = MOUTH_Y - 1.04 * (1.0 - t**2.2)
    return np.maximum(upper, mouth_line(x)), np.minimum(lower, mouth_line(x))


def feature_depth(x: Array, y: Array) -> Array:
    """Depth added at |x|, y by the features: nose, brows, sockets, cheeks, lips, chin."""
    d = _nose_height(np.clip(y, -6.0, 2.2)) * np.exp(
        -(np.abs(x / _nose_width(np.clip(y, -5.0, 2.2))) ** 2.4)
    )
    d += 0.75 * bump(x, y, 1.25, -4.25, 0.42, 0.45)  # nostril wings
    d += 0.35 * np.exp(-0.5 * ((y - 1.9) / 0.6) ** 2) * smoothstep(6.2 - x, 0.0, 2.5)
    d -= 0.55 * bump(x, y, 3.0, -0.2, 1.5, 0.9) + 0.45 * bump(x, y, 1.55, 0.1, 0.5, 0.6)
    d += 0.45 * bump(x, y, 4.3, -2.9, 1.6, 1.2) - 0.3 * bump(x, y, 6.2, 2.5, 1.2, 1.8)
    d += 0.55 * bump(x, y, 0.0, -6.7, 2.3, 1.5) - 0.35 * bump(x, y, 4.6, -6.4, 1.5, 1.6)
    d -= 0.12 * bump(x, y, 0.0, -5.6, 0.22, 0.35)  # philtrum
    d -= 0.4 * bump(x, y, 0.0, -8.75, 1.7, 0.42) - 0.5 * bump(x, y, 0.0, -10.2, 1.5, 0.9)
    return d + _lip_depth(x, y)


def _lip_depth(x: Array, y: Array) -> Array:
    line = mouth_line(x)
    upper, lower = lip_borders(x)
    inside = smoothstep(MOUTH_HALF_WIDTH + 0.1 - x, 0.0, 1.2)
    full = 0.32 * np.exp(-0.5 * ((y - 0.6 * line - 0.4 * upper) / 0.3) ** 2)
    full += 0.42 * np.exp(-0.5 * ((y - 0.5 * line - 0.5 * lower) / 0.36) ** 2)
    groove = 0.42 * np.exp(-0.5 * ((y - line) / 0.11) ** 2)
    return inside * (full - groove)


def lid_floor(xy: Array, eye: Array, radius: float) -> Array:
    """Lowest z that keeps points outside a ball: its front surface; -inf beside the ball.

    Args:
        xy: (N, 2) positions.
        eye: (3,) the ball's centre.
        radius: the ball's radius, cm.
    """
    square = radius**2 - ((xy - eye[:2]) ** 2).sum(axis=1)
    return np.where(square > 0, eye[2] + np.sqrt(np.maximum(square, 0.0)), -np.inf)
