"""Claims against exact motion."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from deft_llm import facs
from deft_llm.metrics.faithfulness import (
    CLAIMED_PX,
    MOVED_PX,
    ClaimCounts,
    claim_holds,
    count_claims,
    hallucinated,
)

NAMES = list(facs.REGIONS)


def motion(**moved: tuple[float, float]) -> NDArray[np.float32]:
    """Motion (R, 2) of regions by name, ``left_inner_brow=(u, v)``; the rest stands still."""
    values = np.zeros((len(NAMES), 2), np.float32)
    for name, uv in moved.items():
        values[NAMES.index(name.replace("_", " "))] = uv
    return values


@pytest.mark.parametrize(("degrees", "holds"), [(0, True), (44, True), (46, False), (180, False)])
def test_direction_may_be_off_by_45_degrees(degrees: float, holds: bool) -> None:
    turn = math.radians(degrees)
    up = motion(chin=(0.5 * math.sin(turn), -0.5 * math.cos(turn)))
    assert claim_holds("chin", "up", up) is holds


def test_outward_is_to_each_side() -> None:
    # The subject's left is the image's right.
    both = motion(left_mouth_corner=(0.4, 0.0), right_mouth_corner=(-0.4, 0.0))
    assert claim_holds("left mouth corner", "outward", both)
    assert claim_holds("right mouth corner", "outward", both)
    assert not claim_holds("left mouth corner", "inward", both)


@pytest.mark.parametrize(("pixels", "holds"), [(1.01, True), (0.99, False), (0.0, False)])
def test_a_region_at_rest_bears_no_claim(pixels: float, holds: bool) -> None:
    assert claim_holds("chin", "up", motion(chin=(0.0, -pixels * CLAIMED_PX))) is holds


def test_unknown_words_are_wrong_claims_not_errors() -> None:
    moved = motion(chin=(0.0, -1.0))
    assert not claim_holds("left ear", "up", moved)
    assert not claim_holds("chin", "sideways", moved)


def test_counts() -> None:
    moved = motion(
        chin=(0.0, -1.0), left_cheek=(0.0, -2 * MOVED_PX), glabella=(0.0, 0.9 * MOVED_PX)
    )
    stated = [
        ("chin", "up"),
        ("chin", "up"),  # said twice: two claims, one region
        ("glabella", "down"),  # right, but too small to be missed
        ("right cheek", "up"),  # at rest
    ]
    counts = count_claims(stated, moved)
    assert counts == ClaimCounts(claims=4, right=3, moved=2, stated=1)
    assert counts.precision == 3 / 4
    assert counts.recall == 1 / 2


def test_silence_has_no_precision() -> None:
    silent = count_claims([], motion(chin=(0.0, -1.0)))
    assert math.isnan(silent.precision)
    assert silent.recall == 0
    still = count_claims([("chin", "up")], motion())
    assert still.precision == 0
    assert math.isnan(still.recall)


def test_counts_add_up_over_clips() -> None:
    total = sum([ClaimCounts(1, 1, 2, 1), ClaimCounts(3, 1, 2, 1)], ClaimCounts())
    assert total == ClaimCounts(4, 2, 4, 2)
    assert (total.precision, total.recall) == (0.5, 0.5)


@pytest.mark.parametrize("seed", range(5))
def test_mirrored_clip_scores_the_same(seed: int) -> None:
    rng = np.random.default_rng(seed)
    moved = rng.normal(0, 0.3, (len(NAMES), 2)).astype(np.float32)
    u, v = rng.normal(0, 1, (2, len(NAMES)))
    stated = [
        (name, facs.direction_name(u[i], v[i], facs.REGIONS[name].side))
        for i, name in enumerate(NAMES)
    ]
    flipped = np.zeros_like(moved)
    for i, name in enumerate(NAMES):
        flipped[NAMES.index(facs.mirror_region(name))] = moved[i] * [-1, 1]
    mirrored = [
        (facs.mirror_region(name), facs.mirror_direction(direction, facs.REGIONS[name].side))
        for name, direction in stated
    ]
    assert count_claims(mirrored, flipped) == count_claims(stated, moved)


def test_an_au_is_hallucinated_without_coding_and_motion() -> None:
    motion = np.zeros((len(facs.REGIONS), 2), np.float32)
    corner = list(facs.REGIONS).index("left mouth corner")
    motion[corner] = (0.3, -0.4)  # up and outward
    assert not hallucinated("12", ["L12"], np.zeros_like(motion))  # coded, if unseen
    assert not hallucinated("L12", [], motion)
    assert not hallucinated("17", [], motion)  # lifts mouth corners too
    assert hallucinated("R12", [], motion)  # the other side
    assert hallucinated("15", ["12"], motion)  # the other way
    assert hallucinated("4", ["12"], motion)
    assert hallucinated("12", [], motion * 0.1)  # 0.05 px are too little
