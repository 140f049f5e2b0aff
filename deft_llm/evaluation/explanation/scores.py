"""Scores of replies on simulated clips: classes, AUs and claims against the exact ground truth."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from deft_llm import facs
from deft_llm.answers import NOTHING, stated_claims
from deft_llm.clip import Evidence
from deft_llm.data.clip_dataset import MeasuredClip
from deft_llm.deft.configuration_deft import NO_EMOTION
from deft_llm.deft.inference.calibration import LABEL_SETS
from deft_llm.evaluation.bayes_rule import LABEL_SCHEMES, class_of
from deft_llm.evaluation.explanation.replies import Reply
from deft_llm.metrics.classification import binary_f1, confusion_matrix, uf1
from deft_llm.metrics.faithfulness import ClaimCounts, count_claims
from deft_llm.simulator.scene.life import KINDS
from deft_llm.simulator.scene.statistics import combinations
from deft_llm.unimer.constraints import judge
from deft_llm.unimer.simulated import ACCEPTED

# Canonical px, edges of the table's rows; the last lies just above 3, so that 3 px is included.
AMPLITUDES = (0.3, 0.6, 1.0, 1.8, 3.0001)
_LARGE = (6.0, 12.0, 20.0001)  # of macro-expressions, which the pinned sets do not have
LEAST_AU_SHARE = 0.02  # an AU is scored if at least this share of coded combinations has it


def class_uf1(
    clips: Sequence[MeasuredClip], predicted: Iterable[str | None], label_set: str = "three"
) -> float:
    """UF1 over the clips that have a class of the label set."""
    return uf1(confusion(clips, predicted, label_set))


def confusion(
    clips: Sequence[MeasuredClip], predicted: Iterable[str | None], label_set: str = "three"
) -> NDArray[np.int64]:
    """Rows true, columns predicted, over the clips that have a class of the label set."""
    rows = [(class_of(c.spec, label_set), p) for c, p in zip(clips, predicted, strict=True)]
    kept = [(label, guess) for label, guess in rows if label is not None]
    classes = LABEL_SETS[label_set][1]
    return confusion_matrix([r[0] for r in kept], [r[1] for r in kept], classes)


def labelled_scores(
    clips: Sequence[MeasuredClip], replies: Sequence[Reply], label_set: str
) -> tuple[Tensor, Tensor, Tensor]:
    """Scores (N, L), true indices (N,) and AUs (N, K, 2) of the clips with a label of the set.

    Clips without a face have no likelihoods and are left out.

    Args:
        clips: The clips.
        replies: The model's replies.
        label_set: "coarse", "three" or "seven".
    """
    names = LABEL_SETS[label_set][1]
    rows, wanted, aus = [], [], []
    for clip, reply in zip(clips, replies, strict=True):
        # The coarse labels also cover clips outside the three classes: "others", or no AU at all.
        if label_set == "coarse":
            rest = NOTHING if not clip.spec.aus else "others"
            label: str | None = class_of(clip.spec) or rest
        else:
            label = class_of(clip.spec, label_set)
        values = reply.emotions if label_set == "seven" else reply.likelihoods
        if label is not None and values:
            rows.append([values[name] for name in names])
            wanted.append(names.index(label))
            aus.append(torch.from_numpy(reply.au_probabilities))
    # Reshaped, so that (0, L) comes back when no clip has a label.
    scores = torch.tensor(rows).reshape(len(rows), len(names))
    return scores, torch.tensor(wanted).long(), torch.stack(aus) if aus else torch.zeros(0, 0, 2)


def scored_aus(least_share: float = LEAST_AU_SHARE) -> list[int]:
    """FACS numbers that occur in at least this share of the coded combinations."""
    counts: dict[int, float] = defaultdict(float)
    total = 0.0
    for table in combinations().values():
        for code, count in table.items():
            total += count
            # A set: an AU coded on both sides counts once.
            for number in {facs.au_number(au) for au in code.split("+")}:
                counts[number] += count
    return sorted(number for number, count in counts.items() if count / total >= least_share)


def au_matrix(sets: Iterable[Iterable[str]], numbers: Sequence[int]) -> NDArray[np.bool_]:
    """AU codes of N clips -> (N, K) bool, ignoring sides."""
    rows = [{facs.au_number(code) for code in codes} for codes in sets]
    return np.array([[number in row for number in numbers] for row in rows], bool)


def stated_au_f1(
    clips: Sequence[MeasuredClip], replies: Sequence[Reply], numbers: Sequence[int]
) -> NDArray[np.float64]:
    """F1 (K,) of the AUs that the generated answers name."""
    truth = au_matrix((clip.spec.aus for clip in clips), numbers)
    return binary_f1(truth, au_matrix((reply.aus() for reply in replies), numbers))


def claims(clips: Sequence[MeasuredClip], replies: Sequence[Reply]) -> ClaimCounts:
    """Claims of the raw texts against exact motion, summed over clips."""
    counts = (
        count_claims(stated_claims(reply.text), clip.motion)
        for clip, reply in zip(clips, replies, strict=True)
    )
    return sum(counts, ClaimCounts())


def rule_claims(clips: Sequence[MeasuredClip]) -> ClaimCounts:
    """Claims that the instruction data's rule makes from the true AUs and the measured flow.

    It states only motion that a coded AU explains, so its recall is about the best that a model
    trained on such statements can reach.
    """
    counts = ClaimCounts()
    for clip in clips:
        evidence: tuple[Evidence, ...] = ()
        if clip.features is not None:
            evidence = judge(clip.features["regions"], clip.spec.aus, least=ACCEPTED).evidence
        stated = [(row.region, row.direction) for row in evidence]
        counts += count_claims(stated, clip.motion)
    return counts


def named_without_au(clips: Sequence[MeasuredClip], replies: Sequence[Reply]) -> list[bool]:
    """For each clip without AUs, whether the reply gives an emotion, by likelihood or in text."""
    return [r.names_an_emotion() for c, r in zip(clips, replies, strict=True) if not c.spec.aus]


def head_class(emotions: Sequence[str], reply: Reply, label_set: str = "three") -> str | None:
    """The likeliest class of a label set, by the emotion head.

    Args:
        emotions: The head's classes, including "none".
        reply: Its probabilities.
        label_set: "three" or "seven".
    """
    if reply.emotion_probabilities is None:
        return None
    total: dict[str, float] = defaultdict(float)
    for name, value in zip(emotions, reply.emotion_probabilities, strict=True):
        label = None if name == NO_EMOTION else facs.to_scheme(name, LABEL_SCHEMES[label_set])
        if label is not None:
            # Several emotions may fall into one class: their probabilities add up.
            total[label] += float(value)
    return max(total, key=total.__getitem__)


def head_aus(
    aus: Sequence[int], replies: Sequence[Reply], numbers: Sequence[int]
) -> NDArray[np.bool_]:
    """AUs (N, K) to which the AU head gives more than one half on either side.

    Args:
        aus: The head's AUs.
        replies: N replies.
        numbers: The K AUs to score; one that the head does not have is never predicted.
    """
    rows = np.zeros((len(replies), len(numbers)), bool)
    for row, reply in zip(rows, replies, strict=True):
        for k, number in enumerate(numbers):
            if reply.au_probabilities is not None and number in aus:
                row[k] = reply.au_probabilities[aus.index(number)].max() > 0.5
    return rows


def amplitude_table(
    clips: Sequence[MeasuredClip], replies: Sequence[Reply]
) -> list[dict[str, str | int | float]]:
    """Scores by peak displacement, clips with AUs only; large ones have rows if there are any."""
    rows: list[dict[str, str | int | float]] = []
    for low, high in pairwise((*AMPLITUDES, *_LARGE)):
        scores = _scores_where(clips, replies, [low <= c.spec.peak_px < high for c in clips])
        if scores["clips"] or low in AMPLITUDES[:-1]:
            rows.append({"peak px": f"{low:.1f}-{high:.1f}", **scores})
    return rows


def kind_table(
    clips: Sequence[MeasuredClip], replies: Sequence[Reply]
) -> list[dict[str, str | int | float]]:
    """Scores by what a clip shows besides a brief movement, clips with AUs only.

    A clip of several kinds is in several rows.
    """
    rows: list[dict[str, str | int | float]] = []
    for kind in ("none", *KINDS):
        shown = [kind in (c.spec.kinds or ("none",)) for c in clips]
        scores = _scores_where(clips, replies, shown)
        if scores["clips"]:
            rows.append({"kind": kind, **scores})
    return rows


def _scores_where(
    clips: Sequence[MeasuredClip], replies: Sequence[Reply], wanted: Sequence[bool]
) -> dict[str, int | float]:
    rows = zip(clips, replies, wanted, strict=True)
    kept = [(c, r) for c, r, want in rows if c.spec.aus and want]
    some, theirs = [c for c, _ in kept], [r for _, r in kept]
    counts = claims(some, theirs)
    return {
        "clips": len(kept),
        "UF1": class_uf1(some, (r.likeliest("three") for r in theirs)),
        "AU macro-F1": float(stated_au_f1(some, theirs, scored_aus()).mean()),
        "claim precision": counts.precision,
        "claim recall": counts.recall,
    }
