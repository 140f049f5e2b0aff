"""The tracker: small, causal, the same whether it sees a recording at once or period by period."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from deft_llm.config import read_yaml
from deft_llm.errors import UserError
from deft_llm.gaze.files import WEIGHTS, load_tracker
from deft_llm.gaze.grid import event_frames
from deft_llm.gaze.network import TrackerConfig, TrackerNet, tracker_loss
from deft_llm.gaze.recordings import CELL
from deft_llm.gaze.task import GazeRecipe, _surfaces
from deft_llm.gaze.tracker import Tracker, joined
from deft_llm.media.events import DVXPLORER, Events
from deft_llm.metrics.gaze import gaze_errors
from deft_llm.simulator.events import EyeRecording
from deft_llm.training import tasks
from deft_llm.weights import save_network

RECIPES = Path(__file__).resolve().parents[2] / "train_configs" / "gaze"


@pytest.fixture(scope="module")
def network() -> TrackerNet:
    torch.manual_seed(0)
    return TrackerNet(TrackerConfig()).eval()


@pytest.fixture(scope="module")
def frames() -> torch.Tensor:
    rng = np.random.default_rng(0)
    return torch.from_numpy(rng.poisson(0.3, (2, 12, 2, 30, 40)).astype(np.uint8))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("first_eye=1359", "validation.first_eye 1359: 1 of"),
        ("seed=4999990", "seed 4999990: 10 of"),
    ],
)
def test_validation_shares_neither_eyes_nor_motions(change: str, told: str) -> None:
    with pytest.raises(UserError, match=told):
        tasks.run(RECIPES / "small.yaml", [f"validation.{change}"])


@torch.no_grad()
def test_period_by_period_equals_at_once(network: TrackerNet, frames: torch.Tensor) -> None:
    whole = network(frames)
    state, points, closed = None, [], []
    for part in frames.split([1, 4, 2, 5], dim=1):
        found = network(part, state)
        state = found.state
        points.append(found.points)
        closed.append(found.closed)
    torch.testing.assert_close(torch.cat(points, 1), whole.points, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(torch.cat(closed, 1), whole.closed, atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_later_frames_change_nothing(network: TrackerNet, frames: torch.Tensor) -> None:
    other = frames.clone()
    other[:, 7:] = 9
    before, after = network(frames).points, network(other).points
    torch.testing.assert_close(before[:, :7], after[:, :7])
    assert not torch.allclose(before[:, 7:], after[:, 7:])


def test_size(network: TrackerNet) -> None:
    assert sum(p.numel() for p in network.parameters()) <= 50_000
    values = read_yaml(RECIPES / "small.yaml")
    values.pop("task")
    made = TrackerNet(GazeRecipe(**values).model)
    assert sum(p.numel() for p in made.parameters()) <= 50_000


@torch.no_grad()
def test_surfaces_of_training_are_the_networks(network: TrackerNet, frames: torch.Tensor) -> None:
    found = network(frames).state[0][0].numpy()
    expected = _surfaces(frames[0].numpy(), network.config)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


def test_loss_is_lowest_at_the_truth(network: TrackerNet, frames: torch.Tensor) -> None:
    found = network(frames)
    closed = torch.zeros(found.closed.shape)
    true = tracker_loss(found, found.points.detach(), closed, warm=2)
    away = tracker_loss(found, found.points.detach() + 3, closed, warm=2)
    assert true["distance"] < 0.05 < away["distance"]
    away["loss"].backward()
    assert all(p.grad is not None for p in network.parameters())
    network.zero_grad()


def test_frames_count_every_event_once() -> None:
    t = np.array([0, 1, 10_000, 10_001, 20_000, 20_001])
    x, y = np.array([0, 639, 8, 16, 16, 0]), np.array([0, 479, 0, 16, 0, 0])
    events = Events(t, x.astype(np.int16), y.astype(np.int16), np.array([1, 0] * 3, np.uint8))
    found = event_frames(events, np.array([10_000, 20_000]), DVXPLORER, 10_000, (40, 30))
    assert found.shape == (2, 2, 30, 40)
    # After an edge up to the next: the one at 0 belongs to the period before.
    assert found[0].sum() == 2
    assert found[0, 1, 29, 39] == 1
    assert found[0, 0, 0, 0] == 1
    assert found[1].sum() == 2


def test_a_recipe_runs_and_its_network_tracks(
    tmp_path: Path, recording: EyeRecording, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    tasks.run(RECIPES / "smoke.yaml", ["output=run"])
    tracker = Tracker(tmp_path / "run" / "final")
    found = joined(list(tracker.follow(recording.events)))
    assert len(found.xy) >= 299
    assert np.isfinite(found.xy).all()
    assert ((found.closed >= 0) & (found.closed <= 1)).all()


def test_saved_and_loaded(tmp_path: Path, network: TrackerNet, frames: torch.Tensor) -> None:
    save_network(network, tmp_path)
    again = load_tracker(tmp_path)
    with torch.no_grad():
        torch.testing.assert_close(again(frames).points, network(frames).points)


@pytest.mark.skipif(not WEIGHTS.is_dir(), reason="no trained tracker yet")
def test_the_committed_tracker_tracks(recording: EyeRecording) -> None:
    found = Tracker().track(recording.events, recording.times)
    scores = gaze_errors(found.xy, recording.pupil / CELL, recording.closed)
    assert scores["l2"] < 3
