"""Displacement fields of the action units on a face in frontal coordinates.

In the spirit of Waters' linear and sphincter muscles (K. Waters, "A muscle model for animating
three-dimensional facial expression", SIGGRAPH 1987): each muscle pulls the skin of an elliptic
zone of influence in one direction, with a raised-cosine falloff; lips are gated so that the two
can part. What each AU moves, and where to, follows FACS (`deft_llm.facs`); the sizes are our own
choice after the reach of macro-expressions, 0.3 to 1.2 cm at the peak. The eyelids are not in
this table: they slide over the eyeball (`lids.py`), driven by `LID_ACTIONS`.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from deft_llm.simulator.own_shape import Array, lip_borders, mouth_line, smoothstep

ALL, UPPER, LOWER, UPPER_RED, LOWER_RED = range(5)
"""Gates: everything; only above or only below the mouth line; likewise, but the line itself
stays (lips that grow thinner)."""


class Muscle(NamedTuple):
    """A zone of the subject's left half and the displacement at its centre, all cm.

    Attributes:
        x: centre, outward from the midline.
        y: centre, up.
        rx: half width of the zone.
        ry: half height of the zone.
        out: displacement outward.
        up: displacement up.
        forth: displacement towards the camera.
        gate: what of the mouth it moves.
        flat: fraction of the zone that moves in full.
    """

    x: float
    y: float
    rx: float
    ry: float
    out: float
    up: float
    forth: float = 0.0
    gate: int = ALL
    flat: float = 0.0


M = Muscle
MUSCLES: dict[str, tuple[Muscle, ...]] = {
    "1": (M(1.5, 2.1, 2.4, 2.4, -0.03, 0.75), M(1.8, 4.5, 2.6, 2.4, 0, 0.4)),
    "2": (M(4.7, 2.0, 2.4, 2.3, 0.05, 0.8), M(4.3, 4.4, 2.4, 2.4, 0, 0.4)),
    "4": (
        M(1.9, 1.9, 2.4, 1.9, -0.35, -0.55),
        M(4.7, 1.9, 2.2, 1.6, -0.18, -0.4),
        M(0.3, 1.5, 1.4, 1.5, 0, -0.25),
    ),
    "5": (M(3.2, 1.0, 1.8, 0.9, 0, 0.12),),
    "6": (M(3.9, -2.6, 2.7, 2.3, 0.12, 0.75, 0.15), M(5.1, -0.4, 1.5, 1.5, -0.1, 0.2)),
    "7": (M(3.2, -0.8, 1.9, 0.9, -0.06, 0.1),),
    "8": (
        M(0.9, -6.3, 2.2, 1.5, 0, -0.35, 0.1, UPPER_RED),
        M(0.9, -7.6, 2.2, 1.5, 0, 0.35, 0.1, LOWER_RED),
    ),
    "9": (
        M(1.5, -3.8, 1.6, 1.8, 0.1, 0.65),
        M(0.8, -1.2, 1.3, 2.2, 0, 0.3),
        M(1.3, -5.9, 1.9, 1.2, 0.02, 0.35, 0, UPPER),
        M(1.1, 1.6, 1.9, 1.5, -0.12, -0.5),
    ),
    "10": (M(1.5, -6.1, 2.1, 1.6, 0.1, 0.7, 0, UPPER), M(1.6, -4.2, 1.4, 1.3, 0.08, 0.3)),
    "12": (
        M(3.0, -6.8, 2.5, 2.2, 0.75, 0.75, -0.1),
        M(1.2, -7.2, 1.9, 2.0, 0.42, 0.3),
        M(3.9, -3.2, 2.4, 2.0, 0.12, 0.42, 0.2),
    ),
    "13": (M(2.9, -6.7, 1.9, 1.9, 0.1, 0.75), M(3.6, -3.3, 2.2, 1.9, 0, 0.45, 0.2)),
    "14": (M(3.1, -6.85, 2.1, 1.7, 0.6, 0.03, -0.25), M(1.3, -7.2, 1.9, 2.0, 0.4, 0)),
    "15": (M(2.9, -7.0, 2.2, 2.0, 0.12, -0.75), M(1.3, -7.7, 1.7, 1.2, 0.02, -0.25, 0, LOWER)),
    "16": (M(1.1, -7.6, 2.0, 1.5, 0.12, -0.7, 0, LOWER),),
    "17": (
        M(0, -10.0, 3.0, 2.3, 0, 0.75, 0.15),
        M(0.8, -7.7, 2.5, 1.4, 0, 0.4, 0.15, LOWER_RED),
        M(2.9, -7.0, 1.7, 1.5, 0, 0.22),
    ),
    "18": (M(2.8, -6.85, 2.4, 1.9, -0.8, 0, 0.35), M(1.3, -7.2, 1.8, 2.1, -0.42, 0, 0.4)),
    "20": (M(3.0, -7.0, 2.5, 2.1, 0.85, -0.15), M(1.4, -7.0, 1.8, 1.4, 0.4, -0.04)),
    "22": (
        M(2.8, -6.85, 2.2, 1.7, -0.5, 0, 0.2),
        M(1.0, -6.3, 2.0, 1.4, -0.1, 0.4, 0.5, UPPER),
        M(1.0, -7.5, 2.0, 1.6, -0.1, -0.45, 0.5, LOWER),
    ),
    "23": (
        M(2.8, -6.85, 2.1, 1.5, -0.45, 0),
        M(1.0, -6.2, 2.0, 1.4, -0.12, -0.35, -0.1, UPPER_RED),
        M(1.0, -7.7, 2.0, 1.5, -0.12, 0.4, -0.1, LOWER_RED),
    ),
    "24": (
        M(0.9, -6.2, 2.4, 1.5, 0, -0.45, -0.1, UPPER_RED),
        M(0.9, -7.7, 2.4, 1.5, 0, 0.5, -0.1, LOWER_RED),
        M(0, -9.8, 2.6, 2.0, 0, 0.3, 0.05),
    ),
    "25": (
        M(0.6, -6.5, 2.2, 1.3, 0, 0.22, 0, UPPER),
        M(0.6, -7.3, 2.2, 1.6, 0, -0.45, 0, LOWER),
    ),
    "26": (M(0, -11.2, 6.4, 5.6, 0, -1.0, -0.25, LOWER, 0.45),),
    "27": (
        M(0, -11.2, 6.4, 5.6, 0, -2.0, -0.5, LOWER, 0.5),
        M(2.8, -6.9, 1.9, 1.8, -0.2, -0.4),
        M(0.6, -6.5, 2.2, 1.3, 0, 0.15, 0, UPPER),
    ),
    "28": (
        M(0.9, -6.2, 2.6, 1.4, 0, -0.5, -0.35, UPPER_RED),
        M(0.9, -7.7, 2.6, 1.5, 0, 0.65, -0.35, LOWER_RED),
    ),
    "38": (M(1.4, -4.3, 1.1, 1.2, 0.38, 0.05),),
    "39": (M(1.4, -4.3, 1.1, 1.2, -0.32, -0.03),),
    "43": (),
    "45": (),
}
LID_ACTIONS: dict[str, tuple[float, float]] = {
    "4": (0.12, 0.0),
    "5": (-0.5, 0.0),
    "6": (0.0, 0.3),
    "7": (0.15, 0.38),
    "9": (0.0, 0.12),
    "43": (0.86, 0.14),
    "45": (0.86, 0.14),
}
"""AU -> how far the (upper, lower) lid margin closes, as a fraction of the eye's opening."""


