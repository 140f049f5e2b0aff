"""A made-up measurement: regions that moved by so many px, at 50 frames a second."""

from __future__ import annotations

import numpy as np

from deft_llm.clip import Interval
from deft_llm.motion.measure import Measurement, returned_share
from deft_llm.motion.regions import REGION_NAMES, RegionTable

NAMES = list(REGION_NAMES)


def table_of(moved: dict[str, float]) -> RegionTable:
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
    present = np.ones(50, bool)


def measurement_of(moved: dict[str, float], back: dict[str, float] | None = None) -> Measurement:
    """A movement and what of it came back; None for all of it."""
    flow, table = np.zeros((2, 8, 8), np.float32), table_of(moved)
    offset = table_of({name: -px for name, px in moved.items()} if back is None else back)
    return Measurement(
        aligned=_Aligned(),  # type: ignore[arg-type]
        interval=Interval(10, 20, 30), found=True, flow_apex=flow, flow_offset=flow,
        table_apex=table, table_offset=offset, curve=np.zeros(50, np.float32), head_motion=0.0,
        noise=table.noise, noise_samples=0, sensor_noise=1.0, remarks=("kept",),
        returned=returned_share(table, offset),
    )  # fmt: skip
