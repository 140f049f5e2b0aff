"""Pairs of simulated frames with exact flow, rendered ahead of training and kept as shards.

The pairs have the difficulties of real ones: sub-pixel motion on skin with little texture, sensor
noise, compression, head drift. The distributions are our own choice.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from deft_llm.data.shards import Arrays, Shards, claim_set, open_shards, settings_of
from deft_llm.simulator.head import Head, load_head
from deft_llm.simulator.scene.clip_spec import ClipSpec
from deft_llm.simulator.scene.clips import SimulatedClip, draw_spec, render_many
from deft_llm.simulator.scene.performance import Curve
from deft_llm.simulator.scene.sets import ClipSet
from deft_llm.simulator.scene.statistics import combinations

PAIRS_PER_SHARD = 40  # clips per file; an interruption loses at most this many
_QUALITIES = (16, 20, 24)  # CRF of the compressed clips
_FACE_SHARE = 0.35  # least share of face pixels in a crop
_TRIES = 20  # bound the search: a frame may show too little face for any crop

_ARRAYS = ("images", "flow", "mask")


class PairData(ClipSet):
    """Settings of a set of pairs, rendered as short clips.

    Attributes:
        head: Name of the head model.
        head_file: File of the head model, if it needs one.
        peak_px: Range of the largest motion of skin, log-uniform, canonical px.
        drift_px: Range of the head's motion over a clip, log-uniform.
        still_share: Share of clips in which the head does not move at all.
        compressed_share: Share of clips that go through H.264.
        coded_share: Share of clips with AUs as coded in corpora; the others have random ones.
        crop: Side of a crop, px; 0 keeps whole frames.
        crops: Crops per pair of frames.
        workers: Number of processes.
    """

    seed: int = 2_000_000
    head: str = "own"
    head_file: Path | None = None
    peak_px: tuple[float, float] = (0.1, 4.0)
    drift_px: tuple[float, float] = (0.1, 4.0)
    still_share: float = 0.5
    compressed_share: float = 0.5
    coded_share: float = 0.5
    crop: int = Field(default=128, ge=0)
    crops: int = Field(default=2, ge=1)
    workers: int = Field(default=2, ge=1)


def pair_specs(data: PairData, head: Head) -> Iterator[ClipSpec]:
    """The clip specifications, in order: ten frames each, from neutral to the apex and back."""
    for i in range(data.clips):
        seed = data.seed + i
        # A separate stream per clip; draw_spec uses the streams [seed, 0..10].
        rng = np.random.default_rng([seed, 77])
        apex = int(rng.integers(3, 7))
        up, down = rng.uniform(0.75, 1.3, 2)
        curve = Curve(10, 1, apex, 9, float(up), float(down))
        spec = draw_spec(
            seed,
            data.first_identity + int(rng.integers(data.identities)),
            head=data.head,
            curve=curve,
            peak_px=_log_uniform(rng, data.peak_px),
            aus=_aus(rng, data.coded_share, head.aus),
        )
        moves = rng.random() >= data.still_share
        # Drawn for still clips too, so that still_share does not shift the random stream.
        drift = _log_uniform(rng, data.drift_px)
        motion = replace(
            spec.motion,
            drift=drift if moves else 0.0,
            tremor=spec.motion.tremor if moves else 0.0,
        )
        yield replace(spec, motion=motion)


def _log_uniform(rng: np.random.Generator, bounds: tuple[float, float]) -> float:
    return float(np.exp(rng.uniform(*np.log(bounds))))


def _aus(rng: np.random.Generator, coded_share: float, known: tuple[str, ...]) -> tuple[str, ...]:
    """A coded AU combination, or one to three random AUs, each on one side or both."""
    codes = sorted({code for table in combinations().values() for code in table})
    if rng.random() < coded_share:
        return tuple(str(rng.choice(codes)).split("+"))
    chosen = rng.choice(known, size=int(rng.integers(1, 4)), replace=False)
    # The empty string is listed twice: half of the AUs are bilateral.
    return tuple(str(rng.choice(["", "", "L", "R"])) + str(number) for number in chosen)


def render_pairs(simulated: SimulatedClip, data: PairData) -> Arrays:
    """Pairs of one clip: onset to apex, apex to offset, adjacent frames, and two random frames.

    Returns:
        ``images`` uint8 (N, 2, 3, S, S), ``flow`` float16 (N, 2, S, S) in px with the head's
        motion in it, ``mask`` uint8 (N, S, S).
    """
    spec = simulated.spec
    rng = np.random.default_rng([spec.seed, 78])
    compressed = rng.random() < data.compressed_share
    quality = int(rng.choice(_QUALITIES))
    frames = (simulated.encoded(quality) if compressed else simulated.clip).frames
    phase = spec.curve.interval
    step = int(rng.integers(phase.onset, phase.offset))
    first, second = rng.choice(len(frames), 2, replace=False)
    rows = []
    for i, j in (
        (phase.onset, phase.apex),
        (phase.apex, phase.offset),
        (step, step + 1),
        (int(first), int(second)),
    ):
        # Not compensated: the network sees the frames with head motion and has to estimate it as
        # well.
        flow, mask = simulated.exact_flow(i, j, compensated=False)
        for _ in range(data.crops if data.crop else 1):
            y, x, side = _place(rng, mask, data.crop)
            cut = (..., slice(y, y + side), slice(x, x + side))
            images = frames[[i, j]].transpose(0, 3, 1, 2)[cut]
            rows.append((images, flow[cut].astype(np.float16), mask[cut].astype(np.uint8)))
    images, flows, masks = (np.stack(column) for column in zip(*rows, strict=True))
    return {"images": images, "flow": flows, "mask": masks}


def _place(rng: np.random.Generator, mask: NDArray[np.bool_], crop: int) -> tuple[int, int, int]:
    """Corner (y, x) and side of a crop with enough face; the last one tried if none has."""
    size = mask.shape[0]
    side = min(crop, size) or size
    y = x = 0
    for _ in range(_TRIES):
        y, x = (int(v) for v in rng.integers(0, size - side + 1, 2))
        if mask[y : y + side, x : x + side].mean() >= _FACE_SHARE:
            break
    return y, x, side


def build_pairs(data: PairData, folder: Path, head: Head | None = None) -> None:
    """Render all missing shards; each file is written atomically.

    Args:
        data: Settings of the set.
        folder: Output folder, used for these settings only.
        head: The head; ``data.head`` is loaded if None.

    Raises:
        UserError: If the folder holds pairs of other settings, or the head cannot be loaded.
    """
    claim_set(folder, "pairs", data)
    shards = _shards(data, folder)
    if shards.whole:
        return
    head = load_head(data.head, data.head_file) if head is None else head
    render = partial(render_many, then=partial(render_pairs, data=data), workers=data.workers)
    shards.render(list(pair_specs(data, head)), partial(render, head=head), "pairs")


def _shards(data: PairData, folder: Path) -> Shards:
    return Shards(folder, "pairs", data.clips, PAIRS_PER_SHARD)


class PairStore:
    """Rendered pairs by number, read from disk on access.

    Args:
        folder: Folder that :func:`build_pairs` has filled.

    Raises:
        UserError: If the folder holds no complete set of pairs.
    """

    def __init__(self, folder: Path) -> None:
        self._open = open_shards(_shards(settings_of(folder, "pairs", PairData), folder).files)
        # get_slice reads the header only; the pairs themselves stay on disk.
        counts = [f.get_slice("mask").get_shape()[0] for f in self._open]
        self.starts = np.concatenate([[0], np.cumsum(counts)])

    @classmethod
    def rendered(cls, data: PairData, folder: Path) -> PairStore:
        """Open the pairs of a folder, rendering missing ones first; see `build_pairs`."""
        build_pairs(data, folder)
        return cls(folder)

    def __len__(self) -> int:
        return int(self.starts[-1])

    def __getitem__(self, index: int) -> Arrays:
        """One pair: ``images`` (2, 3, S, S), ``flow`` (2, S, S), ``mask`` (S, S)."""
        shard = int(np.searchsorted(self.starts, index, side="right")) - 1
        row = index - int(self.starts[shard])
        return {name: self._open[shard].get_slice(name)[row] for name in _ARRAYS}
