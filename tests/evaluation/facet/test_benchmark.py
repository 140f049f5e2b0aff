"""FACET-VLM's benchmarks: they measure what they can, and leave out what they cannot."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from deft_llm import resources
from deft_llm.evaluation import benchmark as benchmarks
from deft_llm.evaluation.benchmark import settings_of
from deft_llm.evaluation.facet import folds
from deft_llm.evaluation.facet.scores import several_labels
from deft_llm.facet.configuration import FacetConfig
from deft_llm.facet.network import Facet
from deft_llm.facet.task import FacetRecipe
from deft_llm.facet.texts import default_prompts, load_text_tower
from deft_llm.simulator.scan_sets import SIX
from deft_llm.weights import save_network

ROOT = Path(__file__).resolve().parents[3]
SETS = ("test", "clean", "hard", "unseen", "seen", "test_sequences", "test_micro")


def test_several_labels() -> None:
    truth = np.array([[1, 0], [1, 1], [0, 1]], bool)
    perfect = several_labels(np.where(truth, 0.9, 0.1), truth)
    assert perfect == {"uf1": 1.0, "uar": 1.0}
    half = several_labels(np.array([[0.9, 0.1], [0.1, 0.9], [0.1, 0.9]]), truth)
    assert half["uar"] == pytest.approx(0.75) and half["uf1"] == pytest.approx((2 / 3 + 1) / 2)


def test_simulated_benchmark_without_most_networks(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    values = {"classes": list(SIX), "prompts": default_prompts(SIX), "side": 32, "dim": 8}
    moving = {"temporal": "rank", "frames": 8, "channels": ["depth", "normal_x", "normal_y"]}
    for folder, more in ((tmp_path, {}), (tmp_path / "moving", moving)):
        settings = {**values, "visual": {"width": 8, "depth": 1}, **more}
        config = FacetConfig.model_validate(settings)
        torch.manual_seed(0)
        folder.mkdir(exist_ok=True)
        save_network(Facet(config, load_text_tower(config.text).width), folder)
    small = [
        f"{name}.{change}" for name in SETS for change in ("side=32", "heads=[own]", "workers=1")
    ]
    few = [f"{name}.scans=2" for name in SETS[1:]]
    changes = [
        *(f"scans={tmp_path}", f"sequences={tmp_path / 'moving'}", f"micro={tmp_path / 'none'}"),
        *(f"output={tmp_path / 'out'}", "one_head={}", "test.scans=6"),
    ]
    missing = f"{{nothing: {tmp_path / 'none'}, same: {tmp_path}}}"
    yaml = ROOT / "eval" / "benchmarks" / "facet_simulated.yaml"
    figures, tables = benchmarks.run(yaml, [*changes, *small, *few, f"ablations={missing}"])
    found = {figure.name: figure.value for figure in figures}
    assert {"six_all", "lost_without_a_view", "zero_shot_harmonic"} <= set(found)
    assert 0 <= found["zero_shot_shuffled"] <= 1 and 0 <= found["sequences_accuracy"] <= 1
    assert "micro_uf1" not in found
    assert "without -45°" in tables and "| same |" in tables and "99.41" in tables
    assert "ablations.nothing is left out" in caplog.text and "micro is left out" in caplog.text


def test_folds_of_a_dataset(tmp_path: Path) -> None:
    from deft_llm.corpora.scan_layouts import ScanLayoutSettings, write_scan_corpus

    settings = ScanLayoutSettings(subjects=3, scans=2)
    write_scan_corpus("bosphorus", tmp_path / "data", settings, workers=1)
    # A damaged file is told and left out.
    next((tmp_path / "data").rglob("bs002_E_ANGER_0.bnt")).write_bytes(b"x")
    yaml = ROOT / "eval" / "benchmarks" / "facet_bosphorus.yaml"
    changes = [
        *(f"data.folder={tmp_path / 'data'}", "data.side=32", "data.workers=1", "folds=2"),
        *("schedule.steps=2", "batch_size=2", f"output={tmp_path / 'out'}"),
        *("model.dim=8", "model.visual={width: 8, depth: 1}"),
        f"cross={{corpus: bosphorus, folder: {tmp_path / 'data'}, side: 32, workers: 1}}",
    ]
    figures, tables = benchmarks.run(yaml, changes)
    assert figures[0].name == "accuracy" and "| this run | bosphorus |" in tables
    found = {figure.name: figure.value for figure in figures}
    assert 0 <= found["cross_accuracy"] <= 1
    lines = (tmp_path / "out" / "predictions.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    assert {row["subject"] for row in rows} <= {f"bosphorus_bs00{n}" for n in range(3)}
    assert all(sum(row["probabilities"]) == pytest.approx(1, abs=1e-3) for row in rows)


def views_of(*subjects: str) -> Any:
    """A set of scans without pictures."""
    return SimpleNamespace(subject=np.array(subjects))


def test_a_network_of_other_folds_is_not_taken_for_this_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained: list[list[str]] = []

    class Task:
        def __init__(self, recipe: FacetRecipe, store: Any, rows: np.ndarray) -> None:
            self.recipe, self.seen = recipe, store.subject[rows].tolist()

    def fit(task: Task, _: object, output: Path) -> Path:
        final = output / "final"
        if not final.is_dir():
            final.mkdir()
            trained.append(task.seen)
        return final

    monkeypatch.setattr(folds, "FacetTask", Task)
    monkeypatch.setattr(folds, "fit", fit)
    monkeypatch.setattr(folds, "load_facet", lambda _: SimpleNamespace(network=None))
    values = settings_of(resources.benchmark("facet_bosphorus"))
    settings = folds.FacetFolds(**{**values, "output": tmp_path})
    two, three = np.array([1, 2]), np.array([0, 1])
    for rows in (two, two, three):
        settings._trained(views_of("a", "b", "c"), rows, "fold-0")
    # The same rows of a dataset that has grown are other people.
    settings._trained(views_of("a", "d", "b", "c"), two, "fold-0")
    assert trained == [["b", "c"], ["a", "b"], ["d", "b"]]
