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
from deft_llm.viz.curves import (
    HEIGHT,
    MOMENTS,
    WIDTH,
    curve_floor,
    curve_path,
    curve_peak,
    curve_top,
    places,
)
from deft_llm.viz.page import fill_template
from deft_llm.viz.stage import encode_jpeg

TIMELINE_FRAMES = 160  # frames sent to the browser; of a longer clip, every k-th
_SIDE, _COLUMNS = 144, 10


def timeline(measurement: Measurement) -> Markup:
    """The curve with its three moments as sliders, and the frame at each of them.

    Args:
        measurement: The clip's measurement; its curve may be NaN in frames without a face.

    Returns:
        HTML. Positions are fractions of the clip's duration, so that it fits any width.
    """
    times, interval = measurement.aligned.timestamps, measurement.interval
    shares, top = places(times), curve_top(measurement)
    frames = (interval.onset, interval.apex, interval.offset)
    shown = np.arange(0, len(times), math.ceil(len(times) / TIMELINE_FRAMES))
    # The three moments and the end are always sent, even if the stride skips them.
    shown = np.unique(np.r_[shown, list(frames), len(times) - 1])
    pictures = measurement.aligned.pictures(shown)
    return fill_template(
        "timeline.html",
        given=measurement.given,
        moved=bool(measurement.found and measurement.table_apex.active.any()),
        start=times[0],
        end=times[-1],
        band=(shares[interval.onset], shares[interval.offset]),
        width=WIDTH,
        height=HEIGHT,
        curve=curve_path(measurement),
        peak=curve_peak(measurement),
        floor=HEIGHT * (1 - curve_floor(measurement) / top),
        moments=[
            {"name": name, "frame": t, "seconds": times[t], "place": shares[t]}
            for name, t in zip(MOMENTS, frames, strict=True)
        ],
        shape=(pictures.shape[2], pictures.shape[1]),
        sheet=encode_jpeg(_contact_sheet(pictures)),
        data={
            "times": [round(float(t), 4) for t in times],
            "places": [round(float(p), 5) for p in shares],
            "shown": shown.tolist(),
            "columns": _COLUMNS,
            "rows": math.ceil(len(shown) / _COLUMNS),
        },
    )


def _contact_sheet(frames: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Frames (N, H, W, 3), scaled down to ``_SIDE`` wide, in rows of ``_COLUMNS``."""
    rows = math.ceil(len(frames) / _COLUMNS)
    # Taller than wide: forehead above the square.
    height = round(_SIDE * frames.shape[1] / frames.shape[2])
    sheet = np.zeros((rows * height, _COLUMNS * _SIDE, 3), np.uint8)
    for k, frame in enumerate(frames):
        y, x = (k // _COLUMNS) * height, (k % _COLUMNS) * _SIDE
        small = cv2.resize(frame, (_SIDE, height), interpolation=cv2.INTER_AREA)
        sheet[y : y + height, x : x + _SIDE] = small
    return sheet
