"""How flow enters a network: the encoding of DESIGN's ``flow_uvs`` and ``flow_dual``."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


def encode_flow(flow: NDArray[Any]) -> tuple[Floats, Floats]:
    """Median removed, divided by the SD (strain: RMS), signed square root; and the amplitude.

    The SD is taken about the median. Amplitude comes by itself because published flow images have
    lost it. The encoding ("medsqrt") is our own choice.

    Args:
        flow: (..., 3, S, S): u, v in px, and optical strain, of one or several phases.

    Returns:
        Encoded flow (..., 3, S, S) float32, and what was divided by (..., 3), px (strain: 1).
    """
    centred = flow.astype(np.float32)
    centred[..., :2, :, :] -= np.median(centred[..., :2, :, :], axis=(-2, -1), keepdims=True)
    amplitude = np.sqrt((centred**2).mean((-2, -1)))
    unit = centred / (amplitude[..., None, None] + np.float32(1e-3))
    return (np.sign(unit) * np.sqrt(np.abs(unit))).astype(np.float32), amplitude
