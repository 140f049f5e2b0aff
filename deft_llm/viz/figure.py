"""One figure of a clip for a paper: PDF and SVG, 180 mm wide, a page's two columns.

Text is 8 pt and stays text that can be edited: TrueType in the PDF, ``<text>`` in the SVG. Colours
are Okabe and Ito's and a map that is monotone in lightness. The same clip gives the same bytes.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from deft_llm.clip import Evidence
from deft_llm.motion.measure import Measurement
from deft_llm.motion.regions import ACTIVE_Z, REGION_NAMES
from deft_llm.viz.curves import MOMENTS, curve_floor, curve_top
from deft_llm.viz.faces import eye_distance, heat_flow, region_arrows
from deft_llm.viz.overlay import Image, heat_colours, heat_layer, heated, magnification, show_face

# matplotlib is imported where something is drawn, because it takes half a second.
if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.legend import Legend
    from matplotlib.text import Text

_MM = 1 / 25.4  # inches
_MM_PER_PT = 25.4 / 72
WIDTH_MM = 180.0
FONT_PT = 8.0
BLUE, ORANGE, GREY = "#0072b2", "#c2410c", "#6b7280"
_EDGE, _GAP, _LEGEND = 1.5, 4.0, 9.0  # mm, around, between and below the faces
_AXIS = 9.5  # mm below the lower row, for ticks and the name of the axis
_LETTER, _RAISED = 5.5, 1.4  # mm above a panel, for its letter and title; their base line
_ROW, _LEAST = 3.7, 38.0  # mm, height of a bar, and of the lower row
_ENLARGED = 2  # a face is 224 pixels wide: 270 to the inch of its panel, when enlarged
_BAR_STEPS = (0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0)
_SCALE = 40.0  # px, length of the scale bar on the faces
_NO_DATES: dict[str, dict[str, None]] = {
    ".pdf": {"CreationDate": None, "Creator": None, "Producer": None},
    ".svg": {"Date": None, "Creator": None},
}
_SAVING = Lock()
_SHORTEST_NAME = 8  # letters of a name that are left in a title


def literal(text: str) -> str:
    """Text from outside, such as a file's name, for matplotlib, which sets "$…$" as a formula.

    A formula that it cannot read would end the drawing with an error.
    """
    return text.replace("$", r"\$")


def title_beside(legend: Legend, place: tuple[float, float], name: str, rest: str = "") -> Text:
    """Set the bold title of a figure whose legend stands on the same line.

    Args:
        legend: The figure's, to the right.
        place: Where the title begins, shares of the figure.
        name: Of a file: cut in its middle where it would lie upon the legend.
        rest: What follows it, and is not cut.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    figure = legend.get_figure(root=True)
    assert figure is not None
    # What a text's width depends on.
    pen = FigureCanvasAgg(figure).get_renderer()
    room = legend.get_window_extent(pen).x0
    text = figure.text(*place, literal(name + rest), fontsize=12, fontweight="bold", va="center")
    for kept in range(len(name) - 1, _SHORTEST_NAME, -1):
        if text.get_window_extent(pen).x1 <= room:
            break
        cut = f"{name[: kept - kept // 2]}…{name[len(name) - kept // 2 :]}"
        text.set_text(literal(cut + rest))
    return text


def write_figure(
    paths: Iterable[Path], measurement: Measurement, evidence: Sequence[Evidence]
) -> None:
    """Write the figure.

    Args:
        paths: Files to write, ``.pdf`` or ``.svg``.
        measurement: The clip's measurement.
        evidence: The regions that moved.
    """
    import matplotlib

    figure = draw_figure(measurement, evidence)
    # These have no other place than matplotlib's global settings; no other picture reads them.
    editable = {"pdf.fonttype": 42, "svg.fonttype": "none", "svg.hashsalt": "deft_llm"}
    with _SAVING, matplotlib.rc_context(editable):  # type: ignore[arg-type]
        for path in paths:
            # Whole before the file is opened: a drawing that fails leaves none.
            buffer = io.BytesIO()
            kind = path.suffix
            figure.savefig(buffer, format=kind[1:], dpi=300, metadata=_NO_DATES[kind])
            path.write_bytes(buffer.getvalue())


