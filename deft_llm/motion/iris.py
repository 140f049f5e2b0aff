"""Shifts of the gaze to a side, in a face video: the dark iris moves within the eye's opening.

Shifts up and down are not told, since lids that move shift the dark centre as well.

T frames. Our own method; px of the canonical face.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from deft_llm.motion.flow import to_grey

if TYPE_CHECKING:
    from deft_llm.media.face import AlignedClip

Floats = NDArray[np.float64]
_EYES = (slice(36, 42), slice(42, 48))  # landmarks of the two openings
SHIFT_PX = 1.2
"""Least shift of both irises that counts, px of the canonical face: about five degrees."""
_SURE = 5.0  # times the noise of the iris's place
_AROUND = 0.12  # s before and after a shift over which the place is averaged
_ROOM = 2  # px around the opening that are looked at


def gaze_shifts(
    aligned: AlignedClip, closed: tuple[tuple[float, float], ...] = ()
) -> tuple[tuple[float, float], ...]:
    """First and last second of each shift of the gaze.

    Args:
        aligned: The clip.
        closed: First and last second of each blink, in which the irises are not seen.
    """
    times = aligned.timestamps
    usable = aligned.present.copy()
    for start, stop in closed:
        # 0.03 s on both sides, in which lids still move; our choice.
        usable &= ~((times >= start - 0.03) & (times <= stop + 0.03))
    if usable.sum() < 6:
        return ()
    path = np.full(len(times), np.nan)
    for t in np.flatnonzero(usable).tolist():
        path[t] = np.mean([_iris(aligned, t, eye) for eye in _EYES])
    return _steps(path, times)


def _iris(aligned: AlignedClip, t: int, eye: slice) -> float:
    """Column of the centre of what is dark in the opening of an eye, px."""
    corners = aligned.landmarks[eye]
    low = np.floor(corners.min(axis=0)).astype(int) - _ROOM
    high = np.ceil(corners.max(axis=0)).astype(int) + _ROOM + 1
    patch = to_grey(aligned.frames[t])[low[1] : high[1], low[0] : high[0]]
    mask = np.zeros(patch.shape, np.uint8)
    cv2.fillConvexPoly(mask, np.round(corners - low).astype(np.int32), 1)
    inside = patch[mask > 0]
    # The darkest half, the darker the heavier; skin and sclera weigh nothing.
    dark = np.maximum(np.median(inside) - patch, 0.0) * mask
    total = dark.sum()
    if total <= 0:
        return float(corners[:, 0].mean())
    return float((dark.sum(axis=0) * np.arange(patch.shape[1])).sum() / total + low[0])


def _steps(path: Floats, times: Floats) -> tuple[tuple[float, float], ...]:
    """Where the place before and the place after differ for good."""
    known = np.flatnonzero(np.isfinite(path))
    place, when = path[known], times[known]
    # A difference of neighbours holds the noise of two frames; its median ignores the shifts.
    noise = 1.4826 * float(np.median(np.abs(np.diff(place)))) / np.sqrt(2)
    limit = max(SHIFT_PX, _SURE * noise)
    size = np.zeros(len(place))
    for i in range(1, len(place)):
        before = place[(when >= when[i] - _AROUND) & (when < when[i])]
        after = place[(when >= when[i]) & (when < when[i] + _AROUND)]
        if len(before) > 1 and len(after) > 1:
            size[i] = abs(np.median(after) - np.median(before))
    found: list[tuple[float, float]] = []
    for i in np.flatnonzero(size >= limit).tolist():
        near = size[(when >= when[i] - _AROUND) & (when <= when[i] + _AROUND)]
        # Of neighbouring candidates only the largest step counts.
        if size[i] == near.max() and not (found and when[i] - found[-1][1] <= _AROUND):
            found.append((float(when[max(i - 1, 0)]), float(when[i])))
    return tuple(found)
