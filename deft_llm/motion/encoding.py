"""Flow as numbers for a classifier: the one encoding that real and simulated flow share.

Published 28x28 flow images are min-max stretched to 0..255 channel by channel, so amplitude, the
ratio of u to v and the zero are lost. The median is a good zero (most of a face does not move),
the SD a good unit, and the square root keeps a blink from drowning the rest: measured on real
images, a logistic regression gains several hundredths of UF1 by it over raw pixels.

Letters: N images, S side.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def stretch(flow: NDArray[Any]) -> NDArray[np.uint8]:
    """Flow as the published images hold it.

    Args:
        flow: (N, 3, S, S) u, v, strain in any unit.

    Returns:
        uint8 (N, S, S, 3), each channel of each image stretched to 0..255; a constant one is 0.
    """
    low = flow.min((2, 3), keepdims=True)
    span = flow.max((2, 3), keepdims=True) - low
    unit = (flow - low) / np.where(span > 0, span, 1)
    return np.ascontiguousarray(np.rint(255 * unit).astype(np.uint8).transpose(0, 2, 3, 1))


def medsqrt(images: NDArray[Any]) -> NDArray[np.float32]:
    """Median removed, divided by the SD (strain: by the RMS), signed square root.

    Args:
        images: (N, S, S, 3) u, v, strain, any unit: invariant to a positive gain and an offset
            of each channel of each image.

    Returns:
        (N, 3, S, S) float32, of the order of 1.
    """
    x = images.transpose(0, 3, 1, 2).astype(np.float32)
    x = x - np.median(x, axis=(2, 3), keepdims=True)
    scale = x.std((2, 3), keepdims=True)
    scale[:, 2:] = np.sqrt((x[:, 2:] ** 2).mean((2, 3), keepdims=True))
    x /= np.maximum(scale, 1e-6)
    encoded: NDArray[np.float32] = np.sign(x) * np.sqrt(np.abs(x))
    return encoded


def mirror(encoded: NDArray[np.float32]) -> NDArray[np.float32]:
    """Left-right flip of (N, 3, S, S): u changes its sign."""
    flipped = encoded[..., ::-1].copy()
    flipped[:, 0] *= -1
    return flipped
