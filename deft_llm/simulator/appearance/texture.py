"""Surface texture of a face: pores, freckles, stubble, brows, lips, eyes, hair.

The texture at a point is a function of its position in the atlas (`head.SkinMap`), so every head
can wear it, and of one seed per identity. The Gaussians of a scene are painted at their own
centres, so they carry detail that is finer than the triangles. Triangles are painted at their
centres, for users that do not splat. The painting is our own choice throughout.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deft_llm.simulator.appearance.skin import Look
from deft_llm.simulator.head import MATERIALS, FloatArray, IntArray, SkinMap
from deft_llm.simulator.own_head import shape
from deft_llm.simulator.own_head.shape import Array, bump, smoothstep

GIVEN_MATERIALS = ("skin", "eye_white", "mouth", "teeth", "nostril", "glasses")
"""Materials that a head assigns to whole triangles; the painting derives the others from them."""
PUPIL, COLLARETTE = 0.34, 0.52  # radii on the iris, whose edge is at 1
_BANK = 1 << 12
_WET_EYE = 0.8
_GLOSS = {"lip": 1.8, "brow": 0.1, "hair": 0.15}


@dataclass(frozen=True)
class Places:
    """N points of a face's surface.

    Attributes:
        atlas: (N, 2), see `head.SkinMap`.
        base: (N, 3) albedo of the bare skin there, linear.
        over: (N,) height above the hairline, cm.
        front: (N,) 1 on the front of the head, 0 behind it.
        part: (N,) index in `MATERIALS`, one of `GIVEN_MATERIALS`.
    """

    atlas: Array
    base: Array
    over: Array
    front: Array
    part: NDArray[np.uint8]


@dataclass(frozen=True)
class Surface:
    """Result of `paint` for N points.

    Attributes:
        material: (N,) index in `MATERIALS`.
        albedo: (N, 3) linear RGB in 0.002..0.98.
        gloss: (N,) strength of the specular highlight.
    """

    material: NDArray[np.uint8]
    albedo: Array
    gloss: Array


def part_of(material: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The given material behind painted ones: skin for brows, lips and hair; eye for an iris."""
    table = np.zeros(len(MATERIALS), np.uint8)
    for name in GIVEN_MATERIALS:
        table[MATERIALS.index(name)] = MATERIALS.index(name)
    table[[MATERIALS.index("iris"), MATERIALS.index("pupil")]] = MATERIALS.index("eye_white")
    return table[material]


def places_of(
    skin: SkinMap, corners: IntArray, weights: FloatArray, part: NDArray[np.uint8]
) -> Places:
    """Points of a mesh: (N, 3) vertices, (N, 3) barycentric weights, (N,) parts."""

    def at(values: FloatArray) -> Array:
        mixed: Array = np.einsum("nk...,nk->n...", values[corners].astype(np.float64), weights)
        return mixed

    return Places(at(skin.atlas), at(skin.base), at(skin.over), at(skin.front), part)


def paint_triangles(skin: SkinMap, triangles: IntArray, part: NDArray[np.uint8]) -> Surface:
    """The paint at the triangles' centres."""
    weights = np.full(triangles.shape, 1 / 3, np.float32)
    # Streams of a look's seed: 0 bare skin, 1 noise bank, 2 paint of triangles, 3 wrinkles,
    # 4 paint of Gaussians, 5 glasses. The texture of a face does not depend on its clip.
    rng = np.random.default_rng([skin.look.seed, 2])
    return paint(places_of(skin, triangles, weights, part), skin.look, rng)


def paint(places: Places, look: Look, rng: np.random.Generator) -> Surface:
    """Materials, colours and gloss of points.

    Args:
        places: the points.
        look: the identity's look.
        rng: source of point-to-point variation (pores, freckles, single hairs).
    """
    canvas = _Canvas(places, look, rng)
    # The order matters: each layer may cover those before it.
    canvas.skin()
    canvas.beard()
    canvas.lips()
    canvas.brows()
    canvas.lashes()
    canvas.hair()
    canvas.eyes()
    canvas.inside()
    gloss = np.full(len(places.part), look.gloss)
    gloss *= np.where(places.front > 0.5, 0.7 + 0.6 * canvas.shine, 0.5)
    for name, factor in _GLOSS.items():
        gloss[canvas.material == MATERIALS.index(name)] = look.gloss * factor
    gloss[places.part == MATERIALS.index("eye_white")] = _WET_EYE
    return Surface(canvas.material, np.clip(canvas.albedo, 0.002, 0.98), gloss)


