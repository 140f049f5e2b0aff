"""Displacement fields of the action units: Waters' muscles on a face in frontal coordinates.

K. Waters, "A muscle model for animating three-dimensional facial expression" (SIGGRAPH 1987):
a linear muscle pulls the skin of a sector towards its attachment on the bone, and a sphincter
contracts an ellipse. Sheets, whose fibres run side by side, are those of F. I. Parke, K. Waters,
"Computer Facial Animation" (1996). Our own choices: the angular falloff, which reaches zero at the
sector's edge (a plain cosine tears the skin there); sheets with a raised cosine in an ellipse,
which also model skin that is pushed ahead (cheeks in a smile) and the jaw; gates at the mouth
line, so that the lips can part; and the table. In the table, attachments and insertions follow
anatomy, the area and direction of each AU follow FACS (`deft_llm.facs`), and sizes are those of
macro-expressions, 0.3 to 1.2 cm at the peak. The table does not contain the eyelids: they slide
over the eyeball (`lids.py`), driven by `LID_ACTIONS`.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from deft_llm.simulator.own_head.shape import Array, lip_borders, mouth_line, smoothstep

ALL, UPPER, LOWER, UPPER_RED, LOWER_RED = range(5)
"""Gates: everything; only above or only below the mouth line; the same two with the line itself
fixed (lips that become thinner)."""


class Linear(NamedTuple):
    """A muscle of the subject's left half from bone to skin; lengths in cm, angles in degrees.

    Attributes:
        x: attachment on the bone, outward from the midline.
        y: attachment, up.
        to_x: insertion in the skin.
        to_y: insertion.
        pull: displacement at the insertion, towards the attachment.
        beyond: distance behind the insertion at which the pull ends.
        spread: half angle of the sector seen from the attachment.
        forth: displacement towards the camera.
        gate: side of the mouth line that it moves.
    """

    x: float
    y: float
    to_x: float
    to_y: float
    pull: float
    beyond: float = 1.8
    spread: float = 35.0
    forth: float = 0.0
    gate: int = ALL

    def displacement(self, x: Array, y: Array) -> Array:
        """(N, 3): outward, up, towards the camera."""
        fibre = np.array([self.to_x - self.x, self.to_y - self.y])
        reach = float(np.linalg.norm(fibre))
        away = np.stack([x - self.x, y - self.y], axis=1)
        # The clamps guard the attachment itself, and arccos against rounding.
        distance = np.maximum(np.linalg.norm(away, axis=1), 1e-6)
        angle = np.arccos(np.clip(away @ fibre / (distance * reach), -1.0, 1.0))
        angular = np.cos(0.5 * np.pi * np.minimum(angle / np.radians(self.spread), 1.0)) ** 2
        # The pull grows from 0 at the bone to its full size at the insertion.
        near = np.cos(0.5 * np.pi * (1.0 - np.minimum(distance / reach, 1.0)))
        far = np.cos(0.5 * np.pi * np.clip((distance - reach) / self.beyond, 0.0, 1.0)) ** 2
        weight = angular * near * far
        pulled: Array = np.column_stack(
            [-self.pull * (weight / distance)[:, None] * away, self.forth * weight]
        )
        return pulled


class Sphincter(NamedTuple):
    """A ring muscle that contracts its ellipse.

    Attributes:
        x: centre, outward from the midline.
        y: centre, up.
        rx: half width.
        ry: half height.
        across: share of its horizontal distance that a point near the centre loses.
        down: the same for the vertical distance.
        forth: displacement of the centre towards the camera.
        gate: side of the mouth line that it moves.
    """

    x: float
    y: float
    rx: float
    ry: float
    across: float
    down: float
    forth: float = 0.0
    gate: int = ALL

    def displacement(self, x: Array, y: Array) -> Array:
        """(N, 3): outward, up, towards the camera."""
        dx, dy = x - self.x, y - self.y
        weight = np.maximum(0.0, 1.0 - np.hypot(dx / self.rx, dy / self.ry))
        # Flat at the centre, so that the middle contracts as a whole.
        weight = weight * (2.0 - weight)
        return np.column_stack(
            [-self.across * weight * dx, -self.down * weight * dy, self.forth * weight]
        )


class MuscleSheet(NamedTuple):
    """Fibres side by side: a zone of the subject's left half that moves in one direction, cm.

    Attributes:
        x: centre, outward from the midline.
        y: centre, up.
        rx: half width of the zone.
        ry: half height of the zone.
        out: displacement outward.
        up: displacement up.
        forth: displacement towards the camera.
        gate: side of the mouth line that it moves.
        flat: fraction of the zone that moves by the full displacement.
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

    def displacement(self, x: Array, y: Array) -> Array:
        """(N, 3): outward, up, towards the camera."""
        reach = np.hypot((x - self.x) / self.rx, (y - self.y) / self.ry)
        reach = np.clip((reach - self.flat) / (1.0 - self.flat), 0.0, 1.0)
        weight = 0.5 * (1.0 + np.cos(np.pi * reach))
        moved: Array = weight[:, None] * np.array([self.out, self.up, self.forth])
        return moved


