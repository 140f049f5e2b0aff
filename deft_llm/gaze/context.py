"""A recording of the eye as context for a face video: blinks and shifts of the gaze, in seconds."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from deft_llm.gaze.readers import open_events
from deft_llm.gaze.refine import RefineSettings, refine
from deft_llm.gaze.saccades import find_saccades
from deft_llm.gaze.tracker import Tracker, joined
from deft_llm.media.events import DVXPLORER
from deft_llm.motion.eyes import EyeContext, GazeShift

LEAST_SHIFT = 2.0
"""Cells of the grid, about three degrees: smaller saccades hardly move a lid."""


def eye_context(path: Path, offset: float = 0.0, sensor: tuple[int, int] = DVXPLORER) -> EyeContext:
    """Blinks and gaze shifts of a recording.

    Args:
        path: A recording that ``open_events`` reads.
        offset: Seconds of the face video at which the recording begins.
        sensor: Width and height of the sensor, px.

    Raises:
        UserError: As ``open_events``.
    """
    source = open_events(path)
    settings = RefineSettings(sensor=sensor)
    found = joined(list(Tracker(sensor=settings.sensor).follow(source)))
    # The eye recording and the network both tell of blinks; the network sees the lids themselves.
    result = refine(source, found.xy, found.times, settings, found.closed > 0.5)
    saccades = find_saccades(result.xy, result.times, result.blink)
    begun = source.span[0] / 1e6 - offset

    def seconds(first: int, last: int) -> tuple[float, float]:
        return first / 1e6 - begun, last / 1e6 - begun

    shifts = []
    for a, b in saccades:
        step = result.xy[min(b + 1, len(result.xy) - 1)] - result.xy[max(a - 1, 0)]
        if np.hypot(*step) >= LEAST_SHIFT:
            start, stop = seconds(int(result.times[a]), int(result.times[b]))
            shifts.append(GazeShift(start, stop, vertical=bool(abs(step[1]) >= LEAST_SHIFT / 2)))
    return EyeContext(
        blinks=tuple(seconds(int(a), int(b)) for a, b in result.blinks),
        shifts=tuple(shifts),
        span=seconds(*source.span),
    )
