"""The gaze of a recording as a picture: trace before and after, blinks, saccades, jitter.

Drawn from numbers alone.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from deft_llm.viz.figure import BLUE, GREY, ORANGE, title_beside

# matplotlib is imported where something is drawn, because it takes half a second.
if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.legend import Legend

WIDTH, HEIGHT = 12.0, 6.2  # inches
BLINK = "#d5d9df"
_MOST = 6_000  # samples that are drawn; more would only make one black band


@dataclass(frozen=True)
class GazeTrace:
    """What is drawn.

    Attributes:
        times: (T,) s.
        raw: (T, 2) cells of the grid, before the refinement; None without one.
        xy: (T, 2) after it.
        blinks: (K, 2) first and last second of each.
        saccades: (M, 2) the same.
    """

    times: NDArray[np.float64]
    raw: NDArray[np.float64] | None
    xy: NDArray[np.float64]
    blinks: NDArray[np.float64]
    saccades: NDArray[np.float64]


def gaze_plot(trace: GazeTrace, name: str, found: str) -> bytes:
    """Draw a trace.

    Args:
        trace: At least one sample; of a long one, the first minute is shown sample by sample.
        name: Of the recording; cut in its middle if it is long.
        found: What was found in it, for the title.

    Returns:
        A PNG.
    """
    from matplotlib.figure import Figure

    shown = slice(0, _MOST)
    figure = Figure(figsize=(WIDTH, HEIGHT), dpi=100)
    rows = figure.subplots(3, 1, sharex=True, height_ratios=(3, 3, 2))
    figure.subplots_adjust(left=0.07, right=0.99, top=0.89, bottom=0.09, hspace=0.13)
    times = trace.times[shown]
    before = [] if trace.raw is None else [trace.raw[shown]]
    for axes, axis, label in ((rows[0], 0, "x, cells"), (rows[1], 1, "y, cells (down)")):
        _spans(axes, trace, times)
        for raw in before:
            axes.plot(times, raw[:, axis], color=GREY, lw=0.8, alpha=0.75)
        axes.plot(times, trace.xy[shown, axis], color=BLUE, lw=1.3)
        _limits(axes, trace.xy[shown, axis], [raw[:, axis] for raw in before])
        _plain(axes, label)
    rows[1].invert_yaxis()  # as in the picture
    _spans(rows[2], trace, times)
    drawn = [*((raw, GREY, 0.8) for raw in before), (trace.xy[shown], BLUE, 1.1)]
    for places, colour, width in drawn:
        steps = np.hypot(*np.diff(places, axis=0).T)
        rows[2].plot(times[1:], steps, color=colour, lw=width)
    # Steps of a still eye are tenths of a cell, those of a saccade tens: linear up to 0.1.
    rows[2].set_yscale("symlog", linthresh=0.1, linscale=0.5)
    rows[2].set_ylim(bottom=0)
    _plain(rows[2], "step, cells")
    rows[2].set_xlabel("time, s")
    # A single sample has no width.
    rows[2].set_xlim(times[0], max(times[-1], times[0] + 1e-3))
    longer = len(trace.times) > _MOST
    part = f", first {times[-1] - times[0]:.0f} s of {np.ptp(trace.times):.0f}" if longer else ""
    title_beside(_legend(figure, bool(before)), (0.07, 0.955), name, f": {found}{part}")
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def _spans(axes: Axes, trace: GazeTrace, times: NDArray[np.float64]) -> None:
    for spans, colour, alpha in ((trace.blinks, BLINK, 1.0), (trace.saccades, ORANGE, 0.35)):
        for first, last in spans:
            if first <= times[-1]:
                axes.axvspan(first, last, color=colour, alpha=alpha, lw=0)


def _limits(axes: Axes, after: NDArray[np.float64], before: list[NDArray[np.float64]]) -> None:
    """Room for the trace; of stray predictions only the nearer ones."""
    spread = np.concatenate([after, *before])
    low, high = np.nanpercentile(spread, [1, 99])
    # All of the refined trace is shown; what it left behind may be off the plot.
    low, high = min(low, float(np.nanmin(after))), max(high, float(np.nanmax(after)))
    room = 0.08 * (high - low) + 0.5
    axes.set_ylim(low - room, high + room)


def _plain(axes: Axes, name: str) -> None:
    axes.set_ylabel(name, fontsize=10)
    axes.tick_params(labelsize=9)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def _legend(figure: Figure, refined: bool) -> Legend:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    handles: list[Artist] = [
        Line2D([], [], color=BLUE, lw=1.6, label="refined" if refined else "tracked"),
        Patch(color=BLINK, label="blink"),
        Patch(color=ORANGE, alpha=0.35, label="saccade"),
    ]
    if refined:
        handles.insert(0, Line2D([], [], color=GREY, lw=1.2, label="before"))
    return figure.legend(
        handles=handles, ncols=len(handles), fontsize=9, frameon=False, loc="center right",
        bbox_to_anchor=(0.995, 0.955),
    )  # fmt: skip