class _Canvas:
    """The points while they are painted: each layer covers those below it, coverage in 0..1."""

    def __init__(self, places: Places, look: Look, rng: np.random.Generator) -> None:
        self.look, self.places = look, places
        self.x, self.y = np.abs(places.atlas[:, 0]), places.atlas[:, 1]
        self.side = np.where(places.atlas[:, 0] >= 0, 0.0, 0.5)  # the two halves differ in detail
        self.on_skin = places.part == MATERIALS.index("skin")
        self.face = self.on_skin & (places.front > 0.5)
        self.grain = rng.standard_normal(len(self.x))
        self.chance = rng.random(len(self.x))
        self.material = places.part.copy()
        self.albedo = places.base.copy()
        self.shine = bump(self.x, self.y, 0.0, -2.5, 1.0, 2.6)
        self.shine += bump(self.x, self.y, 0.0, 4.0, 3.0, 1.5)
        self._bank = np.random.default_rng([look.seed, 1]).random(_BANK)

    def noise(self, at: Array) -> Array:
        """Smooth noise in 0..1 along a line, one value per unit; the halves of a face differ."""
        at = at + self.side * _BANK
        low = np.floor(at).astype(np.int64)
        share = at - low
        ends = self._bank[low % _BANK], self._bank[(low + 1) % _BANK]
        return ends[0] * (1 - share) + ends[1] * share

    def cover(self, coverage: Array, color: Array, name: str | None = None) -> None:
        """Blend a colour (3,) or (N, 3) over the albedo; where it dominates, set the material."""
        self.albedo += coverage[:, None] * (color - self.albedo)
        if name is not None:
            self.material[coverage > 0.5] = MATERIALS.index(name)

    def skin(self) -> None:
        """Pores (darker on nose and cheeks), freckles, moles."""
        look, x, y = self.look, self.x, self.y
        oily = 0.7 + 0.8 * bump(x, y, 0.8, -3.0, 2.2, 1.8)
        # The quadratic term skews the pores: dark points stand out more than bright ones.
        pores = np.exp(look.pores * oily * (self.grain - 0.35 * self.grain**2 + 0.35))
        spots = self.chance < 0.2 * look.freckles * np.exp(-0.5 * ((y + 2.0) / 2.2) ** 2)
        # `chance` also decides freckles, from its other end, so no point is both.
        moles = (self.chance > 0.9993) & self.face
        dark = (1.0 - 0.2 * spots - 0.5 * moles) * pores
        warm = np.where((spots | moles)[:, None], [1.0, 0.92, 0.88], 1.0)
        self.albedo *= np.where(self.on_skin, dark, 1.0)[:, None] * warm

    def beard(self) -> None:
        """Stubble: short hairs where beards grow."""
        x, y, look = self.x, self.y, self.look
        if look.stubble <= 0:
            return
        area = smoothstep(-y, 4.7, 5.4) * smoothstep(-(y + 0.85 * np.maximum(x - 3.0, 0)), 5.0, 7.0)
        area = np.maximum(area, smoothstep(x, 5.2, 6.2) * smoothstep(-y, 0.5, 3.0))
        area *= 1.0 - 0.8 * bump(x, y, 1.6, -8.4, 0.5, 0.5)
        hairs = np.where(self.chance < 0.75 * look.stubble, 0.5, 0.5 * look.stubble)
        color = 0.6 * look.hair + 0.25 * look.skin
        self.cover(np.where(self.on_skin, area * hairs * np.minimum(1, 3 * look.stubble), 0), color)

    def lips(self) -> None:
        """The red of the lips, its furrows, a soft border, and the dark line between the lips."""
        x, y, look = self.x, self.y, self.look
        upper, lower = shape.lip_borders(x)
        line = shape.mouth_line(x)
        inside = np.minimum(upper - y, y - lower)
        red = smoothstep(inside, -0.05, 0.09) * smoothstep(shape.MOUTH_HALF_WIDTH - x, -0.02, 0.25)
        red *= self.face
        furrows = 0.86 + 0.22 * self.noise(9.0 * x + 0.8 * y) + 0.05 * self.grain
        furrows -= 0.12 * (y > line)  # the upper lip faces down
        self.cover(0.85 * red, look.lip * furrows[:, None], "lip")
        between = np.exp(-(((y - line) / 0.075) ** 2)) * self.face
        between *= smoothstep(shape.MOUTH_HALF_WIDTH + 0.12 - x, 0.0, 0.2)
        self.cover(0.72 * between, 0.25 * look.lip)

    def brows(self) -> None:
        """Hairs that are upright at the inner end and lie flat towards the outer end."""
        x, y, look = self.x, self.y, self.look
        reach = np.clip(x, shape.BROW_X[0], shape.BROW_X[-1])
        along = (reach - shape.BROW_X[0]) / (shape.BROW_X[-1] - shape.BROW_X[0])
        # Brows taper towards the outer end.
        half = look.brow_half_width * (1.0 - 0.6 * along**1.5)
        off = np.hypot((y - shape.brow_line(reach)) / half, (x - reach) / 0.3)
        near = self.face & (off < 1.6)
        tilt = np.radians(75.0 - 62.0 * smoothstep(along, 0.0, 0.7))
        # Noise across the hairs' direction, constant along it, looks like strands.
        across = x * np.sin(tilt) - (y - shape.brow_line(reach)) * np.cos(tilt)
        strand = self.noise(8.0 * across) * 0.65 + 0.35 * self.chance
        thick = 1.0 - smoothstep(off + 0.5 * (strand - 0.5), 0.55, 1.25)
        coverage = np.where(near, thick * look.brow_density * (0.55 + 0.5 * strand), 0.0)
        color = np.minimum(1.2 * look.hair, 0.45 * look.skin)
        self.cover(np.minimum(0.95, 1.15 * coverage), color, "brow")

    def lashes(self) -> None:
        """A dark line on the lid margins, ragged on its outside, and the fold of the upper lid."""
        x, y, look = self.x, self.y, self.look
        along = np.clip((x - shape.EYE_X) / shape.EYE_HALF_WIDTH, -1.0, 1.0)
        angle = np.arccos(along)
        for sign, width, strength in ((1.0, 0.085, 0.85), (-1.0, 0.05, 0.3)):
            margin = shape.eye_contour(sign * angle)[:, 1]
            off = sign * (y - margin) / (width * (0.7 + 0.6 * self.noise(9.0 * x + 50.0)))
            # Dark up to the margin, falling off outside; -3 keeps it off the rest of the opening.
            line = np.exp(-(np.maximum(off, 0.0) ** 2)) * (off > -3.0)
            line *= smoothstep(1.06 - np.abs((x - shape.EYE_X) / shape.EYE_HALF_WIDTH), 0.0, 0.1)
            coverage = np.where(self.face, strength * line * (0.75 + 0.25 * smoothstep(along)), 0)
            self.cover(coverage, 0.5 * look.hair, "lash")
        crease = y - shape.eye_contour(angle)[:, 1] - 0.27 - 0.05 * along
        fold = 0.4 * np.exp(-((crease / 0.075) ** 2)) * smoothstep(1.0 - np.abs(along), 0.0, 0.3)
        self.cover(np.where(self.face, fold, 0.0), 0.4 * look.skin)

    def hair(self) -> None:
        """Strands of hair behind a ragged hairline."""
        places, look = self.places, self.look
        angle = 25.0 * np.arctan2(places.atlas[:, 0], np.abs(self.y) + 3.0)
        lock = self.noise(angle) + 0.5 * self.noise(3.7 * angle + 700.0)
        edge = places.over + 0.9 * (lock - 0.75) + 0.2 * self.grain
        coverage = np.where(self.on_skin, smoothstep(edge, -0.15, 0.3), 0.0)
        strand = 0.55 + 0.4 * lock + 0.25 * self.chance
        self.cover(coverage, look.hair * strand[:, None], "hair")

    def eyes(self) -> None:
        """Pupil, iris with fibres and a dark limbal ring, and the shaded white of the eye."""
        eye = self.places.part == MATERIALS.index("eye_white")
        if not eye.any():
            return
        ray = self.places.atlas
        radius = np.hypot(ray[:, 0], ray[:, 1])
        turn = np.arctan2(ray[:, 1], ray[:, 0])
        fibre = self.noise(200.0 + 14.0 * turn / np.pi) * 0.6 + 0.4 * self.chance
        limbal = 1.0 - 0.7 * smoothstep(radius, 0.76, 0.98)
        warm = 1.0 + 0.5 * smoothstep(COLLARETTE + 0.1 - radius, 0.0, 0.2)
        # Brighter within the collarette, darker at the limbus.
        iris = self.look.iris * (limbal * warm * (0.6 + 0.8 * fibre))[:, None]
        veins = 1.0 - 0.06 * (self.chance < 0.15) - 0.12 * smoothstep(radius, 1.3, 2.2)
        white = np.array([0.47, 0.42, 0.4]) * veins[:, None]
        white *= (1.0 - 0.35 * smoothstep(ray[:, 1], 0.1, 1.0))[:, None]  # the upper lid's shade
        self.cover(1.0 * eye, white)
        self.cover(eye * smoothstep(1.06 - radius, 0.0, 0.12), iris, "iris")
        black = np.full(3, 0.004)
        self.cover(eye * smoothstep(PUPIL + 0.05 - radius, 0.0, 0.1), black, "pupil")

    def inside(self) -> None:
        """Mouth, teeth and nostrils."""
        tones = {"mouth": (0.05, 0.014, 0.014), "teeth": (0.55, 0.5, 0.41)}
        for name, tone in tones.items():
            chosen = self.places.part == MATERIALS.index(name)
            self.albedo[chosen] = np.array(tone) * (1.0 + 0.05 * self.grain[chosen, None])
        nostril = self.places.part == MATERIALS.index("nostril")
        self.albedo[nostril] = 0.12 * self.look.skin
