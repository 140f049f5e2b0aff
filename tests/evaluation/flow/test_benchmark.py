"""SRFlow's benchmark: its baselines are what they say, and no face is on both sides."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from deft_llm.errors import UserError
from deft_llm.evaluation import benchmark as benchmarks
from deft_llm.evaluation.flow.benchmark import require_unseen_faces, with_head
from deft_llm.evaluation.flow.estimators import ScoredPair, rigid_fit, tune
from deft_llm.flow_models.pairs import PairData, PairStore, build_pairs
from deft_llm.flow_models.skflow import SKFlow, SKFlowConfig
from deft_llm.metrics.flow import flow_errors
from deft_llm.weights import save_network
from tests.evaluation.flow.conftest import SETS

ROOT = Path(__file__).resolve().parents[3]
DATA = PairData(clips=1, identities=1, crop=64, crops=1, workers=1)


def pair_of(truth: np.ndarray, mask: np.ndarray) -> ScoredPair:
    image = np.zeros((*mask.shape, 3), np.uint8)
    return ScoredPair(image, image, truth.astype(np.float32), mask)


def test_rigid_fit_is_exact_for_rigid_motion() -> None:
    y, x = np.mgrid[:40, :50].astype(float)
    angle, shift = 0.02, np.array([0.4, -0.7])
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    moved = np.einsum("ij,jhw->ihw", turn, np.stack([x, y])) + shift[:, None, None]
    truth = moved - np.stack([x, y])
    mask = (x > 10) & (y < 30)
    np.testing.assert_allclose(rigid_fit(pair_of(truth, mask)), truth, atol=1e-4)


def test_rigid_fit_is_no_better_than_least_squares_allow() -> None:
    truth = np.random.default_rng(0).normal(size=(2, 30, 30))
    fitted = rigid_fit(pair_of(truth, np.ones((30, 30), bool)))
    mean = truth.mean((1, 2), keepdims=True)
    assert ((fitted - truth) ** 2).sum() <= ((mean - truth) ** 2).sum() + 1e-6
    assert flow_errors(fitted, truth).epe > 0.5


def test_faces_are_kept_apart() -> None:
    require_unseen_faces(DATA, DATA.model_copy(update={"first_identity": 1001}))
    require_unseen_faces(DATA, DATA.model_copy(update={"head": "ict"}))
    with pytest.raises(UserError, match="share subject own001000; set the ranges apart"):
        require_unseen_faces(DATA, DATA)


def test_without_the_other_head_it_says_so(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    other = DATA.model_copy(update={"head": "ict"})
    monkeypatch.delenv("DEFT_ICT", raising=False)
    monkeypatch.setenv("DEFT_DATA", str(tmp_path))
    assert with_head(other).head == "own"
    assert "DEFT_ICT" in caplog.text
    monkeypatch.setenv("DEFT_ICT", str(tmp_path / "head.safetensors"))
    assert with_head(other).head_file == tmp_path / "head.safetensors"
    assert with_head(DATA) is DATA


def test_tuning_takes_the_least_error(tmp_path: Path) -> None:
    build_pairs(DATA, tmp_path)
    store = PairStore(tmp_path)
    chosen, errors = tune("lk", [{"damping": 1e9}], store)
    with_none, _ = tune("lk", [], store)
    assert with_none == {} and errors.mean("under_2px") > 0
    # so much damping is no flow at all; the lesser of the two must have been taken
    worse = [e for p in ({}, {"damping": 1e9}) for e in [tune("lk", [p], store)[1]]]
    assert errors.mean("under_2px") == min(e.mean("under_2px") for e in worse)
    assert chosen in ({}, {"damping": 1e9})


def test_whole_benchmark(
    tmp_path: Path, frames_folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    torch.manual_seed(0)
    config = SKFlowConfig(width=0.0625, stride=4, attention_pool=4, positions=0, iterations=2)
    network = tmp_path / "network"
    network.mkdir()
    save_network(SKFlow(config.model_copy(update={"levels": 1, "radius": 1})), network)
    small = ["clips=1", "identities=1", "crop=48", "crops=1", "workers=1"]
    figures, table = benchmarks.run(
        ROOT / "eval" / "benchmarks" / "srflow.yaml",
        [
            *(f"tuning.{setting}" for setting in small),
            *(f"test.{setting}" for setting in [*small, "head=own"]),
            "presets={lk: [], dis: []}",
            f"recognition={SETS.model_dump_json()}",
            f"networks={{srflow: {network}, all: {tmp_path / 'nowhere'}}}",
            f"output={frames_folder}",
        ],
    )
    values = {figure.name: figure for figure in figures}
    assert values["srflow_over_zero"].value == pytest.approx(
        values["srflow_epe"].value / values["zero_flow_epe"].value
    )
    assert np.isnan(values["face_losses_high_pass"].value)
    assert not values["face_losses_high_pass"].reached
    assert "nowhere" in caplog.text
    rows = [line.split("|")[1].strip() for line in table.splitlines() if line.startswith("|")]
    assert 0 < values["recognition_uf1_lk"].value <= 1
    assert rows[2:] == ["zero flow", "best rigid fit", "lk", "dis", "srflow"]
