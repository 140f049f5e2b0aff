"""A clip to show."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from deft_llm.data.features import Features


@pytest.fixture
def inputs(make_features: Callable[[int], Features]) -> dict[str, NDArray[Any]]:
    """What all views are made of, of one clip: a patch of the face moves by three pixels."""
    rng = np.random.default_rng(0)
    onset = 255 * rng.random((16, 16, 3)).repeat(8, 0).repeat(8, 1)
    apex = np.roll(onset, 1, axis=0)
    features = make_features(0)
    flow = np.zeros((2, 3, 56, 56), np.float32)
    flow[0, 0, 10:20, 10:20] = 3
    return {
        "key_frames": np.stack([onset, onset, apex]).transpose(0, 3, 1, 2).astype(np.float32),
        "frames": rng.random((9, 3, 32, 32), np.float32),
        "flow": flow,
        "regions": np.asarray(features["regions"], np.float32),
    }
