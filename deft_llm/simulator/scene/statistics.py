"""Counts over the published codings of CAS(ME)3 and DFME (durations also CASME II).

Aggregates only, in ``au_statistics.json``: which action units were coded together for which
emotion, and how long the phases last.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from deft_llm import facs
from deft_llm.answers import coarse_label

Combinations = Mapping[str, Mapping[str, float]]


@lru_cache(maxsize=1)
def coding_statistics() -> dict[str, Any]:
    """The content of the file."""
    text = Path(__file__).with_name("au_statistics.json").read_text(encoding="utf-8")
    loaded: dict[str, Any] = json.loads(text)
    return loaded


def combinations() -> Combinations:
    """Emotion -> AU combination ("4+L12") -> its count in real codings."""
    table: Combinations = coding_statistics()["combinations"]
    return table


@lru_cache(maxsize=1)
def _classes_by_au() -> dict[int, dict[str, float]]:
    """AU number -> coarse class -> number of clips coded with that AU."""
    counts: dict[int, dict[str, float]] = {}
    for emotion, table in combinations().items():
        for codes, count in table.items():
            for number in {facs.au_number(code) for code in codes.split("+") if code}:
                row = counts.setdefault(number, {})
                row[coarse_label(emotion)] = row.get(coarse_label(emotion), 0.0) + count
    return counts


def class_share(code: str, label: str) -> float | None:
    """Share of the clips coded with an AU whose emotion is of a class.

    Args:
        code: An AU code; its side is ignored.
        label: One of ``answers.COARSE_LABELS``.

    Returns:
        0 to 1; None if the AU was never coded.
    """
    row = _classes_by_au().get(facs.au_number(code))
    return row.get(label, 0.0) / sum(row.values()) if row else None
