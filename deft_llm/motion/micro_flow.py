"""Motion of a movement from onset over apex to offset, fitted to all of its frames at once.

Two frames hold a micro-expression in a fraction of a grey level of their difference; the clip shows
it in twenty to sixty. Here every frame ``t`` is carried back by the head's motion and by ``p_t A +
q_t B``, where A is the motion from onset to apex, B that from apex to offset, and p and q how much
of each the face has made by then. What is left is, at every pixel, a regression over time on p and
q, on a constant (the face at rest, which is so freed of its noise too) and on the turn and nod of
the head, which change how skin is lit and show where the assumed depth is wrong. The coefficients
of p and q are what A and B still lack, turned into motion by least squares in small windows with a
penalty on its slope (Bruhn, Weickert and Schnörr's combination of Lucas-Kanade and Horn-Schunck,
IJCV 2005), from coarse to fine.

What the regression leaves over is noise of this very clip: of sensor, codec, light and of whatever
else moved. The same operator applied to it, with p and q shifted in time, shows how much motion
such noise pretends to, which is the uncertainty of every region.

Our own method. N frames are used, H = W = 224 pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray

from deft_llm.clip import Interval
from deft_llm.media.canonical import CANONICAL_SIZE
from deft_llm.motion.flow import LucasKanadeFlow, to_grey
from deft_llm.motion.head_alignment import NOD, TURN, HeadAligner
from deft_llm.motion.head_depth import head_points
from deft_llm.motion.head_motion import remove_head_motion
from deft_llm.motion.motion_equations import MotionEquations
from deft_llm.motion.pixels import carried_back, smaller, without_light
from deft_llm.motion.regions import BLINK_PX, LOWER_LIDS, UPPER_LIDS, region_masks, region_motion
from deft_llm.motion.visibility import visible_masks

if TYPE_CHECKING:
    from deft_llm.media.face import AlignedClip

FloatArray = NDArray[np.float32]
Design = NDArray[np.float64]

MAX_INSIDE, MAX_REST = 24, 16  # frames of the movement, and of the face before and after it
REST = 0.6  # s before onset and after offset in which the face counts as at rest
_LEVELS = 3
_STEPS = (3, 2, 2)  # Gauss-Newton steps from the coarsest level to the finest
_BLUR = 1.0  # px, of the images: sensor noise
# Prior of what a turn changes in the grey levels: about the noise at 0.01 rad.
_TURN_PRIOR = 1e-4
_SHIFTS = 8  # in time, over which the noise is averaged
_LEAST_OPEN = 0.5  # share of the movement that must be left without blinking frames
_LOWER_SHARE = 0.6  # of the upper lids' motion: below it eyes blink, above it lids are tightened
_TRACK_WINDOW, _TRACK_STEPS = 2.5, 3  # px of the coarsest level
_LEAST_LOST = 1.0  # px of the coarsest level; less may be noise, which does not drift away


@dataclass(frozen=True)
class Movement:
    """A fitted movement.

    Attributes:
        flow_apex: (2, H, W) motion from onset to apex without the head's, px.
        flow_offset: (2, H, W) motion from apex to offset, px, at the places of the onset.
        floors: (2, R) noise of every region's motion in the two phases: RMS of one component, px.
        turn: Largest turn or nod of the head from the onset within the interval, rad.
        blink: (2,) how far the upper lids close in a blink at an end of each phase, px; 0 without.
        frames: Numbers of the frames that were used.
    """

    flow_apex: FloatArray
    flow_offset: FloatArray
    floors: FloatArray
    turn: float
    blink: FloatArray
    frames: tuple[int, ...]


def fit_movement(
    aligned: AlignedClip, interval: Interval, others: tuple[Interval, ...] = ()
) -> Movement:
    """Fit the motion of one movement.

    Args:
        aligned: The clip.
        interval: Onset, apex and offset; frames that show the face.
        others: Other movements, in whose frames the face is not at rest.

    Returns:
        The movement.
    """
    used = frames_to_fit(aligned, interval, others)
    pyramid = _pyramid([aligned.frames[t] for t in used])
    start = used.index(interval.onset)
    # At half size: a head moves as a whole, and six numbers need no finer pixels.
    aligner = HeadAligner(pyramid[1][start], smaller(head_points(aligned), 2))
    head = follow_head(aligner, pyramid[1], start)
    heads = np.stack([aligner.field(motion) for motion in head])
    moments = [used.index(t) for t in (interval.onset, interval.apex, interval.offset)]
    # The heads are in pixels of the half-size level, twice those of the coarsest.
    path = _tracked(pyramid[-1], _enlarged(heads, pyramid[-1].shape[1]) * 0.5, moments[0])
    down = _lids_down(path, aligned.landmarks)
    closed = down >= BLINK_PX
    # Beside a blink, half-closed lids are part of it, however little they are down.
    lids = (np.maximum(down, 0) * closed.any())[moments]
    kept = _without_blinks(closed, moments)
    # Blinks go before the shares are taken: lids would otherwise set the pace of the whole face.
    path, head, heads = path[kept], head[kept], heads[kept]
    pyramid, used = [images[kept] for images in pyramid], [used[k] for k in kept]
    moments = [used.index(t) for t in (interval.onset, interval.apex, interval.offset)]
    shares = _measured_shares(path, time_shares(aligned.timestamps, interval)[used], moments)
    motion, floors = _refined(pyramid, path, heads, moments, _Regression(shares, head), aligned)
    # Once more, on the motion itself: what the fit on the images left of the head's.
    flows = [remove_head_motion(flow, head_points(aligned))[0] for flow in motion]
    for phase, (first, last) in enumerate(pairwise(moments)):
        if first == last:
            # From a frame to itself nothing moves; the fit had no frame to tell it by.
            flows[phase] = np.zeros_like(flows[phase])
    lids = np.maximum(lids, _lids_closed(flows, aligned.landmarks, bool(closed.any())))
    blink = np.maximum(lids[:-1], lids[1:]).astype(np.float32)
    inside = [i for i, t in enumerate(used) if interval.onset <= t <= interval.offset]
    turn = float(np.abs(head[inside][:, [TURN, NOD]]).max())
    return Movement(flows[0], flows[1], floors, turn, blink, tuple(used))


def _pyramid(frames: Sequence[NDArray[np.uint8]]) -> list[FloatArray]:
    """Grey levels (N, h, w) of the frames at each size, the largest first."""
    found = [np.stack([cv2.GaussianBlur(to_grey(frame), (0, 0), _BLUR) for frame in frames])]
    while len(found) < _LEVELS:
        found.append(np.stack([cv2.pyrDown(image) for image in found[-1]]))
    return found


def _refined(
    pyramid: Sequence[FloatArray],
    path: FloatArray,
    heads: FloatArray,
    moments: Sequence[int],
    regression: _Regression,
    aligned: AlignedClip,
) -> tuple[FloatArray, FloatArray]:
    """The motion of both phases (2, 2, H, W), from coarse to fine, and its floors (2, R); px.

    Args:
        pyramid: As of ``_pyramid``.
        path: (N, 2, h, w) tracked motion, px of the coarsest level.
        heads: (N, 2, h, w) the head's motion, px of the half-size level.
        moments: Onset, apex and offset among the N frames.
        regression: Over the N frames.
        aligned: The clip.
    """
    onset, apex, offset = moments
    # The tracked motion is the start, so that Gauss-Newton begins within a pixel of the truth even
    # where the face moved by twenty.
    motion = np.stack([path[apex] - path[onset], path[offset] - path[apex]])
    floors = np.zeros((2, 0), np.float32)
    for level in range(_LEVELS - 1, -1, -1):
        images = pyramid[level]
        side = images.shape[1]
        if motion.shape[-1] != side:
            motion = _enlarged(motion, side) * 2
        # From pixels of the half-size level to those of this one: 2, 1 and 0.5 times as many.
        fit = _Level(images, _enlarged(heads, side) * (2.0 / 2**level), regression)
        for _ in range(_STEPS[_LEVELS - 1 - level]):
            motion = fit.step(motion)
        # Half size is enough for the noise of a region, at a quarter of the cost.
        if level == 1:
            # in px of full size
            floors = 2 * fit.noise(motion, visible_masks(aligned, side))
    return motion, floors


def time_shares(times: NDArray[np.float64], interval: Interval) -> Design:
    """Shares (T, 2) of the onset phase and of the offset phase that are over at each time.

    Raised cosines: a movement starts and ends without a jump in velocity.
    """
    # The clamp serves a phase without frames, such as apex = offset.
    onset, apex, offset = (times[t] for t in (interval.onset, interval.apex, interval.offset))
    up = np.clip((times - onset) / max(apex - onset, 1e-6), 0, 1)
    down = np.clip((times - apex) / max(offset - apex, 1e-6), 0, 1)
    return 0.5 - 0.5 * np.cos(np.pi * np.stack([up, down], axis=1))


def _tracked(images: FloatArray, heads: FloatArray, start: int) -> FloatArray:
    """Motion (N, 2, h, w) of every image against that of the onset, without the head's.

    Each search starts at the motion of the frame before: frame by frame, the largest movement is
    small.
    """
    tracker = LucasKanadeFlow(window=_TRACK_WINDOW)
    path = np.zeros((*images.shape, 2), np.float32)
    for order in (range(start + 1, len(images)), range(start - 1, -1, -1)):
        last = path[start]
        for n in order:
            still = carried_back(images[n], heads[n], cv2.INTER_LINEAR)
            path[n] = tracker.refine(images[start], still, last, _TRACK_STEPS)
            last = np.where(_lost(images[start], still, path[n])[..., None], 0, path[n])
    return path.transpose(0, 3, 1, 2)


def _lost(first: FloatArray, still: FloatArray, motion: FloatArray) -> NDArray[np.bool_]:
    """Pixels (h, w) which explain the image worse with their motion (h, w, 2) than without any.

    A track loses a face that was covered, as eyes are in a blink, and would drift from there on.
    """
    moved = carried_back(still, motion.transpose(2, 0, 1), cv2.INTER_LINEAR)
    errors = [
        cv2.GaussianBlur(np.square(without_light(image - first)), (0, 0), _TRACK_WINDOW)
        for image in (still, moved)
    ]
    return np.asarray((errors[0] < errors[1]) & (np.linalg.norm(motion, axis=-1) > _LEAST_LOST))


def _lids_down(path: FloatArray, landmarks: FloatArray) -> FloatArray:
    """How far both upper lids have come down since the onset, (N,) px; of both, the lesser."""
    scale = CANONICAL_SIZE / path.shape[-1]
    masks = region_masks(smaller(landmarks, scale), path.shape[-1])[UPPER_LIDS]
    down = [region_motion(flow, masks)[:, 1].min() for flow in path]
    return scale * np.array(down, np.float32)


def _lids_closed(flows: list[FloatArray], landmarks: FloatArray, blink: bool) -> FloatArray:
    """How far the upper lids are closed in a blink at onset, apex and offset, (3,) px, by the flow.

    Lids may close too fast for the track, which then shows a part of it. In a blink the lower lids
    hardly move; those who tighten their lids raise the lower ones as far. On 160 rendered clips of
    faces that only blink, regions move in 16 by the track alone, and in 1 by both.

    Args:
        flows: Motion from onset to apex, and from apex to offset.
        landmarks: (68, 2).
        blink: Whether the eyes blink in any frame; if not, only lids that come down as far as in a
            blink are in one.
    """
    masks = region_masks(landmarks)[UPPER_LIDS + LOWER_LIDS]
    down = np.cumsum([region_motion(flow, masks)[:, 1] for flow in flows], axis=0)
    upper, lower = down[:, : len(UPPER_LIDS)].min(axis=1), np.abs(down[:, len(UPPER_LIDS) :])
    alone = lower.mean(axis=1) < _LOWER_SHARE * upper
    closed = np.where(alone & (upper >= (0.0 if blink else BLINK_PX)), upper, 0)
    return np.concatenate([[0], closed])


def _without_blinks(closed: NDArray[np.bool_], moments: list[int]) -> list[int]:
    """The frames to keep: all that do not blink, and the moments themselves."""
    kept = [k for k in range(len(closed)) if not closed[k] or k in moments]
    inside = [k for k in kept if moments[0] <= k <= moments[2]]
    enough = len(inside) >= _LEAST_OPEN * (moments[2] - moments[0] + 1)
    return kept if enough else list(range(len(closed)))


def _measured_shares(path: FloatArray, usual: Design, moments: list[int]) -> Design:
    """The shares (N, 2) as far as the motion itself shows them, else the usual ones.

    Args:
        path: (N, 2, h, w) tracked motion.
        usual: (N, 2) from the interval alone.
        moments: Onset, apex and offset among the N frames.
    """
    shares = usual.copy()
    onset, apex, offset = moments
    rest = np.r_[0:onset, offset + 1 : len(path)] if len(path) > offset - onset + 1 else []
    still = np.mean(np.square(path[list(rest)] - path[list(rest)].mean(0))) if len(rest) else np.nan
    spans = ((onset, apex, path[onset]), (apex, offset, path[apex]))
    for phase, (first, last, begin) in enumerate(spans):
        whole = path[last] - begin
        energy = float(np.mean(np.square(whole)))
        # Without frames at rest, noise of 0.05 px of this size is assumed.
        clear = energy / (still if np.isfinite(still) and still > 0 else 0.05**2)
        # Below twice the noise's amplitude its own course is noise too, from four times on it is
        # its own; in between both have a say, so that nothing jumps with a little more noise.
        trust = float(np.clip((clear - 4) / 12, 0, 1))
        if trust == 0 or last - first < 2:
            continue
        inside = np.arange(first + 1, last)
        # Least-squares share of the whole motion that a frame has made.
        found = ((path[inside] - begin) * whole).sum(axis=(1, 2, 3)) / (whole * whole).sum()
        # A movement may go a little beyond its apex, which a person put where she saw it.
        shares[inside, phase] += trust * (np.clip(found, 0, 1.2) - usual[inside, phase])
    return shares


def follow_head(aligner: HeadAligner, images: FloatArray, start: int) -> NDArray[np.float64]:
    """Head motion (N, 6) of every image, each search starting at the frame before it."""
    motions = np.zeros((len(images), 6))
    for order in (range(start + 1, len(images)), range(start - 1, -1, -1)):
        last = np.zeros(6)
        for n in order:
            last = motions[n] = aligner.fit(images[n], last)
    return motions


def frames_to_fit(
    aligned: AlignedClip, interval: Interval, others: tuple[Interval, ...]
) -> list[int]:
    """The frames to fit: of the movement, and of the face at rest before and after it."""
    times, visible = aligned.timestamps, np.flatnonzero(aligned.present).tolist()
    busy = {t for other in others for t in range(other.onset, other.offset + 1)}
    first, last = times[interval.onset] - REST, times[interval.offset] + REST
    inside = [t for t in visible if t in interval]
    rest = [t for t in visible if t not in interval and first <= times[t] <= last and t not in busy]
    moments = {interval.onset, interval.apex, interval.offset}
    return sorted({*_spread(inside, MAX_INSIDE), *_spread(rest, MAX_REST), *moments})


def _spread(frames: list[int], most: int) -> list[int]:
    picks = np.unique(np.linspace(0, len(frames) - 1, min(len(frames), most)).round().astype(int))
    return [frames[k] for k in picks] if frames else []


class _Regression:
    """The regression of every pixel over N frames.

    Attributes:
        shares: (N, 2) of the phases that are over.
        design: (N, K).
        operator: (K, N) from grey levels to coefficients.
    """

    def __init__(self, shares: Design, head: NDArray[np.float64]) -> None:
        self.shares, turns = shares, head[:, [TURN, NOD]]
        # About their mean: else the constant would be the face at the turn of zero, not at rest.
        turns = turns - turns.mean(axis=0)
        self.design = np.concatenate([np.ones((len(shares), 1)), shares, turns], axis=1)
        prior = np.diag([0.0, 0.0, 0.0, _TURN_PRIOR, _TURN_PRIOR])
        # A trace on the shares too: a phase of a single frame leaves one of them undefined.
        prior[1, 1] = prior[2, 2] = 1e-3
        self.operator = np.linalg.solve(self.design.T @ self.design + prior, self.design.T)


class _Level:
    """One level of the pyramid."""

    def __init__(self, images: FloatArray, heads: FloatArray, regression: _Regression) -> None:
        self.images, self.heads, self.design = images, heads, regression.design
        self.shares = regression.shares.astype(np.float32)
        self.operator = regression.operator.astype(np.float32)
        # Error of a coefficient over that of a grey level: motion is smoothed as it needs it.
        self.spread = (self.operator**2).sum(axis=1)

    def carried(self, motion: FloatArray) -> FloatArray:
        """All images, carried back to the onset: (N, H, W)."""
        motions = self.heads + np.tensordot(self.shares, motion, 1)
        return np.stack([carried_back(*pair) for pair in zip(self.images, motions, strict=True)])

    def step(self, motion: FloatArray) -> FloatArray:
        """A Gauss-Newton step of both phases' motion (2, 2, H, W)."""
        # The regression fits turn and nod too, but only the first three coefficients are needed.
        rest, onset, offset = np.tensordot(self.operator[:3], self.carried(motion), 1)
        # Brightness constancy: dx u + dy v = -change.
        system = MotionEquations(rest)
        return np.stack(
            [
                system.solve(-without_light(changed), flow, spread)
                for changed, flow, spread in zip(
                    (onset, offset), motion, self.spread[1:3], strict=True
                )
            ]
        )

    def noise(self, motion: FloatArray, masks: FloatArray) -> FloatArray:
        """What the residual pretends to: RMS (2, R) of a region's motion, px of this level."""
        carried = self.carried(motion)
        found = np.tensordot(self.operator, carried, 1)
        left = carried - np.tensordot(self.design.astype(np.float32), found, 1)
        count, columns = self.design.shape
        # The fit takes part of the noise with it.
        left *= np.sqrt(count / max(count - columns, 1))
        system, still = MotionEquations(found[0]), np.zeros_like(motion[0])
        moved: list[list[FloatArray]] = [[], []]
        for shift in _shifts(count):
            # At the wrong times the courses of the phases meet nothing but noise, with all that
            # neighbouring frames have in common: codec, light, what else moved.
            shifted = np.roll(self.operator[1:3], shift, axis=1)
            for phase, changed in enumerate(np.tensordot(shifted, left, 1)):
                flow = system.solve(-without_light(changed), still, self.spread[1 + phase])
                moved[phase].append(region_motion(flow, masks))
        # (2, shifts, R, 2): the mean is over shifts and over u and v.
        return np.sqrt(np.mean(np.square(moved), axis=(1, 3))).astype(np.float32)


def _shifts(count: int) -> list[int]:
    # From 1 on: a shift of 0 would be the fit itself.
    picks = np.linspace(0, count, min(_SHIFTS, count - 1) + 1, endpoint=False)[1:]
    return [int(pick) for pick in picks]


def _enlarged(fields: NDArray[Any], side: int) -> FloatArray:
    """Fields (N, 2, h, w) at another size; their values stay as they are."""
    return np.stack([np.stack([cv2.resize(c, (side, side)) for c in field]) for field in fields])
