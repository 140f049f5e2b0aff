"""Looks of faces, shared by all heads: skin tone, hair, eyes, age, beard, freckles.

Colours are linear albedo (RGB, 0..1); positions are cm in the heads' frame, or cm of the atlas
(`head.SkinMap`), which is the frontal plane of the own head's reference face.

Skin tones are computed from pigments, not taken from pictures: melanin in a thin epidermis over
a dermis with blood. Absorption and scattering after S. L. Jacques, "Skin Optics" (Oregon Medical
Laser Center News, 1998) and "Optical properties of biological tissues: a review" (Phys. Med.
Biol. 58, 2013); diffuse reflectance after S. T. Flock et al., "Monte Carlo modeling of light
propagation in highly scattering tissues" (IEEE Trans. Biomed. Eng. 36, 1989). Our own choice: one
wavelength for each channel, a little bleeding between the channels, and the ranges drawn from.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deft_llm.simulator.own_head.shape import Array, bump, smoothstep

MELANIN = (0.025, 0.36)
"""Volume share of melanosomes in the epidermis, from Fitzpatrick I to VI."""
GLASSES_SHARE = 0.15
_WAVELENGTHS = np.array([612.0, 545.0, 452.0])  # nm, for R, G, B
_BLOOD = np.array([13.0, 270.0, 340.0])  # whole blood, 75 % oxygenated, 1/cm
_EPIDERMIS_PATH = 0.0125  # cm: there and back through 60 micrometres, not quite straight
_BLEED = 0.08  # share of the channels' mean in each channel, for the width of real filters
_HAZE = 0.012  # what rough dry skin scatters back, whatever its pigments
_INTERNAL = 2.9  # (1 + r) / (1 - r) of the tissue's surface seen from within, index 1.4
# Both lists start with the two darkest tones, which dark skin is limited to.
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
        (0.05, 0.024, 0.012),
        (0.10, 0.055, 0.02),
        (0.12, 0.10, 0.04),
        (0.09, 0.14, 0.19),
        (0.13, 0.16, 0.16),
    ]
)


@dataclass(frozen=True)
class Look:
    """The colours, the hair and the age of one identity (linear RGB, cm).

    Attributes:
        skin: albedo of bare skin.
        hair: albedo of the hair of head, brows and beard.
        iris: albedo of the iris.
        lip: albedo of the lips.
        brow_half_width: half the height of a brow at its inner end.
        brow_density: share of the brow that hair covers, 0..1.
        hairline: height of the hairline above the eyes.
        hair_thickness: how far the hair stands off the skull.
        freckles: 0 none, 1 many.
        mottling: relative SD of the slow variation of the albedo.
        pores: relative SD of its variation from point to point.
        stubble: share of the beard's area that hair covers, 0 for most.
        age: 0 smooth, 1 wrinkled at rest; deepens every wrinkle.
        gloss: strength of the specular highlight.
        seed: seed of everything random on the surface.
        glasses: whether the identity wears glasses.
    """

    skin: Array
    hair: Array
    iris: Array
    lip: Array
    brow_half_width: float
    brow_density: float
    hairline: float
    hair_thickness: float
    freckles: float
    mottling: float
    pores: float
    stubble: float
    age: float
    gloss: float
    seed: int
    glasses: bool


def reflectance(melanin: float, blood: float) -> Array:
    """Diffuse albedo (3,) of skin, linear RGB.

    Args:
        melanin: volume share of melanosomes in the epidermis, see `MELANIN`.
        blood: volume share of blood in the dermis, about 0.002 to 0.01.
    """
    wave = _WAVELENGTHS
    # Jacques (1998), wavelengths in nm, results in 1/cm: skin without pigment, melanosomes,
    # then Mie and Rayleigh scattering.
    base = 0.244 + 85.3 * np.exp(-(wave - 154.0) / 66.2)
    epidermis = melanin * 6.6e11 * wave**-3.33 + (1.0 - melanin) * base
    absorbed = blood * _BLOOD + (1.0 - blood) * base
    scattered = 2e5 * wave**-1.5 + 2e12 * wave**-4.0
    # `left` is the share of light that is absorbed per event; the formula below is Flock's.
    left = 1.0 - scattered / (scattered + absorbed)
    dermis = (1.0 - left) / (
        1.0 + 2.0 * _INTERNAL * left + (1.0 + 2.0 * _INTERNAL / 3.0) * np.sqrt(3.0 * left)
    )
    albedo = np.exp(-epidermis * _EPIDERMIS_PATH) * dermis
    mixed: Array = (1.0 - _BLEED) * albedo + _BLEED * albedo.mean() + _HAZE
    return mixed


def draw_look(rng: np.random.Generator) -> Look:
    """Draw an identity's look; dark skin gets dark hair and eyes."""
    tone = rng.uniform(0.0, 1.0)
    melanin = MELANIN[0] * (MELANIN[1] / MELANIN[0]) ** tone
    blood = rng.uniform(0.002, 0.006)
    skin = reflectance(melanin, blood)
    light = tone < 0.42
    hair = _HAIR_TONES[rng.integers(0, 6 if light else 2)] * rng.uniform(0.7, 1.3)
    iris = _IRIS_TONES[rng.integers(0, 5 if light else 2)] * rng.uniform(0.7, 1.3)
    lip = 0.55 * reflectance(melanin, 5.0 * blood) + 0.45 * skin * np.array([0.92, 0.55, 0.58])
    # Negative draws mean no beard.
    male, beard = rng.random() < 0.5, rng.uniform(-0.25, 0.45)
    return Look(
        skin=skin,
        hair=hair,
        iris=iris,
        lip=lip * rng.uniform(0.75, 0.98),
        brow_half_width=rng.uniform(0.24, 0.38) * (1.15 if male else 0.9),
        brow_density=rng.uniform(0.55, 1.0),
        hairline=rng.uniform(5.8, 7.6),
        hair_thickness=rng.uniform(0.15, 0.9),
        freckles=rng.uniform(0.0, 1.0) ** 2 * (tone < 0.6),
        mottling=rng.uniform(0.03, 0.07),
        pores=rng.uniform(0.06, 0.14),
        stubble=max(0.0, beard) * male,
        age=rng.uniform(0.0, 1.0) ** 1.5,
        gloss=rng.uniform(0.02, 0.09),
        seed=int(rng.integers(1 << 31)),
        glasses=bool(rng.random() < GLASSES_SHARE),
    )


