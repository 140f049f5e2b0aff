"""Lengths from training subjects, votes as published, and our own average."""

from __future__ import annotations

import numpy as np
import pytest

from deft_llm.clip import Expression, Interval
from deft_llm.errors import UserError
from deft_llm.spotters.priors import (
    CHALLENGE,
    CLASSES,
    RECOGNITION_MAINLY,
    SPOTTING_MAINLY,
    ClassPrior,
    frame_classes,
    half_length,
    probabilities,
    told_by_probability,
    told_by_vote,
    vote,
)

NEUTRAL = CLASSES.index("neutral")


def _coded(*lengths: int) -> list[Expression]:
    return [Expression(Interval(10, 10, 10 + length)) for length in lengths]


def test_half_length() -> None:
    assert half_length(_coded(8, 10, 12, 300)) == 6  # the upper median
    assert half_length(_coded(8, 10, 12, 300), average="mean") == 41
    assert half_length(_coded(70, 77, 84), skip=7) == 6
    assert half_length(_coded(0)) == 1
    with pytest.raises(UserError, match="training subjects"):
        half_length([])


def _frames(*others: int) -> np.ndarray:
    """Classes of 30 frames: negative but for these frames, which are surprise."""
    frames = np.zeros(30, np.int64)
    frames[list(others)] = CLASSES.index("surprise")
    return frames


def test_golden_votes() -> None:
    interval = Interval(10, 15, 20)
    # Frames 11 to 18 vote: two of eight are more than 20 %, one is not.
    assert vote(_frames(11, 18), interval, 0.2) == "surprise"
    assert vote(_frames(11, 18), interval) == "negative"
    assert vote(_frames(12), interval, 0.2) == "negative"
    assert vote(_frames(9, 10, 19, 20, 21), interval, 0.2) == "negative"
    assert vote(_frames(), Interval(10, 10, 11)) == "neutral"
    assert vote(_frames(), Interval(0, 0, 0)) == "neutral"


def test_a_tie_goes_to_the_class_that_comes_first() -> None:
    frames = np.array([0, 2, 2, 1, 1, 0, 0])
    assert vote(frames, Interval(0, 2, 6)) == "surprise"


def test_three_ways_to_treat_neutral() -> None:
    logits = np.full((1, 5), -1.0)
    logits[0, 0], logits[0, NEUTRAL] = -0.5, -0.4
    assert frame_classes(logits, SPOTTING_MAINLY)[0] == 0
    # A logit of 0 wins wherever all others are negative.
    assert frame_classes(logits, RECOGNITION_MAINLY)[0] == NEUTRAL
    logits[0, 1], logits[0, 0] = 0.5, 1.0
    assert frame_classes(logits, RECOGNITION_MAINLY)[0] == 0
    assert frame_classes(logits, CHALLENGE)[0] == 1  # negative loses 1
    assert logits[0, 0] == 1.0, "the caller's logits are changed"


def test_probabilities_weigh_frames_by_the_curve() -> None:
    logits = np.full((20, 5), -5.0)
    logits[:, 1], logits[9:12] = 5.0, [-5.0, -5.0, 5.0, -5.0, 20.0]
    curve = np.full(20, 0.01)
    curve[9:12] = 0.9
    found = probabilities(logits, curve, Interval(2, 10, 18))
    assert list(found) == list(CLASSES[:NEUTRAL])
    assert sum(found.values()) == pytest.approx(1)
    assert max(found, key=found.__getitem__) == "surprise"  # three frames outweigh fourteen
    even = probabilities(logits, np.zeros(20), Interval(2, 10, 18))
    assert max(even, key=even.__getitem__) == "positive"


def test_expressions_of_no_emotion_are_left_out() -> None:
    logits = np.full((60, 5), -5.0)
    logits[:30, NEUTRAL], logits[30:, 2] = 5.0, 5.0
    found = [Expression(Interval(a, a + 5, a + 10), score=0.7) for a in (5, 40)]
    keep = ClassPrior(neutral="keep")
    for told in (
        told_by_vote(found, logits, keep),
        told_by_probability(found, logits, np.ones(60), keep),
    ):
        assert told == [Expression(Interval(40, 45, 50), "surprise", 0.7)]
    assert len(told_by_vote(found, logits)) == 2
    assert len(told_by_probability(found, logits, np.ones(60))) == 2
