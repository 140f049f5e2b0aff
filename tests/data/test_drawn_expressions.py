"""Drawn expressions: the exact motion of the regions, and what is kept of a set."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from deft_llm.data.drawn_expressions import (
    MEASURED,
    DrawnData,
    DrawnExpression,
    RegionMotion,
    drawn_expressions,
)
from deft_llm.motion.rois import MIRRORED, ROIS
from deft_llm.simulator.head import load_head
from deft_llm.simulator.own_head.head import OwnHead

NAMES = [roi.name for roi in ROIS]
RIGHT_CORNER, LEFT_CORNER = NAMES.index("right mouth corner"), NAMES.index("left mouth corner")
INNER_BROWS = [NAMES.index("right brow, inner"), NAMES.index("left brow, inner")]
FEW = DrawnData(micro=24, macro=8, workers=1)


@pytest.fixture(scope="module")
def face() -> RegionMotion:
    head = load_head("own")
    assert isinstance(head, OwnHead)
    return RegionMotion(head, 20_000)


def test_regions_move_as_the_action_units_say(face: RegionMotion) -> None:
    smile = face({"12": 0.3})
    # u to the image's right, v down; the subject's right is the image's left.
    assert smile[RIGHT_CORNER, 0] < 0 < smile[LEFT_CORNER, 0]
    assert (smile[[RIGHT_CORNER, LEFT_CORNER], 1] < 0).all()
    assert np.abs(smile[INNER_BROWS]).max() < 0.1 * np.abs(smile[RIGHT_CORNER]).max()
    frown = face({"4": 0.3})
    assert (frown[INNER_BROWS, 1] > 0).all()
    assert frown[INNER_BROWS[0], 0] > 0 > frown[INNER_BROWS[1], 0]


def test_it_is_linear_and_has_sides(face: RegionMotion) -> None:
    left, right, both = (face({code: 0.1}) for code in ("L2", "R2", "2"))
    np.testing.assert_allclose(left + right, both, atol=1e-3)
    np.testing.assert_allclose(face({"2": 0.2}), 2 * both, atol=1e-3)
    brow = NAMES.index("left brow")
    assert np.abs(left[brow]).max() > 10 * np.abs(right[brow]).max()
    mirrored = right[list(MIRRORED)] * [-1, 1]
    # Faces are nearly symmetric.
    np.testing.assert_allclose(mirrored[brow], left[brow], rtol=0.15, atol=0.05)
    assert np.abs(face({})).max() < 1e-3


def test_a_region_moves_less_than_the_skin_that_moves_most(face: RegionMotion) -> None:
    acting = {"1": 0.3, "12": 0.3}
    assert 0.2 < np.linalg.norm(face(acting), axis=1).max() / face.actor.peak(acting) < 1


def test_a_set_is_drawn_once_and_completed(tmp_path: Path) -> None:
    first = drawn_expressions(FEW, tmp_path / "a")
    assert [sum(each.micro is kind for each in first) for kind in (True, False)] == [24, 8]
    for each in first:
        assert each.motion.shape == (18, 2) and np.isfinite(each.motion).all()
        assert each.level[0] == each.level[-1] == 0 and each.level.max() == 1
        # 3 px is the most that a micro-expression moves the skin, so a region moves less.
        assert np.linalg.norm(each.motion, axis=1).max() < (3 if each.micro else 16)
    assert len({each.emotion for each in first}) > 3
    for file in sorted((tmp_path / "a").glob("*.safetensors"))[:1]:
        file.unlink()
    again = drawn_expressions(FEW, tmp_path / "a")
    for one, other in zip(first, again, strict=True):
        np.testing.assert_array_equal(one.motion, other.motion)
        np.testing.assert_array_equal(one.level, other.level)
        assert (one.emotion, one.micro) == (other.emotion, other.micro)


def test_what_is_measured_is_a_share() -> None:
    shown = DrawnExpression(np.ones((18, 2), np.float32), np.zeros(3, np.float32), None, True)
    rng = np.random.default_rng(0)
    drawn = np.stack([shown.measured(rng) for _ in range(200)])
    assert drawn.dtype == np.float32
    for regions, (low, high) in (
        (slice(0, 16), MEASURED["face"]),
        (slice(16, 18), MEASURED["lids"]),
    ):
        assert low <= drawn[:, regions].min() and drawn[:, regions].max() <= high
        assert np.ptp(drawn[:, regions, 0], axis=1).max() == 0  # one share for all of them


def test_an_empty_set_is_refused() -> None:
    with pytest.raises(ValidationError, match="expected some expressions"):
        DrawnData(micro=0, macro=0)
    assert DrawnData(micro=41, macro=0).subjects() == {"own020000", "own020001", "own020002"}