def mottling(points: Array, rng: np.random.Generator) -> Array:
    """Smooth noise of standard deviation 1: random waves of 0.5 to 3 cm through space."""
    waves = 48
    direction = rng.normal(size=(waves, 3))
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    length = 0.5 * 6.0 ** rng.uniform(0.0, 1.0, waves)
    phase = rng.uniform(0.0, 2 * np.pi, waves)
    value = np.cos(points @ (direction * (2 * np.pi / length)[:, None]).T + phase)
    # Each wave has variance 1/2.
    noise: Array = value.sum(axis=1) * np.sqrt(2.0 / waves)
    return noise


def bare_skin(points: Array, atlas: Array, front: NDArray[np.bool_], look: Look) -> Array:
    """Albedo (N, 3) of skin without hair, lips or fine texture: its slow variation.

    Args:
        points: (N, 3) positions.
        atlas: (N, 2) frontal reference positions.
        front: (N,) True on the front of the head, where cheeks and nose are.
        look: the identity's look.
    """
    rng = np.random.default_rng([look.seed, 0])
    x, y = np.abs(atlas[:, 0]), atlas[:, 1]
    red = bump(x, y, 4.0, -3.2, 1.5, 1.2) + 0.8 * bump(x, y, 0.0, -3.9, 0.9, 0.7)
    red = np.where(front, red, 0.0)
    # Two independent fields from one stream: redness varies apart from brightness.
    red += 0.35 * mottling(points, rng)
    tone = look.skin * (1.0 + look.mottling * mottling(points, rng))[:, None]
    shade = 1.0 - occlusion(x, y, front)
    albedo: Array = tone * (1.0 + red[:, None] * np.array([0.02, -0.12, -0.09])) * shade[:, None]
    return albedo


def occlusion(x: Array, y: Array, front: NDArray[np.bool_]) -> Array:
    """Painted shade (N,) that the lighting does not produce: sockets, nose sides, below lips."""
    shade = 0.3 * bump(x, y, 2.9, 0.62, 1.3, 0.36) + 0.3 * bump(x, y, 1.7, 0.1, 0.45, 0.7)
    shade += 0.14 * bump(x, y, 3.1, -0.8, 1.2, 0.3)
    shade += 0.22 * bump(x, y, 1.85, -4.3, 0.25, 0.6) + 0.3 * bump(x, y, 0.0, -5.05, 1.2, 0.2)
    shade += 0.2 * bump(x, y, 0.0, -8.35, 1.5, 0.28) + 0.2 * bump(x, y, 2.85, -6.9, 0.3, 0.25)
    shade += 0.12 * bump(x, y, 1.2, -2.2, 0.4, 1.4)
    shade -= 0.08 * bump(x, y, 0.0, -2.2, 0.4, 2.2)
    shade += 0.25 * smoothstep(np.hypot(x / 7.2, (y + 1.5) / 13.0), 0.82, 1.05)
    return np.clip(np.where(front, shade, 0.4), -0.1, 0.7)