def draw_figure(measurement: Measurement, evidence: Sequence[Evidence]) -> Figure:
    """The figure: onset, apex, heat and arrows above the motion curve and the regions' motion."""
    from matplotlib.figure import Figure

    aligned, interval = measurement.aligned, measurement.interval
    onset = aligned.pictures(interval.onset)
    # Four faces and three gaps between the edges.
    side = (WIDTH_MM - 2 * _EDGE - 3 * _GAP) / 4
    tall = side * len(onset) / onset.shape[1]
    low = max(_LEAST, _ROW * len(evidence))
    top = _LETTER + tall + _LEGEND + _LETTER
    height = top + low + _AXIS
    figure = Figure(figsize=(WIDTH_MM * _MM, height * _MM))

    def panel(x: float, y: float, width: float, tall: float) -> Axes:
        """Axes by their place in mm, y from the top."""
        place = (x / WIDTH_MM, 1 - (y + tall) / height, width / WIDTH_MM, tall / height)
        return figure.add_axes(place)

    faces = [panel(_EDGE + k * (side + _GAP), _LETTER, side, tall) for k in range(4)]
    first, second = ("onset", "apex") if measurement.found else ("first frame", "furthest frame")
    times = aligned.timestamps
    _face(faces[0], onset, "a", f"{first}, {times[interval.onset]:.3f} s")
    _ruler(faces[0], _SCALE, 1, measurement)
    picture = aligned.pictures(interval.apex)
    _face(faces[1], picture, "b", f"{second}, {times[interval.apex]:.3f} s")
    _heat(faces[2], measurement)
    _arrows(faces[3], measurement, evidence)
    _curve(panel(13.0, top, 84.0, low), measurement, low)
    _bars(panel(128.0, top, WIDTH_MM - 128.0 - 4.0, low), measurement, evidence, low)
    return figure


def _head(axes: Axes, letter: str, title: str, left: float = 0.0) -> None:
    """The panel's letter and its title above it, ``left`` mm to the left of its corner."""
    for text, across, weight in ((letter, -left, "bold"), (title, 4.0 - left, "normal")):
        axes.annotate(
            text, (0, 1), (across / _MM_PER_PT, _RAISED / _MM_PER_PT), xycoords="axes fraction",
            textcoords="offset points", fontsize=FONT_PT, fontweight=weight, annotation_clip=False,
        )  # fmt: skip


def _face(axes: Axes, face: NDArray[np.floating] | Image, letter: str, title: str) -> None:
    # Enlarged here and embedded as it is: left to matplotlib, every file would resample it anew.
    whole = face if face.dtype == np.uint8 else np.rint(255 * face).astype(np.uint8)
    large = cv2.resize(whole, None, fx=_ENLARGED, fy=_ENLARGED, interpolation=cv2.INTER_CUBIC)
    show_face(axes, large, _ENLARGED)
    _head(axes, letter, title)


def _below(axes: Axes, measurement: Measurement, text: str, right: bool = False) -> None:
    size = measurement.aligned.frames.shape[1]
    place, side = (size, "right") if right else (0, "left")
    axes.text(place, size + 11, text, fontsize=FONT_PT, va="top", ha=side, clip_on=False)


def _length(pixels: float, measurement: Measurement) -> str:
    return f"{pixels:.2g} px ({100 * pixels / eye_distance(measurement):.2g} % interocular)"


def _ruler(axes: Axes, pixels: float, drawn: int, measurement: Measurement) -> None:
    """A scale bar below a face for a length in pixels, drawn so many times as long."""
    y = measurement.aligned.frames.shape[1] + 6
    axes.plot(
        [0, pixels * drawn], [y, y], color="black", lw=1.6, clip_on=False, solid_capstyle="butt"
    )
    _below(axes, measurement, _length(pixels, measurement))


def _heat(axes: Axes, measurement: Measurement) -> None:
    aligned = measurement.aligned
    flow, floor = heat_flow(measurement)
    heat, top = heat_layer(flow, aligned.landmarks, floor)
    _face(axes, heated(aligned.pictures(measurement.interval.onset), heat), "c", "motion")
    size, edges = flow.shape[1], axes.axis()
    ramp = heat_colours(np.linspace(0.0, 1.0, 128))[None]
    axes.imshow(
        ramp, extent=(0, size, size + 9, size + 3), aspect="auto", clip_on=False,
        interpolation="none",
    )  # fmt: skip
    axes.axis(edges)
    _below(axes, measurement, "0")
    _below(axes, measurement, _length(top, measurement), right=True)


def _arrows(axes: Axes, measurement: Measurement, evidence: Sequence[Evidence]) -> None:
    arrows = region_arrows(measurement, evidence)
    moving = [a for a in arrows if a.active]
    longest = max((float(np.hypot(a.u, a.v)) for a in moving), default=0.0)
    factor = magnification(longest)
    face = measurement.aligned.pictures(measurement.interval.onset)
    # Grey and lighter, so that the arrows stand out on any skin.
    pale = 0.35 + 0.65 * np.repeat(face.mean(axis=-1, keepdims=True) / 255.0, 3, axis=-1)
    _face(axes, pale, "d", f"regions that moved, ×{factor}" if moving else "no region moved")
    still = [(a.x, a.y) for a in arrows if not a.active]
    axes.plot(*np.array(still).reshape(-1, 2).T, "o", ms=1.8, mfc="white", mec=GREY, mew=0.5)
    for a in moving:
        axes.annotate(
            "", (a.x + factor * a.u, a.y + factor * a.v), (a.x, a.y), annotation_clip=False,
            arrowprops={"arrowstyle": "-|>,head_width=0.14,head_length=0.28", "color": ORANGE,
                        "lw": 1.1, "shrinkA": 0, "shrinkB": 0},
        )  # fmt: skip
    if moving:
        step = max((s for s in _BAR_STEPS if s <= longest), default=_BAR_STEPS[0])
        _ruler(axes, step, factor, measurement)
    else:
        _below(axes, measurement, "none above its noise floor")


