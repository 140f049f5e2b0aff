"""Figures and tables of warped clips, from their rows alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from deft_llm.answers import COARSE_LABELS, NOTHING
from deft_llm.evaluation.warped.clips import NUMBERS, Condition, Row

#: Figures of a kind of faces, over all conditions in which AUs move.
OVERALL = ("aus_f1", "aus_recall", "region_error", "directions_right", "regions_found")


def figure_names(kind: str, conditions: Mapping[str, Condition]) -> list[str]:
    """The figures of one kind of faces."""
    return [
        *(f"{kind}_{name}_{_measure(condition)}" for name, condition in conditions.items()),
        *(f"{kind}_{name}" for name in OVERALL),
    ]


def figures(
    kind: str, rows: Sequence[Row], conditions: Mapping[str, Condition]
) -> dict[str, float]:
    """The figures of one kind of faces: right classes, or false alarms, and the motion itself."""
    values = {}
    for name, condition in conditions.items():
        right = _mean(row.right for row in rows if row.condition == name)
        value = right if condition.expression else 1 - right
        values[f"{kind}_{name}_{_measure(condition)}"] = value
    acted = [row for row in rows if row.expected]
    return values | {f"{kind}_{name}": value for name, value in _overall(acted).items()}


def by_condition(rows: Sequence[Row]) -> list[dict[str, object]]:
    """A line for each kind of faces and condition."""
    table: list[dict[str, object]] = []
    for kind, name in dict.fromkeys((row.kind, row.condition) for row in rows):
        own = [row for row in rows if (row.kind, row.condition) == (kind, name)]
        named = [row for row in own if row.named or row.named_aus]
        counts = {
            "clips": len(own),
            "right": sum(row.right for row in own),
            "named": len(named),
            "not judged": sum("not judged" in row.status for row in own),
            "unread": sum(bool(row.problem) for row in own),
        }
        acted = [row for row in own if row.expected]
        scores = _overall(acted) if acted else dict.fromkeys(OVERALL, "")
        table.append({"faces": kind, "condition": name, **counts, **scores})
    return table


def by_class(rows: Sequence[Row]) -> list[dict[str, object]]:
    """A line for each kind of faces and combination of AUs: how often each class is named."""
    table: list[dict[str, object]] = []
    acted = [row for row in rows if row.expected]
    for kind, label, aus in sorted({(r.kind, r.expected or "", r.codes) for r in acted}):
        own = [r for r in acted if (r.kind, r.expected, r.codes) == (kind, label, aus)]
        named = {name: sum((row.named or NOTHING) == name for row in own) for name in COARSE_LABELS}
        combination = "+".join(aus)
        table.append(
            {"faces": kind, "AUs": combination, "class": label, "clips": len(own), **named}
        )
    return table


def _measure(condition: Condition) -> str:
    return "right" if condition.expression else "false_alarms"


def _overall(rows: Sequence[Row]) -> dict[str, float]:
    f1 = []
    for number in NUMBERS:
        true = sum(number in row.aus for row in rows)
        named = sum(number in row.named_aus for row in rows)
        both = sum(number in row.aus and number in row.named_aus for row in rows)
        if true:
            f1.append(2 * both / (true + named))
    return {
        "aus_f1": _mean(f1),
        "aus_recall": _mean(au in row.named_aus for row in rows for au in row.aus),
        "region_error": _mean(error for row in rows for error in row.errors),
        "directions_right": _mean(right for row in rows for right in row.stated),
        "regions_found": _mean(found for row in rows for found in row.moved),
    }


def _mean(values: Iterable[float]) -> float:
    found = list(values)
    return float(np.mean(found)) if found else float("nan")