Muscle = Linear | Sphincter | MuscleSheet
MUSCLES: dict[str, tuple[Muscle, ...]] = {
    "1": (MuscleSheet(1.5, 2.1, 2.4, 2.4, -0.03, 0.75), MuscleSheet(1.8, 4.5, 2.6, 2.4, 0, 0.4)),
    "2": (MuscleSheet(4.7, 2.0, 2.4, 2.3, 0.05, 0.8), MuscleSheet(4.3, 4.4, 2.4, 2.4, 0, 0.4)),
    "4": (
        Linear(0.3, 0.0, 2.0, 2.0, 0.62, 2.4, 34),  # corrugator
        Linear(0.0, -1.4, 0.5, 1.8, 0.3, 1.2, 26),  # procerus
        MuscleSheet(4.7, 1.9, 2.2, 1.6, -0.15, -0.4),  # orbicularis oculi, its part above the eye
    ),
    "5": (MuscleSheet(3.2, 1.0, 1.8, 0.9, 0, 0.12),),
    "6": (
        Sphincter(3.1, -0.2, 3.2, 2.4, 0.16, 0.02),  # orbicularis oculi
        MuscleSheet(3.9, -2.6, 2.7, 2.3, 0.12, 0.75, 0.15),
        MuscleSheet(5.1, -0.4, 1.5, 1.5, -0.05, 0.2),
    ),
    "7": (Sphincter(3.1, -0.2, 2.4, 1.5, 0.1, 0.03), MuscleSheet(3.2, -0.8, 1.9, 0.9, 0, 0.1)),
    "8": (
        MuscleSheet(0.9, -6.3, 2.2, 1.5, 0, -0.35, 0.1, UPPER_RED),
        MuscleSheet(0.9, -7.6, 2.2, 1.5, 0, 0.35, 0.1, LOWER_RED),
    ),
    "9": (
        Linear(0.7, 0.4, 1.4, -4.4, 0.65, 2.2, 26),  # levator labii superioris alaeque nasi
        Linear(0.2, -2.2, 1.1, 1.7, 0.5, 1.6, 30),  # procerus and corrugator
        MuscleSheet(0.8, -1.2, 1.3, 2.2, 0, 0.25),
        MuscleSheet(1.3, -5.9, 1.9, 1.2, 0.02, 0.2, 0, UPPER),
    ),
    "10": (
        Linear(2.6, -1.6, 1.5, -6.1, 0.8, 1.9, 30, 0, UPPER),  # levator labii superioris
        MuscleSheet(1.6, -4.2, 1.4, 1.3, 0.08, 0.15),
    ),
    "12": (
        Linear(5.4, -2.7, 2.8, -6.8, 1.1, 3.6, 34, -0.1),  # zygomaticus major
        MuscleSheet(3.9, -3.2, 2.4, 2.0, 0.12, 0.42, 0.2),
    ),
    "13": (
        Linear(3.0, -2.6, 2.8, -6.8, 0.8, 1.6, 26),  # levator anguli oris
        MuscleSheet(3.6, -3.3, 2.2, 1.9, 0, 0.45, 0.2),
    ),
    "14": (Linear(6.3, -6.6, 2.9, -6.85, 0.62, 3.0, 26, -0.25),),  # buccinator
    "15": (
        Linear(3.5, -11.2, 2.85, -6.95, 0.8, 2.0, 30),  # depressor anguli oris
        MuscleSheet(1.3, -7.7, 1.7, 1.2, 0.02, -0.22, 0, LOWER),
    ),
    "16": (
        Linear(2.0, -11.6, 1.1, -7.7, 0.75, 1.9, 30, 0, LOWER),  # depressor labii inferioris
    ),
    "17": (
        MuscleSheet(0, -10.0, 3.0, 2.3, 0, 0.75, 0.15),
        MuscleSheet(0.8, -7.7, 2.5, 1.4, 0, 0.4, 0.15, LOWER_RED),
        MuscleSheet(2.9, -7.0, 1.7, 1.5, 0, 0.22),
    ),
    "18": (Sphincter(0, -7.0, 4.8, 3.0, 0.55, 0.0, 0.5),),  # orbicularis oris
    "20": (Linear(7.0, -7.9, 2.9, -6.9, 0.95, 3.2, 26),),  # risorius and platysma
    "22": (
        MuscleSheet(2.8, -6.85, 2.2, 1.7, -0.5, 0, 0.2),
        MuscleSheet(1.0, -6.3, 2.0, 1.4, -0.1, 0.4, 0.5, UPPER),
        MuscleSheet(1.0, -7.5, 2.0, 1.6, -0.1, -0.45, 0.5, LOWER),
    ),
    "23": (
        Sphincter(0, -7.0, 4.6, 2.2, 0.32, 0.0),  # orbicularis oris
        MuscleSheet(1.0, -6.2, 2.0, 1.4, -0.12, -0.35, -0.1, UPPER_RED),
        MuscleSheet(1.0, -7.7, 2.0, 1.5, -0.12, 0.4, -0.1, LOWER_RED),
    ),
    "24": (
        MuscleSheet(0.9, -6.2, 2.4, 1.5, 0, -0.45, -0.1, UPPER_RED),
        MuscleSheet(0.9, -7.7, 2.4, 1.5, 0, 0.5, -0.1, LOWER_RED),
        MuscleSheet(0, -9.8, 2.6, 2.0, 0, 0.3, 0.05),
    ),
    "25": (
        MuscleSheet(0.6, -6.5, 2.2, 1.3, 0, 0.22, 0, UPPER),
        MuscleSheet(0.6, -7.3, 2.2, 1.6, 0, -0.45, 0, LOWER),
    ),
    "26": (MuscleSheet(0, -11.2, 6.4, 5.6, 0, -1.0, -0.25, LOWER, 0.45),),
    "27": (
        MuscleSheet(0, -11.2, 6.4, 5.6, 0, -2.0, -0.5, LOWER, 0.5),
        MuscleSheet(2.8, -6.9, 1.9, 1.8, -0.2, -0.4),
        MuscleSheet(0.6, -6.5, 2.2, 1.3, 0, 0.15, 0, UPPER),
    ),
    "28": (
        MuscleSheet(0.9, -6.2, 2.6, 1.4, 0, -0.5, -0.35, UPPER_RED),
        MuscleSheet(0.9, -7.7, 2.6, 1.5, 0, 0.65, -0.35, LOWER_RED),
    ),
    "38": (MuscleSheet(1.4, -4.3, 1.1, 1.2, 0.38, 0.05),),
    "39": (MuscleSheet(1.4, -4.3, 1.1, 1.2, -0.32, -0.03),),
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
"""AU -> closure of the (upper, lower) lid margin, as a fraction of the eye's opening."""


def below_weight(plane: Array, below: np.ndarray) -> Array:
    """Weight (N,) of the lower lip and jaw: 0 above the mouth line, 1 below."""
    x, y = np.abs(plane[:, 0]), plane[:, 1]
    # A sharp step between the lips; beside the mouth, where the skin is whole, a wide one.
    blur = 0.03 + 0.8 * smoothstep(x, 2.2, 4.5)
    weight = smoothstep(0.5 + 0.5 * (mouth_line(x) - y) / blur)
    # The line's vertices exist twice at one place: only `below` separates them.
    on_line = (np.abs(mouth_line(x) - y) < 1e-3) & (x < 2.65)
    return np.where(on_line, below.astype(float), weight)


def _gates(plane: Array, below: np.ndarray) -> list[Array]:
    x, y = np.abs(plane[:, 0]), plane[:, 1]
    lower = below_weight(plane, below)
    top, bottom = lip_borders(x)
    line = mouth_line(x)
    # Share of the way from the mouth line to the border of the red. The two meet at the corner:
    # 0.25 cm keeps the quotient finite.
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
    # A smooth sign of x: displacements outward vanish on the midline without a jump.
    outward = plane[:, 0] / np.sqrt(plane[:, 0] ** 2 + 0.35**2)
    fields = {}
    for au, muscles in MUSCLES.items():
        total = np.zeros((len(plane), 3))
        for m in muscles:
            pull = m.displacement(x, y) * gates[m.gate][:, None]
            pull[:, 0] *= outward
            # Pulled skin slides along the curved face, so it also moves in depth.
            pull[:, 2] -= 0.7 * _rise(normals, pull)
            total += pull
        fields[au] = total
    return fields


def _rise(normals: Array, pull: Array) -> Array:
    """How far the surface recedes along the pulls (N, 3), limited where it is steep."""
    slope = (normals[:, :2] * pull[:, :2]).sum(axis=1) / np.maximum(normals[:, 2], 0.35)
    limit = 0.6 * np.linalg.norm(pull[:, :2], axis=1)
    return np.clip(slope, -limit, limit)


def side_weights(x: Array, blur: float = 0.6) -> Array:
    """(2, N) weights of the subject's (left, right) half; they sum to 1 and cross at x = 0."""
    left = smoothstep(x, -blur, blur)
    return np.stack([left, 1.0 - left])
