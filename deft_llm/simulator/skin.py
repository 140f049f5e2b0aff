"""Colours of faces, shared by all heads: skin tones, hair, mottling, freckles.

Colours are linear albedo (RGB, 0..1); positions are cm in the heads' frame.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deft_llm.simulator.head import MATERIALS
from deft_llm.simulator.own_shape import Array, bump

# Linear RGB of skin from very light to very dark (after the Fitzpatrick scale), our choice.
_SKIN_TONES = np.array(
    [
        (0.78, 0.53, 0.42),
        (0.70, 0.44, 0.32),
        (0.60, 0.36, 0.23),
        (0.47, 0.27, 0.16),
        (0.32, 0.17, 0.10),
        (0.20, 0.105, 0.065),
    ]
)
_HAIR_TONES = np.array(
    [
        (0.012, 0.010, 0.009),
        (0.03, 0.02, 0.014),
        (0.07, 0.04, 0.022),
        (0.15, 0.09, 0.045),
        (0.16, 0.055, 0.02),
        (0.2, 0.19, 0.18),
    ]
)
_IRIS_TONES = np.array(
    [
        (0.06, 0.03, 0.015),
        (0.10, 0.055, 0.02),
        (0.12, 0.10, 0.04),
        (0.10, 0.18, 0.26),
        (0.16, 0.2, 0.2),
    ]
)


@dataclass(frozen=True)
class Look:
    """The colours and the hair of one identity (linear RGB, cm)."""

    skin: Array
    hair: Array
    iris: Array
    lip: Array
    brow_half_width: float
    hairline: float
    hair_thickness: float
    freckles: float
    mottling: float


def draw_look(rng: np.random.Generator) -> Look:
    """Draw an identity's colours; dark skin goes with dark hair and eyes."""
    tone = rng.uniform(0.0, len(_SKIN_TONES) - 1.0)
    skin = np.array([np.interp(tone, np.arange(6), _SKIN_TONES[:, c]) for c in range(3)])
    skin *= rng.uniform(0.92, 1.08, 3)
    hair = _HAIR_TONES[rng.integers(0, 6 if tone < 2.0 else 2)] * rng.uniform(0.7, 1.3)
    iris = _IRIS_TONES[rng.integers(0, 5 if tone < 2.0 else 2)] * rng.uniform(0.7, 1.3)
    lip = skin * np.array([0.86, 0.56, 0.6]) * rng.uniform(0.8, 1.05)
    return Look(
        skin=skin,
        hair=hair,
        iris=iris,
        lip=lip,
        brow_half_width=rng.uniform(0.26, 0.42),
        hairline=rng.uniform(5.8, 7.6),
        hair_thickness=rng.uniform(0.15, 0.9),
        freckles=rng.uniform(0.0, 1.0) ** 2 * (tone < 3.0),
        mottling=rng.uniform(0.05, 0.11),
    )


def mottling(points: Array, rng: np.random.Generator) -> Array:
    """Smooth noise of standard deviation 1: random waves of 0.5 to 3 cm through space."""
    waves = 48
    direction = rng.normal(size=(waves, 3))
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    length = 0.5 * 6.0 ** rng.uniform(0.0, 1.0, waves)
    phase = rng.uniform(0.0, 2 * np.pi, waves)
    value = np.cos(points @ (direction * (2 * np.pi / length)[:, None]).T + phase)
    noise: Array = value.sum(axis=1) * np.sqrt(2.0 / waves)
    return noise


def freckles(points: Array, look: Look, rng: np.random.Generator) -> Array:
    """Factor (N,) on the skin's colour for freckles and moles."""
    spots = rng.random(len(points)) < 0.22 * look.freckles * np.exp(
        -0.5 * ((points[:, 1] + 2.0) / 2.5) ** 2
    )
    moles = rng.random(len(points)) < 0.002
    return 1.0 - 0.22 * spots - 0.45 * moles


def flush(x: Array, y: Array, front: NDArray[np.bool_]) -> Array:
    """Redness (N,) of cheeks and nose, 0..1."""
    red = bump(x, y, 4.0, -3.2, 1.5, 1.2) + 0.8 * bump(x, y, 0.0, -3.9, 0.9, 0.7)
    return np.where(front, red, 0.0)


def strands(centre: Array) -> Array:
    """Fine streaks that run back from the forehead."""
    angle = np.arctan2(centre[:, 0], np.abs(centre[:, 1]) + 2.0)
    return np.sin(37.0 * angle) + 0.7 * np.sin(71.0 * angle + 1.3)


def cover(
    material: NDArray[np.uint8],
    colors: Array,
    chosen: NDArray[np.bool_],
    name: str,
    paint: Array,
) -> None:
    """Give the chosen triangles a material and its colours (F, 3), in place."""
    material[chosen] = MATERIALS.index(name)
    colors[chosen] = paint[chosen]
