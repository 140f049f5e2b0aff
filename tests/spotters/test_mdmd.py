"""MDMD at every length of a typical expression, down to a half of one frame."""

from __future__ import annotations

import numpy as np
import pytest

from deft_llm.spotters.mdmd import mdmd, mdmd_curve


@pytest.mark.parametrize("half", [1, 2, 3, 8])
def test_an_expression_of_any_length_is_found(half: int) -> None:
    motion = np.zeros((36, 200), np.float32)
    motion[:, 70 - half : 71 + half] = np.hanning(2 * half + 3)[1:-1]  # comes and goes about 70
    assert mdmd_curve(motion, half).max() > 0
    (found,) = mdmd(motion, half)
    assert abs(found.apex - 70) <= 1
    assert (found.onset, found.offset) == (found.apex - half, found.apex + half)
    assert mdmd(np.ones_like(motion), half) == [], "nothing moves"
