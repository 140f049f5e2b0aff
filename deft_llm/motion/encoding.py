"""Encode flow for networks: the inputs ``flow_uvs`` and ``flow_dual``, from flow or from images.

Published 28x28 flow images are min-max stretched to 0..255 channel by channel, so amplitude, the
ratio of u to v and the zero are lost. The median is a good zero (most of a face does not move),
the SD is a good scale, and the square root limits the weight of a blink: on real images a logistic
regression gains several hundredths of UF1 with it over raw pixels. Flow in pixels is encoded in
the same way, except for strain, whose zero is known there.

Letters: N images, S side.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


def encode_flow(flow: NDArray[Any]) -> tuple[Floats, Floats]:
    """Encode flow: subtract the median, divide by the SD, take the signed square root.

    The SD is taken about the median. Strain is not shifted and is divided by its RMS. Amplitude is
    returned separately, because published flow images have lost it. The encoding ("medsqrt") is our
    own choice.

    Args:
        flow: (..., 3, S, S): u, v in px, and optical strain, of one or several phases.

    Returns:
        Encoded flow (..., 3, S, S) float32, and the amplitude (..., 3) that it was divided by, px
        (strain: dimensionless).
    """
    centred = flow.astype(np.float32)
    centred[..., :2, :, :] -= np.median(centred[..., :2, :, :], axis=(-2, -1), keepdims=True)
    # About the median, the zero that is known here. `medsqrt` divides u and v by the SD about the
    # mean, which is smaller by what mean and median are apart. Networks were trained with either,
    # so both stay as they are.
    amplitude = np.sqrt((centred**2).mean((-2, -1)))
    # The small constant keeps flow that is zero everywhere at zero.
    unit = centred / (amplitude[..., None, None] + np.float32(1e-3))
    return (np.sign(unit) * np.sqrt(np.abs(unit))).astype(np.float32), amplitude


def stretch(flow: NDArray[Any]) -> NDArray[np.uint8]:
    """Flow in the form of the published images.

    Args:
        flow: (N, 3, S, S) u, v, strain in any unit.

    Returns:
        uint8 (N, S, S, 3), each channel of each image stretched to 0..255; a constant one is 0.
    """
    low = flow.min((2, 3), keepdims=True)
    span = flow.max((2, 3), keepdims=True) - low
    unit = (flow - low) / np.where(span > 0, span, 1)
    return np.ascontiguousarray(np.rint(255 * unit).astype(np.uint8).transpose(0, 2, 3, 1))


def medsqrt(images: NDArray[Any]) -> Floats:
    """Encode flow images: subtract the median, divide by SD (strain: RMS), signed square root.

    Args:
        images: (N, S, S, 3) u, v, strain, any unit. The result does not depend on a positive gain
            and an offset of each channel of each image.

    Returns:
        (N, 3, S, S) float32, of the order of 1.
    """
    x = images.transpose(0, 3, 1, 2).astype(np.float32)
    # Strain too is centred here: stretched images have lost its zero.
    x = x - np.median(x, axis=(2, 3), keepdims=True)
    scale = x.std((2, 3), keepdims=True)
    scale[:, 2:] = np.sqrt((x[:, 2:] ** 2).mean((2, 3), keepdims=True))
    x /= np.maximum(scale, 1e-6)
    encoded: Floats = np.sign(x) * np.sqrt(np.abs(x))
    return encoded


def mirror_flow(encoded: Floats) -> Floats:
    """Left-right flip of (N, 3, S, S): u changes its sign."""
    flipped = encoded[..., ::-1].copy()
    # Channel 0 is u, which points to image right; v and strain do not depend on the side. The
    # encoding keeps signs, so encoded flow can be flipped directly.
    flipped[:, 0] *= -1
    return flipped
