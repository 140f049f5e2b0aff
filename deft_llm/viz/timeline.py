"""The motion curve as a timeline: sliders for onset, apex and offset, with the frame at each.

HTML for a page with a script (``service/assets/page.js``); see ``viz/stage.py``.
"""

from __future__ import annotations

import math

import cv2
import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from deft_llm.motion.measure import Measurement
from deft_llm.viz.page import fill_template
from deft_llm.viz.report import curve_floor
from deft_llm.viz.stage import encode_jpeg

TIMELINE_FRAMES = 160  # frames sent to the browser; of a longer clip, every k-th
_SIDE, _COLUMNS = 144, 10
_WIDTH, _HEIGHT = 1000, 100  # of the drawing, which the page stretches to fit


def timeline(measurement: Measurement) -> Markup:
    """The curve with its three moments as sliders, and the frame at each of them.

    Args:
        measurement: The clip's measurement; its curve may be NaN in frames without a face.

    Returns:
        HTML. Positions are fractions of the clip's duration, so that it fits any width.
    """
    times, interval = measurement.aligned.timestamps, measurement.interval
    places = _places(times)
    moments = {"onset": interval.onset, "apex": interval.apex, "offset": interval.offset}
    curve, top = _curve(measurement, places)
    shown = np.arange(0, len(times), math.ceil(len(times) / TIMELINE_FRAMES))
    # The three moments are always sent, even if the stride skips them.
    shown = np.unique(np.r_[shown, list(moments.values())])
    return fill_template(
        "timeline.html",
        found=measurement.found,
        start=times[0],
        end=times[-1],
        band=(places[interval.onset], places[interval.offset]),
        width=_WIDTH,
        height=_HEIGHT,
        curve=curve,
        top=top,
        floor=_HEIGHT * (1 - curve_floor(measurement) / top),
        moments=[
            {"name": name, "frame": t, "seconds": times[t], "place": places[t]}
            for name, t in moments.items()
        ],
        sheet=encode_jpeg(_contact_sheet(measurement.aligned.frames[shown])),
        data={
            "times": [round(float(t), 4) for t in times],
            "places": [round(float(p), 5) for p in places],
            "shown": shown.tolist(),
            "columns": _COLUMNS,
            "rows": math.ceil(len(shown) / _COLUMNS),
        },
    )


def _places(times: NDArray[np.float64]) -> NDArray[np.float64]:
    """Times as fractions 0..1 of the clip's duration."""
    return np.asarray((times - times[0]) / max(float(times[-1] - times[0]), 1e-9))


def _curve(measurement: Measurement, places: NDArray[np.float64]) -> tuple[str, float]:
    """The curve as an SVG path, with gaps in frames without a face, and its upper limit."""
    motion = measurement.curve
    finite = motion[np.isfinite(motion)]
    top = 1.1 * max(float(finite.max(initial=0.0)), 2.0 * curve_floor(measurement), 0.05)
    # SVG counts y down. "M" starts a new line after a gap, "L" goes on with the last one.
    path: list[str] = []
    pen = "M"
    for place, value in zip(places, motion, strict=True):
        if not np.isfinite(value):
            pen = "M"
            continue
        path.append(f"{pen}{_WIDTH * place:.1f} {_HEIGHT * (1 - value / top):.1f}")
        pen = "L"
    return "".join(path), top


def _contact_sheet(frames: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Frames (N, S, S, 3), scaled down, in rows of ``_COLUMNS``."""
    rows = math.ceil(len(frames) / _COLUMNS)
    sheet = np.zeros((rows * _SIDE, _COLUMNS * _SIDE, 3), np.uint8)
    for k, frame in enumerate(frames):
        y, x = (k // _COLUMNS) * _SIDE, (k % _COLUMNS) * _SIDE
        small = cv2.resize(frame, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA)
        sheet[y : y + _SIDE, x : x + _SIDE] = small
    return sheet
