"""The dual constraint applied to measured clips: adds accepted statements to their records."""

from __future__ import annotations

from dataclasses import replace

from deft_llm.clip import Evidence
from deft_llm.data.clip_dataset import Floats, MeasuredClip
from deft_llm.data.records import ClipRecord
from deft_llm.metrics.faithfulness import claim_holds
from deft_llm.unimer.constraints import judge


def judged(clip: MeasuredClip, least: float | None = None, by_truth: bool = False) -> ClipRecord:
    """The record of a clip with the statements on which flow and coding agree.

    Args:
        clip: A measured clip.
        least: Minimum probability of a statement; None for the fitted threshold.
        by_truth: Remove statements that the exact motion of a simulated clip contradicts; the
            exact motion of both phases must be known.
    """
    record = clip.record
    assert clip.features is not None, f"{record.clip} was not measured"
    agreement = judge(clip.features["regions"], record.aus, record.dataset, least=least)
    evidence, returns, level = agreement.evidence, agreement.returns, agreement.level
    if by_truth:
        assert clip.truth is not None and clip.truth.offset_phase is not None
        evidence = _held(evidence, clip.truth.onset_phase)
        returns = _held(returns, clip.truth.offset_phase)
        # Score and level are still those of the flow: exact motion only removes statements.
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
    """The statements that the exact motion confirms."""
    return tuple(row for row in rows if claim_holds(row.region, row.direction, motion))
