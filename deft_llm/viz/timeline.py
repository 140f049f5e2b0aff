"""The motion curve as a timeline: onset, apex and offset to be moved, frames that follow.

HTML for a page with a script (``service/assets/page.js``); see ``viz/stage.py``.
"""

from __future__ import annotations

import json
import math

import cv2
import numpy as np
from numpy.typing import NDArray

from deft_llm.motion.measure import Measurement
from deft_llm.viz.page import data_uri
from deft_llm.viz.report import curve_floor
from deft_llm.viz.stage import encode_jpeg

MAX_FRAMES = 160  # frames that travel to the browser; of a longer clip every k-th
_SIDE, _COLUMNS = 144, 10
_WIDTH, _HEIGHT = 1000.0, 100.0  # of the drawing, which is stretched to its place


def timeline(measurement: Measurement) -> str:
    """The curve with its three moments as sliders, and the frame at each of them.

    Args:
        measurement: What was measured; its curve may be NaN where no face was seen.

    Returns:
        HTML. Positions are shares of the clip's duration, so that it fits any width.
    """
    times = measurement.aligned.timestamps
    places = _places(times)
    interval = measurement.interval
    moments = {"onset": interval.onset, "apex": interval.apex, "offset": interval.offset}
    band = (places[interval.onset], places[interval.offset])
    curve, top = _curve(measurement, places)
    floor = _HEIGHT * (1 - curve_floor(measurement) / top)
    marks = "".join(_mark(name, t, times, places) for name, t in moments.items())
    shots = "".join(_shot(name, t, times) for name, t in moments.items())
    shown = np.arange(0, len(times), math.ceil(len(times) / MAX_FRAMES))
    shown = np.unique(np.r_[shown, list(moments.values())])
    data = json.dumps(
        {
            "times": [round(float(t), 4) for t in times],
            "places": [round(float(p), 5) for p in places],
            "shown": shown.tolist(),
            "columns": _COLUMNS,
            "rows": math.ceil(len(shown) / _COLUMNS),
        }
    )
    sheet = data_uri(encode_jpeg(_contact_sheet(measurement.aligned.frames[shown])), "image/jpeg")
    verdict = "interval found" if measurement.found else "nothing above the noise: likeliest frames"
    return f"""<div class="timeline" data-clip='{data}' style="--sheet:url({sheet})">
<div class="curve-side"><div class="caption"><span>motion, up to {top:.2g} px</span>
<span class="verdict">{verdict}</span></div>
<div class="plot">
<div class="band" style="left:{100 * band[0]:.3f}%;right:{100 * (1 - band[1]):.3f}%"></div>
<svg viewBox="0 0 {_WIDTH:.0f} {_HEIGHT:.0f}" preserveAspectRatio="none" role="img"
 aria-label="Motion of the face over time, in pixels">
<line class="floor" x1="0" x2="{_WIDTH:.0f}" y1="{floor:.1f}" y2="{floor:.1f}"/>
<path class="curve" d="{curve}"/></svg>
{marks}</div>
<div class="caption"><span>{times[0]:.2f} s</span><span>dashed: noise floor</span>
<span>{times[-1]:.2f} s</span></div></div>
<div class="shots">{shots}</div>
</div>"""


def _places(times: NDArray[np.float64]) -> NDArray[np.float64]:
    """Times as shares 0..1 of the clip."""
    return np.asarray((times - times[0]) / max(float(times[-1] - times[0]), 1e-9))


def _curve(measurement: Measurement, places: NDArray[np.float64]) -> tuple[str, float]:
    """The curve as an SVG path, broken where no face was seen, and the value of its upper edge."""
    motion = measurement.curve
    finite = motion[np.isfinite(motion)]
    top = 1.1 * max(float(finite.max(initial=0.0)), 2.0 * curve_floor(measurement), 0.05)
    path: list[str] = []
    pen = "M"
    for place, value in zip(places, motion, strict=True):
        if not np.isfinite(value):
            pen = "M"
            continue
        path.append(f"{pen}{_WIDTH * place:.1f} {_HEIGHT * (1 - value / top):.1f}")
        pen = "L"
    return "".join(path), top


def _mark(name: str, frame: int, times: NDArray[np.float64], places: NDArray[np.float64]) -> str:
    return (
        f'<div class="mark {name}" data-mark="{name}" role="slider" tabindex="0" '
        f'aria-label="{name}" aria-valuemin="0" aria-valuemax="{len(times) - 1}" '
        f'aria-valuenow="{frame}" aria-valuetext="frame {frame}, {times[frame]:.3f} s" '
        f'style="left:{100 * places[frame]:.3f}%"><b>{name}</b></div>'
    )


def _shot(name: str, frame: int, times: NDArray[np.float64]) -> str:
    return (
        f'<figure class="shot {name}" data-shot="{name}" data-frame="{frame}">'
        f'<i role="img" aria-label="The face at the {name}"></i>'
        f"<figcaption><b>{name}</b> <span>{times[frame]:.3f} s ({frame})</span></figcaption>"
        "</figure>"
    )


def _contact_sheet(frames: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Frames (N, S, S, 3) in rows of ``_COLUMNS``, small."""
    rows = math.ceil(len(frames) / _COLUMNS)
    sheet = np.zeros((rows * _SIDE, _COLUMNS * _SIDE, 3), np.uint8)
    for k, frame in enumerate(frames):
        y, x = (k // _COLUMNS) * _SIDE, (k % _COLUMNS) * _SIDE
        small = cv2.resize(frame, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA)
        sheet[y : y + _SIDE, x : x + _SIDE] = small
    return sheet
