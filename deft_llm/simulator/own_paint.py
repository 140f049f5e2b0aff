"""Materials and colours of the own head: skin, hair, brows, lips, eyes, all drawn from a seed.

Colours are linear albedo. A little shading that a simple light cannot make (eye sockets, beside
the nose, under the lower lip) is painted in.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from deft_llm.simulator import own_shape as shape
from deft_llm.simulator.head import MATERIALS
from deft_llm.simulator.own_mesh import OwnTopology
from deft_llm.simulator.own_parts import EYE_RINGS, EYE_SEGMENTS, PARTS
from deft_llm.simulator.own_shape import Array, bump, smoothstep
from deft_llm.simulator.skin import Look, cover, flush, freckles, mottling, strands


def paint(
    topology: OwnTopology, look: Look, rng: np.random.Generator
) -> tuple[NDArray[np.uint8], Array]:
    """Material and colour of every triangle.

    Args:
        topology: the mesh.
        look: the identity's colours.
        rng: drawn from for hairs, freckles and mottling.

    Returns:
        (F,) index in `MATERIALS` and (F, 3) linear RGB in 0..1.
    """
    centre = topology.reference[topology.triangles].mean(axis=1)
    part = topology.part[topology.triangles[:, 0]]
    noise = mottling(centre, rng)
    grain = rng.normal(0.0, 1.0, len(centre))
    colors = look.skin * (1.0 + look.mottling * noise + 0.035 * grain)[:, None]
    material = np.zeros(len(centre), dtype=np.uint8)
    front = topology.psi[topology.triangles].mean(axis=1) < np.pi / 2
    x, y = np.abs(centre[:, 0]), centre[:, 1]
    colors *= _baked_shade(x, y, part, front)[:, None]
    colors *= freckles(centre, look, rng)[:, None]
    colors *= 1.0 + flush(x, y, front)[:, None] * np.array([0.05, -0.16, -0.12])
    _paint_face(topology, look, grain, (material, colors, centre, front))
    _paint_eyes(look, part, grain, material, colors)
    for name, tone in (("mouth", (0.035, 0.012, 0.012)), ("teeth", (0.62, 0.57, 0.48))):
        chosen = part == PARTS.index(name)
        material[chosen] = MATERIALS.index(name)
        colors[chosen] = np.array(tone) * (1.0 + 0.06 * grain[chosen])[:, None]
    return material, np.clip(colors, 0.002, 0.98)


def _baked_shade(x: Array, y: Array, part: NDArray[np.int64], front: NDArray[np.bool_]) -> Array:
    shade = 0.36 * bump(x, y, 2.9, 0.55, 1.3, 0.42) + 0.3 * bump(x, y, 1.75, 0.1, 0.5, 0.7)
    shade += 0.16 * bump(x, y, 3.1, -0.75, 1.3, 0.35)
    shade += 0.25 * bump(x, y, 1.75, -4.4, 0.3, 0.7) + 0.3 * bump(x, y, 0.0, -5.05, 1.3, 0.22)
    shade += 0.22 * bump(x, y, 0.0, -8.45, 1.6, 0.3) + 0.12 * bump(x, y, 2.5, -5.7, 0.5, 0.9)
    shade += 0.25 * bump(x, y, 2.85, -6.9, 0.3, 0.25)
    shade -= 0.1 * bump(x, y, 0.0, -2.2, 0.5, 2.2) + 0.06 * bump(x, y, 4.0, -2.4, 1.4, 1.0)
    shade += 0.14 * bump(x, y, 1.15, -2.4, 0.35, 1.3)
    shade += 0.3 * smoothstep(np.hypot(x / 7.2, (y + 1.5) / 13.0), 0.82, 1.05)
    shade = np.where(front, shade, 0.45)
    under_chin = 0.68 - 0.25 * smoothstep(-y, 12.0, 16.0)
    return 1.0 - np.where(part == PARTS.index("neck"), under_chin, shade)


def _paint_face(
    topology: OwnTopology,
    look: Look,
    grain: Array,
    paper: tuple[NDArray[np.uint8], Array, Array, NDArray[np.bool_]],
) -> None:
    """Lips, lashes, nostrils, brows and hair on the skull's triangles, in place."""
    material, colors, centre, front = paper
    x, y = np.abs(centre[:, 0]), centre[:, 1]
    skull = topology.part[topology.triangles[:, 0]] == 0
    face = skull & front
    upper, lower = shape.lip_borders(x)
    line = shape.mouth_line(x)
    lips = face & (y < upper) & (y > lower) & (x < shape.MOUTH_HALF_WIDTH)
    dark = 1.0 - 0.55 * np.exp(-(((y - line) / 0.13) ** 2))
    cover(material, colors, lips, "lip", look.lip * (dark * (1.0 + 0.07 * grain))[:, None])
    nostril = face & (((x - 0.68) / 0.36) ** 2 + ((y + 4.68) / 0.2) ** 2 < 1.0)
    cover(material, colors, nostril, "nostril", look.skin * 0.12 + 0 * colors)
    ring = np.zeros(len(topology.reference), dtype=bool)
    ring[topology.margins[:, 0]] = True
    lash = face & ring[topology.triangles].any(axis=1) & (x > 2.0)
    cover(material, colors, lash, "lash", 0.35 * look.hair + 0.05 * look.skin + 0 * colors)
    reach = np.clip(x, shape.BROW_X[0], shape.BROW_X[-1])
    taper = look.brow_half_width * (1.0 - 0.65 * smoothstep(reach, 2.6, 5.8))
    off = np.hypot((y - shape.brow_line(reach)) / taper, (x - reach) / 0.25)
    brow = face & (off + 0.12 * grain < 1.0)
    hair = np.clip(0.85 + 0.16 * grain - 0.2 * off**2, 0.35, 1.0)[:, None]
    brow_color = np.minimum(look.hair, 0.35 * look.skin)
    cover(material, colors, brow, "brow", hair * brow_color + (1 - hair) * 0.8 * colors)
    cover(
        material,
        colors,
        skull & (_over_hairline(centre, front, look) > 0.12 * grain),
        "hair",
        look.hair * np.exp(0.3 * strands(centre) + 0.15 * grain)[:, None],
    )


