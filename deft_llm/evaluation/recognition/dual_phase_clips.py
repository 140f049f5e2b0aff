"""Clips of the dual-phase benchmark: is the group that rose also the one that falls?

A face wears a posed expression: brows (AU1+2) and mouth corners (AU12) are both half raised. In
the onset phase one of the two rises fully; in the offset phase one of the two, drawn by itself,
falls by as much. The class is whether the two groups are the same: in half of the clips the group
that rose relaxes again, as in an ordinary expression; in the others it stays and the other relaxes.

The class is the relation, not the pair, so neither phase determines it alone. Either phase by
itself is right in half of the clips, which is chance. A sum of separate scores for the two phases
gets at most three of the four pairs right: if s(onset) + t(offset) were above a threshold for both
pairs of one class and below it for both of the other, the totals of the two classes would differ,
but both totals have the same four terms. (With the pair itself as one of four classes a logistic
regression reaches 0.99.) The simulator's heads add up the displacements of AUs, so the motion of
one phase does not reveal which group moves in the other. One simple cue remains, the flow from
onset to offset: it is zero in one class, so the fixed sum of both phases (COF) also separates the
classes for a nonlinear classifier.

Each clip has only the three coded frames, so the set takes minutes to make. Clips are rendered,
compressed with H.264, aligned by the face finder and measured like all other clips. The scene is
our own; nothing like it is published.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deft_llm.clip import Clip
from deft_llm.data.clip_dataset import ClipDataset
from deft_llm.data.features import FeatureSizes, pack
from deft_llm.data.labelled import LabelledClips
from deft_llm.data.records import ClipRecord
from deft_llm.data.shards import Arrays, Shards, open_shards
from deft_llm.data.simulated import filmed
from deft_llm.errors import UserError
from deft_llm.motion.measure import measure
from deft_llm.motion.meter import MotionSettings
from deft_llm.parallel import parallel_map
from deft_llm.simulator.head import Head, load_head
from deft_llm.simulator.scene.clip_spec import ClipSpec, draw_spec
from deft_llm.simulator.scene.clips import SimulatedClip
from deft_llm.simulator.scene.performance import Curve
from deft_llm.simulator.scene.scene import Scene
from deft_llm.simulator.scene.sets import ClipSet

logger = logging.getLogger(__name__)
Floats = NDArray[np.float32]

GROUPS: dict[str, tuple[str, ...]] = {"brows": ("1", "2"), "mouth": ("12",)}
OFFSET_CLASSES = ("the same lets go", "another lets go")
# The three moments are neighbouring frames, so skew changes nothing: levels are 0, 1, 0.
_CURVE = Curve(frames=3, onset=0, apex=1, offset=2, onset_skew=1.0, offset_skew=1.0)
_FPS = 10.0
_POSED = 0.5  # level of both groups before the onset
_SHARD = 100  # clips per file; an interruption loses at most this many


class DualPhaseData(ClipSet):
    """The clips to simulate.

    Attributes:
        motion_px: Range, log-uniform, of ``DualPhaseSpec.motion_px``; a single AU makes half
            to all of that.
        side: Side of the flow maps, px.
        head: Name of the head model.
        workers: Processes.
    """

    motion_px: tuple[float, float] = (0.5, 3.0)
    side: int = 56
    head: str = "own"
    workers: int = 2


@dataclass(frozen=True)
class DualPhaseSpec:
    """One clip: its recipe, and the group that moves in each phase (indices of ``GROUPS``)."""

    clip: ClipSpec
    onset_group: int
    offset_group: int

    @property
    def label(self) -> int:
        """Index of ``OFFSET_CLASSES``."""
        return int(self.onset_group != self.offset_group)

    @property
    def motion_px(self) -> float:
        """Largest displacement of both groups together in one phase, canonical px."""
        return self.clip.peak_px * (1 - _POSED)


@dataclass(frozen=True)
class DualPhaseSet:
    """Measured clips.

    Attributes:
        specs: Their recipes; clips without a face are left out.
        clips: Their flow and classes. Mirroring keeps the class, since classes have no side.
    """

    specs: tuple[DualPhaseSpec, ...]
    clips: LabelledClips


class _Stage(Scene):
    """A scene whose AU groups move independently."""

    def __init__(self, drawn: DualPhaseSpec, head: Head) -> None:
        t = np.arange(_CURVE.frames, dtype=np.float64)
        # Half raised at the onset; up by half if it rises, down by half if it falls: 0 to 1.
        self.levels: dict[str, Floats] = {}
        for k, aus in enumerate(GROUPS.values()):
            up = _smooth(t, _CURVE.onset, _CURVE.apex) * (k == drawn.onset_group)
            down = _smooth(t, _CURVE.apex, _CURVE.offset) * (k == drawn.offset_group)
            level = (_POSED * (1 + up - down)).astype(np.float32)
            self.levels |= {f"{side}{au}": level for au in aus for side in "LR"}
        self.drawn = drawn
        super().__init__(drawn.clip, head)

    def __reduce__(self) -> tuple[Any, ...]:
        # ``Scene`` pickles itself by its own arguments, which would make a plain scene of this one.
        return _Stage, (self.drawn, self.head)

    def expression(self, frame: int) -> dict[str, float]:
        """AU activations of a frame: the two groups at their own levels, the rest as usual."""
        own = {au: float(self.levels[au][frame]) * full for au, full in self.activations.items()}
        return {**super().expression(frame), **own}


def _smooth(t: NDArray[np.float64], start: float, end: float) -> NDArray[np.float64]:
    return 0.5 - 0.5 * np.cos(np.pi * np.clip((t - start) / (end - start), 0, 1))


def dual_phase_specs(data: DualPhaseData) -> Iterator[DualPhaseSpec]:
    """The recipes of a set, in order."""
    aus = tuple(au for group in GROUPS.values() for au in group)
    low, high = np.log(data.motion_px)
    for seed in range(data.seed, data.seed + data.clips):
        # A stream of its own: ``draw_spec`` uses [seed, 0] to [seed, 10].
        rng = np.random.default_rng([seed, 97])
        onset_group, offset_group = (int(k) for k in rng.integers(len(GROUPS), size=2))
        clip = draw_spec(
            seed,
            data.first_identity + int(rng.integers(data.identities)),
            head=data.head,
            aus=aus,
            curve=_CURVE,
            fps=_FPS,
            # The peak belongs to full activation, but a phase moves a group by half of it only.
            peak_px=float(np.exp(rng.uniform(low, high))) / (1 - _POSED),
        )
        yield DualPhaseSpec(clip, onset_group, offset_group)


def film_dual_phase(drawn: DualPhaseSpec) -> SimulatedClip:
    """Render one clip; the same recipe always gives the same bytes."""
    scene = _Stage(drawn, _head(drawn.clip.head))
    frames, landmarks = scene.film()
    clip = Clip(drawn.clip.name, frames, scene.times.astype(np.float64))
    return SimulatedClip(drawn.clip, clip, drawn.clip.annotation(), landmarks, scene)


# Kept in each worker process, so that a head is not loaded again for every clip.
@lru_cache(maxsize=2)
def _head(name: str) -> Head:
    return load_head(name)


def dual_phase_flow(drawn: DualPhaseSpec, side: int) -> Floats | None:
    """Film and measure one clip: flow (2, 3, side, side), or None if no face was found."""
    try:
        _, aligned = filmed(film_dual_phase(drawn))
    except UserError as error:
        logger.warning("%s: %s", drawn.clip.name, error)
        return None
    measurement = measure(aligned, _CURVE.interval, MotionSettings(curve=False))
    return pack(measurement, FeatureSizes(flow=side))["flow"].astype(np.float32)


def dual_phase_set(data: DualPhaseData, cache: Path) -> DualPhaseSet:
    """Simulate and measure a set once; after an interruption, call again to resume.

    What was made by an earlier simulator or measurement is made again.

    Args:
        data: The clips to simulate.
        cache: Folder; the set goes to a subfolder named by the hash of ``data``.
    """
    folder = cache / f"dual-phase-{data.digest()}"
    folder.mkdir(parents=True, exist_ok=True)
    drawn = list(dual_phase_specs(data))
    shards = Shards(folder, "flow", len(drawn), _SHARD)
    here = data.model_copy(update={"workers": 1})
    shards.drop_stale(drawn, partial(_observe_all, data=here))
    shards.render(drawn, partial(_observe_all, data=data), "simulate")
    files = open_shards(shards.files)
    flow, seen = (
        np.concatenate([file.get_tensor(name) for file in files]) for name in ("flow", "seen")
    )
    kept = tuple(spec for spec, there in zip(drawn, seen, strict=True) if there)
    records = [ClipRecord.of(spec.clip.annotation()) for spec in kept]
    clips = ClipDataset.of_arrays(records, {"flow": flow[seen].astype(np.float32)}, str(folder))
    labels = np.array([spec.label for spec in kept])
    return DualPhaseSet(kept, LabelledClips(clips, labels, OFFSET_CLASSES))


def _observe_all(specs: Sequence[DualPhaseSpec], data: DualPhaseData) -> Iterator[Arrays]:
    """:func:`dual_phase_flow` on every clip, in order; one worker stays in this process."""
    flows = parallel_map(partial(dual_phase_flow, side=data.side), specs, data.workers)
    return (_row(flow, data.side) for flow in flows)


def _row(flow: Floats | None, side: int) -> Arrays:
    # A row even without a face, so that rows and recipes stay aligned; half precision halves the
    # files.
    empty = np.zeros((1, 2, 3, side, side), np.float16)
    seen = empty if flow is None else flow[None].astype(np.float16)
    return {"flow": seen, "seen": np.array([flow is not None])}
