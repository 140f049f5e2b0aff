"""A blink is not a brow motion: what the eyes did takes no more away than they moved."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from deft_llm.clip import Interval
from deft_llm.motion.eyes import EyeContext, with_eyes
from deft_llm.motion.iris import _steps
from deft_llm.motion.measure import Measurement
from deft_llm.motion.regions import REGION_NAMES, RegionTable

NAMES = list(REGION_NAMES)
LIDS = [i for i, name in enumerate(NAMES) if name.endswith("upper lid")]


def _table(moved: dict[str, float]) -> RegionTable:
    count = len(NAMES)
    v = np.zeros(count, np.float32)
    for name, px in moved.items():
        v[NAMES.index(name)] = px
    noise = np.full(count, 0.05, np.float32)
    z = (np.abs(v) / noise).astype(np.float32)
    return RegionTable(
        u=np.zeros(count, np.float32), v=v, magnitude=np.abs(v), peak=np.abs(v),
        coherence=np.ones(count, np.float32), noise=noise, z=z, active=z >= 3,
        placed=np.ones(count, bool),
    )  # fmt: skip


class _Aligned:
    timestamps = np.arange(50) / 50


def _measurement(moved: dict[str, float]) -> Measurement:
    flow, table = np.zeros((2, 8, 8), np.float32), _table(moved)
    return Measurement(
        aligned=_Aligned(),  # type: ignore[arg-type]
        interval=Interval(10, 20, 30), found=True, flow_apex=flow, flow_offset=flow,
        table_apex=table, table_offset=table, curve=np.zeros(50, np.float32), head_motion=0.0,
        noise=table.noise, noise_samples=0, sensor_noise=1.0, remarks=("kept",),
    )  # fmt: skip


DRAGGED = {"left upper lid": 3.0, "right upper lid": 3.0, "left inner brow": 0.6}


def test_a_blink_at_the_apex_explains_the_brow() -> None:
    eyes = EyeContext(blinks=((0.36, 0.48),), shifts=(), span=(0.0, 1.0))
    seen = with_eyes(_measurement(DRAGGED), eyes)
    assert not seen.table_apex.active.any()
    assert not seen.found
    assert seen.remarks[0] == "kept"
    told = " · ".join(seen.remarks)
    assert "the eye recording shows a blink from 0.36 to 0.48 s, at the apex" in told
    assert "a blink is not a brow motion" in told
    assert "left inner brow" in told


def test_a_brow_that_moves_further_stays() -> None:
    eyes = EyeContext(blinks=((0.36, 0.48),), shifts=(), span=(0.0, 1.0))
    seen = with_eyes(_measurement({**DRAGGED, "left inner brow": -4.0}), eyes)
    active = [NAMES[k] for k in np.flatnonzero(seen.table_apex.active)]
    assert active == ["left inner brow"]
    assert seen.found


def test_a_blink_between_the_moments_takes_nothing_away() -> None:
    eyes = EyeContext(blinks=((0.25, 0.33),), shifts=(), span=(0.0, 1.0))
    measured = _measurement(DRAGGED)
    seen = with_eyes(measured, eyes)
    np.testing.assert_array_equal(seen.table_apex.active, measured.table_apex.active)
    assert "between onset and offset" in seen.remarks[1]


def test_a_gaze_shift_explains_the_lids_alone() -> None:
    eyes = EyeContext(blinks=(), shifts=((0.3, 0.34),), span=(0.0, 1.0))
    seen = with_eyes(_measurement(DRAGGED), eyes)
    assert [NAMES[k] for k in np.flatnonzero(seen.table_apex.active)] == ["left inner brow"]
    assert "gaze shift" in seen.remarks[1]


@pytest.mark.parametrize(
    ("eyes", "told"),
    [
        (EyeContext((), (), (0.0, 1.0)), "shows no blink and no shift"),
        (EyeContext((), (), (5.0, 9.0)), "does not cover the movement"),
    ],
)
def test_nothing_happened_or_nothing_known(eyes: EyeContext, told: str) -> None:
    measured = _measurement(DRAGGED)
    seen = with_eyes(measured, eyes)
    assert told in seen.remarks[-1]
    assert replace(seen, remarks=()).found == measured.found


def test_steps_of_the_iris() -> None:
    times = np.arange(100) / 50
    noise = np.random.default_rng(0).normal(0, 0.1, (100, 2))
    path = noise + np.array([10.0, 10.0])
    assert _steps(path, times) == ()
    path[40:70] += (3.0, 0.0)
    found = _steps(path, times)
    np.testing.assert_allclose([b for _, b in found], [0.8, 1.4], atol=0.021)
