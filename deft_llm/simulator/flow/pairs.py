"""Simulated pairs of frames with exact flow, with motions between 0.1 and 8 px.

A pair is a clip of two frames, so it has the same light, camera and skin as any other clip.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import count
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from deft_llm.simulator.head import Head, load_head
from deft_llm.simulator.render import splat
from deft_llm.simulator.render.camera import View
from deft_llm.simulator.render.occlusion import occluded
from deft_llm.simulator.scene.clip_spec import ClipSpec, draw_spec
from deft_llm.simulator.scene.performance import Blink, Curve, draw_gaze
from deft_llm.simulator.scene.scene import CANONICAL_INTEROCULAR, Scene
from deft_llm.simulator.scene.statistics import combinations

Floats = NDArray[np.float32]
MOTION_PX = (0.1, 8.0)  # largest displacement in a pair, log-uniform
_SECONDS = (1 / 100, 0.4)  # between the frames, log-uniform
_STILL_HEAD_SHARE = 0.3
_EVEN_SHARE = 0.5  # pairs whose AUs are drawn uniformly from the coded combinations
_BLINK_SHARE = 0.15
_GAZE_SHARE = 0.3


@dataclass(frozen=True)
class RenderedFrame:
    """One frame of a pair with its ground truth.

    Attributes:
        render: (H, W, 3) uint8 RGB.
        camera: (3, 4) float64, from head coordinates in cm (neutral pose) to pixels.
        depth: (H, W) float32, cm from the camera, 0 outside the mask.
        mask: (H, W) bool, True where the head is visible.
    """

    render: NDArray[np.uint8]
    camera: NDArray[np.float64]
    depth: Floats
    mask: NDArray[np.bool_]


@dataclass(frozen=True)
class RenderedPair:
    """Two frames, and the exact flow from the first to the second.

    Attributes:
        spec: The recipe.
        frames: Both frames.
        flow: (2, H, W) float32 pixels, u right and v down, 0 outside the first mask.
        occlusion: (H, W) bool, visible in the first frame but not in the second.
        landmarks: (2, 68, 2) float32 pixels.
    """

    spec: ClipSpec
    frames: tuple[RenderedFrame, RenderedFrame]
    flow: Floats
    occlusion: NDArray[np.bool_]
    landmarks: Floats


@lru_cache(maxsize=1)
def pair_head(name: str, path: Path | None) -> Head:
    """Load a head, once per process."""
    return load_head(name, path)


def render_pair(seed: tuple[int, ...], identity: int, head: Head, size: int) -> RenderedPair:
    """Draw and render one pair; equal arguments give equal bytes.

    A recipe whose motion leaves ``MOTION_PX`` (a blink or a gaze shift adds to the motion asked
    for) is drawn again.

    Args:
        seed: Seeds of everything except the face.
        identity: Seed of the face.
        head: The head model.
        size: Side of the frames, px.
    """
    for attempt in count():
        # A stream per attempt: the number of attempts of one pair never changes another.
        spec = draw_pair(np.random.default_rng([*seed, attempt]), identity, head.name, size)
        scene = Scene(spec, head)
        before, after = scene.splats(0, 0), scene.splats(1, 1)
        forward = _surface(scene, before, after)
        assert forward.flow is not None
        reach = float(np.hypot(*forward.flow).max())
        if MOTION_PX[0] <= reach <= MOTION_PX[1]:
            break
    backward = _surface(scene, after, before)
    assert forward.flow is not None and backward.flow is not None
    renders, landmarks = scene.film()
    first, second = (
        RenderedFrame(renders[t], camera_matrix(scene, t), raster.depth, raster.mask)
        for t, raster in enumerate((forward, backward))
    )
    hidden = occluded(forward.flow, backward.flow, forward.mask, backward.mask)
    return RenderedPair(spec, (first, second), forward.flow, hidden, landmarks)


def draw_pair(rng: np.random.Generator, identity: int, head: str, size: int) -> ClipSpec:
    """Draw a clip of two frames: rising or falling expression, head motion, blink and gaze."""
    seconds = float(np.exp(rng.uniform(*np.log(_SECONDS))))
    curve, change = _draw_curve(rng)
    spec = draw_spec(
        int(rng.integers(1 << 31)),
        identity,
        combination_weights=_even() if rng.random() < _EVEN_SHARE else None,
        head=head,
        size=size,
        fps=1 / seconds,
        curve=curve,
        blink=_draw_blink(rng, seconds),
        gaze=draw_gaze(rng, 2 * seconds, bool(rng.random() < _GAZE_SHARE)),
    )
    reach = float(np.exp(rng.uniform(*np.log(MOTION_PX))))
    reach *= CANONICAL_INTEROCULAR / spec.framing.interocular  # canonical px
    share = 0.0 if rng.random() < _STILL_HEAD_SHARE else float(rng.uniform())
    if not spec.aus:
        share = 1.0
    return replace(
        spec,
        # Two frames span only `change` of the full amplitude, so it is scaled up.
        peak_px=max((1 - share) * reach / change, 1e-3),
        motion=replace(spec.motion, drift=share * reach, tremor=min(spec.motion.tremor, reach / 4)),
    )


def camera_matrix(scene: Scene, frame: int) -> NDArray[np.float64]:
    """Projection (3, 4) of a frame, from the head's own coordinates in cm to pixels."""
    view: View = scene.view
    lens = np.array([[view.focal, 0, view.centre[0]], [0, view.focal, view.centre[1]], [0, 0, 1]])
    facing = np.diag([1.0, -1.0, -1.0])  # image axes: x right, y down, z away
    rotation = facing @ scene.rotations[frame]
    shift = facing @ scene.shifts[frame] + [0, 0, view.distance]
    projection: NDArray[np.float64] = lens @ np.column_stack([rotation, shift])
    return projection


def _surface(scene: Scene, seen: splat.Splats, other: splat.Splats) -> splat.Raster:
    size = (scene.spec.size, scene.spec.size)
    # Only the geometry is wanted here; film() renders the colours, with the lens blur.
    colourless = np.empty((len(scene.gaussians), 0), np.float32)
    return splat.rasterize(seen, scene.gaussians.opacity, colourless, size, other)


def _draw_curve(rng: np.random.Generator) -> tuple[Curve, float]:
    """Two frames of an onset or offset phase, next to the apex, and their change in activation."""
    steps = int(rng.integers(1, 4))  # frames in the whole phase
    if rng.random() < 0.5:
        # The curve's onset (or offset, below) may lie outside the clip, so that two frames show
        # only the part of the phase next to the apex.
        curve = Curve(2, 1 - steps, 1, 2, 1.0, 1.0)
    else:
        curve = Curve(2, -1, 0, steps, 1.0, 1.0)
    levels = curve.values()
    return curve, float(abs(levels[1] - levels[0]))


def _draw_blink(rng: np.random.Generator, seconds: float) -> Blink | None:
    """A blink at a random time around the two frames; many blinks are partial."""
    start, duration = rng.uniform(-0.2, seconds), rng.uniform(0.15, 0.35)
    depth = float(rng.uniform(0.1, 1.0))
    # Draw first and decide after, so that the stream advances equally either way.
    if rng.random() >= _BLINK_SHARE:
        return None
    return Blink(start=float(start), duration=float(duration), depth=(depth, depth))


@lru_cache(maxsize=1)
def _even() -> dict[str, dict[str, float]]:
    """The coded AU combinations, all with the same weight."""
    return {emotion: dict.fromkeys(table, 1.0) for emotion, table in combinations().items()}
