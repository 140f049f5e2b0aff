"""Regions that cannot be measured: each is named once, with its reason, and no active one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from deft_llm.clip import Clip, Interval
from deft_llm.media.canonical import CANONICAL_LANDMARKS, CANONICAL_SIZE
from deft_llm.motion.measure import Measurement
from deft_llm.motion.regions import REGION_NAMES, RegionTable, region_masks, region_table
from deft_llm.motion.remarks import not_returned, not_seen, on_regions

MASKS = region_masks(CANONICAL_LANDMARKS.astype(np.float32), CANONICAL_SIZE)
CHIN, CHEEK = REGION_NAMES.index("chin"), REGION_NAMES.index("left cheek")


def table(floor: float, motion: float = 0.0, placed: bool = True) -> RegionTable:
    """Only chin and left cheek have this floor; the chin moves; the cheek is placed or not."""
    floors = np.full(len(MASKS), 0.05, np.float32)
    floors[[CHIN, CHEEK]] = floor
    flow = np.zeros((2, CANONICAL_SIZE, CANONICAL_SIZE), np.float32)
    flow[1] = motion * MASKS[CHIN] / MASKS[CHIN].max()
    told = np.ones(len(MASKS), bool)
    told[CHEEK] = placed
    return region_table(flow, MASKS, floors, told)


@pytest.mark.parametrize(
    ("frames", "goes_on", "seen", "until"),
    [
        (60, False, 60, "within half a second"),
        (12, False, 12, "before the clip ends"),
        (12, True, 12, "by its offset"),  # the next movement begins, or the next window
        (60, False, 12, "by its offset"),  # the face is lost
    ],
)
def test_only_the_end_of_the_video_is_called_the_end_of_the_clip(
    make_measurement: Callable[..., Measurement],
    frames: int,
    goes_on: bool,
    seen: int,
    until: str,
) -> None:
    pixels = np.zeros((frames, 224, 224, 3), np.uint8)
    clip = replace(
        make_measurement().aligned,
        frames=pixels,
        present=np.arange(frames) < seen,
        timestamps=np.arange(frames) / 50,
        goes_on=goes_on,
    )
    assert not_returned(0.2, Interval(1, 5, 9), clip) == f"the movement did not return {until}"
    assert not_returned(0.8, Interval(1, 5, 9), clip) == ""


def test_a_part_knows_that_its_video_goes_on(make_measurement: Callable[..., Measurement]) -> None:
    aligned = make_measurement().aligned
    whole = Clip("v", aligned.frames, aligned.timestamps)
    for clip in (aligned, whole):
        assert not clip.goes_on and not clip.part(3, len(clip)).goes_on
        assert clip.part(0, 8).goes_on and clip.part(0, 8).part(2, 8).goes_on


def frame(level: int) -> np.ndarray:
    return np.full((CANONICAL_SIZE, CANONICAL_SIZE, 3), level, np.uint8)


@pytest.mark.parametrize(("level", "reason"), [(10, "dark"), (120, "noise"), (255, "bright")])
def test_a_region_in_which_a_pixel_would_drown_is_named_with_the_reason(
    level: int, reason: str
) -> None:
    ((why, regions),) = not_seen(table(0.5), frame(level), MASKS).items()
    assert reason in why and set(regions) == {"chin", "left cheek"}
    # A dark or white face whose floors are low is measured, and not complained of.
    assert not not_seen(table(0.1), frame(level), MASKS)


def test_each_region_is_named_once_and_uncertain_landmarks_come_first() -> None:
    unseen = not_seen(table(0.5, placed=False), frame(10), MASKS)
    assert unseen == {"landmarks too uncertain": ["left cheek"], "too dark": ["chin"]}
    assert on_regions(unseen)[0] == "not measured, landmarks too uncertain: left cheek"


def test_what_stands_out_all_the_same_is_not_called_unseen() -> None:
    moved = table(0.5, motion=12.0)
    assert moved.active[CHIN]
    assert all("chin" not in names for names in not_seen(moved, frame(120), MASKS).values())
