"""What the events say at each prediction, block by block: memory does not grow with a recording."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deft_llm.gaze.blinks import Brightness, brightness
from deft_llm.gaze.local_flow import Estimator, LocalFlow, half_sides, local_flow
from deft_llm.media.events import EventSource, check_sensor

_BLOCK = 4_000  # predictions whose events are in memory at once


@dataclass(frozen=True)
class Observed:
    """Events about each of T predictions.

    Attributes:
        brightness: Of the whole picture.
        flow: Around the predicted point.
    """

    brightness: Brightness
    flow: LocalFlow


def observe(
    source: EventSource,
    points: NDArray[np.float64],
    edges: NDArray[np.int64],
    cell: float,
    sensor: tuple[int, int],
    estimator: Estimator | None = None,
    both_ends: bool = False,
) -> Observed:
    """Look at the events of each prediction's period.

    Args:
        source: The recording.
        points: (T, 2) px of the sensor; NaN where nothing is predicted.
        edges: (T + 1,) µs, see ``local_flow``.
        cell: px a cell of the grid.
        sensor: Width and height of the sensor, px.
        estimator: Of the flow; None takes the centroid.
        both_ends: See ``local_flow``.

    Raises:
        UserError: If an event lies outside of the sensor.
    """
    parts: list[tuple[Brightness, LocalFlow]] = []
    sides = half_sides(np.nan_to_num(points, nan=-1e6), cell)
    for first in range(0, len(points), _BLOCK):
        stop = min(first + _BLOCK, len(points))
        border = edges[first : stop + 1]
        near = source.between(int(border[0]), int(border[-1]) + 1)
        check_sensor(near, sensor)
        flow = local_flow(
            near, points[first:stop], border, estimator or "centroid", cell,
            both_ends=both_ends, sides=sides[first:stop],
        )  # fmt: skip
        parts.append((brightness(near, border), flow))
    lights, flows = zip(*parts, strict=True)
    return Observed(
        Brightness(*map(np.concatenate, zip(*lights, strict=True))),
        LocalFlow(
            np.concatenate([flow.moved for flow in flows]),
            np.concatenate([flow.count for flow in flows]),
            np.concatenate([flow.steadiness for flow in flows]),
        ),
    )
