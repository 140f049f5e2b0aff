"""The motion curve of a clip: how far the face has moved from the onset, over time.

Drawn as SVG and HTML whose places are shares of the plot, so that one drawing fits any width and
follows the page's colours. The paper's figure draws the same values (``viz/figure.py``).
"""

from __future__ import annotations

import math

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from deft_llm.motion.measure import Measurement
from deft_llm.motion.region_paths import REGION_WEIGHTS
from deft_llm.runs import runs
from deft_llm.viz.page import fill_template

MOMENTS = ("onset", "apex", "offset")
WIDTH, HEIGHT = 1000, 100  # of the drawing, which the page stretches to fit
_TICKS = 6  # at most, on an axis


def curve_floor(measurement: Measurement) -> float:
    """The height that the motion curve reaches from noise alone, canonical pixels.

    The curve is a weighted RMS over regions of motion with two components, so its floor is the
    weighted RMS of the regions' floors (each for one component), times the square root of two.
    """
    variance = np.average(measurement.noise.astype(np.float64) ** 2, weights=REGION_WEIGHTS)
    return float(np.sqrt(2.0 * variance))


def curve_peak(measurement: Measurement) -> float:
    """The largest value of the curve, px; 0 if no frame has one."""
    finite = measurement.curve[np.isfinite(measurement.curve)]
    return float(finite.max(initial=0.0))


def curve_top(measurement: Measurement) -> float:
    """The upper limit of a plot of the curve, px.

    The floor and the constant keep the noise of a still face from filling the plot.
    """
    # A tenth of air above the apex.
    return 1.1 * max(curve_peak(measurement), 2.0 * curve_floor(measurement), 0.05)


def places(times: NDArray[np.float64]) -> NDArray[np.float64]:
    """Times as shares 0..1 of the clip's duration."""
    return np.asarray((times - times[0]) / max(float(times[-1] - times[0]), 1e-9))


def curve_path(measurement: Measurement) -> str:
    """The curve as an SVG path on ``WIDTH`` x ``HEIGHT``, broken in frames without a face."""
    top, path = curve_top(measurement), []
    shares = places(measurement.aligned.timestamps)
    for start, stop in runs(np.isfinite(measurement.curve)).tolist():
        points = [
            # SVG counts y down.
            f"{WIDTH * shares[t]:.1f} {HEIGHT * (1 - measurement.curve[t] / top):.1f}"
            for t in range(start, stop)
        ]
        # A frame between two gaps is a line of no length, whose round ends are a dot.
        path.append("M" + "L".join(points if len(points) > 1 else points * 2))
    return "".join(path)


def motion_chart(measurement: Measurement) -> Markup:
    """The curve with axes, noise floor, and onset, apex and offset; no script is needed.

    Args:
        measurement: The clip's measurement; its curve may be NaN in frames without a face.
    """
    times, interval = measurement.aligned.timestamps, measurement.interval
    shares, floor, top = places(times), curve_floor(measurement), curve_top(measurement)
    # Without an expression the interval is the pair that was compared.
    frames = (interval.onset, interval.apex, interval.offset) if measurement.found else ()
    gaps = runs(~np.isfinite(measurement.curve)).tolist()
    return fill_template(
        "chart.html",
        width=WIDTH,
        height=HEIGHT,
        curve=curve_path(measurement),
        floor=floor,
        moved=bool(measurement.table_apex.active.any()),
        floor_place=floor / top,
        moments=[
            {"name": name, "seconds": times[t], "place": shares[t], "height": measurement.curve[t]}
            for name, t in zip(MOMENTS, frames, strict=False)
        ],
        gaps=[(shares[a], shares[min(b, len(times) - 1)]) for a, b in gaps],
        across=_axis(float(times[0]), float(times[-1])),
        up=_axis(0.0, top),
    )


def _axis(low: float, high: float) -> list[tuple[str, float]]:
    """Round values between two limits: as text, and as shares of the way from one to the other."""
    span = high - low
    if span <= 0:  # a clip of one frame
        return [(f"{low:g}", 0.0)]
    rough = span / _TICKS
    size = 10.0 ** math.floor(math.log10(rough))
    step = next(k * size for k in (1, 2, 5, 10) if k * size >= rough)
    digits = max(0, -math.floor(math.log10(step) + 1e-9))
    values = step * np.arange(math.ceil(low / step - 1e-6), math.floor(high / step + 1e-6) + 1)
    return [(f"{value:.{digits}f}", float((value - low) / span)) for value in values]
