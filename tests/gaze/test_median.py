from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from deft_llm.errors import UserError
from deft_llm.gaze.median import (
    MODES,
    local_variance,
    motion_aware_median,
    moving_median,
    window_lengths,
)

RNG = np.random.default_rng(5)


@pytest.mark.parametrize("length", [3, 5, 20, 21])
def test_median_is_that_of_pandas(length: int) -> None:
    # The release filters with pandas, whose even windows lean to the past.
    trace = RNG.normal(0, 1, (60, 2))
    rolled = pd.DataFrame(trace).rolling(length, center=True, min_periods=1).median().to_numpy()
    np.testing.assert_allclose(moving_median(trace, np.full(60, length)), rolled)


def test_what_is_not_known_counts_for_nothing() -> None:
    """As for pandas; a window that looked for it once more left its array."""
    trace = RNG.normal(0, 1, (60, 2))
    trace[10:35] = np.nan
    rolled = pd.DataFrame(trace).rolling(9, center=True, min_periods=1).median().to_numpy()
    found = moving_median(trace, np.full(60, 9))
    np.testing.assert_allclose(found, rolled)
    assert np.isnan(found[14:31]).all() and np.isfinite(found[:14]).all()


def test_variable_windows_hold_the_samples_they_should() -> None:
    trace = RNG.normal(0, 1, (200, 2))
    lengths = RNG.integers(1, 41, 200)
    found = moving_median(trace, lengths)
    for i in range(200):
        low, high = max(i - lengths[i] // 2, 0), min(i + (lengths[i] - 1) // 2, 199)
        np.testing.assert_allclose(found[i], np.median(trace[low : high + 1], axis=0))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("direction", ["paper", "inverse"])
def test_a_spike_goes_and_a_ramp_stays(mode: str, direction: str) -> None:
    ramp = np.stack([np.arange(100.0), 0.5 * np.arange(100.0)], axis=1)
    kept = motion_aware_median(ramp, mode, direction)  # type: ignore[arg-type]
    np.testing.assert_allclose(kept[12:-12], ramp[12:-12], atol=1e-9)
    still = np.full((100, 2), 30.0)
    still[50] = 90
    cleaned = motion_aware_median(still, mode, direction)  # type: ignore[arg-type]
    np.testing.assert_allclose(cleaned, 30.0)


def test_even_windows_lag_by_half_a_sample() -> None:
    # 3 px on a ramp of 6 px a sample: the reason for odd windows.
    ramp = np.repeat(6.0 * np.arange(60)[:, None], 2, axis=1)
    even = moving_median(ramp, np.full(60, 20))
    np.testing.assert_allclose((ramp - even)[15:-15], 3.0)


def test_covariance_as_released() -> None:
    trace = RNG.normal(0, 1, (50, 2))
    rolled = pd.DataFrame(trace).rolling(5).var().to_numpy()
    released = local_variance(trace, "covariance", released=True)
    np.testing.assert_allclose(released, np.hypot(*rolled.T))
    assert np.isnan(released[:4]).all()
    whole = local_variance(trace, "covariance")
    for i in (4, 20, 49):
        assert whole[i] == pytest.approx(np.linalg.norm(np.cov(trace[i - 4 : i + 1].T)))


def test_lengths_follow_the_release() -> None:
    variance = np.concatenate([np.full(4, np.nan), RNG.uniform(0, 40, 96)])
    lengths = window_lengths(variance, odd=False)
    clipped = pd.Series(np.clip(np.nan_to_num(variance, nan=5), 5, 20).astype(int))
    rolled = clipped.rolling(5, center=True, min_periods=1).quantile(0.75).astype(int).clip(5, 20)
    np.testing.assert_array_equal(lengths, rolled)
    assert (window_lengths(variance) % 2 == 1).all()


def test_directions_are_opposite() -> None:
    variance = np.concatenate([np.ones(50), np.full(20, 30.0), np.ones(50)])
    paper = window_lengths(variance)
    inverse = window_lengths(variance, direction="inverse")
    assert paper[60] > paper[20]
    assert inverse[60] < inverse[20]


def test_causal_median_looks_back_only() -> None:
    trace = RNG.normal(0, 1, (80, 2))
    later = trace.copy()
    later[40:] += 50
    one, two = (motion_aware_median(t, direction="paper", causal=True) for t in (trace, later))
    # Lengths are evened over two samples to either side.
    np.testing.assert_array_equal(one[:38], two[:38])


def test_unknown_mode() -> None:
    with pytest.raises(UserError, match="did you mean 'covariance'"):
        local_variance(np.zeros((9, 2)), "covarianc")  # type: ignore[arg-type]
