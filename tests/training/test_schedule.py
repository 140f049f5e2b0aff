"""Learning rates, step by step: each kind of training keeps the ones that its figures came from."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import pytest

from deft_llm.training.fold_trainer import FoldSchedule
from deft_llm.training.schedule import LearningRate, Schedule


@pytest.mark.parametrize("shape", ["onecycle", "cosine"])
def test_rates_rise_to_the_peak_and_fall(shape: Any) -> None:
    schedule = Schedule(steps=100, learning_rate=0.5, warmup=0.1, shape=shape)
    rates = [schedule.rate(step, 100) for step in range(100)]
    assert max(rates) == pytest.approx(0.5) and rates.index(max(rates)) == 10
    assert rates[0] < 0.1 and rates[99] < 0.01
    assert all(a < b for a, b in pairwise(rates[:11]))
    assert all(a > b for a, b in pairwise(rates[10:]))


@pytest.mark.parametrize("steps", [1, 7, 40, 313])
def test_rates_of_the_loop(steps: int) -> None:
    for shape in ("onecycle", "cosine"):
        schedule = Schedule.model_validate({"steps": steps, "warmup": 0.1, "shape": shape})
        for step in range(steps):
            if step < 0.1 * steps:
                wanted = (step + 1) / (0.1 * steps + 1)
            else:
                done = (step - 0.1 * steps) / max(1.0, steps - 0.1 * steps)
                wanted = 1 - done if shape == "onecycle" else (1 + math.cos(math.pi * done)) / 2
            assert schedule.rate(step, steps) == pytest.approx(1e-3 * wanted, rel=1e-12, abs=1e-18)


@pytest.mark.parametrize("steps", [1, 7, 40, 313])
def test_rates_of_folds_are_those_of_the_benchmarks_to_the_bit(steps: int) -> None:
    schedule, warm = FoldSchedule(learning_rate=3e-3), 0.05 * steps
    for step in range(steps):
        if step < warm:
            wanted = 3e-3 * (step + 1) / (warm + 1)
        else:
            wanted = 3e-3 * 0.5 * (1 + math.cos(math.pi * (step - warm) / (steps - warm)))
        assert schedule.rate(step, steps) == wanted


@pytest.mark.parametrize("steps", [1, 7, 40, 313])
def test_rates_of_a_whole_cosine(steps: int) -> None:
    """The pre-trained networks of ``prior_flow`` learn by it, adapters of a fold without a rise."""
    risen = LearningRate(shape="whole_cosine")
    flat = LearningRate(shape="cosine", warmup=0)
    for step in range(steps):
        cosine = 0.5 * (1 + math.cos(math.pi * step / steps))
        rise = min(1.0, (step + 1) / (0.05 * steps + 1))
        assert risen.rate(step, steps) == pytest.approx(1e-3 * rise * cosine, rel=1e-12)
        assert flat.rate(step, steps) == 1e-3 * cosine


def test_a_constant_rate_has_no_rise() -> None:
    assert {LearningRate(shape="constant").rate(step, 50) for step in range(50)} == {1e-3}
