"""The linear system of a field of motion."""

from __future__ import annotations

import numpy as np

from deft_llm.motion.motion_equations import MotionEquations, _Buffers
from deft_llm.motion.pixels import FloatArray


def random_system(height: int, width: int) -> tuple[MotionEquations, FloatArray, FloatArray]:
    rng = np.random.default_rng(0)
    image, change = rng.normal(0, 30, (2, height, width)).astype(np.float32)
    return MotionEquations(image), change, rng.normal(0, 2, (2, height, width)).astype(np.float32)


def test_buffers_change_no_bit() -> None:
    """All measured figures rest on these sums: in place, they are those of new arrays."""
    system, _, flow = random_system(31, 40)
    smooth, shrink = np.float32(70), np.float32(0.2)
    found = system._apply(flow, smooth, shrink, _Buffers(flow.shape))
    u, v = flow
    data = np.stack([system.xx * u + system.xy * v, system.xy * u + system.yy * v])
    padded = np.pad(flow, ((0, 0), (1, 1), (1, 1)), mode="edge")
    around = padded[:, :-2, 1:-1] + padded[:, 2:, 1:-1]
    around = around + padded[:, 1:-1, :-2] + padded[:, 1:-1, 2:]
    np.testing.assert_array_equal(found, data + smooth * (4 * flow - around) + shrink * flow)


def test_the_known_motion_is_the_solution_where_nothing_changed() -> None:
    """Without penalties, and nothing that is given is written to."""
    system, change, known = random_system(24, 33)
    before = change.copy(), known.copy()
    still = np.zeros_like(change)
    np.testing.assert_allclose(system.solve(still, known, 0.0), known, atol=1e-3)
    assert np.abs(system.solve(change, known, 0.0) - known).max() > 0.1
    np.testing.assert_array_equal(change, before[0])
    np.testing.assert_array_equal(known, before[1])
