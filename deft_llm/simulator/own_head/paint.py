"""Materials, hairline and skin map of the own head."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from deft_llm.simulator.appearance.skin import Look, bare_skin
from deft_llm.simulator.head import MATERIALS, SkinMap
from deft_llm.simulator.own_head import shape
from deft_llm.simulator.own_head.mesh import OwnTopology
from deft_llm.simulator.own_head.parts import SHELLS
from deft_llm.simulator.own_head.shape import Array, smoothstep

IRIS_ANGLE = 0.505  # polar angle of the limbus on the eyeball, rad: an iris of 11.8 mm
_PARTS = {"left eye": "eye_white", "right eye": "eye_white", "mouth": "mouth", "teeth": "teeth"}


def skin_map(topology: OwnTopology, look: Look) -> SkinMap:
    """The skin map of an identity; the atlas is the mesh's own frontal plane."""
    front = topology.psi < np.pi / 2
    atlas = topology.plane.copy()
    for name, side in (("left eye", 0), ("right eye", 1)):
        ball = topology.part == SHELLS.index(name)
        ray = topology.reference[ball] - topology.eyes[side]
        atlas[ball] = ray[:, :2] / (shape.EYEBALL_RADIUS * np.sin(IRIS_ANGLE))
    # -9 cm: far below the hairline, so that no hair grows on eyes, ears or neck.
    over = np.where(topology.part == 0, over_hairline(topology.reference, front, look), -9.0)
    base = bare_skin(topology.reference, topology.plane, front, look)
    neck = topology.part == SHELLS.index("neck")
    under_chin = 0.85 - 0.35 * smoothstep(-topology.reference[:, 1], 12.0, 16.0)
    base[neck] *= under_chin[neck, None]
    return SkinMap(
        atlas=atlas.astype(np.float32),
        base=base.astype(np.float32),
        over=over.astype(np.float32),
        front=front.astype(np.float32),
        look=look,
    )


def parts(topology: OwnTopology) -> NDArray[np.uint8]:
    """(F,) index in `MATERIALS` of every triangle, one of `texture.GIVEN_MATERIALS`."""
    part = topology.part[topology.triangles[:, 0]]
    table = np.zeros(len(SHELLS), np.uint8)
    for name, kind in _PARTS.items():
        table[SHELLS.index(name)] = MATERIALS.index(kind)
    material = table[part]
    centre = topology.reference[topology.triangles].mean(axis=1)
    front = topology.psi[topology.triangles].mean(axis=1) < np.pi / 2
    x, y = np.abs(centre[:, 0]), centre[:, 1]
    hole = ((x - shape.NOSTRIL[0]) / 0.34) ** 2 + ((y - shape.NOSTRIL[1]) / 0.17) ** 2 < 1.0
    material[(part == 0) & front & hole] = MATERIALS.index("nostril")
    return material


def hair_thickness(topology: OwnTopology, look: Look) -> Array:
    """How far the hair stands off the skull at each vertex (V,), cm."""
    over = over_hairline(topology.reference, topology.psi < np.pi / 2, look)
    angle = np.arctan2(topology.disc[:, 0], np.abs(topology.reference[:, 1]) + 3.0)
    waves = 1.0 + 0.06 * np.sin(17.0 * angle + look.hairline) + 0.05 * np.sin(41.0 * angle)
    thick: Array = look.hair_thickness * smoothstep(over, 0.0, 0.9) * waves
    return np.where(topology.part == 0, thick, 0.0)


def over_hairline(points: Array, front: NDArray[np.bool_], look: Look) -> Array:
    """How far points (N, 3) of the reference head lie above the hairline, cm; negative below."""
    x, y, z = np.abs(points[:, 0]), points[:, 1], points[:, 2]
    line = look.hairline - 0.05 * x**2 - 4.2 * smoothstep(x, 5.2, 7.0)
    # Behind the outline the hair reaches down to the nape.
    line = np.where(front, line, -1.5 - 5.0 * smoothstep(-z, 1.0, 4.0))
    over: Array = y - line
    return over
