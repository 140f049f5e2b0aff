"""The leak audit: no subject, clip or content may be on both sides of a split.

As a command: ``python instruction_data/audit.py TRAIN TEST``. As a gate: training compares its
data with the folders that a recipe holds out, and the simulated benchmarks compare their clips.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from deft_llm import leaks
from deft_llm.data.clip_lines import folder_records
from deft_llm.data.records import ClipRecord

ID_KINDS = ("subject", "clip", "content")


def _ids(records: Iterable[ClipRecord]) -> leaks.Ids:
    # An iterator would be exhausted after the first kind of id.
    records = list(records)
    return {kind: {getattr(record, kind) for record in records} for kind in ID_KINDS}


def shared_ids(train: Iterable[ClipRecord], test: Iterable[ClipRecord]) -> dict[str, list[str]]:
    """Ids that two datasets share: "subject", "clip" and "content" -> sorted values.

    Empty values (clips of unknown content) are never counted as shared.
    """
    return leaks.shared(_ids(train), _ids(test))


def require_disjoint_records(train: Iterable[ClipRecord], test: Iterable[ClipRecord]) -> None:
    """Raise an error for a split that leaks.

    Raises:
        UserError: If a subject, clip or content hash is on both sides; the message names one.
    """
    leaks.require_disjoint(
        _ids(train),
        _ids(test),
        "instruction data and test set",
        "leave what is shared out of one side",
    )


def audit(train: Path, test: Path) -> dict[str, list[str]]:
    """``shared_ids`` of two data folders."""
    return shared_ids(folder_records(train), folder_records(test))
