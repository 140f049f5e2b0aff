"""Wrinkles that deepen with the AUs: they change the shade and normals of the skin, not its shape.

Where each AU folds the skin follows FACS (P. Ekman, W. V. Friesen, "Facial Action Coding System",
1978): horizontal lines of the forehead for AU 1 (its middle) and 2 (its sides), frown lines for 4,
lines across the nose's root for 9, crow's feet and a furrow below the eye for 6 and 7, the
nasolabial furrow for 6, 9, 10 and 12, the chin's dimples for 17, and so on. Curves, widths and
depths are our own choice. Age deepens all of them and makes some visible at rest.

A fold is a curve in the atlas with a Gaussian profile across it. Its slope tilts the normals, its
depth darkens the skin. The flow is that of the skin: a groove that deepens does not add motion.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deft_llm.simulator.appearance.skin import Look
from deft_llm.simulator.appearance.texture import Places
from deft_llm.simulator.head import MATERIALS
from deft_llm.simulator.muscles import side_weights
from deft_llm.simulator.own_head.shape import Array, smoothstep

Floats = NDArray[np.float32]
_TILT = 1.0  # slope of a fold's flanks at depth 1
_SHADE = 0.45  # share of the light that its bottom loses at depth 1
_REST = 0.22  # depth of a fold with rest share 1 on the oldest face at rest
_LIMIT = 1.3


@dataclass(frozen=True)
class SkinFold:
    """A group of curves on the subject's left half that deepen together.

    Attributes:
        curves: each a polyline of (x outward, y up), cm of the atlas.
        aus: AU number to depth at activation 1.
        width: standard deviation of the groove's profile, cm.
        rest: share of `_REST` that is visible at rest.
    """

    curves: tuple[tuple[tuple[float, float], ...], ...]
    aus: Mapping[str, float]
    width: float = 0.11
    rest: float = 1.0


SKIN_FOLDS: dict[str, SkinFold] = {
    "forehead, middle": SkinFold(
        tuple(((0.0, y), (1.2, y + 0.12), (2.4, y + 0.2), (3.2, y + 0.1)) for y in (3.5, 4.4, 5.3)),
        {"1": 0.9},
    ),
    "forehead, sides": SkinFold(
        tuple(((2.6, y + 0.2), (3.6, y + 0.15), (5.0, y - 0.3)) for y in (3.5, 4.4, 5.3)),
        {"2": 0.9},
    ),
    "glabella": SkinFold((((0.55, 0.9), (0.62, 1.8), (0.8, 2.9)),), {"4": 1.0, "9": 0.3}),
    "nose root": SkinFold(
        (((0.0, -0.1), (0.8, 0.1)), ((0.0, -0.65), (0.75, -0.5))), {"9": 0.9, "4": 0.25}, 0.1, 0.3
    ),
    "bunny lines": SkinFold(
        (((0.75, -0.9), (1.15, -1.7)), ((0.95, -0.6), (1.5, -1.3))), {"9": 0.8}, 0.09, 0.2
    ),
    "crow's feet": SkinFold(
        (
            ((4.75, 0.25), (5.4, 0.6), (6.0, 0.75)),
            ((4.8, -0.05), (5.6, -0.1), (6.2, -0.2)),
            ((4.7, -0.35), (5.4, -0.85), (5.8, -1.25)),
        ),
        {"6": 0.9, "12": 0.2},
        0.1,
    ),
    "lower lid": SkinFold(
        (((1.9, -0.85), (3.0, -1.15), (4.3, -0.9)),), {"6": 0.7, "7": 0.5, "12": 0.15}, 0.11, 0.8
    ),
    "nasolabial": SkinFold(
        (((1.75, -4.1), (2.3, -4.9), (2.95, -5.8), (3.4, -6.7)),),
        {"12": 0.65, "10": 0.7, "9": 0.5, "6": 0.3, "13": 0.6, "20": 0.4},
        0.2,
    ),
    "mouth corner": SkinFold(
        (((2.95, -7.1), (3.15, -7.8), (3.1, -8.4)),), {"15": 0.9, "14": 0.7, "20": 0.4}, 0.11, 0.6
    ),
    "dimple": SkinFold(
        (((3.35, -6.3), (3.55, -6.8), (3.4, -7.3)),), {"14": 0.9, "12": 0.25}, 0.12, 0.1
    ),
    "below the lip": SkinFold(
        (((0.0, -8.55), (0.9, -8.5), (1.6, -8.25)),), {"17": 0.8, "24": 0.4, "23": 0.4}, 0.16, 0.4
    ),
    "chin": SkinFold(
        (((0.2, -9.5), (0.7, -9.7)), ((0.1, -10.1), (0.6, -10.3)), ((0.9, -9.3), (1.3, -9.7))),
        {"17": 0.7},
        0.12,
        0.1,
    ),
}


@dataclass(frozen=True)
class Wrinkles:
    """The folds of one identity on N painted points.

    Attributes:
        index: for each one-sided fold ("Lglabella"), the points it affects.
        tilt: for each, (n, 2) change of the normals' x and y at depth 1.
        shade: for each, (n,) share of light lost at depth 1.
        age: of the face, 0..1.
    """

    index: Mapping[str, NDArray[np.int64]]
    tilt: Mapping[str, Floats]
    shade: Mapping[str, Floats]
    age: float

    def depths(self, activations: Mapping[str, float]) -> dict[str, float]:
        """Depth of each one-sided fold, 0..1.3, for AU codes with or without side; no zeros."""
        deep = {}
        for name in self.index:
            fold = SKIN_FOLDS[name[1:]]
            pull = sum(
                share * max(0.0, activations.get(name[0] + au, 0.0) + activations.get(au, 0.0))
                for au, share in fold.aus.items()
            )
            depth = (0.55 + 0.6 * self.age) * pull + _REST * fold.rest * self.age
            if depth > 1e-3:
                deep[name] = min(depth, _LIMIT)
        return deep

    def carve(self, normals: Floats, activations: Mapping[str, float]) -> Floats:
        """Tilt normals (N, 3) in place; returns the share of light (N,) that is left."""
        left = np.ones(len(normals), np.float32)
        for name, depth in self.depths(activations).items():
            chosen = self.index[name]
            normals[chosen, :2] += np.float32(depth) * self.tilt[name]
            left[chosen] *= 1.0 - np.float32(depth) * self.shade[name]
        # Normalise only what changed: most points lie in no fold.
        touched = np.flatnonzero(left < 1.0)
        length = np.linalg.norm(normals[touched], axis=1, keepdims=True)
        normals[touched] /= np.maximum(length, np.float32(1e-6))
        return left


def crease(places: Places, look: Look) -> Wrinkles:
    """Place the folds on painted points; each identity has its own curves and depths."""
    rng = np.random.default_rng([look.seed, 3])
    # No folds under the hair; 0.2 cm keeps clear of the ragged hairline.
    skin = (places.part == MATERIALS.index("skin")) & (places.front > 0.5) & (places.over < -0.2)
    front = np.flatnonzero(skin)
    points = places.atlas[front]
    sides = dict(zip("LR", side_weights(points[:, 0], 0.25), strict=True))
    index, tilt, shade = {}, {}, {}
    for name, fold in SKIN_FOLDS.items():
        for side in "LR":
            out = np.array([1.0 if side == "L" else -1.0, 1.0])
            strength = rng.uniform(0.6, 1.1)
            groove, slope = np.zeros(len(front)), np.zeros((len(front), 2))
            for curve in fold.curves:
                # Each side has its own jitter, so that no face is symmetric.
                line = (np.array(curve) + rng.normal(0.0, 0.06, (len(curve), 2))) * out
                width, depth = fold.width * rng.uniform(0.8, 1.2), rng.uniform(0.6, 1.0)
                low, high = line.min(axis=0) - 3 * width, line.max(axis=0) + 3 * width
                # Beyond 3 widths a groove is negligible; the box saves most distances.
                box = np.flatnonzero(((points > low) & (points < high)).all(axis=1))
                add, lean = _groove(points[box], line, width)
                # Crossing curves share one shade, but each still tilts the normals.
                groove[box] = np.maximum(groove[box], depth * add)
                slope[box] += depth * lean
            near = np.flatnonzero(sides[side] * groove > 0.02)
            weight = strength * sides[side][near]
            index[side + name] = front[near]
            tilt[side + name] = (_TILT * weight[:, None] * slope[near]).astype(np.float32)
            shade[side + name] = (_SHADE * weight * groove[near]).astype(np.float32).clip(0, 0.7)
    return Wrinkles(index, tilt, shade, look.age)


def _groove(points: Array, line: Array, width: float) -> tuple[Array, Array]:
    """Depth (N,) of a groove along a polyline, tapering to its ends, and its lean (N, 2)."""
    best = np.full(len(points), np.inf)
    offset, along = np.zeros_like(points), np.zeros(len(points))
    steps = np.linalg.norm(np.diff(line, axis=0), axis=1)
    start = np.concatenate([[0.0], np.cumsum(steps)])
    for k, step in enumerate(steps):
        ray = (line[k + 1] - line[k]) / step
        t = np.clip((points - line[k]) @ ray, 0.0, step)
        away = points - line[k] - t[:, None] * ray
        distance = (away**2).sum(axis=1)
        closer = distance < best
        best = np.where(closer, distance, best)
        offset[closer] = away[closer]
        along = np.where(closer, (start[k] + t) / start[-1], along)
    taper = smoothstep(along, -0.15, 0.25) * smoothstep(1.15 - along, 0.0, 0.4)
    depth = taper * np.exp(-0.5 * best / width**2)
    lean = -depth[:, None] * offset / width  # the flanks tilt towards the groove's middle
    return depth, lean
