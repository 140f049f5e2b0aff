"""Materials and colours of the ICT head, which comes without textures."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from deft_llm.simulator.head import MATERIALS, FloatArray, IntArray
from deft_llm.simulator.ict_files import SOCKET
from deft_llm.simulator.own_shape import Array, bump, smoothstep
from deft_llm.simulator.skin import Look, cover, flush, freckles, mottling, strands

_INSIDE = (("M_Teeth", "teeth", (0.62, 0.57, 0.48)), (SOCKET, "mouth", (0.03, 0.01, 0.01)))
_PUPIL, _IRIS = 0.16, 0.44  # polar angles on the eyeball, radians


def paint(
    vertices: FloatArray,
    triangles: IntArray,
    names: NDArray[np.str_],
    landmarks: IntArray,
    look: Look,
    rng: np.random.Generator,
) -> tuple[NDArray[np.uint8], Array]:
    """Material and colour of every triangle of an identity.

    Args:
        vertices: (V, 3) the identity at rest.
        triangles: (F, 3).
        names: (F,) the model's own material names.
        landmarks: (68,) vertices.
        look: the identity's colours.
        rng: drawn from for hairs, freckles and mottling.

    Returns:
        (F,) index in `MATERIALS` and (F, 3) linear RGB in 0..1.
    """
    centre = vertices[triangles].mean(axis=1).astype(np.float64)
    points = vertices[landmarks].astype(np.float64)
    grain = rng.normal(0.0, 1.0, len(centre))
    spots = 1.0 + look.mottling * mottling(centre, rng) + 0.035 * grain
    spots *= freckles(centre, look, rng) * (1.0 - _shade(centre, points))
    colors = look.skin * spots[:, None]
    face = np.isin(names, ("M_Face", "M_BackHead")) & (centre[:, 2] > 2.0)
    red = flush(np.abs(centre[:, 0]), centre[:, 1], face)
    colors *= 1.0 + red[:, None] * np.array([0.05, -0.16, -0.12])
    material = np.zeros(len(centre), dtype=np.uint8)
    _paint_face(material, colors, centre, points, names, look, grain)
    for part, name, tone in _INSIDE:
        cover(material, colors, names == part, name, np.tile(np.array(tone), (len(names), 1)))
    for side in ("Left", "Right"):
        chosen = np.flatnonzero(names == f"M_Sclera{side}")
        if len(chosen):
            _paint_eye(material, colors, centre, chosen, look, grain)
    return material, np.clip(colors, 0.002, 0.98)


def _shade(centre: Array, points: Array) -> Array:
    """Painted shadow (F,): eye sockets, beside the nose, under the lower lip, the sides."""
    x, y = np.abs(centre[:, 0]), centre[:, 1]
    eye_x = np.abs(points[36:48, 0]).mean()
    mouth_y = points[57, 1]
    shade = 0.34 * bump(x, y, eye_x - 0.2, 0.75, 1.3, 0.45)
    shade += 0.28 * bump(x, y, eye_x - 1.4, 0.1, 0.5, 0.7) + 0.14 * bump(
        x, y, eye_x, -0.8, 1.3, 0.4
    )
    shade += 0.2 * bump(x, y, 0.0, mouth_y - 0.5, 1.5, 0.3)
    shade += 0.3 * bump(x, y, 0.0, points[33, 1] - 0.1, 1.2, 0.25)
    shade += 0.35 * smoothstep(-centre[:, 2], -5.0, 1.0)
    return np.clip(shade, 0.0, 0.7)


def _paint_face(
    material: NDArray[np.uint8],
    colors: Array,
    centre: Array,
    points: Array,
    names: NDArray[np.str_],
    look: Look,
    grain: Array,
) -> None:
    """Lips and brows by the landmarks, hair by a hairline, in place."""
    skin = np.isin(names, ("M_Face", "M_BackHead"))
    front = (names == "M_Face") & (centre[:, 2] > points[48, 2] - 1.0)
    lips = front & _inside(centre, points[48:60]) & (centre[:, 2] > points[60, 2] - 0.6)
    line = np.interp(centre[:, 0], points[60:65, 0], points[60:65, 1])
    dark = 1.0 - 0.5 * np.exp(-(((centre[:, 1] - line) / 0.12) ** 2))
    cover(material, colors, lips, "lip", look.lip * (dark * (1.0 + 0.07 * grain))[:, None])
    for brow in (points[17:22], points[26:21:-1]):  # each from the outer to the inner end
        along = np.sort(brow[:, 0])
        height = np.interp(centre[:, 0], along, brow[np.argsort(brow[:, 0]), 1])
        outer = np.abs(centre[:, 0]) / np.abs(brow[0, 0])
        taper = 1.1 * look.brow_half_width * (1.0 - 0.6 * smoothstep(outer, 0.5, 1.0))
        beside = np.maximum(along[0] - centre[:, 0], centre[:, 0] - along[-1]).clip(0.0)
        off = np.hypot((centre[:, 1] - height) / taper, beside / 0.2)
        hair = np.clip(0.85 + 0.16 * grain - 0.2 * off**2, 0.35, 1.0)[:, None]
        shade = hair * np.minimum(look.hair, 0.35 * look.skin) + (1 - hair) * 0.8 * colors
        cover(material, colors, front & (off + 0.12 * grain < 1.0), "brow", shade)
    x, y, z = np.abs(centre[:, 0]), centre[:, 1], centre[:, 2]
    hairline = points[27, 1] + look.hairline - 0.05 * x**2 - 3.0 * smoothstep(x, 5.0, 7.0)
    hairline = np.where(z > 2.0, hairline, 1.5 - 6.0 * smoothstep(-z, -2.0, 3.0))
    hairline = np.where((x > 0.97 * points[16, 0]) & (y < points[27, 1] + 2.8), np.inf, hairline)
    strand = np.exp(0.3 * strands(centre) + 0.15 * grain)
    cover(
        material, colors, skin & (y > hairline + 0.12 * grain), "hair", look.hair * strand[:, None]
    )


def _inside(centre: Array, outline: Array) -> NDArray[np.bool_]:
    """Which points lie inside a closed frontal outline (N, 3)."""
    polygon = outline[:, None, :2].astype(np.float32)
    low, high = polygon.min(axis=(0, 1)), polygon.max(axis=(0, 1))
    near = ((centre[:, :2] > low) & (centre[:, :2] < high)).all(axis=1)
    for i in np.flatnonzero(near):
        near[i] = cv2.pointPolygonTest(polygon, (centre[i, 0], centre[i, 1]), False) >= 0
    return near


def _paint_eye(
    material: NDArray[np.uint8],
    colors: Array,
    centre: Array,
    chosen: NDArray[np.int64],
    look: Look,
    grain: Array,
) -> None:
    """Pupil, iris and white by the angle from the straight gaze, in place."""
    ball = centre[chosen]
    middle = 0.5 * (ball.min(axis=0) + ball.max(axis=0))
    ray = ball - middle
    angle = np.arccos(np.clip(ray[:, 2] / np.linalg.norm(ray, axis=1), -1.0, 1.0))
    g = grain[chosen][:, None]
    limbus = np.where(angle > 0.85 * _IRIS, 0.45, 1.0)[:, None]
    white = np.array([0.62, 0.58, 0.55]) * (1.0 - 0.25 * smoothstep(angle, 0.6, 1.2))[:, None]
    iris = look.iris * limbus * (1.0 + 0.2 * g)
    colors[chosen] = np.where(angle[:, None] < _IRIS, iris, white * (1.0 + 0.02 * g))
    colors[chosen[angle < _PUPIL]] = 0.006
    order = [MATERIALS.index(name) for name in ("pupil", "iris", "eye_white")]
    material[chosen] = np.select([angle < _PUPIL, angle < _IRIS], order[:2], order[2])
