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
from deft_llm.motion import noise
from deft_llm.motion.flow import FLOW_METHODS, FlowEstimator, flow_estimator, to_grey
from deft_llm.motion.head_motion import Model, remove_head_motion
from deft_llm.motion.light import LightChange, light_change
from deft_llm.motion.micro_flow import fit_movement, frames_to_fit
from deft_llm.motion.onset_apex import (
    DETECTION_Z,
    WINDOW,
    Trajectory,
    motion_curve,
    returning_intervals,
    strongest_interval,
    track_regions,
)
from deft_llm.motion.regions import (
    RegionTable,
    blink_floor,
    region_masks,
    region_motion,
    region_rms,
    region_table,
    regions_placed,
)
from deft_llm.stages import MEASURING, begin

if TYPE_CHECKING:
    from deft_llm.media.face import AlignedClip

FloatArray = NDArray[np.float32]

ALL_FRAMES = "all_frames"
_ACTIVE_REGIONS = 2
_SURE_Z = 5.0  # at rest, z follows a Rayleigh distribution: 5 is one in 270,000
NO_MOTION = "no motion above the noise floor"
# Motion that a shadow's edge may show: px over the square of the gain's slope (1 / px). A hard
# edge has a slope of 0.013 and showed up to 2.3 px on rendered faces, a lamp at one side 0.001.
_EDGE_MOTION = 1.5e4
RETURNED = 0.5  # share of the motion that has to come back for the face to have returned


@dataclass(frozen=True)
class MotionSettings:
    """How motion is measured; training and inference use the same settings.

    Attributes:
        flow: "all_frames" (``micro_flow``), or a name of ``flow.FLOW_METHODS`` for flow between the
            two frames at the ends of a phase.
        head_model: A model of ``head_motion``: "rigid", "similarity" or "affine". For flow between
            two frames; the fit to all frames takes a rigid head.
        averaging: Seconds on each side of a frame over which frames are averaged before flow
            between two frames (none below 30 frames per second). At most two frames on each side,
            and never a frame that the average at the other end of the flow may also contain. On 60
            simulated clips of 30 to 100 frames per second, 34 ms instead of 12.5 ms raised the
            share of regions with a direction right within 45 degrees from 82 to 87 %, and lowered
            the share of the true amplitude that is found from 78 to 70 %.
        curve: Track every frame. Without it, measuring a given interval takes half the time, and
            the curve and the head motion of the clip are NaN.
    """

    flow: str = ALL_FRAMES
    head_model: Model = "rigid"
    averaging: float = 0.034
    curve: bool = True


@dataclass(frozen=True)
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

    @property
    def status(self) -> str:
        """The remarks in one line; "ok" without one."""
        return status_line(self.remarks)


@dataclass(frozen=True)
class Phases:
    """Motion of the two phases of a movement.

    Attributes:
        flows: Two of (2, H, W), px, without head motion.
        floors: (2, R) noise floors, px.
        samples: Number of frames or pairs of frames behind the floors; 0 if they are the prior.
    """

    flows: tuple[FloatArray, FloatArray]
    floors: FloatArray
    samples: int


