"""What is known of expressions before a curve is seen, and the emotion of an interval.

Durations and thresholds come from training subjects alone; the public code takes them from all, the
tested ones with them. Per frame, a network gives logits of four emotions and of neutral,
``CLASSES``; they are read as BoostingVRME does, with its three rules as settings.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from deft_llm import facs
from deft_llm.clip import Expression, Interval
from deft_llm.errors import UserError

#: Classes of a spotter's frames, in the published order; "neutral" is outside every interval.
CLASSES = (*facs.SCHEMES["4"], "neutral")
_NEGATIVE, _NEUTRAL = CLASSES.index("negative"), CLASSES.index("neutral")


def half_length(
    coded: Iterable[Expression], skip: int = 1, average: Literal["median", "mean"] = "median"
) -> int:
    """Half the length of a typical expression, k_p, in frames of the curve.

    Args:
        coded: Expressions of the training subjects.
        skip: Frames of the video to one of the curve.
        average: The (upper) median, as BoostingVRME, or the mean, as ME-TST. A few expressions
            coded a hundred times longer than the rest move the mean.

    Raises:
        UserError: If nothing is coded.
    """
    # In frames of the curve: onset and offset are rounded down one by one, as published.
    lengths = sorted(each.interval.offset // skip - each.interval.onset // skip for each in coded)
    if not lengths:
        raise UserError(
            "length of a typical expression: none is coded; expected those of training subjects"
        )
    middle = float(np.mean(lengths)) if average == "mean" else lengths[len(lengths) // 2]
    return max(1, int((middle + 1) / 2))  # + 1: the frames from onset to offset, both counted


@dataclass(frozen=True)
class ClassPrior:
    """How the class of a frame and of an interval is read from logits.

    Attributes:
        neutral: "drop" never takes neutral; "keep" takes it like any class; "zero" sets its logit
            to 0, as BoostingVRME's code does, so that it wins where all others are below.
        negative_bias: Added to the logit of negative, the most frequent class; -1 in the challenge.
        minority: Share of an interval's frames from which the classes other than negative are
            voted on without it; 1 turns the rule off, the code has 0.2.
    """

    neutral: Literal["drop", "keep", "zero"] = "drop"
    negative_bias: float = 0.0
    minority: float = 1.0


#: ME-TST's and BoostingVRME's setting for the two corpora, and the latter's for the challenge.
SPOTTING_MAINLY = ClassPrior()
RECOGNITION_MAINLY = ClassPrior(neutral="zero")
CHALLENGE = ClassPrior(neutral="zero", negative_bias=-1.0, minority=0.2)


def adjusted(logits: NDArray[np.floating], prior: ClassPrior) -> NDArray[np.float64]:
    """Logits (T, 5) with the prior's changes; a copy."""
    changed = np.array(logits, np.float64)
    changed[:, _NEGATIVE] += prior.negative_bias
    if prior.neutral != "keep":
        changed[:, _NEUTRAL] = 0.0 if prior.neutral == "zero" else -np.inf
    return changed


def frame_classes(logits: NDArray[np.floating], prior: ClassPrior) -> NDArray[np.int64]:
    """Class of every frame (T,), index into ``CLASSES``, from logits (T, 5)."""
    return np.asarray(adjusted(logits, prior).argmax(1), np.int64)


def vote(frames: NDArray[np.int64], interval: Interval, minority: float = 1.0) -> str:
    """The class of an interval from the classes of all frames (T,), as published.

    The most frequent class of the frames after the onset up to two before the offset; of a tie,
    the class that comes first. "neutral" without such a frame.

    Args:
        frames: See ``frame_classes``.
        interval: Onset and offset.
        minority: See ``ClassPrior``.
    """
    # max: a slice that ends at -1 would be nearly the whole video.
    inside = frames[interval.onset + 1 : max(interval.offset - 1, 0)]
    others = inside[inside != _NEGATIVE]
    voters = others if len(others) > minority * len(inside) else inside
    if not len(voters):
        return CLASSES[_NEUTRAL]
    kinds, first, counts = np.unique(voters, return_index=True, return_counts=True)
    return CLASSES[kinds[np.lexsort((first, -counts))[0]]]  # the last key counts first


def probabilities(
    logits: NDArray[np.floating],
    curve: NDArray[np.floating],
    interval: Interval,
    prior: ClassPrior = SPOTTING_MAINLY,
) -> dict[str, float]:
    """Probability of each emotion of an interval: our own rule, in place of a vote.

    The frames' probabilities, averaged with the curve as weight, so that the frames in which the
    expression shows most count most.

    Args:
        logits: (T, 5).
        curve: (T,), 0..1.
        interval: Onset and offset.
        prior: Changes to the logits.

    Returns:
        Emotion -> probability, summing to 1, without neutral unless the prior keeps it.
    """
    part = slice(interval.onset, interval.offset + 1)
    changed = adjusted(logits[part], prior)
    shares = np.exp(changed - changed.max(1, keepdims=True))
    shares /= shares.sum(1, keepdims=True)
    # A curve of zeros must not divide by zero; then all frames count the same.
    weights = np.nan_to_num(np.asarray(curve[part], np.float64)) + 1e-9
    mean = np.average(shares, axis=0, weights=weights)
    names = CLASSES[:_NEUTRAL] if prior.neutral == "drop" else CLASSES
    return dict(zip(names, mean.tolist(), strict=False))


def told_by_vote(
    found: Iterable[Expression], logits: NDArray[np.floating], prior: ClassPrior = SPOTTING_MAINLY
) -> list[Expression]:
    """Found expressions with their emotions by the papers' vote, without those of no emotion."""
    frames = frame_classes(logits, prior)
    named = [(each, vote(frames, each.interval, prior.minority)) for each in found]
    return [replace(each, emotion=name) for each, name in named if name in CLASSES[:_NEUTRAL]]


def told_by_probability(
    found: Iterable[Expression],
    logits: NDArray[np.floating],
    curve: NDArray[np.floating],
    prior: ClassPrior = SPOTTING_MAINLY,
) -> list[Expression]:
    """Found expressions with their likeliest emotions, without those of no emotion."""
    told = []
    for each in found:
        shares = probabilities(logits, curve, each.interval, prior)
        emotion = max(shares, key=shares.__getitem__)
        if emotion in CLASSES[:_NEUTRAL]:
            told.append(replace(each, emotion=emotion))
    return told
