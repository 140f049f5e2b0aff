"""Close the eyes of a photo: the skin of the upper lid is drawn down over the eye."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import PchipInterpolator

from deft_llm.media.canonical import invert, transform

Floats = NDArray[np.float32]
# Landmarks of the subject's right and left eye: upper and lower margin, and the brow above.
_EYES = (
    ((36, 37, 38, 39), (36, 41, 40, 39), (17, 18, 19, 20, 21)),
    ((42, 43, 44, 45), (42, 47, 46, 45), (22, 23, 24, 25, 26)),
)
# Landmarks of a margin may lie in the eye: the skin that is drawn starts this much above, canonical
# px, and ends as much below.
_ABOVE, _BELOW = 4.5, 2.0
_FOLD = 0.6  # share of the skin between lid and brow that is drawn down
_LASHES, _LASH_WIDTH = 0.45, 1.0  # how much darker the lashes are, and half their height in px


def close_lids(
    image: Floats,
    to_canonical: NDArray[np.float64],
    landmarks: NDArray[np.float64],
    closure: tuple[float, float],
) -> Floats:
    """A frame with its eyes closed further.

    Args:
        image: (H, W, 3).
        to_canonical: (2, 3) from its pixels to canonical pixels.
        landmarks: (68, 2) canonical pixels.
        closure: Of the subject's (right, left) eye: 0 leaves it, 1 shuts it.

    Returns:
        (H, W, 3); equal to the image where there is no lid.
    """
    for eye, shut in zip(_EYES, closure, strict=True):
        if shut > 0:
            image = _close(image, to_canonical, landmarks, eye, shut)
    return image


def _close(
    image: Floats,
    to_canonical: NDArray[np.float64],
    landmarks: NDArray[np.float64],
    eye: tuple[tuple[int, ...], ...],
    shut: float,
) -> Floats:
    upper, lower, brow = (landmarks[list(part)] for part in eye)
    rows, columns = np.mgrid[: image.shape[0], : image.shape[1]]
    points = transform(to_canonical, np.stack([columns, rows], axis=-1).astype(np.float64))
    x, y = points[..., 0], points[..., 1]
    across = np.clip(x, upper[0, 0], upper[-1, 0])
    margin = PchipInterpolator(*upper.T)(across) - _ABOVE
    end = PchipInterpolator(*lower.T)(across) + _BELOW
    # Where the skin starts to move.
    top = margin - _FOLD * np.maximum(margin - np.interp(across, *brow.T), 4.0)
    down = margin + shut * np.maximum(end - margin, 0)
    share = np.clip((y - top) / (down - top), 0, 1)
    # Squared: the motion starts gently in the fold, and is whole at the margin.
    source = np.stack([x, y - (down - margin) * share**2], axis=-1)
    place = transform(invert(to_canonical), source).astype(np.float32)
    lid = cv2.remap(image, place, None, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    # The lashes are at rest above the eye already, so they come in as the lid leaves its place.
    lashes = min(3 * shut, 1.0) * _LASHES * np.exp(-(((y - down) / _LASH_WIDTH) ** 2))
    lid = lid * (1 - lashes[..., None])
    # From corner to corner, without a hard side.
    width = upper[-1, 0] - upper[0, 0]
    inside = np.clip((0.55 * width - np.abs(x - upper[[0, -1], 0].mean())) / (0.08 * width), 0, 1)
    cover = (np.clip(down - y + 0.5, 0, 1) * (y > top) * inside)[..., None]
    return np.asarray(cover * lid + (1 - cover) * image, np.float32)
