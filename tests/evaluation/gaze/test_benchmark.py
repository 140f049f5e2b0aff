"""The benchmark of gaze: every figure that a bar may name is measured, and means what it says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from deft_llm.evaluation.gaze import trackers
from deft_llm.evaluation.gaze.benchmark import TRACKERS, GazeBenchmark
from deft_llm.gaze.network import TrackerConfig, TrackerNet
from deft_llm.gaze.recordings import CELL, EyeData
from deft_llm.simulator.events import EyeSpec, simulate_eye
from deft_llm.weights import save_network


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("tracker")
    save_network(TrackerNet(TrackerConfig(width=4, dilations=(1,))), folder)
    return folder


def test_every_figure_is_measured(network: Path) -> None:
    data = EyeData(recordings=2, seconds=1.5, first_eye=900_000, seed=9_500_000, workers=1)
    benchmark = GazeBenchmark(benchmark="gaze", network=network, recordings=data)
    figures, table = benchmark.measure()
    values = {figure.name: figure.value for figure in figures}
    assert set(values) == set(benchmark.figure_names())
    assert values["oracle_gain"] > 0.3
    # A reduction is what it says.
    refined, raw = values["oracle_refined_l2"], values["oracle_l2"]
    assert values["oracle_gain"] == pytest.approx(1 - refined / raw)
    assert all(tracker in table for tracker in TRACKERS)
    assert "released" in table


def test_trackers_follow_the_eye() -> None:
    made = simulate_eye(EyeSpec(seed=2, eye=71, seconds=1.0, activity="saccade"))
    truth, seeing = made.pupil / CELL, ~made.closed
    noisy = trackers.oracle(made, 1.5)
    assert np.hypot(*(noisy - truth)[seeing].T).mean() == pytest.approx(1.88, rel=0.2)
    near = np.hypot(*(trackers.centroid(made) - truth)[seeing].T)
    assert np.median(near) < 6
