"""Pairs of simulated frames with exact flow, rendered ahead of training and kept as shards.

What makes them hard is what makes real ones hard: motion of a fraction of a pixel on skin with
little texture, sensor noise, compression, a head that drifts. Distributions are our own.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from safetensors import safe_open
from safetensors.numpy import save_file
from tqdm import tqdm

from deft_llm.config import Settings
from deft_llm.errors import UserError
from deft_llm.simulator.clip_spec import ClipSpec, combinations
from deft_llm.simulator.clips import SimulatedClip, draw_spec, render_many
from deft_llm.simulator.head import Head, load_head
from deft_llm.simulator.performance import Curve

logger = logging.getLogger(__name__)
SHARD = 40  # clips a file; an interruption loses at most this many
_QUALITIES = (16, 20, 24)  # CRF of the clips that are compressed
_FACE_SHARE = 0.35  # of a crop, at least
_TRIES = 20

_ARRAYS = ("images", "flow", "mask")

Arrays = dict[str, NDArray[Any]]


class PairData(Settings):
    """What to render.

    Attributes:
        clips: Number of short clips.
        identities: Number of faces.
        first_identity: Seed of the first face; sets with disjoint ranges share no subject.
        seed: Seed of the first clip; clip ``i`` is drawn from ``seed + i``.
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

    clips: int = Field(ge=1)
    identities: int = Field(ge=1)
    first_identity: int = 1_000
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
    """A coded combination, or one to three units at random, of one side or of both."""
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
    folder.mkdir(parents=True, exist_ok=True)
    note = folder / "pairs.json"
    text = data.model_dump_json(indent=1, exclude={"workers", "head_file"})
    if note.is_file() and note.read_text(encoding="utf-8") != text:
        raise UserError(f"{folder} holds pairs of other settings; give a new folder or delete it")
    note.write_text(text, encoding="utf-8")
    if not (missing := [s for s in range(_shards(data)) if not _shard(folder, s).is_file()]):
        return
    head = load_head(data.head, data.head_file) if head is None else head
    recipes = list(pair_specs(data, head))
    wanted = [spec for s in missing for spec in recipes[s * SHARD : (s + 1) * SHARD]]
    seen = render_many(wanted, partial(render_pairs, data=data), data.workers, head)
    progress = iter(tqdm(seen, total=len(wanted), desc="pairs", unit="clip"))
    for s in missing:
        parts = [next(progress) for _ in recipes[s * SHARD : (s + 1) * SHARD]]
        # safetensors writes memory as it lies: an array in another order would be scrambled.
        whole = {
            name: np.ascontiguousarray(np.concatenate([part[name] for part in parts]))
            for name in parts[0]
        }
        partial_file = _shard(folder, s).with_suffix(".partial")
        save_file(whole, partial_file)
        os.replace(partial_file, _shard(folder, s))


def _shards(data: PairData) -> int:
    return -(-data.clips // SHARD)


def _shard(folder: Path, number: int) -> Path:
    return folder / f"pairs-{number:05d}.safetensors"


class PairStore:
    """Rendered pairs by number, read from disk when asked for.

    Args:
        folder: Filled by :func:`build_pairs`.

    Raises:
        UserError: If the folder holds no whole set of pairs.
    """

    def __init__(self, folder: Path) -> None:
        note = folder / "pairs.json"
        if not note.is_file():
            raise UserError(f"{folder}: no pairs.json; expected a folder of rendered pairs")
        data = PairData(**json.loads(note.read_text(encoding="utf-8")))
        self.files = [_shard(folder, s) for s in range(_shards(data))]
        if missing := [f.name for f in self.files if not f.is_file()]:
            raise UserError(f"{folder}: {missing[0]} is missing; run the same command again")
        self._open = [safe_open(f, framework="numpy") for f in self.files]
        counts = [f.get_slice("mask").get_shape()[0] for f in self._open]
        self.starts = np.concatenate([[0], np.cumsum(counts)])

    def __len__(self) -> int:
        return int(self.starts[-1])

    def __getitem__(self, index: int) -> Arrays:
        """One pair: ``images`` (2, 3, S, S), ``flow`` (2, S, S), ``mask`` (S, S)."""
        shard = int(np.searchsorted(self.starts, index, side="right")) - 1
        row = index - int(self.starts[shard])
        return {name: self._open[shard].get_slice(name)[row] for name in _ARRAYS}
