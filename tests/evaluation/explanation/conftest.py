"""Small versions of the pinned files on an untrained model; random features replace rendering."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from deft_llm.config import read_yaml
from deft_llm.data import simulated as simulated_clips
from deft_llm.data.clip_dataset import MeasuredClip
from deft_llm.data.features import Features
from deft_llm.metrics.figures import Figure
from deft_llm.simulator.scene.clip_spec import ClipSpec

ROOT = Path(__file__).resolve().parents[3]
BENCHMARKS = ROOT / "eval" / "benchmarks"
SMOKE = ROOT / "train_configs" / "deft" / "smoke.yaml"
NO_FACE = 9_000_001  # seed of the one clip that shows no face
SMALL: dict[str, Any] = {
    "clips": 12,
    "identities": 6,
    "first_identity": 900000,
    "seed": 9000000,
    "workers": 1,
}
PROBE: dict[str, Any] = {
    "clips": 40,
    "identities": 2,
    "first_identity": 920000,
    "seed": 9200000,
    "workers": 1,
}


def by_name(figures: list[Figure]) -> dict[str, Figure]:
    named = {figure.name: figure for figure in figures}
    assert len(named) == len(figures)
    return named


@pytest.fixture
def rendered(
    make_features: Callable[[int], Features], monkeypatch: pytest.MonkeyPatch
) -> list[int]:
    """Replaces rendering by noise; seeds of the clips that were asked for.

    The onset frame tells the face.
    """
    seeds: list[int] = []

    def no_rendering(drawn: Iterable[ClipSpec], *_: object) -> Iterator[MeasuredClip]:
        for spec in drawn:
            seeds.append(spec.seed)
            motion = np.random.default_rng(spec.seed).normal(0, 0.3, (20, 2)).astype(np.float32)
            face = np.random.default_rng(spec.identity).integers(0, 255, (64, 64, 3))
            features = {**make_features(spec.seed), "onset": face.astype(np.uint8)}
            yield MeasuredClip.simulated(spec, motion, None if spec.seed == NO_FACE else features)

    monkeypatch.setattr(simulated_clips, "render_many", no_rendering)
    return seeds


@pytest.fixture
def short_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    """An untrained model never ends its answer by itself."""
    monkeypatch.setattr("deft_llm.deft.inference.explainer.MAX_NEW_TOKENS", 8)


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    """What the model is said to be trained by."""
    path = tmp_path / "recipe.yaml"
    path.write_bytes(SMOKE.read_bytes())
    return path


@pytest.fixture
def single(tmp_path: Path, tiny_checkpoint: Path, recipe: Path) -> Path:
    """``simulated.yaml``: one model on one test set."""
    values = read_yaml(BENCHMARKS / "simulated.yaml")
    (model,) = values["models"].values()
    model |= {"checkpoint": str(tiny_checkpoint), "recipes": [str(recipe)]}
    values |= {
        "data": {"own": SMALL},
        "rows": {},
        "train_data": str(tmp_path / "nowhere"),
        "output": str(tmp_path / "output"),
        "grammar": False,
    }
    path = tmp_path / "simulated.yaml"
    path.write_text(yaml.safe_dump(values), encoding="utf-8")
    return path


@pytest.fixture
def several(tmp_path: Path, tiny_checkpoint: Path, recipe: Path) -> Path:
    """``deft_simulated.yaml``: two models, one of which is not there."""
    entry = {"checkpoint": str(tiny_checkpoint), "recipes": [str(recipe)], "tests": ["own"]}
    values = {
        **read_yaml(BENCHMARKS / "deft_simulated.yaml"),
        "models": {"tiny": entry, "missing": {**entry, "checkpoint": str(tmp_path / "none")}},
        "data": {"own": SMALL},
        "rows": {},
        "probe": {"own": PROBE},
        "output": str(tmp_path / "output"),
    }
    path = tmp_path / "deft_simulated.yaml"
    path.write_text(yaml.safe_dump(values), encoding="utf-8")
    return path
