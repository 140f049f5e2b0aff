"""Hand-made region tables, random evidence that follows the AU table, and clip records."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest

from deft_llm import facs
from deft_llm.clip import FALL, Evidence, Interval
from deft_llm.data.features import REGION_COLUMNS
from deft_llm.data.records import ClipRecord
from deft_llm.motion.evidence import explaining_aus
from deft_llm.motion.regions import REGION_NAMES, RegionTable
from deft_llm.unimer.dialogue import Templates

ROOT = Path(__file__).resolve().parents[2]
MakeTable = Callable[..., RegionTable]
MakeRegions = Callable[..., np.ndarray]
MakeRecord = Callable[[int], ClipRecord]


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
            active=z >= 3,
            placed=ones.astype(bool),
        )

    return make


@pytest.fixture(scope="session")
def make_regions(make_table: MakeTable) -> MakeRegions:
    """``make_regions({"chin": (0, -1)})``: region tables of a rise that goes back afterwards.

    ``fall`` sets the motion after the apex; by default every region returns.
    """

    def make(
        motion: Mapping[str, tuple[float, float]],
        fall: Mapping[str, tuple[float, float]] | None = None,
        noise: float = 0.1,
    ) -> np.ndarray:
        back = {name: (-u, -v) for name, (u, v) in motion.items()} if fall is None else fall
        tables = [make_table(phase, noise) for phase in (motion, back)]
        return np.stack(
            [
                np.stack([np.asarray(getattr(t, name), np.float32) for name in REGION_COLUMNS], 1)
                for t in tables
            ]
        )

    return make


def _evidence(aus: tuple[str, ...], rng: random.Random) -> tuple[Evidence, ...]:
    """Some of the motion that the AUs may cause, in the order of ``facs.REGIONS``."""
    rows = []
    for name, region in facs.REGIONS.items():
        directions = [d for code in aus for d in facs.expected_directions(code).get(name, ())]
        if not directions or rng.random() < 0.3:
            continue
        direction = rng.choice(directions)
        codes = explaining_aus(name, *facs.direction_vector(direction, region.side), aus)
        magnitude, z = rng.uniform(0.05, 2), rng.uniform(2, 30)
        rows.append(Evidence(name, direction, magnitude, z, facs.sort_aus(codes)))
    return tuple(rows)


def _returns(evidence: tuple[Evidence, ...]) -> tuple[Evidence, ...]:
    """Every second region goes back."""
    rows = []
    for row in evidence[::2]:
        side = facs.REGIONS[row.region].side
        u, v = facs.direction_vector(row.direction, side)
        back = facs.direction_name(-u, -v, side)
        rows.append(Evidence(row.region, back, row.magnitude, row.z, row.aus, FALL))
    return tuple(rows)


@pytest.fixture(scope="session")
def make_record() -> MakeRecord:
    """``make_record(seed)``: one to four AUs on random sides with some of their motion."""

    def make(seed: int) -> ClipRecord:
        rng = random.Random(seed)
        numbers = rng.sample(sorted(facs.ACTION_UNITS), rng.randint(1, 4))
        aus = facs.sort_aus(rng.choice(("", "L", "R")) + str(number) for number in numbers)
        evidence = _evidence(aus, rng)
        return ClipRecord(
            clip=f"clip-{seed}",
            subject=f"subject-{seed % 3}",
            emotion=rng.choice(facs.EMOTIONS),
            emotion_known=True,
            aus=aus,
            evidence=evidence,
            packets="packets-0.safetensors",
            row=seed,
            content=f"hash-{seed}",
            spec='{"seed": 1}',
            returns=_returns(evidence),
            interval=Interval(10, 10 + rng.randint(2, 9), 30),
            fps=30.0,
        )

    return make
