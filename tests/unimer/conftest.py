"""Hand-made region tables, random evidence that follows the AU table, and clip records."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest

from deft_llm.data.features import REGION_COLUMNS
from deft_llm.motion.regions import REGION_NAMES, RegionTable
from deft_llm.unimer.answer_writer import Templates

ROOT = Path(__file__).resolve().parents[2]
MakeTable = Callable[..., RegionTable]
MakeRegions = Callable[..., np.ndarray]


@pytest.fixture(scope="session")
def templates_folder() -> Path:
    return ROOT / "deft_llm" / "unimer" / "templates"


@pytest.fixture(scope="session")
def templates(templates_folder: Path) -> Templates:
    return Templates(templates_folder)


@pytest.fixture(scope="session")
def make_table() -> MakeTable:
    """``make_table({"chin": (0, -1)}, noise=0.1)``: the other regions are at rest."""

    def make(motion: Mapping[str, tuple[float, float]], noise: float = 0.1) -> RegionTable:
        moved = np.array([motion.get(name, (0.0, 0.0)) for name in REGION_NAMES], np.float32)
        magnitude = np.hypot(moved[:, 0], moved[:, 1])
        z = (magnitude / noise).astype(np.float32)
        ones = np.ones(len(REGION_NAMES), np.float32)
        return RegionTable(
            u=moved[:, 0],
            v=moved[:, 1],
            magnitude=magnitude,
            peak=magnitude,
            coherence=ones,
            noise=noise * ones,
            z=z,
            active=(z >= 3) & (magnitude >= 0.02),
            placed=ones.astype(bool),
        )

    return make


@pytest.fixture(scope="session")
def make_regions(make_table: MakeTable) -> MakeRegions:
    """``make_regions({"chin": (0, -1)})``: region tables of motion that goes back after the apex.

    ``offset_phase`` sets the motion after the apex; by default every region returns.
    """

    def make(
        motion: Mapping[str, tuple[float, float]],
        offset_phase: Mapping[str, tuple[float, float]] | None = None,
        noise: float = 0.1,
    ) -> np.ndarray:
        back = (
            {name: (-u, -v) for name, (u, v) in motion.items()}
            if offset_phase is None
            else offset_phase
        )
        tables = [make_table(phase, noise) for phase in (motion, back)]
        return np.stack(
            [
                np.stack([np.asarray(getattr(t, name), np.float32) for name in REGION_COLUMNS], 1)
                for t in tables
            ]
        )

    return make
