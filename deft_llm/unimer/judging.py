"""Measured clips under the dual constraint: where a record learns what may be said."""

from __future__ import annotations

from dataclasses import replace

from deft_llm.clip import Evidence
from deft_llm.data.clip_dataset import Floats, MeasuredClip
from deft_llm.data.records import ClipRecord
from deft_llm.metrics.faithfulness import claim_holds
from deft_llm.unimer.constraints import judge


def judged(clip: MeasuredClip, least: float | None = None, by_truth: bool = False) -> ClipRecord:
    """The record of a clip with what flow and coding say together.

    Args:
        clip: Measured.
        least: Least probability of a statement that is written; None for the fitted one.
        by_truth: Leave out statements that the exact motion of a simulated clip contradicts; its
            motion in both phases must be known.
    """
    record = clip.record
    assert clip.features is not None, f"{record.clip} was not measured"
    agreement = judge(clip.features["regions"], record.aus, record.dataset, least=least)
    evidence, returns, level = agreement.evidence, agreement.returns, agreement.level
    if by_truth:
        assert clip.truth is not None and clip.truth.offset_phase is not None
        evidence = _held(evidence, clip.truth.onset_phase)
        returns = _held(returns, clip.truth.offset_phase)
        level = level if evidence else "label-only"
    return replace(
        record,
        evidence=evidence,
        returns=returns,
        unexplained=agreement.unexplained,
        label_only=agreement.label_only,
        score=agreement.score,
        agreement=level,
    )


def _held(rows: tuple[Evidence, ...], motion: Floats) -> tuple[Evidence, ...]:
    """The statements that exact motion does not contradict."""
    return tuple(row for row in rows if claim_holds(row.region, row.direction, motion))
