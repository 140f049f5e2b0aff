"""Several expressions in one stretch of video, from paths of regions known to the frame."""

from __future__ import annotations

from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from deft_llm import facs
from deft_llm.clip import Interval
from deft_llm.motion.onset_apex import DETECTION_Z, blinks, likely_intervals, returning_intervals
from deft_llm.motion.region_paths import Trajectory, distance_from_rest

RATE, FLOOR = 50, 0.1  # frames per second, px
NAMES = list(facs.REGIONS)
FLOORS = np.full(len(NAMES), FLOOR, np.float32)
BROWS = {"left inner brow": (0.0, -1.5), "right inner brow": (0.0, -1.4)}
SMILE = {"left mouth corner": (1.0, -1.0), "right mouth corner": (-1.0, -1.0)}
# A blink: lids go far, and drag along what lies beside the eyes.
BLINK = {
    **{f"{side} upper lid": (0.0, 3.0) for side in ("left", "right")},
    **{
        f"{side} {part} brow": (0.0, 0.8)
        for side in ("left", "right")
        for part in ("inner", "outer")
    },
}


def path(
    seconds: float, *events: tuple[dict[str, tuple[float, float]], float, float]
) -> Trajectory:
    """Regions that go to (u, v) px and back; an event is (motion, time of the apex, its length)."""
    times = np.arange(round(seconds * RATE)) / RATE
    regions = np.random.default_rng(0).normal(0, FLOOR / 3, (len(times), len(NAMES), 2))
    for motion, apex, length in events:
        level = np.cos(np.pi * np.clip((times - apex) / length, -0.5, 0.5)) ** 2
        for name, (u, v) in motion.items():
            regions[:, NAMES.index(name)] += level[:, None] * (u, v)
    return Trajectory(regions.astype(np.float32), np.zeros((len(times), 2), np.float32))


def found(trajectory: Trajectory) -> list[float]:
    """Apexes in seconds."""
    count = len(trajectory.regions)
    aligned: Any = SimpleNamespace(present=np.ones(count, bool), timestamps=np.arange(count) / RATE)
    intervals = returning_intervals(aligned, trajectory, FLOORS)
    for before, after in pairwise(intervals):
        assert before.offset <= after.onset
    return [interval.apex / RATE for interval in intervals]


def test_nothing_is_found_in_noise_or_in_a_drift() -> None:
    assert found(path(3.0)) == []
    drifting = path(3.0)
    drifting.regions[:] += np.linspace(0, 4, len(drifting.regions), dtype=np.float32)[:, None, None]
    assert found(drifting) == []


@pytest.mark.parametrize("apart", [0.6, 1.0, 1.6])
def test_two_expressions_are_two(apart: float) -> None:
    """Of unlike strength, so that the weaker one is looked for in what the stronger one leaves."""
    first, second = 0.7, 0.7 + apart
    for a, b in ((BROWS, SMILE), (SMILE, BROWS), (SMILE, SMILE)):
        apexes = found(path(3.0, (a, first, 0.4), (b, second, 0.4)))
        assert apexes == pytest.approx([first, second], abs=0.05)


def test_a_blink_is_passed_over_and_hides_nothing() -> None:
    assert found(path(3.0, (BLINK, 1.2, 0.2))) == []
    events = (BROWS, 0.7, 0.4), (BLINK, 1.2, 0.2), (SMILE, 1.7, 0.4)
    assert found(path(3.0, *events)) == pytest.approx([0.7, 1.7], abs=0.05)


def test_an_expression_under_a_blink_is_found_where_lids_drag_nothing() -> None:
    apexes = found(path(3.0, (SMILE, 1.0, 0.4), (BLINK, 1.0, 0.2)))
    assert apexes == pytest.approx([1.0], abs=0.1)


def test_what_only_rises_or_only_fades_is_none() -> None:
    """As a window's end cuts it off: the next window has it whole."""
    assert found(path(3.0, (SMILE, 3.0, 0.4))) == []
    assert found(path(3.0, (SMILE, 0.0, 0.4))) == []


def test_frames_without_a_face_are_left_out() -> None:
    trajectory = path(3.0, (BROWS, 0.7, 0.4), (SMILE, 2.0, 0.4))
    trajectory.regions[60:70] = np.nan
    present = np.ones(150, bool)
    present[60:70] = False
    aligned: Any = SimpleNamespace(present=present, timestamps=np.arange(150) / RATE)
    apexes = [i.apex for i in returning_intervals(aligned, trajectory, FLOORS)]
    assert apexes == pytest.approx([35, 100], abs=2)


