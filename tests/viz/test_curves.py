"""The motion curve of a page: what is drawn stands at its time and its height."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from deft_llm.clip import Interval
from deft_llm.motion.measure import Measurement
from deft_llm.viz import curves

MakeMeasurement = Callable[..., Measurement]


def _places(html: str, kind: str) -> list[float]:
    """Places of the marks, ticks or bands of a chart, per cent."""
    return [float(p) for p in re.findall(rf'class="{kind}[^"]*" style="left:([\d.]+)%', html)]


def _clip(
    make: MakeMeasurement, curve: np.ndarray, interval: Interval, found: bool = True
) -> Measurement:
    measurement = make(found=found)
    count = len(curve)
    aligned = replace(
        measurement.aligned,
        frames=measurement.aligned.frames[:1].repeat(count, 0),
        present=np.isfinite(curve),
        timestamps=np.arange(count) / 100,
    )
    curve = np.asarray(curve, np.float32)
    return replace(measurement, aligned=aligned, curve=curve, interval=interval)


def test_onset_apex_and_offset_stand_at_their_times(make_measurement: MakeMeasurement) -> None:
    motion = np.exp(-(((np.arange(101) - 40) / 10) ** 2))
    measurement = _clip(make_measurement, motion, Interval(20, 40, 70))
    html = curves.motion_chart(measurement)
    assert _places(html, "mark") == [20.0, 40.0, 70.0]
    assert "onset 0.200 s" in html and "apex 0.400 s" in html and "offset 0.700 s" in html
    assert 'class="band" style="left:20.00%;right:30.00%"' in html
    # The curve is highest at the apex: in SVG, where y is smallest.
    points = re.findall(r"[ML]([\d.]+) ([\d.]+)", curves.curve_path(measurement))
    highest = min(points, key=lambda point: float(point[1]))
    assert float(highest[0]) == pytest.approx(0.4 * curves.WIDTH)


def test_ticks_are_round_and_in_place(make_measurement: MakeMeasurement) -> None:
    measurement = _clip(make_measurement, np.linspace(0, 1, 101), Interval(0, 50, 100))
    html = curves.motion_chart(measurement)
    ticks = re.findall(r'class="x" style="left:([\d.]+)%">([\d.]+)<', html)
    assert ticks == [(f"{20 * k}.00", f"{0.2 * k:.1f}") for k in range(6)]
    heights = re.findall(r'class="y" style="bottom:([\d.]+)%">([\d.]+)<', html)
    top = curves.curve_top(measurement)
    assert len(heights) >= 4
    for place, value in heights:
        assert float(place) == pytest.approx(100 * float(value) / top, abs=0.01)


def test_a_clip_without_an_expression_has_no_marks(make_measurement: MakeMeasurement) -> None:
    html = curves.motion_chart(
        _clip(make_measurement, np.full(30, 0.01), Interval(3, 9, 20), found=False)
    )
    assert _places(html, "mark") == [] and "band" not in html and "noise floor" in html
    still = curves.motion_chart(make_measurement(0.0, found=False))
    # The curve may pass its floor by chance, or in one place; it must not look like a movement.
    assert "no region moved above its own noise" in still and "no region" not in html


@pytest.mark.parametrize("count", [1, 2, 3])
def test_a_very_short_clip(make_measurement: MakeMeasurement, count: int) -> None:
    measurement = _clip(make_measurement, np.linspace(0, 1, count), Interval(0, 0, count - 1))
    html = curves.motion_chart(measurement)
    assert "nan" not in html and "inf" not in html
    # A single point is a line of no length, which round ends make a dot.
    assert len(re.findall("[ML]", curves.curve_path(measurement))) == max(count, 2)


def test_frames_without_a_face_are_a_gap(make_measurement: MakeMeasurement) -> None:
    motion = np.linspace(0, 1, 21)
    motion[[3, 5, 6]] = np.nan
    motion[-4:] = np.nan
    measurement = _clip(make_measurement, motion, Interval(0, 10, 15))
    html = curves.motion_chart(measurement)
    assert curves.curve_path(measurement).count("M") == 3
    assert re.findall(r'class="gap" style="left:([\d.]+)%;right:([\d.]+)%', html) == [
        ("15.00", "80.00"),
        ("25.00", "65.00"),
        ("85.00", "0.00"),
    ]
    assert "grey: no face" in html
    nothing = _clip(make_measurement, np.full(20, np.nan), Interval(0, 0, 0), found=False)
    assert curves.curve_path(nothing) == "" and "nan" not in curves.motion_chart(nothing)
