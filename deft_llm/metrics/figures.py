"""Figures: named numbers with a bar, which every measuring script prints last."""

from __future__ import annotations

import json
import math
import statistics
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True)
class Figure:
    """One measured number.

    Attributes:
        name: For example "uf1".
        value: Measured value.
        bar: Value to reach; None if the figure is only reported.
        above: Whether the bar is a minimum (True) or a maximum (False).
    """

    name: str
    value: float
    bar: float | None = None
    above: bool = True

    @property
    def reached(self) -> bool:
        """Whether the bar is met; NaN never meets one."""
        if self.bar is None:
            return True
        # NumPy's numbers compare to a bool that JSON does not know.
        return bool(self.value >= self.bar if self.above else self.value <= self.bar)

    def __str__(self) -> str:
        if self.bar is None:
            return f"{self.name} = {self.value:.4g}"
        sign = ">=" if self.above else "<="
        verdict = "" if self.reached else "  MISSED"
        return f"{self.name} = {self.value:.4g} (bar {sign} {self.bar:g}){verdict}"


def report(figures: Iterable[Figure], json_file: Path | None = None, check: bool = False) -> int:
    """Print figures, write them to a file, and return an exit status.

    Args:
        figures: Figures, in order.
        json_file: File to write the figures to, as a list.
        check: Return 1 if a bar is missed.
    """
    figures = list(figures)
    for figure in figures:
        print(figure)
    if json_file is not None:
        # JSON has neither NaN nor infinity.
        rows = [
            {
                **asdict(f),
                "value": float(f.value) if math.isfinite(f.value) else None,
                "reached": f.reached,
            }
            for f in figures
        ]
        json_file.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    return int(check and not all(figure.reached for figure in figures))


class Peak:
    """Largest value of what is looked at again and again, inside a ``with`` block.

    Args:
        look: Gives the value of the moment; NaN where it is not known.
        every: Seconds between two looks.

    Attributes:
        value: The largest so far; NaN before the first.
    """

    def __init__(self, look: Callable[[], float], every: float) -> None:
        self.value, self._look, self._every = math.nan, look, every
        self._done = threading.Event()
        self._watch = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Peak:
        self._watch.start()
        return self

    def _run(self) -> None:
        while True:
            now = self._look()
            if math.isnan(self.value) or now > self.value:
                self.value = now
            if self._done.wait(self._every):
                return

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._watch.join()


def milliseconds(run: Callable[[], object], runs: int) -> float:
    """Median time of a call, after one that is not counted."""
    run()
    taken = []
    for _ in range(runs):
        start = time.perf_counter()
        run()
        taken.append(1000 * (time.perf_counter() - start))
    return statistics.median(taken)