def below_weight(plane: Array, below: np.ndarray) -> Array:
    """How much vertices belong to the lower lip and jaw: 0 above the mouth line, 1 below (N,)."""
    x, y = np.abs(plane[:, 0]), plane[:, 1]
    blur = 0.03 + 0.8 * smoothstep(x, 2.2, 4.5)
    weight = smoothstep(0.5 + 0.5 * (mouth_line(x) - y) / blur)
    on_line = (np.abs(mouth_line(x) - y) < 1e-3) & (x < 2.65)
    return np.where(on_line, below.astype(float), weight)


def _gates(plane: Array, below: np.ndarray) -> list[Array]:
    x, y = np.abs(plane[:, 0]), plane[:, 1]
    lower = below_weight(plane, below)
    top, bottom = lip_borders(x)
    line = mouth_line(x)
    distance = np.where(
        y > line, (y - line) / (top - line + 0.25), (line - y) / (line - bottom + 0.25)
    )
    red = smoothstep(distance, 0.0, 0.75)
    return [np.ones_like(lower), 1 - lower, lower, (1 - lower) * red, lower * red]


def au_fields(plane: Array, normals: Array, below: np.ndarray) -> dict[str, Array]:
    """Displacement of each AU at full activation on both sides, mirror-symmetric.

    Args:
        plane: (N, 2) frontal reference positions, cm.
        normals: (N, 3) unit normals there; pulls run along the surface.
        below: (N,) vertices on the lower side of the mouth line.

    Returns:
        AU number to (N, 3) displacement, cm.
    """
    gates = _gates(plane, below)
    x, y = np.abs(plane[:, 0]), plane[:, 1]
    outward = plane[:, 0] / np.sqrt(plane[:, 0] ** 2 + 0.35**2)
    fields = {}
    for au, muscles in MUSCLES.items():
        total = np.zeros((len(plane), 3))
        for m in muscles:
            reach = np.sqrt(((x - m.x) / m.rx) ** 2 + ((y - m.y) / m.ry) ** 2)
            reach = np.clip((reach - m.flat) / (1.0 - m.flat), 0.0, 1.0)
            weight = 0.5 * (1.0 + np.cos(np.pi * reach)) * gates[m.gate]
            pull = weight[:, None] * np.array([m.out, m.up, 0.0])
            pull[:, 0] *= outward
            pull[:, 2] -= 0.7 * weight * _rise(normals, m.out * outward, m.up) - m.forth * weight
            total += pull
        fields[au] = total
    return fields


def _rise(normals: Array, out: Array, up: float) -> Array:
    """How far the surface falls back along a pull, limited where it is steep."""
    slope = (normals[:, 0] * out + normals[:, 1] * up) / np.maximum(normals[:, 2], 0.35)
    return np.clip(slope, -0.6, 0.6)


def side_weights(x: Array, blur: float = 0.6) -> Array:
    """(2, N) shares of the subject's (left, right) half; they add up to 1 and cross at x = 0."""
    left = smoothstep(x, -blur, blur)
    return np.stack([left, 1.0 - left])
