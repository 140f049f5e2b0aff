"""Clips that the engine of queries knows to the last number, and what it finds in them."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np

from deft_llm import facs
from deft_llm.answers import COARSE_LABELS, NOTHING, coarse_label
from deft_llm.clip import Explanation, Interval
from deft_llm.deft.inference import wording
from deft_llm.deft.inference.engine import execute
from deft_llm.motion.evidence import measured_evidence
from deft_llm.motion.region_paths import Trajectory
from deft_llm.motion.regions import REGION_NAMES, RegionTable
from deft_llm.motion.remarks import NO_MOTION
from deft_llm.queries.findings import Findings
from deft_llm.queries.query import parse_query

from .test_claims import table

FRAMES, FPS = 40, 100.0
INTERVAL = Interval(5, 15, 30)


def clip(onset: RegionTable, offset: RegionTable | None = None, **changes: Any) -> Any:
    """A measurement as far as the engine reads it; all regions rise in step, but ``late`` ones."""
    late = changes.pop("late", ())
    share = np.interp(np.arange(FRAMES), [5, 15, 30], [0.0, 1.0, 0.0])
    delayed = np.interp(np.arange(FRAMES), [11, 15, 30], [0.0, 1.0, 0.0])
    path = np.stack([onset.u, onset.v], axis=1)[None] * share[:, None, None]
    for name in late:
        i = REGION_NAMES.index(name)
        path[:, i] = np.array([onset.u[i], onset.v[i]]) * delayed[:, None]
    values: dict[str, Any] = {
        "aligned": SimpleNamespace(
            timestamps=np.arange(FRAMES) / FPS, present=np.ones(FRAMES, bool), goes_on=False
        ),
        "interval": INTERVAL,
        "found": bool(onset.active.any()),
        "table_apex": onset,
        "table_offset": offset if offset is not None else table(),
        "curve": np.concatenate([share]),
        "trajectory": Trajectory(path.astype(np.float32), np.zeros((FRAMES, 2), np.float32)),
        "head_motion": 2.0,
        "head_shift": 0.5,
        "noise": onset.noise,
        "returned": 1.0,
        "light": 0.0,
        "others": (),
        "remarks": () if onset.active.any() else (NO_MOTION,),
    }
    return SimpleNamespace(**values | changes)


def reading(measurement: Any, label: str = "surprise", aus: tuple[str, ...] = ()) -> Explanation:
    """An explanation that reads a clip as some class."""
    evidence = measured_evidence(measurement.table_apex)
    if not evidence:
        return Explanation(None, {}, {}, (), remarks=(NO_MOTION,))
    shares = {name: 0.6 if name == label else 0.1 for name in COARSE_LABELS}
    emotion = next((e for e in facs.EMOTIONS if coarse_label(e) == label), NOTHING)
    return wording.explained(evidence, shares, emotion, dict.fromkeys(aus, 0.9))


def given(explanation: Explanation) -> Callable[[], Explanation]:
    return lambda: explanation


def look(line: str, measurement: Any, explanation: Explanation | None = None) -> Findings:
    found = explanation or reading(measurement)
    return execute(parse_query(line), measurement, lambda: found)


# Brows up by 1.5 px, the left mouth corner a little outward, the chin down.
BROWS = table(
    left_inner_brow=(0.0, -1.5),
    right_inner_brow=(0.0, -1.4),
    left_mouth_corner=(0.5, 0.0),
    chin=(0.0, 0.3),
)
BACK = table(left_inner_brow=(0.0, 1.4), right_inner_brow=(0.0, 1.4))
