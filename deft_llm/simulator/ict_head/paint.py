"""Materials and skin map of the ICT head, which has no textures of its own."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import RBFInterpolator

from deft_llm.simulator.appearance.skin import Look, bare_skin
from deft_llm.simulator.head import MATERIALS, FloatArray, IntArray, SkinMap
from deft_llm.simulator.ict_head.files import SOCKET
from deft_llm.simulator.own_head.mesh import own_topology
from deft_llm.simulator.own_head.shape import Array, smoothstep

_IRIS_ANGLE = 0.44  # polar angle of the limbus on the model's larger eyeball, rad
_PARTS = {
    "M_ScleraLeft": "eye_white",
    "M_ScleraRight": "eye_white",
    "M_Teeth": "teeth",
    SOCKET: "mouth",
}


def parts(names: NDArray[np.str_]) -> NDArray[np.uint8]:
    """(F,) index in `MATERIALS`, one of `texture.GIVEN_MATERIALS`, by the model's materials."""
    material = np.zeros(len(names), np.uint8)
    for name, part in _PARTS.items():
        material[names == name] = MATERIALS.index(part)
    return material


def atlas(neutral: FloatArray, landmarks: IntArray, eyeballs: list[NDArray[np.int64]]) -> Array:
    """The mean head's vertices in the own head's frontal plane, (V, 2).

    A thin-plate spline maps the 68 landmarks of one mean face to those of the other. On eyeballs
    the result is the direction from their centres, see `head.SkinMap`.
    """
    reference = own_topology()
    target = reference.plane[reference.landmarks]
    source = neutral[landmarks, :2].astype(np.float64)
    warp = RBFInterpolator(source, target, kernel="thin_plate_spline")
    points: Array = warp(neutral[:, :2].astype(np.float64))
    for ball in eyeballs:
        if len(ball):
            place = neutral[ball].astype(np.float64)
            # The middle of its bounding box, as the model does not give the eyeball's centre.
            ray = place - 0.5 * (place.min(axis=0) + place.max(axis=0))
            ray /= np.linalg.norm(ray, axis=1, keepdims=True)
            points[ball] = ray[:, :2] / np.sin(_IRIS_ANGLE)
    return points


def skin_map(
    vertices: FloatArray, plane: Array, face: NDArray[np.bool_], landmarks: IntArray, look: Look
) -> SkinMap:
    """The skin map of an identity.

    Args:
        vertices: (V, 3) the identity at rest.
        plane: (V, 2) from `atlas`.
        face: (V,) vertices of the model's face and back of the head.
        landmarks: (68,) vertex indices.
        look: the identity's look.
    """
    points = vertices.astype(np.float64)
    marks = points[landmarks]
    front = points[:, 2] > 3.0
    base = bare_skin(points, plane, front, look)
    # The chin shades the neck.
    base *= (1.0 - 0.3 * smoothstep(-points[:, 1], 12.5, 16.0))[:, None]
    return SkinMap(
        atlas=plane.astype(np.float32),
        base=base.astype(np.float32),
        over=np.where(face, _over_hairline(points, marks, look), -9.0).astype(np.float32),
        front=front.astype(np.float32),
        look=look,
    )


def _over_hairline(points: Array, marks: Array, look: Look) -> Array:
    """Height (N,) of points (N, 3) above the hairline, cm; -9 on the ears, without hair."""
    x, y, z = np.abs(points[:, 0]), points[:, 1], points[:, 2]
    line = marks[27, 1] + look.hairline - 0.05 * x**2 - 3.0 * smoothstep(x, 5.0, 7.0)
    line = np.where(z > 2.0, line, 1.5 - 6.0 * smoothstep(-z, -2.0, 3.0))
    ear = (x > 0.97 * marks[16, 0]) & (y < marks[27, 1] + 2.8)
    return np.where(ear, -9.0, y - line)
