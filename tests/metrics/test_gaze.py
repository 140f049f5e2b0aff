from __future__ import annotations

import numpy as np
import pytest

from deft_llm.errors import UserError
from deft_llm.metrics.gaze import gaze_errors, jitter, spectral_entropy, stable_jitter

SECONDS = np.arange(800) * 0.01
TRUE = 320 + 20 * np.sin(2 * np.pi * 0.4 * SECONDS)
FAST = 30 + 10 * np.sin(2 * np.pi * 1.7 * SECONDS) + 4 * np.sin(2 * np.pi * 0.3 * SECONDS)


def _spikes() -> np.ndarray:
    trace = TRUE.copy()
    trace[[100, 300, 500, 700]] += 30
    return trace


# Computed with the released jitter_metric.py.
@pytest.mark.parametrize(
    ("predicted", "true", "score"),
    [
        (TRUE, TRUE, 0.0),
        (320 + 1.1 * (TRUE - 320), TRUE, 0.005505),
        (TRUE + 2 * np.sin(50 * np.linspace(0, 10, 800)), TRUE, 19.221565),
        (_spikes(), TRUE, 27.397479),
        (FAST + 0.5 * np.sin(2 * np.pi * 13 * SECONDS), FAST, 0.189249),
    ],
)
def test_jitter_is_the_released_one(predicted: np.ndarray, true: np.ndarray, score: float) -> None:
    assert jitter(predicted, true) == pytest.approx(score, abs=2e-6)


def test_jitter_is_blind_to_an_offset() -> None:
    assert jitter(TRUE + 7, TRUE) < 1e-9
    assert spectral_entropy(TRUE, 0.01) == pytest.approx(-0.077194, abs=1e-6)


def test_jitter_of_two_axes_is_their_mean() -> None:
    both = np.stack([_spikes(), TRUE], axis=1)
    true = np.stack([TRUE, TRUE], axis=1)
    assert jitter(both, true) == pytest.approx(27.397479 / 2, abs=2e-6)


def test_stable_jitter_grows_with_noise_and_does_not_explode() -> None:
    noise = np.random.default_rng(0).normal(0, 1, 800)
    scores = [stable_jitter(TRUE + sd * noise, TRUE) for sd in (0, 0.1, 1, 10)]
    assert scores[0] == 0
    assert scores == sorted(scores)
    assert scores[-1] < 3
    # A still eye: the published metric gives tens of thousands here.
    still = np.full(800, 320.0)
    assert stable_jitter(still + noise, still) < 20


def test_errors_of_known_places() -> None:
    true = np.zeros((4, 2))
    places = np.array([[1.0, 0], [3, 4], [0, 0.5], [6, 8]])
    scores = gaze_errors(places, true)
    assert scores["l2"] == pytest.approx((1 + 5 + 0.5 + 10) / 4)
    assert scores["l1"] == pytest.approx((1 + 7 + 0.5 + 14) / 4)
    # Strictly nearer: 1 is not within 1, 5 not within 5, 10 not within 10.
    assert [scores[f"p{k}"] for k in (1, 3, 5, 10)] == [0.25, 0.5, 0.5, 0.75]
    seeing = gaze_errors(places, true, closed=[False, True, False, True])
    assert seeing["l2"] == pytest.approx(0.75)


def test_wrong_shapes_are_told() -> None:
    with pytest.raises(UserError, match=r"expected \(T, 2\) twice"):
        gaze_errors(np.zeros((3, 2)), np.zeros((4, 2)))
    with pytest.raises(UserError, match="expected the same"):
        jitter(np.zeros(5), np.zeros(6))
