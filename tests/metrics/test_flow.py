"""Flow errors against hand-made fields."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from deft_llm.errors import UserError
from deft_llm.metrics.flow import FlowErrors, erode, flow_errors, high_pass


def test_endpoint_error_by_bin() -> None:
    truth = np.zeros((2, 20, 30))
    truth[0, :, 10:20], truth[1, :, 20:] = 1.0, 3.0
    flow = truth.copy()
    flow[0, :, :10] += 0.3
    flow[1, :, 10:20] -= 2.0
    flow[:, :, 20:] += np.array([3.0, 4.0])[:, None, None]
    errors = flow_errors(flow, truth)
    assert errors.mean("under_0.5px") == pytest.approx(0.3)
    assert errors.mean("0.5_to_2px") == pytest.approx(2.0)
    assert errors.mean("over_2px") == pytest.approx(5.0)
    assert errors.mean("under_2px") == pytest.approx(1.15)
    assert errors.epe == pytest.approx((0.3 + 2 + 5) / 3)
    rates = [errors.mean(f"rate_{n}px") for n in (1, 3, 5)]
    assert rates == pytest.approx([2 / 3, 1 / 3, 0])


def test_only_the_mask_counts() -> None:
    mask = np.zeros((20, 20), bool)
    mask[4:16, 4:16] = True
    flow = np.where(mask, 0.5, np.nan) * np.ones((2, 1, 1))
    errors = flow_errors(flow, np.zeros((2, 20, 20)), mask)
    assert errors.epe == pytest.approx(0.5 * np.sqrt(2))
    assert errors.counts["all"] == 144
    assert errors.counts["inside"] == 36  # farther than 3 px from the edge
    assert errors.counts["boundary"] == 144 - 36
    assert errors.high_pass_energy == pytest.approx(0, abs=1e-12)  # a uniform error is smooth


def test_inside_and_boundary_are_told_apart() -> None:
    mask = np.zeros((30, 30), bool)
    mask[5:25, 5:25] = True
    error = np.where(erode(mask, 3), 0.1, 1.0)
    errors = flow_errors(np.stack([error, 0 * error]), np.zeros((2, 30, 30)), mask)
    assert errors.mean("inside") == pytest.approx(0.1)
    assert errors.mean("boundary") == pytest.approx(1.0)


def test_high_pass_against_scipy() -> None:
    field = np.random.default_rng(0).normal(size=(2, 48, 48))
    found = high_pass(field, np.ones((48, 48), bool))
    inner = (slice(None), slice(12, -12), slice(12, -12))
    expected = field - gaussian_filter(field, (0, 2, 2), truncate=4)
    np.testing.assert_allclose(found[inner], expected[inner], atol=2e-3)


def test_high_pass_sees_noise_and_not_drift() -> None:
    rng = np.random.default_rng(1)
    y, x = np.mgrid[:64, :64] / 64
    zero = np.zeros((2, 64, 64))
    slow = flow_errors(np.stack([x, y]), zero)
    noise = flow_errors(rng.normal(0, 0.1, (2, 64, 64)), zero)
    assert slow.high_pass_rms < 3e-3 * slow.epe
    # white noise of SD 0.1 in two components, less the share 1 / (4 pi 2^2) that is smooth
    assert noise.high_pass_energy == pytest.approx(0.02 * (1 - 3 / (16 * np.pi)), rel=0.1)
    assert noise.high_pass_rms**2 == pytest.approx(noise.high_pass_energy)


def test_noise_is_judged_where_the_truth_is_smooth() -> None:
    """An edge of motion that a flow has missed is no noise; noise beside it is."""
    truth = np.zeros((2, 64, 64))
    truth[0, :, 32:] = 1.0
    missed = flow_errors(np.zeros((2, 64, 64)), truth)
    assert missed.high_pass_energy > 1e-3 and missed.noise_energy < 1e-4
    noisy = flow_errors(truth + np.random.default_rng(3).normal(0, 0.1, truth.shape), truth)
    assert noisy.noise_energy == pytest.approx(noisy.high_pass_energy, rel=0.05)
    assert 0 < noisy.counts["noise"] < noisy.counts["high_pass"]


def test_scores_add_up_pixel_by_pixel() -> None:
    rng = np.random.default_rng(2)
    flow, truth = rng.normal(size=(2, 2, 12, 16))
    left, right = (
        np.broadcast_to(m, (12, 16)) for m in np.array([[1, 0], [0, 1]], bool).repeat(8, 1)
    )
    whole = flow_errors(flow, truth)
    parts = flow_errors(flow, truth, left) + flow_errors(flow, truth, right)
    for group in ("all", "under_0.5px", "rate_1px"):
        assert parts.mean(group) == pytest.approx(whole.mean(group))
    assert np.isnan(FlowErrors().epe)


def test_wrong_input_is_named() -> None:
    zero = np.zeros((2, 8, 8))
    with pytest.raises(UserError, match=r"\(2, 8, 8\), true \(2, 8, 9\)"):
        flow_errors(zero, np.zeros((2, 8, 9)))
    with pytest.raises(UserError, match=r"mask of shape \(8, 9\)"):
        flow_errors(zero, zero, np.ones((8, 9), bool))
    with pytest.raises(UserError, match="NaN"):
        flow_errors(zero * np.nan, zero)
