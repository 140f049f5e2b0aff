"""Events counted on a coarse grid, frame by frame: what a tracker sees."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from deft_llm.compiled import compiled
from deft_llm.media.events import Events

GRID = (80, 60)
"""Width and height of the grid that 3ET+ is scored on; a cell is 8 x 8 pixels of its sensor."""


@compiled(nogil=True)
def _count(t, x, y, p, edges, scale_x, scale_y, out):  # type: ignore[no-untyped-def]
    frame = 0
    for i in range(t.shape[0]):
        while frame < out.shape[0] and t[i] > edges[frame + 1]:
            frame += 1
        if frame == out.shape[0]:
            break
        if t[i] <= edges[frame]:
            continue
        row, col = int(y[i] * scale_y), int(x[i] * scale_x)
        if row < out.shape[2] and col < out.shape[3]:
            cell = out[frame, 1 - p[i], row, col]
            if cell < 255:
                out[frame, 1 - p[i], row, col] = cell + 1


def event_frames(
    events: Events,
    times: NDArray[np.int64],
    sensor: tuple[int, int],
    period: int,
    frame: tuple[int, int],
) -> NDArray[np.uint8]:
    """Numbers of events in the cells of the grid up to each time.

    Args:
        events: The events.
        times: (T,) µs, increasing; frame i counts the events since time i - 1.
        sensor: Width and height of the sensor, px.
        period: µs that the first frame counts.
        frame: Columns and rows of a frame.

    Returns:
        (T, 2, rows, columns) uint8, at most 255: of more light, then of less.
    """
    out = np.zeros((len(times), 2, frame[1], frame[0]), np.uint8)
    if len(times) == 0:
        return out
    edges = np.concatenate([[times[0] - period], times]).astype(np.int64)
    part = events.between(int(edges[0]) + 1, int(edges[-1]) + 1)
    scale = frame[0] / sensor[0], frame[1] / sensor[1]
    _count(part.t, part.x, part.y, part.p, edges, *scale, out)
    return out
