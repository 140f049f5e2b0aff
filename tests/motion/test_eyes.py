"""A blink is not a brow motion: what the eyes did takes no more away than they moved."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from deft_llm.motion.eyes import FACE, EyeContext, GazeShift, with_eyes
from deft_llm.motion.iris import _steps
from tests.motion.made import NAMES, measurement_of

DRAGGED = {"left upper lid": 3.0, "right upper lid": 3.0, "left inner brow": 0.6}


def test_a_blink_at_the_apex_explains_the_brow() -> None:
    eyes = EyeContext(blinks=((0.36, 0.48),), shifts=(), span=(0.0, 1.0))
    seen = with_eyes(measurement_of(DRAGGED), eyes)
    assert not seen.table_apex.active.any()
    assert not seen.found
    assert seen.remarks[0] == "kept"
    told = " · ".join(seen.remarks)
    assert "the eye recording shows a blink from 0.36 to 0.48 s, at the apex" in told
    assert "a blink is not a brow motion" in told
    assert "left inner brow" in told


def test_a_brow_that_moves_further_stays() -> None:
    eyes = EyeContext(blinks=((0.36, 0.48),), shifts=(), span=(0.0, 1.0))
    seen = with_eyes(measurement_of({**DRAGGED, "left inner brow": -4.0}), eyes)
    active = [NAMES[k] for k in np.flatnonzero(seen.table_apex.active)]
    assert active == ["left inner brow"]
    assert seen.found


@pytest.mark.parametrize("brow_returns", [True, False])
def test_whether_it_returned_is_asked_of_what_is_left(brow_returns: bool) -> None:
    eyes = EyeContext(blinks=((0.36, 0.48),), shifts=(), span=(0.0, 1.0))
    lids = {"left upper lid": 3.0, "right upper lid": 3.0}
    brow = {"left inner brow": -4.0}
    # Either the lids stay closed and the brow comes back, or the other way round.
    back = {"left inner brow": 4.0} if brow_returns else dict.fromkeys(lids, -3.0)
    whole = measurement_of(lids | brow, back)
    before = whole.returned
    stays = "the movement did not return within half a second"
    whole = replace(whole, remarks=("kept", stays) if before < 0.5 else ("kept",))
    seen = with_eyes(whole, eyes)
    assert seen.returned == pytest.approx(1.0 if brow_returns else 0.0, abs=1e-6)
    assert (stays in seen.remarks) is not brow_returns
    assert seen.remarks[0] == "kept"


def test_what_only_the_way_back_loses_is_told_of_the_way_back() -> None:
    """A blink at the offset says nothing of what moved up to the apex."""
    eyes = EyeContext(blinks=((0.56, 0.66),), shifts=(), span=(0.0, 1.0))
    seen = with_eyes(measurement_of({"left inner brow": 0.6}, {"left inner brow": -0.4}), eyes)
    assert seen.table_apex.active.sum() == 1 and not seen.table_offset.active.any()
    told = seen.remarks[-1]
    assert told == "not counted after the apex, as a blink moves as much: left inner brow"
    at_apex = EyeContext(blinks=((0.36, 0.48),), shifts=(), span=(0.0, 1.0))
    told = with_eyes(measurement_of(DRAGGED), at_apex).remarks[-1]
    assert told.startswith("not counted, as a blink moves as much: left inner brow")


def test_a_blink_between_the_moments_takes_nothing_away() -> None:
    eyes = EyeContext(blinks=((0.25, 0.33),), shifts=(), span=(0.0, 1.0))
    measured = measurement_of(DRAGGED)
    seen = with_eyes(measured, eyes)
    np.testing.assert_array_equal(seen.table_apex.active, measured.table_apex.active)
    assert "between onset and offset" in seen.remarks[1]


def test_a_gaze_shift_up_or_down_explains_the_lids_alone() -> None:
    eyes = EyeContext((), (GazeShift(0.3, 0.34, vertical=True),), span=(0.0, 1.0))
    seen = with_eyes(measurement_of(DRAGGED), eyes)
    assert [NAMES[k] for k in np.flatnonzero(seen.table_apex.active)] == ["left inner brow"]
    assert "gaze shift" in seen.remarks[1]
    aside = EyeContext((), (GazeShift(0.3, 0.34, vertical=False),), span=(0.0, 1.0))
    assert with_eyes(measurement_of(DRAGGED), aside).table_apex.active.sum() == 3


def test_the_faces_own_blink_is_told_and_not_counted_twice() -> None:
    eyes = EyeContext(((0.36, 0.48),), (), (0.0, 1.0), FACE)
    measured = measurement_of(DRAGGED)
    seen = with_eyes(measured, eyes)
    np.testing.assert_array_equal(seen.table_apex.active, measured.table_apex.active)
    assert "the face video shows a blink" in seen.remarks[1]


@pytest.mark.parametrize(
    ("eyes", "told"),
    [
        (EyeContext((), (), (0.0, 1.0)), "shows no blink and no shift"),
        (EyeContext((), (), (5.0, 9.0)), "does not cover the movement"),
    ],
)
def test_nothing_happened_or_nothing_known(eyes: EyeContext, told: str) -> None:
    measured = measurement_of(DRAGGED)
    seen = with_eyes(measured, eyes)
    assert told in seen.remarks[-1]
    assert replace(seen, remarks=()).found == measured.found


def test_steps_of_the_iris() -> None:
    times = np.arange(100) / 50
    path = 10 + np.random.default_rng(0).normal(0, 0.1, 100)
    assert _steps(path, times) == ()
    path[40:70] += 3
    found = _steps(path, times)
    np.testing.assert_allclose([b for _, b in found], [0.8, 1.4], atol=0.021)