def hair_thickness(topology: OwnTopology, look: Look) -> Array:
    """How far the hair stands off the skull at each vertex (V,), cm."""
    over = _over_hairline(topology.reference, topology.psi < np.pi / 2, look)
    streaks = 1.0 + 0.12 * strands(np.abs(topology.reference))
    thick: Array = look.hair_thickness * smoothstep(over, 0.0, 0.9) * streaks
    return np.where(topology.part == 0, thick, 0.0)


def _over_hairline(points: Array, front: NDArray[np.bool_], look: Look) -> Array:
    """How far points (N, 3) lie above the hairline, cm; negative below."""
    x, y, z = np.abs(points[:, 0]), points[:, 1], points[:, 2]
    line = look.hairline - 0.05 * x**2 - 4.2 * smoothstep(x, 5.2, 7.0)
    line = np.where(front, line, -1.5 - 5.0 * smoothstep(-z, 1.0, 4.0))
    over: Array = y - line
    return over


def _paint_eyes(
    look: Look, part: NDArray[np.int64], grain: Array, material: NDArray[np.uint8], colors: Array
) -> None:
    rings = np.concatenate(
        [np.zeros(EYE_SEGMENTS, dtype=int)]
        + [np.full(2 * EYE_SEGMENTS, i + 1) for i in range(len(EYE_RINGS) - 1)]
    )
    outer = np.array(EYE_RINGS)[rings]
    for name in ("left eye", "right eye"):
        chosen = np.flatnonzero(part == PARTS.index(name))
        material[chosen] = np.select(
            [outer <= 0.17, outer <= 0.505],
            [MATERIALS.index("pupil"), MATERIALS.index("iris")],
            MATERIALS.index("eye_white"),
        )
        g = grain[chosen][:, None]
        limbus = np.where(outer > 0.46, 0.45, 1.0)[:, None]
        white = np.array([0.55, 0.51, 0.48]) * (1.0 - 0.25 * smoothstep(outer, 0.6, 1.2))[:, None]
        colors[chosen] = np.where(
            outer[:, None] <= 0.505, look.iris * limbus * (1 + 0.2 * g), white * (1.0 + 0.02 * g)
        )
        colors[chosen[outer <= 0.17]] = 0.006
