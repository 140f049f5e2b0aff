"""The encoding of flow: a golden value, and what it takes away."""

from __future__ import annotations

import numpy as np

from deft_llm.motion.encoding import encode_flow


def test_golden_value() -> None:
    u = np.array([[0.0, 2.0], [4.0, 2.0]])  # median 2, SD about it sqrt(2)
    flow = np.stack([u, -3 * u, np.full((2, 2), 0.5)])
    encoded, amplitude = encode_flow(flow)
    np.testing.assert_allclose(amplitude, [np.sqrt(2), 3 * np.sqrt(2), 0.5], rtol=1e-6)
    root = 2**0.25
    np.testing.assert_allclose(encoded[0], [[-root, 0], [root, 0]], rtol=1e-3)
    np.testing.assert_allclose(encoded[2], np.ones((2, 2)), rtol=2e-3)
    assert encoded.dtype == amplitude.dtype == np.float32


def test_shift_and_scale_go_into_the_amplitude() -> None:
    flow = np.random.default_rng(0).normal(size=(5, 2, 3, 16, 16))
    encoded, amplitude = encode_flow(flow)
    moved = 4 * flow
    moved[..., :2, :, :] += 7.0
    again, larger = encode_flow(moved)
    np.testing.assert_allclose(again, encoded, atol=2e-3)
    np.testing.assert_allclose(larger, 4 * amplitude, rtol=1e-5)
    np.testing.assert_allclose(np.median(encoded[..., :2, :, :], axis=(-2, -1)), 0, atol=0.2)


def test_the_input_is_left_as_it_was() -> None:
    flow = np.ones((3, 4, 4), np.float32)
    flow[0, 0, 0] = 5
    kept = flow.copy()
    encode_flow(flow)
    np.testing.assert_array_equal(flow, kept)
