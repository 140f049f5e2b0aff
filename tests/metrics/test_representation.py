"""Probe and alignment on features whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest

from deft_llm.metrics.representation import cka, linear_probe


def noise(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape)


def test_probe_reads_what_is_there_and_nothing_else() -> None:
    labels = np.arange(400) % 10
    hidden = noise(0, 10, 64)[labels] + 0.5 * noise(1, 400, 64)
    assert linear_probe(hidden, labels) > 0.99
    # Chance is 0.1; four standard errors of 400 guesses are 0.06. Wide features are no excuse.
    assert abs(linear_probe(noise(2, 400, 600), labels) - 0.1) < 0.06


def test_alignment_ignores_rotation_and_scale() -> None:
    features = noise(0, 80, 12)
    turn, _ = np.linalg.qr(noise(1, 12, 12))
    assert cka(features, 3.0 * features @ turn + 5.0) == pytest.approx(1.0)


def test_alignment_of_strangers_is_nothing_even_when_wide() -> None:
    values = [cka(noise(k, 60, 2000), noise(k + 100, 60, 3000)) for k in range(20)]
    assert abs(np.mean(values)) < 0.02
    assert cka(noise(0, 60, 5), np.ones((60, 3))) == 0.0


def test_alignment_by_hand() -> None:
    """Against the sum over all index tuples that the unbiased HSIC stands for."""
    a, b = noise(3, 6, 2), noise(4, 6, 3)
    k, m = ((x - x.mean(0)) @ (x - x.mean(0)).T for x in (a, b))

    def hsic(p: np.ndarray, q: np.ndarray) -> float:
        n, total = len(p), 0.0
        tuples = 0
        for i in range(n):
            for j in range(n):
                for r in range(n):
                    for s in range(n):
                        if len({i, j, r, s}) == 4:
                            total += p[i, j] * (q[i, j] + q[r, s] - 2 * q[i, r])
                            tuples += 1
        return total / tuples

    assert cka(a, b) == pytest.approx(hsic(k, m) / np.sqrt(hsic(k, k) * hsic(m, m)))
