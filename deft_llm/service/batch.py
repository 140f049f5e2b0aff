"""Many clips: one row for each, even if it fails."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from deft_llm import facs
from deft_llm.errors import UserError
from deft_llm.files import csv_line
from deft_llm.service.clip_service import AS_USUAL, ClipResult, ClipService, ModelChoice
from deft_llm.service.limits import public

COLUMNS = (
    *("file", "emotion", "probability", "aus", "strongest motion", "onset s", "apex s", "offset s"),
    *("doubt", "remark"),
)


def row_of(name: str, seen: ClipResult) -> dict[str, Any]:
    """A clip's table row, keyed by ``COLUMNS``."""
    explanation, m = seen.explanation, seen.measurement
    onset, apex, offset = (
        # Without an expression the interval is only the compared pair, so no times are given.
        round(float(m.aligned.timestamps[t]), 4) if m.found else None
        for t in (m.interval.onset, m.interval.apex, m.interval.offset)
    )
    # Evidence comes sorted: the first row moved furthest.
    top = explanation.evidence[0] if explanation.evidence else None
    moved = f"{top.region} {top.direction} {top.magnitude:.2f} px, z {top.z:.1f}" if top else ""
    sure = max(explanation.probabilities.values(), default=None)
    values = (
        *(name, explanation.emotion or "none named", round(sure, 4) if sure is not None else None),
        *(" ".join(map(facs.au_short, explanation.aus)), moved, onset, apex, offset),
        explanation.disagreement,
        "; ".join(explanation.remarks),
    )
    return dict(zip(COLUMNS, values, strict=True))


def explain_files(
    service: ClipService, paths: Sequence[Path], choice: ModelChoice = AS_USUAL
) -> Iterator[tuple[dict[str, Any], dict[str, Any] | None]]:
    """Explain clips one by one; a clip that fails gets a row with the reason.

    Args:
        service: Limits and models.
        paths: Video files.
        choice: Model and options.

    Yields:
        The row, and all results of the clip (None if it failed).

    Raises:
        UserError: If there are no files, or more than allowed.
    """
    if not 0 < len(paths) <= service.limits.files:
        raise UserError(f"{len(paths)} files; expected 1 to {service.limits.files} videos")
    for path in paths:
        try:
            seen = service.explain(path, choice)
        except UserError as error:
            # No emotion marks a failed row (``templates/clips.html``).
            yield {**dict.fromkeys(COLUMNS), "file": path.name, "remark": public(error)}, None
        else:
            yield row_of(path.name, seen), seen.record()


def to_csv(rows: Sequence[dict[str, Any]]) -> bytes:
    """Rows as CSV with a header."""
    lines = [COLUMNS, *([row[name] for name in COLUMNS] for row in rows)]
    return "".join(map(csv_line, lines)).encode("utf-8", "backslashreplace")


def to_json(records: Sequence[dict[str, Any]]) -> bytes:
    """All results of the clips, as JSON."""
    text = json.dumps(list(records), indent=2, ensure_ascii=False) + "\n"
    return text.encode("utf-8", "backslashreplace")
