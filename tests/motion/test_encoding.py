from __future__ import annotations

import numpy as np

from deft_llm.motion.encoding import medsqrt, mirror, stretch


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
    np.testing.assert_array_equal(mirror(mirror(encoded)), encoded)
    flipped = flow[..., ::-1] * np.array([-1, 1, 1]).reshape(3, 1, 1)
    np.testing.assert_allclose(mirror(encoded), medsqrt(flipped.transpose(0, 2, 3, 1)), atol=1e-4)
