"""What simulated eyes and their cameras look like; all distributions are our own choice."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from deft_llm.media.events import DVXPLORER

Floats = NDArray[np.float64]
_IRIS_SIDE, LASH_ROWS = 200, 46  # px of the textures


@dataclass(frozen=True)
class EyeLook:
    """What an eye looks like, and the sensor before it; px of the sensor, light from 0 to 1.

    Attributes:
        centre: (2,) of the opening.
        iris: Radius.
        pupil: Mean radius.
        opening: Half of the width, height above and below the centre.
        reach: Furthest gaze to a side, and up or down.
        levels: Light of skin, sclera, iris, pupil, lashes.
        texture: (S, S) of the iris, factors.
        lashes: (L, C) share of the light that passes below the lid's edge.
        skin: (H, W) texture, factors.
        glints: (G, 4) x and y from the centre, radius, light.
        rise: (H, W) thresholds for more light, of its logarithm.
        fall: (H, W) for less.
        background: Noise events of a pixel a second.
        hot: (K, 3) x, y and events a second of the hot pixels.
        sway: SD of the motion of the whole eye.
    """

    centre: Floats
    iris: float
    pupil: float
    opening: Floats
    reach: tuple[float, float]
    levels: NDArray[np.float32]
    texture: NDArray[np.float32]
    lashes: NDArray[np.float32]
    skin: NDArray[np.float32]
    glints: Floats
    rise: NDArray[np.float32]
    fall: NDArray[np.float32]
    background: float
    hot: Floats
    sway: float


def draw_eye(rng: np.random.Generator) -> EyeLook:
    """Draw a person's eye, the camera and the light."""
    width, height = DVXPLORER
    iris = rng.uniform(52, 78)
    opening = np.array([iris * rng.uniform(1.7, 2.1), iris * rng.uniform(0.65, 1.0), 0.0])
    opening[2] = iris * rng.uniform(0.6, 0.85)
    skin, sclera = rng.uniform(0.45, 0.75), rng.uniform(0.5, 0.85)
    levels = [skin, sclera, rng.uniform(0.2, 0.45), rng.uniform(0.04, 0.1), rng.uniform(0.1, 0.25)]
    glints = [
        [*rng.normal(0, 14, 2), rng.uniform(2.5, 5), 1.5] for _ in range(int(rng.integers(1, 4)))
    ]
    threshold, spread = rng.uniform(0.18, 0.35), rng.uniform(0.02, 0.05)
    unequal = rng.uniform(0.9, 1.1)
    rise, fall = (
        np.clip(rng.normal(mean, spread * mean, (height, width)), 0.5 * mean, None)
        for mean in (threshold, threshold * unequal)
    )
    hot = rng.uniform([0, 0, 20], [width, height, 300], (int(rng.integers(3, 40)), 3))
    return EyeLook(
        centre=np.array([width / 2, height / 2]) + rng.normal(0, [35, 25]),
        iris=iris,
        pupil=iris * rng.uniform(0.3, 0.62),
        opening=opening,
        reach=(opening[0] * 0.62, opening[1] * 0.7),
        levels=np.array(levels, np.float32),
        texture=_iris_texture(rng, iris),
        lashes=_lashes(rng, opening[0]),
        skin=_patches(rng, (height, width), 6.0, 0.06),
        glints=np.array(glints),
        rise=rise.astype(np.float32),
        fall=fall.astype(np.float32),
        background=float(np.exp(rng.uniform(np.log(0.02), np.log(0.3)))),
        hot=hot,
        sway=float(rng.uniform(0.3, 2.5)),
    )


def _patches(
    rng: np.random.Generator, shape: tuple[int, int], size: float, contrast: float
) -> NDArray[np.float32]:
    """Factors about 1, smooth over ``size`` px."""
    smooth = gaussian_filter(rng.normal(0, 1, shape), size)
    return (1 + contrast * smooth / smooth.std()).astype(np.float32)


def _iris_texture(rng: np.random.Generator, iris: float) -> NDArray[np.float32]:
    """Spokes and rings, factors about 1."""
    half = _IRIS_SIDE // 2
    y, x = np.mgrid[-half:half, -half:half]
    angle, away = np.arctan2(y, x), np.hypot(x, y) / iris
    texture = np.ones((_IRIS_SIDE, _IRIS_SIDE))
    for spokes in rng.integers(5, 40, 4):
        texture += 0.05 * np.cos(spokes * angle + rng.uniform(0, 6) + rng.normal(0, 3) * away)
    # The limbus is darker.
    texture *= 1 - 0.3 * np.clip((away - 0.85) / 0.15, 0, 1)
    return np.clip(texture, 0.4, 1.6).astype(np.float32)


def _lashes(rng: np.random.Generator, half_width: float) -> NDArray[np.float32]:
    """Share of the light that passes below the upper lid's edge, by row and column."""
    columns = int(2 * half_width)
    passed = np.ones((LASH_ROWS, columns), np.float32)
    length = rng.uniform(8, LASH_ROWS - 6)
    for root in rng.uniform(0, columns, int(rng.integers(10, 45))):
        lean = (root / columns - 0.5) * 1.2 + rng.normal(0, 0.15)
        for row in range(int(length * rng.uniform(0.6, 1.1))):
            col = int(root + lean * row)
            if row < LASH_ROWS and 0 <= col < columns - 1:
                passed[row, col : col + 2] *= 0.45
    return passed
