"""The movement in a given interval of one clip: flow of both phases, and what of it is noise.

All motion is in pixels of the canonical face. T frames, R regions, H = W = 224.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from deft_llm.clip import Interval
from deft_llm.errors import UserError
from deft_llm.motion import noise
from deft_llm.motion.flow import FLOW_METHODS, FlowEstimator, flow_estimator, to_grey
from deft_llm.motion.head_depth import head_points
from deft_llm.motion.head_motion import Model, remove_head_motion
from deft_llm.motion.light import LightChange
from deft_llm.motion.micro_flow import fit_movement, frames_to_fit
from deft_llm.motion.region_paths import Trajectory, track_regions
from deft_llm.motion.regions import blink_floor, region_motion, region_rms
from deft_llm.motion.visibility import magnification, visible_masks

if TYPE_CHECKING:
    from deft_llm.media.face import AlignedClip

FloatArray = NDArray[np.float32]

ALL_FRAMES = "all_frames"
# Motion that a shadow's edge may show: px over the square of the gain's slope (1 / px). A hard
# edge has a slope of 0.013 and showed up to 2.3 px on rendered faces, a lamp at one side 0.001.
_EDGE_MOTION = 1.5e4
# Share of what a codec hides, by how much a frame was brightened to even it out. On 48 still faces
# under a light that fell by half, 10 regions counted as moved without it, 2 with 0.2 or 0.5; on 20
# that moved 52 without it, 49 with 0.2, 30 with 0.5.
_IN_THE_DARK = 0.2


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


USUAL = MotionSettings()


@dataclass(frozen=True)
class Phases:
    """Motion of the two phases of a movement.

    Attributes:
        flows: Two of (2, H, W), px, without head motion.
        floors: (2, R) noise floors, px.
        samples: Number of frames or pairs of frames behind the floors; 0 if they are the prior.
        fitted: Whether they are frames, and the floors what a fit to all of them leaves over.
    """

    flows: tuple[FloatArray, FloatArray]
    floors: FloatArray
    samples: int
    fitted: bool = False


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
        self.masks = visible_masks(aligned, aligned.frames.shape[1])

    def image(self, t: int, gap: int) -> FloatArray:
        """See :func:`averaged_frame`."""
        return averaged_frame(self.aligned, t, gap, self.settings.averaging)

    def flow(self, i: int, j: int) -> FloatArray:
        """Head-compensated flow from frame i to frame j."""
        if i == j:
            return np.zeros((2, *self.aligned.frames.shape[1:3]), np.float32)
        gap = abs(j - i)
        flow = self.estimator(self.image(i, gap), self.image(j, gap))
        landmarks, model = head_points(self.aligned), self.settings.head_model
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
        floor = noise.prior_floor(self.image(frame, gap), self.masks, sigma)
        return noise.magnified(floor, magnification(self.aligned))

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
                fitted=True,
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

    def light_floor(self, aligned: AlignedClip, light: LightChange, shown: Interval) -> FloatArray:
        """The motion (R,) that the change of light alone would show, px.

        Args:
            aligned: The clip before its light was evened out; the meter's own is the evened one.
            light: The change.
            shown: The movement's interval.
        """
        moved = []
        # What the codec hides in the dark gets larger with the frame that is evened out.
        hidden = _IN_THE_DARK * noise.prior_floor(self.image(shown.onset, 1), self.masks, 0.0)
        for i, j in ((shown.onset, shown.apex), (shown.apex, shown.offset)):
            still = to_grey(self.aligned.frames[i])
            flow = self.estimator(still, light.relit(aligned, i, j))
            flow = remove_head_motion(flow, head_points(aligned), self.settings.head_model)[0]
            edges = region_rms(light.borders(i, j, flow.shape[1]), self.masks)
            alone = np.linalg.norm(region_motion(flow, self.masks), axis=1)
            brightened = np.maximum(
                *(region_rms(light.brightening(t, flow.shape[1]), self.masks) for t in (i, j))
            )
            # Beyond 1 in quadrature, because the floors hold the codec's part once already.
            dark = hidden * np.sqrt(np.maximum(brightened**2 - 1, 0))
            moved.append(np.hypot(np.hypot(alone, dark), _EDGE_MOTION * edges**2))
        return np.max(moved, axis=0)
