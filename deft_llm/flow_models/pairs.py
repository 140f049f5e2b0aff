"""Pairs of simulated frames with exact flow, rendered ahead of training and kept as shards.

What makes them hard is what makes real ones hard: motion of a fraction of a pixel on skin with
little texture, sensor noise, compression, a head that drifts. Distributions are our own.
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
from deft_llm.simulator.scene.clip_spec import ClipSpec, combinations
from deft_llm.simulator.scene.clips import SimulatedClip, draw_spec, render_many
from deft_llm.simulator.scene.performance import Curve
from deft_llm.simulator.scene.sets import ClipSet

PAIRS_PER_SHARD = 40  # clips a file; an interruption loses at most this many
_QUALITIES = (16, 20, 24)  # CRF of the clips that are compressed
_FACE_SHARE = 0.35  # of a crop, at least
_TRIES = 20

_ARRAYS = ("images", "flow", "mask")


class PairData(ClipSet):
    """What to render, in short clips.

    Attributes:
        head: Name of the head model.
        head_file: Its file, for a head that needs one.
        peak_px: Range of the largest motion of skin, log-uniform, canonical px.
        drift_px: Range of the head's motion over a clip, log-uniform.
        still_share: Share of clips in which the head does not move at all.
        compressed_share: Share of clips that go through H.264.
        coded_share: Share of clips with AUs as coded in corpora; the others have random ones.
        crop: Side of a crop, px; 0 keeps whole frames.
        crops: Crops of each pair of frames.
        workers: Processes.
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
    """The recipes of the clips, in order: ten frames each, rest to apex and back."""
    for i in range(data.clips):
        seed = data.seed + i
        rng = np.random.default_rng([seed, 77])
        apex = int(rng.integers(3, 7))
        curve = Curve(10, 1, apex, 9, *(float(x) for x in rng.uniform(0.75, 1.3, 2)))
        spec = draw_spec(
            seed,
            data.first_identity + int(rng.integers(data.identities)),
            head=data.head,
            curve=curve,
            peak_px=_log_uniform(rng, data.peak_px),
            aus=_aus(rng, data.coded_share, head.aus),
        )
        moves = rng.random() >= data.still_share
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
    """A coded combination, or one to three AUs at random, of one side or of both."""
    codes = sorted({code for table in combinations().values() for code in table})
    if rng.random() < coded_share:
        return tuple(str(rng.choice(codes)).split("+"))
    chosen = rng.choice(known, size=int(rng.integers(1, 4)), replace=False)
    return tuple(str(rng.choice(["", "", "L", "R"])) + str(number) for number in chosen)


def render_pairs(simulated: SimulatedClip, data: PairData) -> Arrays:
    """Pairs of one clip: onset to apex, apex to offset, two neighbours, and any two frames.

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
        flow, mask = simulated.exact_flow(i, j, compensated=False)
        for _ in range(data.crops if data.crop else 1):
            y, x, side = _place(rng, mask, data.crop)
            cut = (..., slice(y, y + side), slice(x, x + side))
            images = frames[[i, j]].transpose(0, 3, 1, 2)[cut]
            rows.append((images, flow[cut].astype(np.float16), mask[cut].astype(np.uint8)))
    images, flows, masks = (np.stack(column) for column in zip(*rows, strict=True))
    return {"images": images, "flow": flows, "mask": masks}


def _place(rng: np.random.Generator, mask: NDArray[np.bool_], crop: int) -> tuple[int, int, int]:
    """Corner (y, x) and side of a crop that shows enough face, the last tried where none does."""
    size = mask.shape[0]
    side = min(crop, size) or size
    y = x = 0
    for _ in range(_TRIES):
        y, x = (int(v) for v in rng.integers(0, size - side + 1, 2))
        if mask[y : y + side, x : x + side].mean() >= _FACE_SHARE:
            break
    return y, x, side


def build_pairs(data: PairData, folder: Path, head: Head | None = None) -> None:
    """Render all shards that are not there yet; each is written whole or not at all.

    Args:
        data: What to render.
        folder: Where to; one of its own for these settings.
        head: The head; loaded by ``data.head`` if None.

    Raises:
        UserError: If the folder holds pairs of other settings, or the head cannot be had.
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
    """Rendered pairs by number, read from disk when asked for.

    Args:
        folder: Filled by :func:`build_pairs`.

    Raises:
        UserError: If the folder holds no whole set of pairs.
    """

    def __init__(self, folder: Path) -> None:
        self._open = open_shards(_shards(settings_of(folder, "pairs", PairData), folder).files)
        counts = [f.get_slice("mask").get_shape()[0] for f in self._open]
        self.starts = np.concatenate([[0], np.cumsum(counts)])

    @classmethod
    def rendered(cls, data: PairData, folder: Path) -> PairStore:
        """The pairs of a folder, rendered first where they are not there; see `build_pairs`."""
        build_pairs(data, folder)
        return cls(folder)

    def __len__(self) -> int:
        return int(self.starts[-1])

    def __getitem__(self, index: int) -> Arrays:
        """One pair: ``images`` (2, 3, S, S), ``flow`` (2, S, S), ``mask`` (S, S)."""
        shard = int(np.searchsorted(self.starts, index, side="right")) - 1
        row = index - int(self.starts[shard])
        return {name: self._open[shard].get_slice(name)[row] for name in _ARRAYS}
