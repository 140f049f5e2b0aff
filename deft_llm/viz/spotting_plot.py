"""The curve of a searched video with the expressions in it, as a picture; a row a minute.

Drawn from numbers alone, so that any search, also one that was stopped, can be drawn.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from deft_llm.runs import runs
from deft_llm.viz.figure import BLUE, GREY, ORANGE, literal, title_beside

# matplotlib is imported where something is drawn, because it takes half a second.
if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.legend import Legend

ROW = 60.0  # s, shown side by side
MOST_ROWS = 20
WIDTH, ROW_HEIGHT, AROUND = 12.0, 2.1, 0.8  # inches
MACRO, ABSENT = "#56b4e9", "#d5d9df"
_HEAD = 0.3  # of the curve's height, above it for labels
_LIFTED = 0.13  # of a row's height between two labels that would lie upon each other
_LETTER = 0.0085  # of a row's width, a letter of a label


@dataclass(frozen=True)
class Mark:
    """One expression in the plot.

    Attributes:
        onset: Seconds.
        apex: The same.
        offset: The same.
        label: Shown above its apex.
        macro: Whether it is a macro-expression.
    """

    onset: float
    apex: float
    offset: float
    label: str
    macro: bool = False


@dataclass(frozen=True)
class Curve:
    """What was searched.

    Attributes:
        times: (T,) seconds, increasing.
        values: (T,); NaN in frames without a face.
        axis: What the values are, with a unit.
        threshold: Value from which an expression is told of; None without one.
    """

    times: NDArray[np.float64]
    values: NDArray[np.float64]
    axis: str
    threshold: float | None = None

    @property
    def top(self) -> float:
        """Upper limit of a plot."""
        if self.threshold is not None:
            return 1.0
        # px; below 0.2 it is noise, which must not fill the plot.
        return 1.15 * max(float(np.nanmax(self.values, initial=0.0)), 0.2)

    def height(self, value: float | NDArray[np.float64]) -> NDArray[np.float64]:
        """Values as shares of a plot's height.

        Motion goes by its square root: beside a smile of ten pixels, one of half a pixel would not
        be seen. A score from 0 to 1 goes by itself.
        """
        share = np.clip(np.asarray(value, np.float64) / self.top, 0.0, 1.0)
        return share if self.threshold is not None else np.sqrt(share)

    def rows(self) -> list[tuple[float, float]]:
        """First and last second of each row."""
        start, end = float(self.times[0]), float(self.times[-1])
        # A last row of a few seconds is not worth one.
        count = min(max(1, math.ceil((end - start) / ROW - 0.2)), MOST_ROWS)
        length = max((end - start) / count, 1e-3)
        return [(start + k * length, start + (k + 1) * length) for k in range(count)]

    def absent(self) -> Iterator[tuple[float, float]]:
        """First and last second of each stretch without a face."""
        for first, stop in runs(np.isnan(self.values)):
            yield float(self.times[first]), float(self.times[min(stop, len(self.times) - 1)])

    def ticks(self) -> list[float]:
        """Values to name on the axis."""
        if self.threshold is not None:
            return [0.0, 0.5, 1.0]
        steps = [0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0]
        # Not so near to 0 that the numbers touch, and the largest four of them.
        return [0.0, *[step for step in steps if 0.03 * self.top < step < self.top][-4:]]


def spotting_plot(curve: Curve, marks: Sequence[Mark], title: str) -> bytes:
    """Draw a curve with expressions.

    Args:
        curve: At least one frame.
        marks: The expressions, in order of time.
        title: Stands above it; cut in its middle if it is long.

    Returns:
        A PNG.
    """
    from matplotlib.figure import Figure

    rows = curve.rows()
    height = ROW_HEIGHT * len(rows) + AROUND
    figure = Figure(figsize=(WIDTH, height), dpi=100)
    all_axes = figure.subplots(len(rows), 1, squeeze=False)[:, 0]
    figure.subplots_adjust(
        left=0.055, right=0.99, top=1 - 0.65 / height, bottom=0.45 / height, hspace=0.45
    )
    for axes, (start, end) in zip(all_axes, rows, strict=True):
        _row(axes, curve, marks, start, end)
    all_axes[-1].set_xlabel("time, s")
    figure.supylabel(curve.axis, fontsize=10, x=0.004)
    title_beside(_legend(curve, figure, height), (0.055, 1 - 0.3 / height), title)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def _row(axes: Axes, curve: Curve, marks: Sequence[Mark], start: float, end: float) -> None:
    axes.set(xlim=(start, end), ylim=(0, 1 + _HEAD))
    for first, last in curve.absent():
        axes.axvspan(first, last, color=ABSENT, lw=0)
    taken: list[list[float]] = []  # level, start and end of each label
    for mark in marks:
        if mark.offset < start or mark.onset > end:
            continue
        colour = MACRO if mark.macro else ORANGE
        axes.axvspan(mark.onset, mark.offset, color=colour, alpha=0.22, lw=0)
        axes.axvline(mark.apex, color=colour, lw=1.2)
        if start <= mark.apex <= end:
            _label(axes, mark, colour, taken, end - start)
    inside = (curve.times >= start) & (curve.times <= end)
    axes.plot(curve.times[inside], curve.height(curve.values[inside]), color=BLUE, lw=1.1)
    if curve.threshold is not None:
        axes.axhline(float(curve.height(curve.threshold)), color=GREY, ls="--", lw=1)
    axes.set_yticks(curve.height(np.array(curve.ticks())), [f"{v:g}" for v in curve.ticks()])
    axes.tick_params(labelsize=9)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def _label(axes: Axes, mark: Mark, colour: str, taken: list[list[float]], span: float) -> None:
    """The label at the apex, a level lower for each one that it would lie upon."""
    width = _LETTER * span * len(mark.label)
    near_end = axes.get_xlim()[1] < mark.apex + width
    place = [mark.apex - width, mark.apex] if near_end else [mark.apex, mark.apex + width]
    level = 0
    # Each label takes the highest level on which it touches none.
    while any(k == level and a < place[1] and place[0] < b for k, a, b in taken):
        level += 1
    taken.append([level, *place])
    axes.annotate(
        literal(mark.label), (mark.apex, 1 - _LIFTED * level), (-3 if near_end else 3, -2),
        xycoords=("data", "axes fraction"), textcoords="offset points", fontsize=8.5,
        ha="right" if near_end else "left", va="top", color="#1d2430",
        bbox={"boxstyle": "square,pad=0.12", "fc": "white", "ec": colour, "lw": 0.5, "alpha": 0.9},
    )  # fmt: skip


def _legend(curve: Curve, figure: Figure, height: float) -> Legend:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    kinds = {"micro-expression": ORANGE, "macro-expression": MACRO}
    shown: list[Artist] = [
        Patch(color=colour, alpha=0.3, label=name) for name, colour in kinds.items()
    ]
    shown.append(Patch(color=ABSENT, label="no face"))
    if curve.threshold is not None:
        shown.append(Line2D([], [], color=GREY, ls="--", lw=1, label="threshold"))
    return figure.legend(
        handles=shown, ncols=len(shown), fontsize=9, frameon=False, loc="center right",
        bbox_to_anchor=(0.995, 1 - 0.3 / height),
    )  # fmt: skip
