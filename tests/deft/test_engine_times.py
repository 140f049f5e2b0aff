"""When what is asked about moved, what one frame shows, and how far what went beyond a limit."""

from __future__ import annotations

import numpy as np
import pytest

from deft_llm.deft.inference.replies import reply
from deft_llm.motion.region_paths import Trajectory

from .known_clips import BACK, BROWS, FRAMES, clip, look, reading


@pytest.mark.parametrize("kind", ["when", "how_long"])
def test_what_did_not_move_has_neither_a_time_nor_a_duration(kind: str) -> None:
    measurement = clip(BROWS, BACK)
    explanation = reading(measurement, aus=("1",))
    asked = ("region=glabella", "au=12", "class=sadness")
    told = [reply(look(f"{kind} {what}", measurement, explanation)) for what in asked]
    assert told[0] == "The glabella (z 0.0) stays at rest."
    assert told[1].startswith("AU12 lip corner puller is not named")
    assert told[2].startswith("It is read as surprise")
    limit = "moment=onset less=9" if kind == "when" else "less=9"
    assert look(f"{kind}? region=glabella {limit}", measurement, explanation).polarity is False
    for there in ("region=chin", "au=1", "class=surprise", "side=left"):
        found = look(f"{kind} {there}", measurement, explanation)
        assert any(fact.unit == "s" for fact in found.facts), there
        assert look(f"{kind}? {there} {limit}", measurement, explanation).polarity is True


def test_whoever_asks_when_a_part_started_is_told_when_it_was_halfway() -> None:
    late = clip(BROWS, BACK, late=("chin",))  # halfway at frame 13, the others at frame 10
    told = reply(look("when region=chin moment=onset", late))
    assert told == "It starts at 0.050 s (frame 5). Halfway to the apex: the chin at 0.130 s."
    assert "Halfway" not in reply(look("when region=chin moment=apex", late))
    assert "Halfway" not in reply(look("when moment=onset", late))


def test_a_duration_is_told_in_frames_as_well() -> None:
    assert reply(look("how_long", clip(BROWS, BACK))).startswith("It lasts 0.250 s (25 frames): ")


def test_one_frame_shows_how_far_each_region_is_from_rest() -> None:
    measurement = clip(BROWS, BACK)  # frames 5, 15 and 30, straight between them
    found = look("moved at=10f", measurement)
    told = {fact.about: fact.value for fact in found.facts if fact.what == "away from rest"}
    assert told["left inner brow"] == pytest.approx(0.75, abs=1e-3)
    assert told["right inner brow"] == pytest.approx(0.70, abs=1e-3)
    text = reply(found)
    assert text.startswith("At 0.100 s (frame 10, between onset and apex), away from rest: the ")
    assert "the left inner brow 0.75 px up" in text and "the chin 0.15 px down" in text
    assert reply(look("moved at=0.104s", measurement)) == text
    assert "frame 15, at the apex" in reply(look("moved at=15f", measurement))


def test_whether_a_part_is_up_in_a_frame() -> None:
    measurement = clip(BROWS, BACK)
    for line, yes in {
        "moved? region=brow direction=up at=12f": True,
        "moved? region=brow direction=down at=12f": False,
        "moved? region=brow at=2f": False,
        "moved? not region=brow at=35f": True,
        "moved? region=glabella at=15f": False,
    }.items():
        assert look(line, measurement).polarity is yes, line
    early = reply(look("moved? region=brow at=2f", measurement))
    assert early.endswith("before the onset) nothing that was asked about is away from rest.")


def test_a_frame_that_the_clip_has_not_is_told() -> None:
    measurement = clip(BROWS, BACK)
    for at in (f"{FRAMES}f", "0.42s"):
        found = look(f"moved at={at}", measurement)
        assert reply(found) == "The clip ends with frame 39, at 0.390 s."
    assert look("moved at=0.4s", measurement).facts  # the last frame is shown for a step
    lost = measurement.trajectory.regions.copy()
    lost[20] = np.nan
    unseen = clip(BROWS, BACK, trajectory=Trajectory(lost, np.zeros((FRAMES, 2), np.float32)))
    assert reply(look("moved at=20f", unseen)) == "No face is seen in frame 20."
    assert look("moved at=20f", clip(BROWS, BACK, trajectory=None)).untold


def test_what_went_beyond_a_limit_is_listed() -> None:
    measurement = clip(BROWS, BACK)
    less = look("magnitude less=0.6", measurement)
    assert {fact.about for fact in less.facts} == {"left mouth corner", "chin"}
    more = look("magnitude more=0.6", measurement)
    assert {fact.about for fact in more.facts} == {"left inner brow", "right inner brow"}
    assert reply(look("magnitude more=9", measurement)) == "Nothing that moves goes more than 9 px."


def test_how_sure_the_reading_is_can_be_asked_by_a_limit() -> None:
    measurement = clip(BROWS, BACK)  # read with probability 0.6
    asked = {"more=0.5": True, "more=0.8": False, "less=0.7": True}
    assert {limit: look(f"confidence? {limit}", measurement).polarity for limit in asked} == asked


def test_one_side_that_comes_first_is_told_from_the_other() -> None:
    measurement = clip(BROWS, BACK, late=("right inner brow",))
    for side, yes in {"left": True, "right": False}.items():
        found = look(f"order? region=brow side={side}", measurement)
        assert found.polarity is yes and "together" not in reply(found)
    at_once = look("order? region=brow side=left", clip(BROWS, BACK))
    assert at_once.polarity is False and "They move together" in reply(at_once)
    # Of the two brows, only one is there to be first.
    alone = look("order? region=mouth_corner side=left", measurement)
    assert alone.polarity is None and "One side did not move enough" in reply(alone)


def test_how_long_a_movement_stays_close_to_its_apex() -> None:
    # Up in 7 frames, held for 6, and down in 12: from frame 12 to frame 19 it is close.
    share = np.interp(np.arange(FRAMES), [5, 12, 18, 30], [0.0, 1.0, 1.0, 0.0]).astype(np.float32)
    path = share[:, None, None] * np.stack([BROWS.u, BROWS.v], axis=1)
    held = clip(BROWS, BACK, trajectory=Trajectory(path, np.zeros((FRAMES, 2), np.float32)))
    told = reply(look("how_long of=plateau", held))
    assert told == "It stays within a tenth of its peak for 0.070 s (7 frames)."


def test_all_of_some_aus_are_there_only_if_each_one_is() -> None:
    measurement = clip(BROWS, BACK)
    explanation = reading(measurement, aus=("1", "2"))
    for line, yes in {
        "au? au=1,2 of=all": True,
        "au? au=1,12 of=all": False,
        "au? au=1,12": True,
        "au? not au=1,12 of=all": True,
    }.items():
        assert look(line, measurement, explanation).polarity is yes, line
    text = reply(look("au? au=1,12 of=all", measurement, explanation))
    assert "AU1 inner brow raiser is named" in text and "AU12 lip corner puller is not" in text
