"""What a checkpoint has learned from, checked against the folds that test it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from deft_llm import protocols
from deft_llm.data.clip_dataset import MeasuredClip
from deft_llm.data.clip_lines import folder_records
from deft_llm.data.labelled import LabelledClips
from deft_llm.data.records import ClipRecord
from deft_llm.evaluation.recognition.entries import ModelEntry
from deft_llm.unimer.audit import require_disjoint_records
from deft_llm.unimer.coded import HASHED, content_hash


def require_unlearned(
    entry: ModelEntry, data: LabelledClips, splits: Sequence[protocols.Split]
) -> None:
    """Check that what a checkpoint has learned from shares nothing with its test fold.

    Args:
        entry: The model; one without ``learned_from`` is not checked.
        data: The clips that test it.
        splits: The folds.

    Raises:
        UserError: If a subject, clip or content is in both, or the folder is no instruction data.
    """
    if entry.learned_from is None:
        return
    tested = [_known_by_content(clip) for clip in data.clips]
    for split in splits:
        folder = entry.for_fold(split.fold).learned_from
        assert folder is not None
        learned = list(folder_records(Path(folder)))
        require_disjoint_records(learned, [tested[row] for row in split.test])


def _known_by_content(clip: MeasuredClip) -> ClipRecord:
    """The record with the hash that instruction data has of the same clip under any name."""
    # A prepared corpus lists codings alone. Flow images have no picture of the face to compare.
    if clip.features is None or not all(name in clip.features for name in HASHED):
        return clip.record
    return replace(clip.record, content=content_hash(clip.features))
