"""What the eyes did meanwhile, and what of a face's motion that explains.

A blink drags brows and cheeks along, and lids follow a gaze that goes up or down: neither is an
action unit. Where a recording of the eye tells when that happened, motion of no more than that
size counts as noise. Without one, the face video's own lids have raised the floors already
(``meter``); its blinks and shifts of the gaze are told of.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from deft_llm.motion.iris import gaze_shifts
from deft_llm.motion.measure import Measurement, returned_share
from deft_llm.motion.onset_apex import blinks
from deft_llm.motion.regions import (
    ACTIVE_PX,
    ACTIVE_Z,
    BLINK_PX,
    REGION_NAMES,
    UPPER_LIDS,
    RegionTable,
    blink_floor,
)
from deft_llm.motion.remarks import not_returned

RECORDING, FACE = "the eye recording", "the face video"
_LIDS = np.array([name.endswith("lid") for name in REGION_NAMES], np.float32)
_SLACK = 0.02  # s by which the clocks of two cameras may differ
Span = tuple[float, float]


@dataclass(frozen=True)
class GazeShift:
    """One shift of the gaze.

    Attributes:
        start: First second.
        stop: Last second.
        vertical: Whether it goes up or down, so that the lids follow.
    """

    start: float
    stop: float
    vertical: bool


@dataclass(frozen=True)
class EyeContext:
    """What the eyes did.

    Attributes:
        blinks: First and last second of each blink, on the clip's clock.
        shifts: Shifts of the gaze.
        span: What is known of the eyes, from when to when.
        source: Where that is from, for remarks.
    """

    blinks: tuple[Span, ...]
    shifts: tuple[GazeShift, ...]
    span: Span
    source: str = RECORDING


def with_eyes(measurement: Measurement, eyes: EyeContext | None = None) -> Measurement:
    """The measurement in the light of what the eyes did.

    Args:
        measurement: One movement.
        eyes: On the clock of its clip; None goes by what the face video itself shows.

    Returns:
        The same with higher floors for what a blink or a shift of the gaze at its onset, apex or
        offset moves, and with remarks on it. A movement of which nothing is left counts as not
        found.
    """
    eyes = eyes or _eyes_of_face(measurement)
    if eyes is None:
        return measurement
    times, shown = measurement.aligned.timestamps, measurement.interval
    moments = [float(times[t]) for t in (shown.onset, shown.apex, shown.offset)]
    if eyes.span[1] < moments[0] or eyes.span[0] > moments[2]:
        note = f"{eyes.source} does not cover the movement"
        return replace(measurement, remarks=(*measurement.remarks, note))
    tables = [measurement.table_apex, measurement.table_offset]
    seen = [table.active.copy() for table in tables]
    # What the face video shows of its own lids is in the floors already (``meter``).
    if eyes.source == RECORDING:
        for phase, (start, stop) in enumerate(pairwise(moments)):
            tables[phase] = _discounted(tables[phase], eyes, start, stop)
    rose, fell = (was & ~table.active for was, table in zip(seen, tables, strict=True))
    # What is not counted at all is not told once more of the way back.
    dropped = [np.array(REGION_NAMES)[phase].tolist() for phase in (rose, fell & ~rose)]
    # Whether the movement returned is asked of the regions that are left.
    returned = returned_share(*tables) if any(dropped) else measurement.returned
    held, was = (
        not_returned(share, shown, measurement.aligned)
        for share in (returned, measurement.returned)
    )
    remarks = list(measurement.remarks)
    if held != was:
        remarks = [*(remark for remark in remarks if remark != was), *filter(None, [held])]
    # A movement without an active region before has lost nothing.
    left = bool(tables[0].active.any()) or not seen[0].any()
    return replace(
        measurement,
        table_apex=tables[0],
        table_offset=tables[1],
        noise=tables[0].noise,
        found=measurement.found and left,
        returned=returned,
        remarks=(*remarks, *_remarks(eyes, moments, dropped)),
    )


def _eyes_of_face(measurement: Measurement) -> EyeContext | None:
    """Blinks that the face video itself shows; None if its motion was not followed."""
    trajectory, aligned = measurement.trajectory, measurement.aligned
    visible = np.flatnonzero(aligned.present)
    if trajectory is None or not visible.size:
        return None
    times = aligned.timestamps[visible]
    # v points down, so closing is positive; the lesser of both lids, as a wink is no blink.
    lids = trajectory.regions[visible][:, UPPER_LIDS, 1].min(axis=1)
    closed = tuple((float(times[a]), float(times[b - 1])) for a, b in blinks(lids, times))
    # The iris tells shifts to a side only.
    shifts = tuple(GazeShift(a, b, vertical=False) for a, b in gaze_shifts(aligned, closed))
    return EyeContext(closed, shifts, (float(times[0]), float(times[-1])), FACE)


def _discounted(table: RegionTable, eyes: EyeContext, start: float, stop: float) -> RegionTable:
    """The table of a phase with the floors of what the eyes moved in it."""
    floor = np.zeros(len(REGION_NAMES), np.float32)
    if any(_inside(eyes.blinks, moment) for moment in (start, stop)):
        # Both lids come down in a blink; the one that moved less shows how far at least.
        closed = max(float(np.abs(table.v[UPPER_LIDS]).min()), BLINK_PX)
        floor = blink_floor(closed)
    if any(s.vertical and s.start <= stop and s.stop >= start for s in eyes.shifts):
        # As high as the lids' own motion, so their z falls below 1.
        floor = np.maximum(floor, _LIDS * table.magnitude)
    if not floor.any():
        return table
    noise = np.hypot(table.noise, floor).astype(np.float32)
    z = (table.magnitude / np.maximum(noise, 1e-6)).astype(np.float32)
    # A floor only takes motion away; it never makes a region active.
    active = table.active & (z >= ACTIVE_Z) & (table.magnitude >= ACTIVE_PX)
    return replace(table, noise=noise, z=z, active=active)


def _inside(spans: Sequence[Span], moment: float) -> bool:
    return any(a - _SLACK <= moment <= b + _SLACK for a, b in spans)


def _remarks(
    eyes: EyeContext, moments: Sequence[float], dropped: Sequence[Sequence[str]]
) -> list[str]:
    """What is told of the eyes during the movement; ``dropped``: up to the apex, and after it."""
    first, last = moments[0], moments[2]
    told = []
    for start, stop in eyes.blinks:
        if start > last + _SLACK or stop < first - _SLACK:
            continue
        names = [
            name
            for name, moment in zip(("onset", "apex", "offset"), moments, strict=True)
            if start - _SLACK <= moment <= stop + _SLACK
        ]
        where = "between onset and offset"
        if names:
            where = f"at the {' and the '.join(names)}; a blink is not a brow motion"
        told.append(f"{eyes.source} shows a blink from {start:.2f} to {stop:.2f} s, {where}")
    shifts = [s for s in eyes.shifts if s.start <= last and s.stop >= first]
    told += [f"{eyes.source} shows the gaze shift at {s.start:.2f} s" for s in shifts]
    blinked = any(_inside(eyes.blinks, moment) for moment in moments)
    cause = "a blink" if blinked else "a shift of the gaze"
    for regions, when in zip(dropped, ("", " after the apex"), strict=True):
        if regions:
            told.append(f"not counted{when}, as {cause} moves as much: {', '.join(regions)}")
    if not told and eyes.source == RECORDING:
        told.append(f"{eyes.source} shows no blink and no shift of the gaze in the movement")
    return told
