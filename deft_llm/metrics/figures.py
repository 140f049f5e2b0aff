"""Figures: named numbers with a bar, printed last by every measuring script."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True)
class Figure:
    """One measured number.

    Attributes:
        name: What it is, for example "uf1".
        value: As measured.
        bar: What it should reach; None where it is only reported.
        above: Whether reaching means at least (True) or at most (False).
    """

    name: str
    value: float
    bar: float | None = None
    above: bool = True

    @property
    def reached(self) -> bool:
        """Whether the bar is met; NaN never is."""
        if self.bar is None:
            return True
        return self.value >= self.bar if self.above else self.value <= self.bar

    def __str__(self) -> str:
        if self.bar is None:
            return f"{self.name} = {self.value:.4g}"
        sign = ">=" if self.above else "<="
        verdict = "" if self.reached else "  MISSED"
        return f"{self.name} = {self.value:.4g} (bar {sign} {self.bar:g}){verdict}"


def report(figures: Iterable[Figure], json_file: Path | None = None, check: bool = False) -> int:
    """Print figures, write them, and say by the exit status whether all bars are met.

    Args:
        figures: In order.
        json_file: Also written there as a list.
        check: Return 1 when one falls short.
    """
    figures = list(figures)
    for figure in figures:
        print(figure)
    if json_file is not None:
        rows = [
            {**asdict(f), "value": None if math.isnan(f.value) else f.value, "reached": f.reached}
            for f in figures
        ]
        json_file.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    return int(check and not all(figure.reached for figure in figures))
