"""The page of a searched video: its timeline, and under it every expression that was explained.

One file that opens anywhere: pictures are data URIs, and no script is needed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from markupsafe import Markup

from deft_llm import __version__
from deft_llm.viz.page import fill_template
from deft_llm.viz.spotting_plot import Curve, Mark

WIDTH, HEIGHT = 1000, 100  # of a drawing, which the page stretches to fit
_POINTS = 3000  # of the curve in a row; more would not be seen


@dataclass(frozen=True)
class Section:
    """One expression on the page.

    Attributes:
        mark: Its place on the timeline.
        frames: Onset, apex and offset, frames of the video.
        score: 0..1.
        scorer: What gave it, see ``Spotted``.
        explanation: ``Explanation.to_dict`` of the model.
        moments: Caption -> JPEG of the face at onset, apex and offset.
        motion: Caption -> JPEG of its motion.
        interocular: Eye distance, canonical px.
        largest: Onset and offset of the movement that was explained, seconds, where the expression
            holds several; None where it is one.
    """

    mark: Mark
    frames: tuple[int, int, int]
    score: float
    scorer: str
    explanation: Mapping[str, Any]
    moments: Mapping[str, bytes]
    motion: Mapping[str, bytes]
    interocular: float
    largest: tuple[float, float] | None = None


def spotting_page(
    name: str, summary: str, curve: Curve, sections: Sequence[Section], remarks: Sequence[str]
) -> Markup:
    """The page.

    Args:
        name: Of the video.
        summary: One line about the video and what was found.
        curve: What was searched.
        sections: The expressions, in order of time.
        remarks: What the user should know.
    """
    return fill_template(
        "spotting.html",
        name=name,
        summary=summary,
        rows=[_row(curve, sections, start, end) for start, end in curve.rows()],
        axis=curve.axis,
        face=bool(np.isfinite(curve.values).any()),
        width=WIDTH,
        height=HEIGHT,
        sections=sections,
        remarks=remarks,
        version=__version__,
    )


def _row(curve: Curve, sections: Sequence[Section], start: float, end: float) -> dict[str, Any]:
    """Places of one row of the timeline, as shares of its width and height."""

    def place(second: float) -> float:
        return min(max((second - start) / (end - start), 0.0), 1.0)

    marks = [(number, section.mark) for number, section in enumerate(sections, 1)]
    inside = [(k, m) for k, m in marks if m.offset >= start and m.onset <= end]
    gaps = [(a, b) for a, b in curve.absent() if b >= start and a <= end]
    step = 10.0 ** np.floor(np.log10((end - start) / 2))
    # Round steps 1, 2, 5, at most eight of them in a row.
    step = step * next(k for k in (1, 2, 5, 10) if (end - start) / (step * k) <= 8)
    ticks = np.arange(np.ceil(start / step - 1e-9) * step, end + 1e-9, step)
    return {
        "path": _path(curve, start, end),
        "threshold": None
        if curve.threshold is None
        else HEIGHT * (1 - float(curve.height(curve.threshold))),
        "bands": [
            {
                "number": k,
                "left": place(m.onset),
                "width": place(m.offset) - place(m.onset),
                "apex": place(m.apex),
                # An expression across the end of a row has a band in both, and one number.
                "shown": start <= m.apex <= end,
                "mark": m,
            }
            for k, m in inside
        ],
        "gaps": [(place(a), place(b) - place(a)) for a, b in gaps],
        # + 0.0 turns the -0 of a video's start into 0.
        "across": [(f"{value + 0.0:g}", place(float(value))) for value in ticks],
        "up": [(f"{value:g}", float(curve.height(value))) for value in curve.ticks()],
    }


def _path(curve: Curve, start: float, end: float) -> str:
    """The curve between two seconds as an SVG path, broken where there is no face."""
    frames = np.flatnonzero((curve.times >= start) & (curve.times <= end))
    frames = frames[:: max(1, len(frames) // _POINTS)]
    heights = curve.height(curve.values)
    parts, begun = [], False
    for t in frames:
        if np.isnan(heights[t]):
            begun = False
            continue
        x = WIDTH * (curve.times[t] - start) / (end - start)
        parts.append(f"{'L' if begun else 'M'}{x:.1f} {HEIGHT * (1 - heights[t]):.1f}")
        begun = True
    return "".join(parts)