def averaged_frame(aligned: AlignedClip, t: int, gap: int, averaging: float) -> FloatArray:
    """A frame averaged with its neighbours, as input to the flow estimator.

    Args:
        aligned: The clip.
        t: The frame.
        gap: Distance to the frame it will be compared with, frames.
        averaging: Seconds on each side; see :class:`MotionSettings`.

    Returns:
        (H, W) grey levels.
    """
    # A radius of (gap - 1) // 2 keeps the two averages disjoint: a shared frame would hide motion.
    times, most = aligned.timestamps, min(2, max(gap - 1, 0) // 2)
    near = range(max(0, t - most), min(len(times), t + most + 1))
    used = [k for k in near if aligned.present[k] and abs(times[k] - times[t]) <= averaging + 1e-6]
    total = sum(to_grey(aligned.frames[k]) for k in used or [t])
    return np.asarray(total / max(len(used), 1), np.float32)


class MotionMeter:
    """Flow between time-averaged frames of one clip."""

    def __init__(self, aligned: AlignedClip, settings: MotionSettings) -> None:
        self.aligned = aligned
        self.settings = settings
        if settings.flow not in (ALL_FRAMES, *FLOW_METHODS):
            known = ", ".join((ALL_FRAMES, *FLOW_METHODS))
            raise UserError(f"flow {settings.flow!r}: expected one of {known}")
        # Small frames are also followed one by one, to find the movement.
        pairs = flow_estimator() if settings.flow == ALL_FRAMES else flow_estimator(settings.flow)
        self.estimator: FlowEstimator = pairs
        self.masks = region_masks(aligned.landmarks, aligned.frames.shape[1])

    def image(self, t: int, gap: int) -> FloatArray:
        """See :func:`averaged_frame`."""
        return averaged_frame(self.aligned, t, gap, self.settings.averaging)

    def flow(self, i: int, j: int) -> FloatArray:
        """Head-compensated flow from frame i to frame j."""
        if i == j:
            return np.zeros((2, *self.aligned.frames.shape[1:3]), np.float32)
        gap = abs(j - i)
        flow = self.estimator(self.image(i, gap), self.image(j, gap))
        landmarks, model = self.aligned.landmarks, self.settings.head_model
        return remove_head_motion(flow, landmarks, model)[0]

    def sensor_noise(self, gap: int) -> float:
        """Median noise over up to four pairs of frames ``gap`` apart, grey levels."""
        visible = np.flatnonzero(self.aligned.present)
        last = len(visible) - 1
        step = min(max(gap, 1), last)
        starts = np.unique(np.linspace(0, last - step, 4).astype(int))
        # Steps count visible frames, so that each pair shows a face at both ends.
        pairs = [(int(visible[s]), int(visible[s + step])) for s in starts]
        return float(
            np.median(
                [noise.sensor_noise(self.image(i, step), self.image(j, step)) for i, j in pairs]
            )
        )

    def watch(self) -> tuple[Trajectory, FloatArray, float]:
        """What finding intervals needs: trajectory, noise floors (R,) and sensor noise."""
        visible = np.flatnonzero(self.aligned.present)
        # No interval is known yet: the middle frame keeps the chain of key frames short on both
        # sides.
        middle, gap = int(visible[len(visible) // 2]), len(visible) // 3
        sigma = self.sensor_noise(gap)
        trajectory = track_regions(self.aligned, middle, self.estimator)
        return trajectory, self.prior(middle, gap, sigma), sigma

    def prior(self, frame: int, gap: int, sigma: float) -> FloatArray:
        """Noise floors (R,) from the sensor noise, for flow between frames ``gap`` apart."""
        return noise.prior_floor(self.image(frame, gap), self.masks, sigma)

    def phases(self, interval: Interval, sigma: float, others: tuple[Interval, ...]) -> Phases:
        """Flow of both phases and what is noise in it."""
        # Of a few pictures, as of onset and apex alone, a fit leaves nothing to judge it by.
        enough = len(frames_to_fit(self.aligned, interval, others)) >= noise.MIN_FRAMES
        if self.settings.flow == ALL_FRAMES and enough:
            movement = fit_movement(self.aligned, interval, others)
            prior = self.prior(interval.onset, interval.apex - interval.onset, sigma)
            blinks = np.stack([blink_floor(closed) for closed in movement.blink])
            floors = noise.movement_floors(movement.floors, prior, movement.turn)
            return Phases(
                (movement.flow_apex, movement.flow_offset),
                np.hypot(floors, blinks),
                len(movement.frames),
            )
        flows = (
            self.flow(interval.onset, interval.apex),
            self.flow(interval.apex, interval.offset),
        )
        floors, pairs = self._pair_floors(interval, sigma)
        return Phases(flows, np.stack([floors, floors]), pairs)

    def _pair_floors(self, interval: Interval, sigma: float) -> tuple[FloatArray, int]:
        """Noise floors (R,) of flow between two frames, and the number of pairs behind them."""
        pairs = noise.rest_pairs(interval, self.aligned.present)
        prior = self.prior(interval.onset, interval.apex - interval.onset, sigma)
        # A median over a few pairs is too unsteady to divide by.
        if len(pairs) < noise.MIN_PAIRS:
            return prior, 0
        moved = np.stack([region_motion(self.flow(i, j), self.masks) for i, j in pairs])
        # The pairs go through the same averaging, flow and head fit as the expression, so their
        # motion holds every error of the method.
        return noise.combine(noise.robust_floor(moved), prior), len(pairs)


def measure(
    aligned: AlignedClip,
    interval: Interval | None = None,
    settings: MotionSettings = MotionSettings(),
) -> Measurement:
    """Measure one aligned clip.

    Args:
        aligned: Canonical frames with landmarks.
        interval: Annotated onset, apex and offset; found from the motion when not given.
            If one of these frames shows no face, the nearest frame with a face is used.
        settings: Flow method, head model, averaging.

    Returns:
        The measurement; ``remarks`` say what could not be measured.

    Raises:
        UserError: If fewer than two frames show a face, or the interval ends after the clip.
    """
    count, visible = len(aligned.frames), np.flatnonzero(aligned.present)
    if visible.size < 2:
        raise UserError(
            f"{visible.size} of {count} frames show a face; expected at least 2 to see motion; "
            "use a longer clip in which the face is visible"
        )
    if interval is not None and interval.offset >= count:
        raise UserError(
            f"interval ends at frame {interval.offset}; the clip has {count} frames (0 to "
            f"{count - 1}); check the coding or the range that was read"
        )
    begin(MEASURING)
    light = light_change(aligned)
    seen = light.even(aligned) if light else aligned
    meter = MotionMeter(seen, settings)
    found, trajectory = True, None
    others: tuple[Interval, ...] = ()
    if interval is None:
        trajectory, floor, sigma = meter.watch()
        shown, score = strongest_interval(seen, trajectory, floor)
        shown = _apex_on_curve(shown, trajectory)
        found = score >= DETECTION_Z
        others = _apart(shown, returning_intervals(seen, trajectory, floor))
    else:
        # A given interval counts as found: the annotator saw an expression there.
        shown = _visible_interval(interval, visible)
        sigma = meter.sensor_noise(shown.apex - shown.onset)
        if settings.curve:
            trajectory = track_regions(seen, shown.onset, meter.estimator)
    phases = meter.phases(shown, sigma, others)
    floors = phases.floors
    if light:
        floors = np.hypot(floors, _light_motion(meter, aligned, light, shown))
    if interval is None:
        floors = noise.of_search(floors, float(np.ptp(aligned.timestamps)) / WINDOW)
    placed = regions_placed(aligned.landmarks, aligned.landmark_uncertainty)
    tables = [
        region_table(flow, meter.masks, floor, placed)
        for flow, floor in zip(phases.flows, floors, strict=True)
    ]
    # The tables use the finer flow and the measured floors, so they can confirm a motion that the
    # half-size search scored too low.
    found = interval is not None or _stands_out(tables[0], found)
    if not found:
        tables = [replace(table, active=np.zeros_like(table.active)) for table in tables]
    returned = _returned(*tables)
    held = _held(returned, shown, aligned)
    remarks = _remarks(interval, shown, tables, aligned)
    return Measurement(
        aligned=aligned,
        interval=shown,
        found=found,
        flow_apex=phases.flows[0],
        flow_offset=phases.flows[1],
        table_apex=tables[0],
        table_offset=tables[1],
        curve=motion_curve(trajectory, shown.onset)
        if trajectory
        else np.full(count, np.nan, np.float32),
        head_motion=_span(trajectory.head[visible]) if trajectory else float("nan"),
        noise=floors[0],
        noise_samples=phases.samples,
        sensor_noise=sigma,
        remarks=(*remarks, *_about_the_clip(light, held, others), *aligned.remarks),
        others=others,
        head_shift=_span(trajectory.head[shown.onset : shown.offset + 1])
        if trajectory
        else float("nan"),
        returned=returned,
        light=light.largest if light else 0.0,
        evened=seen if light else None,
    )


def expressions(
    aligned: AlignedClip, settings: MotionSettings = MotionSettings()
) -> tuple[Interval, ...]:
    """All expressions in a stretch of video, in order; each has to come and go.

    Args:
        aligned: Canonical frames with landmarks, some seconds long.
        settings: How motion is measured.

    Returns:
        Their intervals (``onset_apex.returning_intervals``); empty if fewer than two frames show
        a face.
    """
    if np.count_nonzero(aligned.present) < 2:
        return ()
    trajectory, floor, _ = MotionMeter(aligned, settings).watch()
    return returning_intervals(aligned, trajectory, floor)


def _visible_interval(interval: Interval, visible: NDArray[np.intp]) -> Interval:
    frames = (interval.onset, interval.apex, interval.offset)
    return Interval(*(int(visible[np.argmin(np.abs(visible - t))]) for t in frames))


def _apex_on_curve(found: Interval, trajectory: Trajectory) -> Interval:
    """The interval with its apex where the motion curve, which people see, is highest."""
    curve = motion_curve(trajectory, found.onset)[found.onset : found.offset + 1]
    return Interval(found.onset, found.onset + int(np.nanargmax(curve)), found.offset)


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


def _light_motion(
    meter: MotionMeter, aligned: AlignedClip, light: LightChange, shown: Interval
) -> FloatArray:
    """The motion (R,) that the change of light alone would show, px."""
    moved = []
    for i, j in ((shown.onset, shown.apex), (shown.apex, shown.offset)):
        still = to_grey(meter.aligned.frames[i])
        flow = meter.estimator(still, light.relit(aligned, i, j))
        flow = remove_head_motion(flow, aligned.landmarks, meter.settings.head_model)[0]
        edges = region_rms(light.borders(i, j, flow.shape[1]), meter.masks)
        alone = np.linalg.norm(region_motion(flow, meter.masks), axis=1)
        moved.append(np.hypot(alone, _EDGE_MOTION * edges**2))
    return np.max(moved, axis=0)


def _returned(onset_phase: RegionTable, offset_phase: RegionTable) -> float:
    """Share of the active regions' motion that the offset phase takes back."""
    moved = onset_phase.active
    out = np.stack([onset_phase.u, onset_phase.v])[:, moved]
    back = np.stack([offset_phase.u, offset_phase.v])[:, moved]
    return -float((out * back).sum() / (out * out).sum()) if moved.any() else float("nan")


def _span(path: FloatArray) -> float:
    """Largest distance from the position in the first frame, px; frames without a face are NaN."""
    return float(np.nanmax(np.linalg.norm(path - path[0], axis=1)))


def _remarks(
    asked: Interval | None,
    shown: Interval,
    tables: list[RegionTable],
    aligned: AlignedClip,
) -> list[str]:
    remarks, count = [], len(aligned.present)
    hidden = count - int(np.count_nonzero(aligned.present))
    if not any(table.active.any() for table in tables):
        remarks.append(NO_MOTION)
    if hidden:
        remarks.append(f"{hidden} of {count} frames {aligned.left_out} were left out")
    if asked is not None and asked != shown:
        remarks.append(
            f"interval moved to frames with a face: {shown.onset}, {shown.apex}, {shown.offset}"
        )
    if not tables[0].placed.all():
        remarks.append(f"{int((~tables[0].placed).sum())} regions too uncertain to measure")
    return remarks


def _held(returned: float, shown: Interval, aligned: AlignedClip) -> str:
    """A remark on a movement that did not come back; empty if it did."""
    if not returned < RETURNED:  # NaN without motion
        return ""
    left = aligned.timestamps[np.flatnonzero(aligned.present)[-1]]
    cut = left - aligned.timestamps[shown.apex] < WINDOW
    return (
        f"the movement did not return {'before the clip ends' if cut else 'within half a second'}"
    )


def _about_the_clip(
    light: LightChange | None, held: str, others: tuple[Interval, ...]
) -> list[str]:
    remarks = []
    if light:
        remarks.append(f"the light changed by up to {100 * light.largest:.0f} %, evened out")
    if held:
        remarks.append(held)
    if others:
        many = "another movement" if len(others) == 1 else f"{len(others)} other movements"
        remarks.append(f"the clip holds {many}; this is the strongest")
    return remarks
