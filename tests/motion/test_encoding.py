"""The encoding of flow: a golden value, and what it takes away."""

from __future__ import annotations

import numpy as np

from deft_llm.motion.encoding import encode_flow, medsqrt, mirror_flow, stretch


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


# ------------------------------------------------------------------ published images


def _flow() -> np.ndarray:
    rng = np.random.default_rng(0)
    flow = rng.standard_normal((5, 3, 28, 28)) ** 3
    flow[:, 2] = np.abs(flow[:, 2])
    return flow


def test_gain_and_offset_do_not_matter() -> None:
    # What publishing as an image throws away, a classifier must not read.
    images = stretch(_flow()).astype(np.float64)
    changed = images * [3.0, 0.5, 2.0] + [10.0, -4.0, 0.0]
    np.testing.assert_allclose(medsqrt(changed), medsqrt(images), atol=1e-4)


def test_scale() -> None:
    encoded = medsqrt(stretch(_flow()))
    assert encoded.shape == (5, 3, 28, 28)
    assert encoded.dtype == np.float32
    assert np.abs(np.median(encoded, axis=(2, 3))).max() == 0
    power = (encoded**4).mean((2, 3))  # the square of what stands under the root
    assert (power[:, 2] > 0.999).all()
    assert (power[:, 2] < 1.001).all()
    assert (np.abs(power[:, :2] - 1) < 0.2).all()  # SD about the mean, zero at the median


def test_exact_flow_and_its_image_are_nearly_the_same() -> None:
    flow = _flow()
    exact, seen = medsqrt(flow.transpose(0, 2, 3, 1)), medsqrt(stretch(flow))
    assert np.corrcoef(exact.ravel(), seen.ravel())[0, 1] > 0.98


def test_stretch_fills_the_range_and_survives_no_motion() -> None:
    images = stretch(_flow())
    assert images.dtype == np.uint8
    assert (images.min((1, 2)) == 0).all()
    assert (images.max((1, 2)) == 255).all()
    assert (stretch(np.zeros((1, 3, 28, 28))) == 0).all()


def test_mirroring_twice_is_nothing_and_commutes_with_encoding() -> None:
    flow = _flow()
    encoded = medsqrt(flow.transpose(0, 2, 3, 1))
    np.testing.assert_array_equal(mirror_flow(mirror_flow(encoded)), encoded)
    flipped = flow[..., ::-1] * np.array([-1, 1, 1]).reshape(3, 1, 1)
    np.testing.assert_allclose(
        mirror_flow(encoded), medsqrt(flipped.transpose(0, 2, 3, 1)), atol=1e-4
    )
