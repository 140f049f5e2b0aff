"""Augmentation of crops from simulated faces.

Crops vary as much as face boxes are inaccurate. Grey levels vary more than between cameras, so
that the network does not learn the look of rendered skin. Distributions are our own.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from deft_llm import facs
from deft_llm.landmark_models.crops import BOX, cut, placed_by_points
from deft_llm.media.canonical import CANONICAL_SIZE, compose, transform

Grey = NDArray[np.uint8]
Points = NDArray[np.floating]
_MIRROR = np.array(facs.MIRROR_68)
# SDs of the crop's place (box widths), of the log of its size, and of its tilt (rad).
_SHIFT, _ZOOM, _TILT = 0.06, 0.11, 0.16
_BENDS = 4  # a face is bent by a grid of 4 x 4 independent displacements
_ROUNDS = 6  # iterations that find where the landmarks moved


def jitter(placement: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    """Disturb a placement (2, 3) like an inaccurate face finder."""
    shift = np.clip(rng.normal(0, _SHIFT, 2), -2 * _SHIFT, 2 * _SHIFT) * BOX
    zoom = np.exp(np.clip(rng.normal(0, _ZOOM), -2 * _ZOOM, 2 * _ZOOM))
    tilt = rng.normal(0, _TILT)
    turn = zoom * np.array([[np.cos(tilt), -np.sin(tilt)], [np.sin(tilt), np.cos(tilt)]])
    centre = np.full(2, (CANONICAL_SIZE - 1) / 2)
    # First the disturbance on the canonical face, then the placement.
    return compose(placement, np.column_stack([turn, centre - turn @ centre + shift]))


def sample(
    image: Grey,
    points: Points,
    rng: np.random.Generator,
    side: int,
    disturb: Callable[[Grey, np.random.Generator], Grey] | None = None,
    warp: float = 0.0,
) -> tuple[Grey, NDArray[np.float32]]:
    """Cut one augmented crop for the network.

    Args:
        image: uint8 grey (H, W).
        points: (68, 2), px of the image.
        rng: Source of randomness.
        side: Side of the crop, px.
        disturb: Changes the grey levels; half of the disturbed crops are also mirrored.
        warp: SD of the smooth displacements that change the face's proportions, as a share of
            the side; the landmarks move along. 0 leaves the face as it is.

    Returns:
        Crop uint8 (side, side), and points float32 (68, 2) in px of the crop.
    """
    crop, matrix = cut(image, jitter(placed_by_points(points), rng), side)
    found = transform(matrix, points)
    if warp > 0:
        crop, found = _warped(crop, found, warp * side, rng)
    if disturb is not None:
        crop = disturb(crop, rng)
        if rng.random() < 0.5:
            # Mirrored left landmarks are right ones: _MIRROR puts them in order again.
            crop, found = crop[:, ::-1], found[_MIRROR] * (-1, 1) + (side - 1, 0)
    return np.ascontiguousarray(crop), found.astype(np.float32)


def _warped(
    crop: Grey, points: NDArray[np.float64], sd: float, rng: np.random.Generator
) -> tuple[Grey, NDArray[np.float64]]:
    """Stretch and bend a face: longer chins, higher brows, proportions that no head has."""
    side = len(crop)
    centre = (side - 1) / 2
    axis = np.arange(side, dtype=np.float32) - np.float32(centre)
    reshaped = cv2.resize(
        rng.normal(0, sd, (_BENDS, _BENDS, 2)).astype(np.float32),
        (side, side),
        interpolation=cv2.INTER_CUBIC,
    )
    # The SD is per px from the centre: at the crop's edge a stretch moves as much as a bend.
    wide, high = rng.normal(0, sd / centre, 2).astype(np.float32)
    shift = reshaped + np.stack(np.broadcast_arrays(wide * axis, high * axis[:, None]), -1)
    grid = np.stack(np.meshgrid(np.arange(side), np.arange(side)), -1).astype(np.float32)
    source = grid + shift
    image = cv2.remap(crop, source, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    # remap shows at p what was at p + shift(p), so a landmark q moves to the p that solves
    # p + shift(p) = q. The field is smooth, so a few fixed-point iterations are enough.
    moved = points.copy()
    for _ in range(_ROUNDS):
        at = moved.astype(np.float32)[None]
        moved = points - cv2.remap(shift, at, None, cv2.INTER_LINEAR)[0]
    return np.asarray(image, np.uint8), moved


def disturb(crop: Grey, rng: np.random.Generator) -> Grey:
    """Change light and tones; add shadows, blur, noise, compression and occluding patches."""
    side = len(crop)
    image = crop.astype(np.float32)
    if rng.random() < 0.5:
        image = _tones(image, rng)
    if rng.random() < 0.5:
        image *= _shadow(rng, side)
    if rng.random() < 0.4:
        image += _clouds(rng, side, 20)
    if rng.random() < 0.5:
        image = _unsharp(image, rng)
    if rng.random() < 0.6:
        image += rng.standard_normal((side, side), np.float32) * np.float32(rng.exponential(5))
    gain, shift = np.exp(rng.normal(0, 0.35)), rng.normal(0, 25)
    image = (image - 128) * np.float32(gain) + np.float32(128 + shift)
    grey = np.clip(np.rint(image), 0, 255).astype(np.uint8)
    if rng.random() < 0.15:
        y, x = rng.integers(0, side, 2)
        height, width = rng.integers(side // 16, side // 3, 2)
        grey[y : y + height, x : x + width] = rng.integers(0, 256)
    if rng.random() < 0.4:
        # Last, as in a camera: the artefacts must not be blurred or rescaled.
        quality = [int(cv2.IMWRITE_JPEG_QUALITY), int(rng.integers(8, 80))]
        coded = cv2.imencode(".jpg", grey, quality)[1]
        grey = np.asarray(cv2.imdecode(coded, cv2.IMREAD_GRAYSCALE), np.uint8)
    return grey


def _tones(image: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """Apply a random rising tone curve; one in ten is inverted."""
    # Steps above 0 that add up to 1 make a curve that never falls.
    steps = rng.dirichlet(np.full(6, 1.5))
    curve = np.concatenate([[0], np.cumsum(steps)]) * 255
    if rng.random() < 0.1:
        curve = curve[::-1]
    levels = np.interp(np.arange(256), np.linspace(0, 255, 7), curve).astype(np.float32)
    return levels[np.clip(image, 0, 255).astype(np.uint8)]


def _shadow(rng: np.random.Generator, side: int) -> NDArray[np.float32]:
    """A brightness factor that falls across the face, gradually or at an edge."""
    y, x = np.mgrid[-1 : 1 : side * 1j, -1 : 1 : side * 1j]
    angle, place = rng.uniform(0, 2 * np.pi), rng.normal(0, 0.4)
    along = np.cos(angle) * x + np.sin(angle) * y + 0.3 * rng.normal() * (x * y)
    # A logistic step, from a soft gradient to a hard edge.
    edge = 1 / (1 + np.exp(-(along - place) * np.exp(rng.uniform(0.5, 3.5))))
    return (1 - rng.uniform(0, 0.7) * edge).astype(np.float32)


def _clouds(rng: np.random.Generator, side: int, strength: float) -> NDArray[np.float32]:
    """Smooth bright and dark spots of a random size."""
    cells = int(rng.integers(3, 24))
    noise = rng.standard_normal((cells, cells)).astype(np.float32)
    scale = np.float32(rng.exponential(0.5) * strength)
    return np.asarray(cv2.resize(noise * scale, (side, side), interpolation=cv2.INTER_CUBIC))


def _unsharp(image: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """Defocus, motion blur, low resolution, or sharpening."""
    side, kind = len(image), rng.integers(4)
    if kind == 0:
        return np.asarray(cv2.GaussianBlur(image, (0, 0), float(rng.uniform(0.4, 2.0))))
    if kind == 1:
        length = int(rng.integers(3, 8))
        kernel = np.zeros((length, length), np.float32)
        end = rng.uniform(0, length, 2).astype(int)
        # A line from the kernel's middle in a random direction: linear motion.
        cv2.line(kernel, (int(end[0]), int(end[1])), (length // 2, length // 2), 1.0)
        return np.asarray(cv2.filter2D(image, -1, kernel / kernel.sum()))
    if kind == 2:
        few = int(side * rng.uniform(0.3, 0.8))
        small = cv2.resize(image, (few, few), interpolation=cv2.INTER_AREA)
        return np.asarray(cv2.resize(small, (side, side), interpolation=cv2.INTER_LINEAR))
    blurred = cv2.GaussianBlur(image, (0, 0), 1.5)
    return np.asarray(image + np.float32(rng.uniform(0.3, 2.0)) * (image - blurred))