def _curve(axes: Axes, measurement: Measurement, tall: float) -> None:
    """The motion curve in a panel ``tall`` mm high."""
    times, motion = measurement.aligned.timestamps, measurement.curve
    floor = curve_floor(measurement)
    axes.set_ylim(0.0, curve_top(measurement))
    # A clip of one moment has no width of its own.
    pad = 0.01 * float(times[-1] - times[0]) or 0.5
    axes.set_xlim(float(times[0]) - pad, float(times[-1]) + pad)
    axes.axhline(floor, color=GREY, lw=0.8, ls=(0, (4, 3)))
    # Markers show what a line cannot: clips of a few frames, and frames between two gaps.
    few = "o" if len(times) < 12 or not np.isfinite(motion).all() else None
    axes.plot(times, motion, color=BLUE, lw=1.2, marker=few, ms=2)
    if measurement.found:
        interval = measurement.interval
        frames = (interval.onset, interval.apex, interval.offset)
        _moments(axes, [float(times[t]) for t in frames], 1 + _RAISED / tall)
    _head(axes, "e", "", left=12.0)
    _plain(axes, f"time (s); dashed: noise floor, {floor:.2g} px", "motion (px)")


def _moments(axes: Axes, times: Sequence[float], above: float) -> None:
    """Lines at onset, apex and offset, and their times above, moved apart where they overlap."""
    axes.axvspan(times[0], times[2], color=BLUE, alpha=0.1, lw=0)
    low, high = axes.get_xlim()
    at = [(t - low) / (high - low) for t in times]
    gap, margin = 0.285, 0.135  # of the panel's width: a label, and half of one
    # The apex first, with room for a label on both sides; then the others keep their distance.
    at[1] = min(max(at[1], margin + gap), 1 - margin - gap)
    at[0] = max(min(at[0], at[1] - gap), margin)
    at[2] = min(max(at[2], at[1] + gap), 1 - margin)
    for name, time, place in zip(MOMENTS, times, at, strict=True):
        colour, style = (ORANGE, "-") if name == "apex" else ("black", ":")
        axes.axvline(time, color=colour, lw=0.9, ls=style)
        axes.annotate(
            f"{name} {time:.3f} s", (time, 1.0), (place, above),
            xycoords=("data", "axes fraction"), textcoords="axes fraction", ha="center",
            va="bottom", fontsize=FONT_PT, color=colour, annotation_clip=False,
            arrowprops={"arrowstyle": "-", "color": colour, "lw": 0.6, "shrinkA": 0, "shrinkB": 0},
        )  # fmt: skip


def _bars(axes: Axes, measurement: Measurement, evidence: Sequence[Evidence], tall: float) -> None:
    """Motion of each region that moved, and how far it had to move to count; ``tall`` mm high."""
    # As the reader compares bars, whatever the order of the table.
    rows = sorted(evidence, key=lambda row: -row.magnitude)
    _plain(axes, "motion (px)", "")
    if not rows:
        _head(axes, "f", "no region moved above its noise floor", left=29.0)
        axes.set_axis_off()
        return
    _head(axes, "f", f"motion of the regions; line: {ACTIVE_Z:g} × noise floor", left=29.0)
    noise = measurement.table_apex.noise
    # The longest on top: the axis counts up.
    places = np.arange(len(rows))[::-1]
    lengths = [row.magnitude for row in rows]
    limits = [ACTIVE_Z * float(noise[REGION_NAMES.index(row.region)]) for row in rows]
    axes.barh(places, lengths, height=0.62, color=BLUE)
    axes.plot(limits, places, "|", color="black", ms=8, mew=1.1)
    axes.set_yticks(places, [row.region for row in rows])
    # Bars of the same height whatever their number, from the top down.
    axes.set_ylim(len(rows) - 0.5 - tall / _ROW, len(rows) - 0.5)
    axes.set_xlim(0.0, 1.04 * max(*lengths, *limits))
    axes.tick_params(axis="y", length=0)


def _plain(axes: Axes, across: str, up: str) -> None:
    axes.set_xlabel(across, fontsize=FONT_PT, labelpad=2)
    axes.set_ylabel(up, fontsize=FONT_PT, labelpad=3)
    axes.tick_params(labelsize=FONT_PT, width=0.6, length=2.5, pad=2.5)
    for side, spine in axes.spines.items():
        spine.set_visible(side in {"left", "bottom"})
        spine.set_linewidth(0.6)
