"""Measure one aligned clip: interval, flow, head motion and region tables.

All motion is in pixels of the canonical face. T frames, R regions, H = W = 224.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from deft_llm.clip import Interval, status_line
from deft_llm.errors import UserError
from deft_llm.motion import noise, remarks
from deft_llm.motion.light import LightChange, light_change
from deft_llm.motion.meter import USUAL, MotionMeter, MotionSettings, Phases
from deft_llm.motion.onset_apex import (
    DETECTION_Z,
    WINDOW,
    likely_intervals,
    returning_intervals,
    two_strongest,
)
from deft_llm.motion.region_paths import Trajectory, motion_curve, track_regions
from deft_llm.motion.regions import REGION_NAMES, RegionTable, region_table, regions_placed
from deft_llm.motion.visibility import hidden_regions, on_pictures
from deft_llm.stages import MEASURING, begin

if TYPE_CHECKING:
    from deft_llm.media.face import AlignedClip

FloatArray = NDArray[np.float32]

_ACTIVE_REGIONS = 2  # see ``_stands_out``
_SURE_Z = 5.0  # at rest, z follows a Rayleigh distribution: 5 is one in 270,000
# How much of the floors to add for a light that changes by all of itself: what evening out leaves
# grows with the change. In 168 clips of still faces under changes by half, three named an emotion,
# all by regions of z 3.0 to 3.9; with 0.4 none would. Of 84 regions that moved in 60 such clips of
# expressions, 72 stay, and 80 with 0.2, which two of the three might pass.
_LIGHT_DOUBT = 0.4


@dataclass(frozen=True, repr=False, eq=False)  # as of ``Clip``
class Measurement:
    """Measurements of one clip.

    Attributes:
        aligned: The clip that was measured.
        interval: Given or found; for a clip without motion, the most likely frames.
        found: True if the interval was given, or is above the noise: a region is active, and the
            interval's excursion reaches ``DETECTION_Z``, a second region is active, or its z is
            5 or more. If not, no region of the tables is active, whatever its own z.
        flow_apex: (2, H, W) flow onset -> apex without head motion, px.
        flow_offset: (2, H, W) flow apex -> offset without head motion, px.
        table_apex: Regions from onset to apex.
        table_offset: Regions from apex to offset.
        curve: (T,) region motion from the onset frame, px (``motion_curve``); NaN without face.
        head_motion: Largest displacement of the head over the clip, px.
        noise: (R,) noise floors of the onset phase, px.
        noise_samples: Number of frames, or pairs of frames, behind the floors; 0 if they are the
            prior.
        sensor_noise: Noise of a (time-averaged) frame, grey levels.
        remarks: What could not be measured, and what else to know about the clip.
        others: Other movements of the clip that come and go, if the interval was searched for.
        head_shift: Largest displacement of the head from the onset to the offset, px; NaN
            without the curve.
        returned: Share of the motion of the active regions that has come back at the offset; NaN
            without an active region.
        light: Largest relative change of the light, such as 0.5; 0 if it stayed the same.
        evened: The clip as flow saw it if the light changed (``light.LightChange``).
        trajectory: Motion of regions and head over the clip; None if it was not followed.
        noise_fitted: Whether `noise_samples` are frames, and the floors what a fit leaves over.
        given: Whether the interval was given, not searched for.
    """

    aligned: AlignedClip
    interval: Interval
    found: bool
    flow_apex: FloatArray
    flow_offset: FloatArray
    table_apex: RegionTable
    table_offset: RegionTable
    curve: FloatArray
    head_motion: float
    noise: FloatArray
    noise_samples: int
    sensor_noise: float
    remarks: tuple[str, ...]
    others: tuple[Interval, ...] = ()
    head_shift: float = float("nan")
    returned: float = float("nan")
    light: float = 0.0
    evened: AlignedClip | None = None
    trajectory: Trajectory | None = None
    noise_fitted: bool = False
    given: bool = False

    def __repr__(self) -> str:
        """Short: in a notebook, the flow would fill pages."""
        inside, moved = self.interval, int(np.count_nonzero(self.table_apex.active))
        return (
            f"<Measurement {self.aligned.name!r}: onset {inside.onset}, apex {inside.apex}, "
            f"offset {inside.offset}; {moved} of {len(REGION_NAMES)} regions moved>"
        )

    @property
    def status(self) -> str:
        """The remarks in one line; "ok" without one."""
        return status_line(self.remarks)


def measure(
    aligned: AlignedClip,
    interval: Interval | None = None,
    settings: MotionSettings = USUAL,
    trajectory: Trajectory | None = None,
) -> Measurement:
    """Measure one aligned clip.

    Args:
        aligned: Canonical frames with landmarks.
        interval: Annotated onset, apex and offset; found from the motion when not given.
            If one of these frames shows no face, the nearest frame with a face is used.
        settings: Flow method, head model, averaging.
        trajectory: Motion of the regions in the same frames, if they were followed already, which
            takes half of the time; only for a given interval.

    Returns:
        The measurement; ``remarks`` say what could not be measured.

    Raises:
        UserError: If fewer than two frames show a face, or the interval ends after the clip.
    """
    _require_measurable(aligned, interval)
    begin(MEASURING)
    light = light_change(aligned)
    meter = MotionMeter(light.even(aligned) if light else aligned, settings)
    if interval is None:
        reading, trajectory = _searched(meter, aligned, light)
    else:
        reading, trajectory = _of_given(meter, aligned, light, interval, trajectory)
    shown, tables = reading.interval, reading.tables
    # A given interval counts as found: the annotator saw an expression there. The tables use the
    # finer flow and the measured floors, so they can confirm a motion that the half-size search
    # scored too low.
    found = interval is not None or _stands_out(tables[0], reading.score >= DETECTION_Z)
    if not found:
        tables = [replace(table, active=np.zeros_like(table.active)) for table in tables]
    returned = returned_share(*tables)
    curve, head_motion, head_shift = _over_time(aligned, trajectory, shown)
    return Measurement(
        aligned=aligned,
        interval=shown,
        found=found,
        flow_apex=reading.phases.flows[0],
        flow_offset=reading.phases.flows[1],
        table_apex=tables[0],
        table_offset=tables[1],
        curve=curve,
        head_motion=head_motion,
        noise=reading.floors[0],
        noise_samples=reading.phases.samples,
        sensor_noise=reading.sigma,
        remarks=_told(meter, aligned, light, interval, replace(reading, tables=tables), returned),
        others=reading.others,
        head_shift=head_shift,
        returned=returned,
        light=light.largest if light else 0.0,
        evened=meter.aligned if light else None,
        trajectory=trajectory,
        noise_fitted=reading.phases.fitted,
        given=interval is not None,
    )


def _require_measurable(aligned: AlignedClip, interval: Interval | None) -> None:
    count, visible = len(aligned.frames), int(np.count_nonzero(aligned.present))
    if visible < 2:
        raise UserError(
            f"{visible} of {count} frames show a face; expected at least 2 to see motion; "
            "use a longer clip in which the face is visible"
        )
    if interval is not None and interval.offset >= count:
        raise UserError(
            f"interval ends at frame {interval.offset}; the clip has {count} frames (0 to "
            f"{count - 1}); check the coding or the range that was read"
        )


@dataclass(frozen=True)
class _Reading:
    """What was measured in one interval of a clip; as in ``Measurement``, but for the gate.

    Attributes:
        sigma: Noise of a (time-averaged) frame, grey levels.
        score: How clearly the search saw it (``likely_intervals``); 0 for a given interval.
    """

    interval: Interval
    sigma: float
    score: float
    others: tuple[Interval, ...]
    phases: Phases
    floors: FloatArray
    hidden: dict[str, NDArray[np.bool_]]
    tables: list[RegionTable]


def _read(
    meter: MotionMeter,
    aligned: AlignedClip,
    light: LightChange | None,
    interval: Interval,
    sigma: float,
    others: tuple[Interval, ...] = (),
    windows: float = 1.0,
    score: float = 0.0,
) -> _Reading:
    """Measure one interval; ``windows``: among how many it was searched (``noise.of_search``)."""
    phases = meter.phases(interval, sigma, others)
    floors = phases.floors
    if light:
        # Independent errors add in quadrature.
        floors = np.hypot(floors, meter.light_floor(aligned, light, interval))
        floors = floors * (1 + _LIGHT_DOUBT * light.largest)
    floors = noise.of_search(floors, windows)
    # On the clip as filmed: glare and darkness are gone once the light is evened out.
    hidden = hidden_regions(aligned, interval, meter.masks, light)
    placed = regions_placed(aligned.landmarks, aligned.landmark_uncertainty)
    placed &= ~np.any(list(hidden.values()), axis=0)
    tables = [
        region_table(flow, meter.masks, floor, placed)
        for flow, floor in zip(phases.flows, floors, strict=True)
    ]
    return _Reading(interval, sigma, score, others, phases, floors, hidden, tables)


def _searched(
    meter: MotionMeter, aligned: AlignedClip, light: LightChange | None
) -> tuple[_Reading, Trajectory]:
    """Find the strongest movement of a clip and measure it; also the motion over the clip."""
    trajectory, floor, sigma = meter.watch()
    likely = likely_intervals(meter.aligned, trajectory, floor)
    returning = returning_intervals(meter.aligned, trajectory, floor)
    # The strongest of many windows is larger by chance than one given beforehand. Two searches,
    # each of a part of the frames or regions, are no more chances than one of all.
    windows = float(np.ptp(aligned.timestamps)) / WINDOW
    readings = [
        _read(meter, aligned, light, shown, sigma, _apart(shown, returning), windows, score)
        for shown, score in likely
    ]
    # Frames with open eyes come first, as they show all regions.
    best = max(readings, key=lambda reading: min(two_strongest(reading.tables[0].z), _SURE_Z))
    return best, trajectory


def _of_given(
    meter: MotionMeter,
    aligned: AlignedClip,
    light: LightChange | None,
    interval: Interval,
    trajectory: Trajectory | None,
) -> tuple[_Reading, Trajectory | None]:
    """Measure a given interval; also the motion over the clip, if it is known or asked for."""
    shown = _visible_interval(interval, np.flatnonzero(aligned.present))
    sigma = meter.sensor_noise(shown.apex - shown.onset)
    if meter.settings.curve and trajectory is None:
        trajectory = track_regions(meter.aligned, shown.onset, meter.estimator)
    return _read(meter, aligned, light, shown, sigma), trajectory


def _over_time(
    aligned: AlignedClip, trajectory: Trajectory | None, shown: Interval
) -> tuple[FloatArray, float, float]:
    """Curve (T,), and how far the head goes over the clip and in the interval, px; NaN without."""
    if trajectory is None:
        return np.full(len(aligned.frames), np.nan, np.float32), float("nan"), float("nan")
    return (
        motion_curve(trajectory, shown.onset),
        _span(trajectory.head[aligned.present]),
        _span(trajectory.head[shown.onset : shown.offset + 1]),
    )


def _told(
    meter: MotionMeter,
    aligned: AlignedClip,
    light: LightChange | None,
    given: Interval | None,
    reading: _Reading,
    returned: float,
) -> tuple[str, ...]:
    """The remarks on a measurement; a reading that is not found has no active region."""
    shown, tables = reading.interval, reading.tables
    still = not any(table.active.any() for table in tables)
    # A given interval was not searched for.
    slow = remarks.too_slow(aligned.timestamps) if still and given is None else ""
    apex = meter.aligned.frames[shown.apex]
    unseen = remarks.not_seen(tables[0], apex, meter.masks, reading.hidden)
    held = remarks.not_returned(returned, shown, aligned)
    blind = sum(map(len, unseen.values())) == len(REGION_NAMES)
    rest = remarks.NO_REGION if blind else slow or remarks.NO_MOTION
    return (
        *([rest] if still else []),
        *remarks.on_frames(given, shown, aligned),
        *remarks.on_regions(unseen),
        *on_pictures(aligned, shown),
        *([] if slow else remarks.on_rate(aligned.timestamps)),
        *remarks.on_clip(light, held, reading.others),
        *aligned.remarks,
    )


def watch_expressions(
    aligned: AlignedClip, settings: MotionSettings = USUAL
) -> tuple[tuple[Interval, ...], Trajectory]:
    """All expressions in a stretch of video, in order; each has to come and go.

    Args:
        aligned: Canonical frames with landmarks, some seconds long, with a face in one at least.
        settings: How motion is measured.

    Returns:
        Their intervals (``onset_apex.returning_intervals``), and the motion of the regions.
    """
    trajectory, floor, _ = MotionMeter(aligned, settings).watch()
    return returning_intervals(aligned, trajectory, floor), trajectory


def _visible_interval(interval: Interval, visible: NDArray[np.intp]) -> Interval:
    frames = (interval.onset, interval.apex, interval.offset)
    return Interval(*(int(visible[np.argmin(np.abs(visible - t))]) for t in frames))


def _apart(shown: Interval, found: tuple[Interval, ...]) -> tuple[Interval, ...]:
    """The intervals that do not overlap the one that is shown; neighbours may share a border."""
    return tuple(i for i in found if i.offset <= shown.onset or i.onset >= shown.offset)


def _stands_out(table: RegionTable, detected: bool) -> bool:
    """Whether the active regions are more than chance.

    One region in a hundred passes its floor by chance, so a single one counts only if the search
    detected a movement as well, or if it passes by far.
    """
    active = int(table.active.sum())
    sure = bool((table.z[table.active] >= _SURE_Z).any())
    return active >= _ACTIVE_REGIONS or sure or (detected and active > 0)


def returned_share(onset_phase: RegionTable, offset_phase: RegionTable) -> float:
    """Share of the active regions' motion that the offset phase takes back; NaN without one."""
    moved = onset_phase.active
    out = np.stack([onset_phase.u, onset_phase.v])[:, moved]
    back = np.stack([offset_phase.u, offset_phase.v])[:, moved]
    # Minus: what comes back points the other way.
    return -float((out * back).sum() / (out * out).sum()) if moved.any() else float("nan")


def _span(path: FloatArray) -> float:
    """Largest distance from the position in the first frame, px; frames without a face are NaN."""
    return float(np.nanmax(np.linalg.norm(path - path[0], axis=1)))
