"""Tables of the spotting benchmarks: a row for each entry and decoder, and the paired gains."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from deft_llm.evaluation.tables import markdown, write_table
from deft_llm.metrics.spotting import COUNTERS, SpottedVideo, count_videos
from deft_llm.metrics.subjects import ConfidenceInterval

# Column -> score of ``spotting_scores``. Three and four classes, never one without the other.
_COLUMNS = {
    **{"TP": "hits", "FP": "false_alarms", "FN": "misses", "F1": "f1", "F1, 1 px": "f1_1px"},
    **{"recognition 3": "recognition_f1_3", "recognition 4": "recognition_f1_4"},
    **{"STRS 3": "strs_3", "STRS 4": "strs_4"},
    **{"STRS 3, 1 px": "strs_3_1px", "STRS 4, 1 px": "strs_4_1px"},
    **{"alarms/min": "false_alarms_without", "in speech": "false_alarms_speech"},
    **{"mean IoU": "mean_iou", "onset": "onset_error", "apex": "apex_error"},
    "offset": "offset_error",
}


def score_row(
    entry: str, decoder: str, scores: Mapping[str, float], note: str = ""
) -> dict[str, object]:
    """One row of the main table; errors of onset, apex and offset are medians in frames."""
    shown = {head: scores[name] for head, name in _COLUMNS.items() if name in scores}
    return {"entry": entry, "decoder": decoder, **shown, "note": note}


def counter_row(entry: str, videos: Sequence[SpottedVideo]) -> dict[str, object]:
    """F1 of spotting in the four ways that papers count."""
    return {"entry": entry, **{f"F1 {n}": count_videos(videos, n).f1 for n in COUNTERS}}


def write_tables(
    folder: Path, rows: Sequence[Mapping[str, object]], gains: Mapping[str, ConfidenceInterval]
) -> str:
    """Write ``table.md`` and ``table.csv``; returns them, with the gains, as Markdown."""
    if not rows:
        return "nothing was tested"
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("table.md", "table.csv"):
        write_table(folder / name, rows)
    parts = [markdown(rows)]
    if gains:
        parts.append(
            markdown([{"gain of F1": n, "95 % interval": str(g)} for n, g in gains.items()])
        )
    return "\n".join(parts)
