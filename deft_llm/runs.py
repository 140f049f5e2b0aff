"""Runs of flags: where something holds without a break."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def runs(flags: NDArray[np.bool_]) -> NDArray[np.int64]:
    """The runs of true flags.

    Args:
        flags: (T,).

    Returns:
        (K, 2): the first place of each run, and the one after its last.
    """
    # Padded, so that a run at either end has a border there too.
    borders = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]]).astype(np.int8)))
    return borders.reshape(-1, 2)
