"""The measured motion of regions against the exact one, between the frames that were measured."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from deft_llm.media.canonical import CANONICAL_SIZE
from deft_llm.motion.measure import Measurement
from deft_llm.motion.regions import region_masks, region_motion
from deft_llm.simulator.warped.film import Take
from deft_llm.simulator.warped.motion import PAD
from deft_llm.simulator.warped.portrait import Portrait

_CLEAR_PX = 0.1  # exact motion from which a region is expected to be found
_SLIGHT_PX = 0.02  # exact motion below which no direction is right
_WITHIN = float(np.cos(np.radians(45)))  # as for claims


def exact_motion(take: Take, portrait: Portrait, onset: int, apex: int) -> NDArray[np.float32]:
    """Exact motion of every region between two frames of a take, (R, 2) canonical px."""
    square = slice(PAD, PAD + CANONICAL_SIZE)
    change = np.float32(take.levels[apex] - take.levels[onset])
    masks = region_masks(portrait.landmarks.astype(np.float32), CANONICAL_SIZE)
    return region_motion(change * take.field[:, square, square], masks)


def against(measured: Measurement, exact: NDArray[np.float32]) -> dict[str, Any]:
    """The region table against the exact motion: ``errors``, ``stated`` and ``moved`` of a row."""
    table = measured.table_apex
    shown = np.stack([table.u, table.v], axis=1)
    length = np.linalg.norm(exact, axis=1)
    # The cosine without its division, which would fail for a region at rest.
    along = (shown * exact).sum(axis=1) >= _WITHIN * length * table.magnitude
    right = table.active & along & (length >= _SLIGHT_PX)
    clear = length >= _CLEAR_PX
    errors = np.linalg.norm(shown - exact, axis=1)[table.placed]
    return {
        "errors": tuple(errors.tolist()),
        "stated": tuple(right[table.active].tolist()),
        "moved": tuple(right[clear].tolist()),
    }
