"""The landmark benchmark: it measures what it can, and leaves out what it cannot."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from deft_llm.clip import Clip
from deft_llm.errors import UserError
from deft_llm.evaluation import benchmark as benchmarks
from deft_llm.evaluation.landmarks.benchmark import FIVE, judged_error
from deft_llm.landmark_models.network import LandmarkConfig, LandmarkNet
from deft_llm.media.canonical import CANONICAL_LANDMARKS, five_points, transform
from deft_llm.media.finders import FaceBox
from deft_llm.media.landmarks import Landmarks
from deft_llm.media.tracking import FaceTrack
from deft_llm.media.video import clip_from_array
from deft_llm.weights import save_network

ROOT = Path(__file__).resolve().parents[3]
PLACED = np.array([[0.8, 0.0, 30.0], [0.0, 0.8, 40.0]])
POINTS = transform(PLACED, CANONICAL_LANDMARKS)


class Judge:
    """Sees the five points of `POINTS`, moved."""

    def __init__(self, shift: tuple[float, float], blind: bool = False) -> None:
        self.shift, self.blind = shift, blind

    def find(self, image: np.ndarray) -> list[FaceBox]:
        five = five_points(POINTS) + self.shift
        return [] if self.blind else [FaceBox(0, 0, 1, 1, 1.0, five)]


class Finder:
    def place(self, clip: Clip, track: FaceTrack, poses: np.ndarray) -> Landmarks:
        return Landmarks(POINTS, np.full(68, 0.01), "known")


def test_distance_from_the_judge() -> None:
    rng = np.random.default_rng(0)
    frame = rng.integers(0, 256, (240, 260, 3)).astype(np.uint8)
    clip = clip_from_array(np.repeat(frame[None], 6, 0), 30, "still")
    track = FaceTrack(np.tile([45.0, 30, 150, 150], (6, 1)), np.ones(6, bool))
    errors = judged_error(clip, track, Finder(), Judge((3.0, 4.0)))  # type: ignore[arg-type]
    five = five_points(POINTS)
    np.testing.assert_allclose(errors, 5 / np.linalg.norm(five[1] - five[0]), rtol=1e-3)
    assert len(errors) == len(FIVE)
    with pytest.raises(UserError, match="sees no face"):
        judged_error(clip, track, Finder(), Judge((0, 0), blind=True))  # type: ignore[arg-type]


def test_benchmark_without_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delenv("DEFT_ICT", raising=False)
    monkeypatch.setenv("DEFT_DATA", str(tmp_path))
    torch.manual_seed(0)
    network = tmp_path / "network"
    network.mkdir()
    save_network(LandmarkNet(LandmarkConfig(side=32, width=4, blocks=1)), network)
    small = ["clips=1", "identities=1", "frames=2", "workers=1"]
    figures, table = benchmarks.run(
        ROOT / "eval" / "benchmarks" / "landmarks.yaml",
        [
            *(f"held_out.{setting}" for setting in [*small, "heads=[own]"]),
            f"network={network}",
            f"one_head={network}",
            f"output={tmp_path / 'output'}",
        ],
    )
    values = {figure.name: figure for figure in figures}
    assert set(values) == {"held_out_nme", "held_out_error_over_stated", "held_out_sureness"}
    assert not values["held_out_nme"].reached  # it has learnt nothing
    assert "other-head is left out" in caplog.text and "real clips are left out" in caplog.text
    assert "both heads" in table and "the other's faces" not in table
