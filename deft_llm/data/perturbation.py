"""Changes of a measured clip that leave its labels true, for training on few clips.

A rendered clip costs a second, a changed one a millisecond. What is changed is what a second
recording of the same expression would change: its size, the errors of the measurement, the place of
the face in its frame, the exposure. Kinds and ranges are our own choice.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from deft_llm.data.features import REGION_COLUMNS, Features
from deft_llm.motion.regions import ACTIVE_PX, ACTIVE_Z

Floats = NDArray[np.float32]
_SIZE = 0.6  # the motion is scaled by up to exp(0.6) = 1.8, and down as far
_NOISE = 0.5  # SD of the added error, in noise floors of the region
_NOISE_CELLS = 7  # grid of the error in flow maps: flow errs by patches, not by pixels
_SHIFT = 0.04  # of the image's side
_ZOOM = 0.05
_EXPOSURE = (0.2, 15.0)  # gain about 1, and grey levels
_U, _V, _MAGNITUDE, _PEAK, _NOISE_FLOOR, _Z, _ACTIVE = (
    REGION_COLUMNS.index(name) for name in ("u", "v", "magnitude", "peak", "noise", "z", "active")
)


def perturbed(features: Features, rng: np.random.Generator) -> Features:
    """The features of the same expression as another recording could have measured them.

    Args:
        features: From ``features.pack``; not changed.
        rng: Source of the changes.

    Returns:
        ``onset``, ``texture``, ``flow`` and ``regions`` in the same shapes and types; nothing else.
    """
    scale = float(np.exp(rng.uniform(-_SIZE, _SIZE)))
    table = _scaled_table(features["regions"].astype(np.float32), scale)
    # Both phases of a region are measured against the same frames, but err by themselves.
    error = _NOISE * table[..., _NOISE_FLOOR, None] * rng.standard_normal((*table.shape[:2], 2))
    # A region that is not placed has no motion at all, but keeps its floor.
    error *= table[..., _MAGNITUDE, None] > 0
    table = _with_error(table, error.astype(np.float32))
    flow = scale * features["flow"].astype(np.float32)
    floor = float(np.median(table[..., _NOISE_FLOOR]))
    flow[:, :2] += _patches(rng, len(flow), _NOISE * floor, flow.shape[-1])
    zoom, (dx, dy) = 1 + rng.uniform(-_ZOOM, _ZOOM), rng.uniform(-_SHIFT, _SHIFT, 2)
    gain, offset = 1 + rng.uniform(-1, 1) * _EXPOSURE[0], rng.uniform(-1, 1) * _EXPOSURE[1]
    onset = _placed(features["onset"].astype(np.float32), zoom, dx, dy)
    # A difference of frames grows with motion and gain; an offset cancels in it.
    texture = features["texture"].astype(np.float32) * (scale * gain)
    return {
        "onset": (onset * gain + offset).clip(0, 255).astype(np.uint8),
        "texture": np.stack([_placed(image, zoom, dx, dy) for image in texture]).astype(np.float16),
        "flow": _placed_maps(flow, zoom, dx, dy).astype(np.float16),
        # As in ``features``: z may be larger than float16 holds.
        "regions": table.clip(-1e4, 1e4).astype(np.float16),
    }


def _scaled_table(table: Floats, scale: float) -> Floats:
    """A stronger or weaker expression, measured as well in proportion: z stays."""
    columns = [_U, _V, _MAGNITUDE, _PEAK, _NOISE_FLOOR]
    table[..., columns] *= scale
    return table


def _with_error(table: Floats, error: Floats) -> Floats:
    """Add (P, R, 2) to the mean motion; what follows from it follows."""
    before = table[..., _MAGNITUDE]
    # Regions that are not placed, or exact, have no error: they stay as they are.
    floor = np.maximum(table[..., _NOISE_FLOOR], 1e-6)
    table[..., [_U, _V]] += error
    after = np.hypot(table[..., _U], table[..., _V])
    moved = error.any(axis=-1)
    table[..., _PEAK] += np.where(moved, after - before, 0).clip(-before, None)
    table[..., _MAGNITUDE] = np.where(moved, after, before)
    z = np.where(moved, after / floor, table[..., _Z])
    active = (z >= ACTIVE_Z) & (after >= ACTIVE_PX)
    table[..., _ACTIVE] = np.where(moved, active, table[..., _ACTIVE])
    table[..., _Z] = z
    return table


def _patches(rng: np.random.Generator, phases: int, sd: float, side: int) -> Floats:
    """Smooth errors (P, 2, side, side)."""
    cells = rng.standard_normal((phases * 2, _NOISE_CELLS, _NOISE_CELLS)).astype(np.float32)
    maps = [cv2.resize(sd * c, (side, side), interpolation=cv2.INTER_LINEAR) for c in cells]
    return np.stack(maps).reshape(phases, 2, side, side)


def _placed(image: Floats, zoom: float, dx: float, dy: float) -> Floats:
    """An image (H, W[, C]) zoomed about its middle and shifted by shares of its side."""
    side = image.shape[0]
    middle = (side - 1) / 2
    matrix = np.array(
        [
            [zoom, 0, middle * (1 - zoom) + dx * side],
            [0, zoom, middle * (1 - zoom) + dy * side],
        ]
    )
    placed: Floats = cv2.warpAffine(image, matrix, (side, side), borderMode=cv2.BORDER_REPLICATE)
    return placed


def _placed_maps(maps: Floats, zoom: float, dx: float, dy: float) -> Floats:
    """Flow maps (P, 3, S, S): a nearer face moves by more pixels, its strain stays."""
    phases, channels, side, _ = maps.shape
    # cv2 warps up to four channels at once.
    placed = np.stack([_placed(phase.transpose(1, 2, 0), zoom, dx, dy) for phase in maps])
    result = placed.reshape(phases, side, side, channels).transpose(0, 3, 1, 2)
    result[:, :2] *= zoom
    return result
