"""Small sites of measured clips, and a recipe over them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deft_llm.clip import Annotation
from deft_llm.config import validate_settings
from deft_llm.data.clip_dataset import ClipDataset, MeasuredClip
from deft_llm.data.features import Features
from deft_llm.data.records import ClipRecord
from deft_llm.federated.settings import FederatedRecipe
from deft_llm.federated.sites import Site, make_site

CODED = (("happiness", ("6", "12")), ("disgust", ("4", "9")), ("surprise", ("1", "2", "5")))
MakeRecipe = Callable[..., FederatedRecipe]


def dataset(name: str, clips: int, make: Callable[[int], Features], first: int = 0) -> ClipDataset:
    """Clips of a subject each, whose class is a patch of motion."""
    found = []
    for i in range(clips):
        emotion, aus = CODED[i % 3]
        coding = Annotation("x", f"{name}{i:02d}", f"{name}-{i}", emotion=emotion, aus=aus)
        features = {key: x.copy() for key, x in make(first + i).items()}
        features["flow"][:, 1, 12 * (i % 3) + 8 : 12 * (i % 3) + 16, 20:36] -= 1
        found.append(MeasuredClip(ClipRecord.of(coding), features))
    return ClipDataset.of_clips(found, name)


@pytest.fixture(scope="session")
def sites(make_features: Callable[[int], Features]) -> list[Site]:
    """Three sites of unequal size."""
    counts = {"a": 9, "b": 12, "c": 18}
    return [
        make_site(name, dataset(name, clips, make_features, 100 * k), "3", 0.3, 0)
        for k, (name, clips) in enumerate(counts.items())
    ]


@pytest.fixture
def make_recipe(tmp_path: Path) -> MakeRecipe:
    """``make_recipe(**changes)``: two rounds of a small network; sites are given apart."""

    def make(**changes: Any) -> FederatedRecipe:
        values = {
            "output": tmp_path / "run",
            "recognizer": "ststnet",
            "rounds": 2,
            "sites": {"a": "a", "b": "b"},
            "local": {"epochs": 1, "batch_size": 4},
            **changes,
        }
        return validate_settings(FederatedRecipe, values, "recipe")

    return make


def equal(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether arrays by name are equal, bit for bit."""
    return one.keys() == other.keys() and all(np.array_equal(x, other[n]) for n, x in one.items())
