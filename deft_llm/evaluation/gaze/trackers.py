"""Trackers that the benchmark refines: a noisy oracle, a centroid of events, and the own network.

T labels. Places are cells of the 80 x 60 grid.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from deft_llm.compiled import compiled
from deft_llm.gaze.recordings import CELL
from deft_llm.gaze.tracker import Tracker
from deft_llm.simulator.events import EyeRecording

Floats = NDArray[np.float64]
_LOST = 10.0  # cells, SD of the oracle's error while the eye is closed
_REACH = 100.0  # px about its last place in which the centroid looks for events
_RECENT = 3_000  # µs of events that it takes; it trembles, as naive trackers do


def oracle(recording: EyeRecording, noise: float) -> Floats:
    """The truth with white noise, and astray while the eye is closed.

    Args:
        recording: The recording.
        noise: SD of either coordinate, cells.
    """
    rng = np.random.default_rng([recording.spec.seed, 43])
    spread = np.where(recording.closed, _LOST, noise)
    return recording.pupil / CELL + spread[:, None] * rng.normal(0, 1, recording.pupil.shape)


def centroid(recording: EyeRecording) -> Floats:
    """Mean place of the latest events near the last one; starts at the middle of the sensor."""
    events, times = recording.events, recording.times
    first = np.searchsorted(events.t, times - _RECENT, "right")
    stop = np.searchsorted(events.t, times, "right")
    return np.asarray(_centroids(events.x, events.y, first, stop)) / CELL


@compiled()
def _centroids(x, y, first, stop):  # type: ignore[no-untyped-def]
    out = np.empty((first.shape[0], 2))
    place_x, place_y = 320.0, 240.0  # px, the middle of the sensor
    for i in range(first.shape[0]):
        count, total_x, total_y = 0, 0.0, 0.0
        for k in range(first[i], stop[i]):
            if abs(x[k] - place_x) < _REACH and abs(y[k] - place_y) < _REACH:
                count += 1
                total_x += x[k]
                total_y += y[k]
        if count > 0:
            place_x, place_y = total_x / count, total_y / count
        out[i, 0], out[i, 1] = place_x, place_y
    return out


def own(recording: EyeRecording, folder: Path) -> tuple[Floats, NDArray[np.bool_]]:
    """Places of the own tracker, and where it sees a closed eye.

    Args:
        recording: The recording.
        folder: Folder of the trained network.
    """
    found = Tracker(folder).track(recording.events, recording.times)
    return found.xy, found.closed > 0.5
