"""What a spotter learns from: segments of measured videos, their labels, and the loss.

Labels are hard, as in the public code of ME-TST: 1 from the frame after the onset to the one before
the offset, with the emotion there, else 0 and "neutral". The loss is .9 of the squared error of the
score and .1 of a weighted cross-entropy of the classes.

B segments, T frames, C channels.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from deft_llm import facs
from deft_llm.clip import Expression
from deft_llm.data.inputs import INPUTS
from deft_llm.data.long_videos import CodedVideo
from deft_llm.errors import UserError
from deft_llm.spotters.base import Regression
from deft_llm.spotters.priors import CLASSES

logger = logging.getLogger(__name__)
NEUTRAL = CLASSES.index("neutral")
UNKNOWN = -100  # inside an expression whose emotion was not coded
SCORE_WEIGHT, CLASS_WEIGHT = 0.9, 0.1  # as published
NEUTRAL_WEIGHT = 6.0  # times its balanced weight


def frame_labels(coded: Sequence[Expression], frames: int) -> NDArray[np.int64]:
    """Class of every frame (T,), an index into ``CLASSES`` or ``UNKNOWN``; later codings win."""
    labels = np.full(frames, NEUTRAL, np.int64)
    for each in coded:
        name = facs.to_scheme(each.emotion, "4")
        inside = slice(each.interval.onset + 1, each.interval.offset)
        labels[inside] = UNKNOWN if name is None else CLASSES.index(name)
    return labels


def class_weights(labels: Sequence[NDArray[np.int64]]) -> Tensor:
    """Weight of each class: inverse to its frames, neutral times ``NEUTRAL_WEIGHT``.

    A class without a frame weighs nothing; the public code fails there.
    """
    # An empty array first, so that no labels at all can be joined as well.
    every = np.concatenate([NEUTRAL + np.zeros(0, np.int64), *labels])
    counts = np.bincount(every[every != UNKNOWN], minlength=len(CLASSES))
    weights = np.where(counts > 0, counts.sum() / (len(CLASSES) * np.maximum(counts, 1)), 0.0)
    weights[NEUTRAL] *= NEUTRAL_WEIGHT
    return torch.from_numpy(weights).float()


def spotting_loss(found: Regression, labels: Tensor, weights: Tensor) -> dict[str, Tensor]:
    """The loss of the papers.

    Args:
        found: Score (B, T) and logits (B, T, classes).
        labels: ``frame_labels`` (B, T).
        weights: ``class_weights``.

    Returns:
        ``loss``, and its parts ``score`` and ``class``.
    """
    # float(): under mixed precision both may be half precision.
    # Frames of an unknown emotion are inside an expression all the same: 1.
    score = F.mse_loss(found.score.float(), (labels != NEUTRAL).float())
    total = F.cross_entropy(
        found.logits.float().transpose(1, 2),
        labels,
        weights.to(labels.device),
        ignore_index=UNKNOWN,
        reduction="sum",
    )
    # Over the frames, not over their weights: only so does the weight of neutral count.
    classes = total / labels.numel()
    return {
        "loss": SCORE_WEIGHT * score + CLASS_WEIGHT * classes,
        "score": score.detach(),
        "class": classes.detach(),
    }


@dataclass(frozen=True)
class Sampling:
    """How segments are drawn.

    Attributes:
        frames: Length of a segment.
        from_first: Motion since the first frame of a segment, as in the papers' windows; otherwise
            against the face at rest.
        positives: Share of segments that hold a micro-expression; the others begin anywhere.
        scale: Range of a factor on a whole segment.
        flips: Mirror half of the segments.
        tempo: Range of the speed at which a segment is shown, as a factor. Our choice.
        overlaid: Share of segments to which the motion of another is added, and its labels: blinks,
            speech and noise of one face meet the expressions of another. Small motions add up
            nearly linearly. Our choice.
    """

    frames: int
    from_first: bool = False
    positives: float = 0.5
    scale: tuple[float, float] = (0.9, 1.1)
    flips: bool = True
    tempo: tuple[float, float] = (1.0, 1.0)
    overlaid: float = 0.0


class Segments:
    """Segments of videos, drawn at random.

    Args:
        videos: Measured videos; those shorter than a segment are left out, with a warning.
        rois: Regions that the network reads.
        sampling: How they are drawn.

    Raises:
        UserError: If no video, or no micro-expression, is left.
    """

    def __init__(self, videos: Sequence[CodedVideo], rois: int, sampling: Sampling) -> None:
        self.sampling = sampling
        used = [video for video in videos if len(video.track) >= sampling.frames]
        if len(used) < len(videos):
            logger.warning(
                "%d of %d videos are shorter than %d frames and left out",
                *(len(videos) - len(used), len(videos), sampling.frames),
            )
        self.curves = [video.curves(rois) for video in used]
        self.labels = [frame_labels(video.coded, len(video.track)) for video in used]
        self.expressions = [
            (number, each.interval) for number, video in enumerate(used) for each in video.coded
        ]
        if not self.expressions:
            raise UserError(
                f"no micro-expression is coded in the training videos ({len(used)} of "
                f"{sampling.frames} frames or more); give more videos, or shorter segments"
            )
        self.mirror = INPUTS["roi_curves"].mirror

    def __len__(self) -> int:
        return len(self.curves)

    def batch(self, rng: np.random.Generator, size: int) -> dict[str, Tensor]:
        """``curves`` (B, C, T) and ``labels`` (B, T) of so many segments."""
        pairs = [self._draw(rng) for _ in range(size)]
        curves = torch.from_numpy(np.stack([curves for curves, _ in pairs]))
        labels = torch.from_numpy(np.stack([labels for _, labels in pairs]))
        if self.sampling.flips:
            flipped = torch.from_numpy(rng.random(size) < 0.5)
            curves = torch.where(flipped[:, None, None], self.mirror(curves), curves)
        return {"curves": curves, "labels": labels}

    def _draw(self, rng: np.random.Generator) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        if rng.random() < self.sampling.positives:
            number, interval = self.expressions[rng.integers(len(self.expressions))]
            curves, labels = self._piece(rng, number, interval.apex)
        else:
            curves, labels = self._piece(rng, int(rng.integers(len(self.curves))))
        # No draw where there is no choice: recipes without it keep their segments.
        if self.sampling.overlaid and rng.random() < self.sampling.overlaid:
            more, theirs = self._piece(rng, int(rng.integers(len(self.curves))))
            curves, labels = curves + more, np.where(theirs == NEUTRAL, labels, theirs)
        return curves, labels

    def _piece(
        self, rng: np.random.Generator, number: int, apex: int | None = None
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """A piece of one video, with a frame that it is to hold, or from anywhere."""
        video, length = self.curves[number], self.sampling.frames
        span = length
        if self.sampling.tempo != (1.0, 1.0):
            span = min(max(round(length * rng.uniform(*self.sampling.tempo)), 2), video.shape[1])
        last = video.shape[1] - span
        # With its apex anywhere in it; the rest of an expression may lie beyond an end.
        low, high = (0, last) if apex is None else (max(apex - span + 1, 0), min(apex, last))
        start = int(rng.integers(low, high + 1))
        curves = resampled(video[:, start : start + span], length)
        if self.sampling.from_first:
            curves = curves - curves[:, :1]
        # One factor for curves and not for labels: stronger or weaker, the same expression.
        curves = curves * np.float32(rng.uniform(*self.sampling.scale))
        nearest = np.rint(np.linspace(start, start + span - 1, length)).astype(int)
        return curves, self.labels[number][nearest]


def resampled(curves: NDArray[np.float32], length: int) -> NDArray[np.float32]:
    """Curves (C, T) at another number of frames (C, length), linear in between, ends kept."""
    at = np.linspace(0, curves.shape[1] - 1, length)
    before = at.astype(int)
    after = np.minimum(before + 1, curves.shape[1] - 1)
    share = (at - before).astype(np.float32)
    return curves[:, before] * (1 - share) + curves[:, after] * share