@pytest.mark.parametrize("faces", [0, 1, 2, 4])
def test_too_few_faces_show_no_expression(faces: int) -> None:
    """A stretch of a long video may show the face in hardly any frame."""
    trajectory = path(0.4)
    present = np.arange(len(trajectory.regions)) < faces
    trajectory.regions[~present] = np.nan
    aligned: Any = SimpleNamespace(present=present, timestamps=np.arange(len(present)) / RATE)
    assert returning_intervals(aligned, trajectory, FLOORS) == ()
    if faces:
        [(interval, score)] = likely_intervals(aligned, trajectory, FLOORS)
        assert (interval.onset, interval.offset) == (0, faces - 1)
        assert score < DETECTION_Z
    if faces == 1:
        assert (interval, score) == (Interval(0, 0, 0), 0.0)


def likely(trajectory: Trajectory) -> list[tuple[float, float]]:
    """Apexes of the likely movements, s, and how clearly they stand out."""
    count = len(trajectory.regions)
    aligned: Any = SimpleNamespace(present=np.ones(count, bool), timestamps=np.arange(count) / RATE)
    found = likely_intervals(aligned, trajectory, FLOORS)
    return [(interval.apex / RATE, score) for interval, score in found]


def test_a_blink_is_not_the_strongest_movement() -> None:
    faint = {name: (u / 2.5, v / 2.5) for name, (u, v) in SMILE.items()}
    for apex, score in likely(path(2.0, (BLINK, 0.6, 0.25), (faint, 1.4, 0.4))):
        assert apex == pytest.approx(1.4, abs=0.05) and score > DETECTION_Z
    assert all(score < DETECTION_Z for _, score in likely(path(2.0, (BLINK, 0.6, 0.25))))


def test_a_blink_at_the_apex_leaves_the_movement_around_it() -> None:
    around, under = likely(path(2.0, (BLINK, 1.0, 0.2), (SMILE, 1.0, 0.6)))
    assert around[0] == pytest.approx(1.0, abs=0.15) and around[1] > DETECTION_Z
    # Mouth corners do not care about lids: they show the apex itself.
    assert under[0] == pytest.approx(1.0, abs=0.03) and under[1] > around[1]


def test_an_apex_is_never_put_into_a_blink() -> None:
    """Where the motion of all regions is largest, since lids drag the brows along."""
    for strength in (0.6, 1.0):
        raised = {name: (u, strength * v) for name, (u, v) in BROWS.items()}
        around, _ = likely(path(2.0, (raised, 1.0, 0.6), (BLINK, 1.2, 0.16)))
        assert around[0] == pytest.approx(1.0, abs=0.1)


@pytest.mark.parametrize("when", [0.0, 2.0])
def test_a_blink_that_the_clip_cuts_off_is_not_the_movement(when: float) -> None:
    apex, score = likely(path(2.0, (BLINK, when, 0.3), (SMILE, 1.0, 0.4)))[0]
    assert apex == pytest.approx(1.0, abs=0.05) and score > DETECTION_Z
    assert all(score < DETECTION_Z for _, score in likely(path(2.0, (BLINK, when, 0.3))))


def test_lids_that_stay_down_are_a_movement() -> None:
    apex, score = likely(path(3.0, (BLINK, 1.5, 1.5)))[0]
    assert apex == pytest.approx(1.5, abs=0.1) and score > DETECTION_Z


def test_a_blink_counts_from_where_the_lids_are_at_that_time() -> None:
    """A smile narrows the eyes by more than half of what a blink closes them."""
    times = np.arange(75) / 30
    smiling = np.interp(times, [0.6, 0.8], [0.0, 2.5])
    closing = 4.0 * np.clip(1 - np.abs(times - 0.9) / 0.12, 0, None)
    ((first, stop),) = blinks((smiling + closing).astype(np.float32), times)
    assert times[first] <= 0.9 <= times[stop] and times[stop] - times[first] < 0.4
    # Neither the smile alone nor one that goes again is one.
    assert blinks(smiling.astype(np.float32), times) == []
    held = np.interp(times, [0.6, 0.8, 1.6, 1.8], [0.0, 2.5, 2.5, 0.0])
    assert blinks(held.astype(np.float32), times) == []


@pytest.mark.parametrize("first", [0, 20])
def test_a_face_that_keeps_smiling_is_not_at_rest(first: int) -> None:
    """A smile of 2 s in a stretch of 3 s, with a small movement in it; it may come first."""
    smiling = path(3.0, (BROWS, 1.5, 0.3))
    for name, motion in SMILE.items():
        smiling.regions[first + 5 : first + 120, NAMES.index(name)] += 3 * np.array(
            motion, np.float32
        )
    smile, brows = Interval(first, first + 10, first + 30), Interval(66, 75, 84)
    curve = distance_from_rest(smiling, (smile, brows))
    still = np.r_[: first + 5, first + 120 : 150]
    assert curve[still].max() < 0.3 < 1.0 < curve[first + 5 : first + 120].min()
    # Without a held one, what comes before and after counts alike.
    back = distance_from_rest(path(3.0, (BROWS, 0.2, 0.3)), (Interval(3, 10, 17),))
    assert back[20:].max() < 0.1 < 0.3 < back[10]
