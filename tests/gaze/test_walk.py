"""The walk is the exact answer to its least squares, and follows events."""

from __future__ import annotations

import numpy as np

from deft_llm.gaze import walk, walk_kernels

RNG = np.random.default_rng(11)


def test_the_system_is_solved() -> None:
    xy, weights = RNG.normal(0, 1, (40, 2)), RNG.uniform(0, 1, 40)
    stiffness = RNG.uniform(0.1, 50, 40)
    step = np.diff(np.eye(40), axis=0)
    matrix = np.diag(weights) + step.T @ np.diag(stiffness[1:]) @ step
    found = np.empty_like(xy)
    walk_kernels.solve(xy, weights, stiffness, found)
    np.testing.assert_allclose(found, np.linalg.solve(matrix, weights[:, None] * xy), atol=1e-6)


def test_with_all_samples_ahead_the_filter_is_the_smoother() -> None:
    # Predictions so near a straight line that none of them counts less.
    xy = np.linspace(0, 1, 60)[:, None] * [1.0, -2.0] + RNG.uniform(-0.01, 0.01, (60, 2))
    usable = np.ones(60, bool)
    variance = np.full(60, 1e3)  # so loose that no prediction is far from the trace
    np.testing.assert_allclose(
        walk.followed(xy, usable, variance, 60), walk.smoothed(xy, usable, variance), atol=1e-3
    )


def test_a_fixation_is_averaged_and_a_saccade_kept() -> None:
    truth = np.repeat([[20.0, 30.0], [50.0, 25.0]], 100, axis=0)
    counts = np.full(200, 50.0)
    counts[100] = 5_000
    xy = truth + RNG.normal(0, 1, truth.shape)
    usable = np.ones(200, bool)
    usual = walk.usual_level(counts, causal=False)
    variance = walk.step_variance(counts, usual, walk.STIFFNESS)
    found = walk.smoothed(xy, usable, variance)
    assert np.hypot(*(found - truth).T).mean() < 0.45 * np.hypot(*(xy - truth).T).mean()
    assert np.hypot(*(found - truth)[98:102].T).max() < 2
    # Without the burst, the saccade is smeared.
    blind = walk.smoothed(xy, usable, np.full(200, variance[0]))
    assert np.hypot(*(blind - truth)[98:102].T).max() > 8


def test_outliers_count_less_and_gaps_are_bridged() -> None:
    xy = np.full((100, 2), 30.0) + RNG.normal(0, 0.1, (100, 2))
    xy[40:43] += 40
    usable = np.ones(100, bool)
    usable[60:70] = False
    xy[60:70] = np.nan
    variance = np.full(100, 1 / walk.STIFFNESS)
    whole = walk.smoothed(xy, usable, variance)
    np.testing.assert_allclose(whole, 30.0, atol=0.5)
    late = walk.followed(xy, usable, variance, 2)
    np.testing.assert_allclose(late, 30.0, atol=1.0)


def test_what_is_followed_does_not_know_what_comes_later() -> None:
    xy, usable = RNG.normal(0, 1, (50, 2)), np.ones(50, bool)
    usable[:3] = False
    variance = np.full(50, 0.1)
    other = xy.copy()
    other[30:] += 9
    one, two = (walk.followed(trace, usable, variance, 2) for trace in (xy, other))
    np.testing.assert_array_equal(one[:28], two[:28])
    assert np.isnan(one[:3]).all()
    assert np.isfinite(one[3:]).all()
    assert np.abs(one[28] - two[28]).max() > 0


def test_in_pieces_as_in_one() -> None:
    xy, usable = RNG.normal(0, 1, (30, 2)), RNG.uniform(0, 1, 30) > 0.2
    variance = RNG.uniform(0.01, 1, 30)
    whole = walk.Follower().take(xy, usable, variance).means
    parts = walk.Follower()
    pieces = [parts.take(xy[i : i + 7], usable[i : i + 7], variance[i : i + 7]).means
              for i in range(0, 30, 7)]  # fmt: skip
    np.testing.assert_array_equal(np.concatenate(pieces), whole)


def test_steps_grow_with_the_events_of_a_saccade() -> None:
    counts = np.array([50.0, 100.0, 200.0, 800.0])
    found = walk.step_variance(counts, np.full(4, 100.0), 200.0)
    np.testing.assert_allclose(found * 200, [1, 1, 4, 64])
