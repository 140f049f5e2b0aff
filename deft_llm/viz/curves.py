"""The motion curve of a clip: how far the face has moved from the onset, over time."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from deft_llm.clip import Interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WIDTH, HEIGHT, DPI = 8.0, 2.9, 110  # inches and dots per inch: 880 pixels, a README's width


@dataclass(frozen=True)
class Theme:
    """Colours of a plot; the accents are Okabe and Ito's, safe for any colour vision."""

    ground: str
    ink: str
    quiet: str
    curve: str
    apex: str
    span: str


LIGHT = Theme("#ffffff", "#1d2430", "#6b7280", "#0072b2", "#c2410c", "#e8f0f7")
DARK = Theme("#171b22", "#e6e9ee", "#98a1ae", "#56b4e9", "#ff9f4a", "#222c38")


def draw_motion_curve(
    timestamps: NDArray[np.float64],
    motion: NDArray[np.floating],
    interval: Interval | None,
    floor: float | None = None,
    theme: Theme = LIGHT,
) -> bytes:
    """Draw motion over time with onset, apex and offset marked.

    Args:
        timestamps: Seconds, shape (T,).
        motion: Head-compensated motion, canonical pixels, shape (T,); NaN in frames without a face.
        interval: The frames to mark, or None if no interval was found.
        floor: Noise floor of the curve, pixels, drawn as a dashed line.
        theme: LIGHT or DARK.

    Returns:
        A PNG file's content, 880 pixels wide.

    Raises:
        ValueError: If the two arrays differ in length.
    """
    if len(timestamps) != len(motion):
        raise ValueError(f"{len(timestamps)} timestamps for {len(motion)} values of motion")
    from matplotlib.figure import Figure

    # Without pyplot, whose global state is not safe in the demo's threads.
    figure = Figure(figsize=(WIDTH, HEIGHT), dpi=DPI, facecolor=theme.ground)
    axes = figure.add_axes((0.075, 0.175, 0.905, 0.69))
    finite = motion[np.isfinite(motion)]
    # The floor and the constant keep the noise of a still face from filling the plot.
    top = 1.12 * max(float(finite.max(initial=0.0)), 2.0 * (floor or 0.0), 0.05)
    axes.set_ylim(0.0, top)
    axes.set_xlim(*_limits(timestamps))
    # A line needs two points: markers show clips that are shorter, or broken by gaps.
    axes.plot(timestamps, motion, color=theme.curve, lw=2, marker="o" if len(motion) < 4 else None)
    _shade_missing(axes, timestamps, motion, theme)
    if floor is not None:
        axes.axhline(floor, color=theme.quiet, lw=1.2, ls=(0, (4, 3)))
        axes.annotate(
            "noise floor", (1.0, floor), (-4, 3), xycoords=("axes fraction", "data"),
            textcoords="offset points", ha="right", fontsize=9, color=theme.quiet,
        )  # fmt: skip
    if interval is not None:
        _mark(axes, timestamps, interval, theme)
    _dress(axes, theme)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", facecolor=theme.ground)
    return buffer.getvalue()


def _limits(timestamps: NDArray[np.float64]) -> tuple[float, float]:
    first, last = float(timestamps[0]), float(timestamps[-1])
    # A clip of one frame has no length, and equal limits are no axis.
    pad = 0.01 * (last - first) or 0.5
    return first - pad, last + pad


def _shade_missing(
    axes: Axes, times: NDArray[np.float64], motion: NDArray[np.floating], theme: Theme
) -> None:
    """Grey bands over frames without a face."""
    absent = ~np.isfinite(motion)
    # False on both ends, so that runs at the start and end of the clip have two edges as well.
    edges = np.flatnonzero(np.diff(np.r_[False, absent, False].astype(int)))
    for start, stop in edges.reshape(-1, 2):
        end = times[min(stop, len(times) - 1)]
        axes.axvspan(times[start], end, color=theme.quiet, alpha=0.25, lw=0)
        axes.text(
            (times[start] + end) / 2, 0.5, "no face", rotation=90, ha="center", va="center",
            fontsize=8, color=theme.ink, transform=axes.get_xaxis_transform(), clip_on=True,
        )  # fmt: skip


def _mark(axes: Axes, times: NDArray[np.float64], interval: Interval, theme: Theme) -> None:
    """A band from onset to offset, a line at each of the three frames, and labels above."""
    marks = tuple(float(times[i]) for i in (interval.onset, interval.apex, interval.offset))
    axes.axvspan(marks[0], marks[2], color=theme.span, lw=0, zorder=0)
    for time, colour, style in zip(
        marks, (theme.ink, theme.apex, theme.ink), (":", "-", ":"), strict=True
    ):
        axes.axvline(time, color=colour, lw=1.6, ls=style)
    _label_row(axes, marks, theme)


def _label_row(axes: Axes, times: tuple[float, ...], theme: Theme) -> None:
    """Names and times of the three frames above the plot, moved apart where they overlap."""
    low, high = axes.get_xlim()
    places = [(t - low) / (high - low) for t in times]
    gap, margin = 0.15, 0.065
    # The apex first, with room for a label on both sides; then the others keep their distance.
    places[1] = min(max(places[1], margin + gap), 1 - margin - gap)
    places[0] = max(min(places[0], places[1] - gap), margin)
    places[2] = min(max(places[2], places[1] + gap), 1 - margin)
    for name, time, place in zip(("onset", "apex", "offset"), times, places, strict=True):
        colour = theme.apex if name == "apex" else theme.ink
        axes.annotate(
            f"{name} {time:.3f} s", (time, 1.0), (place, 1.06), xycoords=("data", "axes fraction"),
            textcoords="axes fraction", ha="center", va="bottom", fontsize=9.5, color=colour,
            arrowprops={"arrowstyle": "-", "color": colour, "lw": 0.8, "shrinkA": 1, "shrinkB": 0},
        )  # fmt: skip


def _dress(axes: Axes, theme: Theme) -> None:
    axes.set_facecolor(theme.ground)
    axes.set_xlabel("time, s", color=theme.ink, fontsize=10)
    axes.set_ylabel("motion, px", color=theme.ink, fontsize=10)
    axes.tick_params(colors=theme.quiet, labelsize=9)
    for side, spine in axes.spines.items():
        spine.set_visible(side in {"left", "bottom"})
        spine.set_color(theme.quiet)
