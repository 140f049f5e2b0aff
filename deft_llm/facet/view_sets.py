"""Simulated sets of views, rendered before training and stored as shards.

Every scan goes the way of a user's file: scanned with noise, holes and a crop, put into the common
pose, drawn. Storage is uint8, 127.5 for 0.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from deft_llm.config import Settings
from deft_llm.data.scan_views import CHANNELS, SIDE, YAWS
from deft_llm.data.shards import Arrays, Shards, claim_set, open_shards, settings_of
from deft_llm.errors import UserError
from deft_llm.facet.sequences import scan_views, sequence_views
from deft_llm.parallel import parallel_map
from deft_llm.simulator.scan_sets import (
    FIVE,
    HELD_OUT,
    SEEN,
    SIX,
    Performance,
    draw_combination,
    draw_curve,
    draw_expression,
    draw_micro,
    scanner_of,
)

Content = Literal["expressions", "seen", "unseen", "sequences", "micro"]
FOUR_D: tuple[Content, ...] = ("sequences", "micro")
SCANS_PER_SHARD = 50
_MORE = 4  # frames that are scanned besides those that are looked at
AUS = 70  # columns of the table of units: the numbers of FACS that have a name
Floats = NDArray[np.float32]


class ViewData(Settings):
    """Settings of a set of views.

    Attributes:
        scans: Number of scans or sequences; scan ``i`` shows head ``heads[i % len(heads)]``.
        content: "expressions" are six at four intensities, "unseen" and "seen" are the combinations
            of units with which naming by text alone is tested, "sequences" are the six
            expressions in 4D, "micro" micro-expressions in 4D.
        mixed: Share of the scans of "expressions" that show any units instead, without an emotion.
        levels: Intensities that are drawn.
        identities: Number of identities of each head.
        first_identity: Seed of the first; sets with disjoint ranges share no face.
        seed: Seed of the first scan.
        heads: Names of head models.
        noise: Range of the scanner's noise, SD in mm, log-uniform; (0, 0) is a perfect scanner.
        holes: Largest share of the surface that is missing.
        worst: Every scan has the largest noise and the largest share of holes.
        channels: Of the views.
        yaws: Of the views, degrees.
        side: Of the views, px.
        frames: Frames of a sequence.
        pooled: Store dynamic images of sequences, otherwise their frames.
        workers: Number of processes.
    """

    scans: int = Field(ge=1)
    content: Content = "expressions"
    mixed: float = Field(default=0.0, ge=0, le=1)
    levels: tuple[int, ...] = (1, 2, 3, 4)
    identities: int = Field(ge=1)
    first_identity: int = 1_000
    seed: int = 5_000_000
    heads: tuple[str, ...] = Field(default=("own",), min_length=1)
    noise: tuple[float, float] = (0.05, 0.5)
    holes: float = Field(default=0.1, ge=0, le=0.5)
    worst: bool = False
    channels: tuple[str, ...] = CHANNELS
    yaws: tuple[float, ...] = YAWS
    side: int = Field(default=SIDE, ge=32)
    frames: int = Field(default=12, ge=3)
    pooled: bool = True
    workers: int = Field(default=2, ge=1)

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes."""
        return {"micro": FIVE, "seen": SEEN, "unseen": HELD_OUT}.get(self.content, SIX)


def performances(data: ViewData, number: int) -> Iterator[Performance]:
    """What the scans of one head show, in order."""
    for i in range(number, data.scans, len(data.heads)):
        rng = np.random.default_rng([data.seed + i, 83])
        identity = data.first_identity + int(rng.integers(data.identities))
        scanner = scanner_of(rng, data.noise, data.holes)
        if data.worst:
            scanner = replace(scanner, noise=data.noise[1], holes=data.holes)
        head = data.heads[number]
        if data.content == "micro":
            yield draw_micro(rng, head, identity, data.frames + _MORE, scanner)
        elif data.content == "sequences":
            shown = draw_expression(
                rng, head, identity, _turn(data, i), int(rng.choice(data.levels)), scanner
            )
            yield replace(shown, curve=draw_curve(rng, data.frames + _MORE))
        elif data.content in ("seen", "unseen"):
            yield draw_combination(rng, head, identity, scanner, data.classes)
        elif rng.random() < data.mixed:
            yield draw_combination(rng, head, identity, scanner)
        else:
            level = int(rng.choice(data.levels))
            yield draw_expression(rng, head, identity, _turn(data, i), level, scanner)


def _turn(data: ViewData, number: int) -> str:
    """The expression of a scan: in turn, so that small sets have every class."""
    return SIX[number // len(data.heads) % len(SIX)]


def draw_views(data: ViewData, performance: Performance) -> Arrays:
    """One row of a set."""
    where = f"scan of {performance.head}{performance.identity}"
    scans = performance.scans()
    if data.content in FOUR_D:
        drawn = sequence_views(
            scans, where, data.channels, data.frames, data.yaws, data.side, data.pooled
        ).views
    else:
        drawn = scan_views(scans[0], where, data.channels, data.yaws, data.side)[1]
    aus = np.zeros((1, AUS), np.float32)
    for au, strength in performance.aus:
        aus[0, au] = strength
    label = np.array([[name in performance.emotions for name in data.classes]])
    if data.content in ("seen", "unseen"):
        shown = "+".join(str(au) for au, _ in performance.aus)
        label = np.array([[name == shown for name in data.classes]])
    return {
        "views": stored(drawn)[None],
        "label": label.astype(np.uint8),
        "aus": aus,
        "level": np.array([performance.level], np.uint8),
        "subject": np.array([performance.identity], np.int64),
    }


def stored(views: Floats) -> NDArray[np.uint8]:
    """Values in -1..1 as bytes."""
    whole: NDArray[np.uint8] = np.clip(np.round(views * 127.0 + 128.0), 0, 255).astype(np.uint8)
    return whole


def restored(views: NDArray[np.uint8]) -> Floats:
    """The inverse of `stored`: exactly 0 for 0."""
    values: Floats = (views.astype(np.float32) - 128.0) / 127.0
    return values


def build_views(data: ViewData, folder: Path) -> None:
    """Render the missing shards of a set.

    Raises:
        UserError: If the folder holds a set of other settings, or a head cannot be loaded.
    """
    claim_set(folder, "views", data)
    for number, name in enumerate(data.heads):
        shards = _shards(data, folder, number)
        if not shards.whole:
            render = partial(_render, data)
            shards.render(list(performances(data, number)), render, f"scans of {name}")


def _render(data: ViewData, items: Sequence[Performance]) -> Iterator[Arrays]:
    return parallel_map(partial(draw_views, data), items, data.workers)


def _shards(data: ViewData, folder: Path, number: int) -> Shards:
    scans = len(range(number, data.scans, len(data.heads)))
    return Shards(folder, data.heads[number], scans, SCANS_PER_SHARD)


class ViewStore:
    """Rendered views by index; pictures are read when they are asked for.

    Attributes:
        data: Settings of the set.
        label: (N, Y) uint8, 1 for each expression that is shown; none for units without an emotion.
        aus: (N, AUS) float32 strength of each unit.
        level: (N,) intensity, 0 without.
        subject: (N,) text, head and identity.

    Args:
        folder: A folder filled by :func:`build_views`.

    Raises:
        UserError: If the folder does not hold a complete set of views.
    """

    def __init__(self, folder: Path) -> None:
        self.data = settings_of(folder, "views", ViewData)
        shards = [_shards(self.data, folder, number) for number in range(len(self.data.heads))]
        files = [file for part in shards for file in part.files]
        heads = [part.prefix for part in shards for _ in part.files]
        opened = open_shards(files)
        self._slices = [f.get_slice("views") for f in opened]
        counts = [s.get_shape()[0] for s in self._slices]
        self._place = [(k, row) for k, count in enumerate(counts) for row in range(count)]
        self.label, self.aus, self.level = (
            np.concatenate([f.get_tensor(name) for f in opened])
            for name in ("label", "aus", "level")
        )
        self.subject = np.array(
            [
                f"{head}{n}"
                for head, f in zip(heads, opened, strict=True)
                for n in f.get_tensor("subject")
            ]
        )

    @classmethod
    def rendered(cls, data: ViewData, folder: Path) -> ViewStore:
        """Load the views of a folder after rendering the missing ones."""
        build_views(data, folder)
        return cls(folder)

    def __len__(self) -> int:
        return len(self.label)

    def of_heads(self, heads: Sequence[str]) -> NDArray[np.bool_]:
        """Which scans (N,) show one of these heads; all, if none is named.

        Raises:
            UserError: If the set does not have one of them.
        """
        if missing := [head for head in heads if head not in self.data.heads]:
            raise UserError(f"used_heads: {missing[0]!r}: the set has {', '.join(self.data.heads)}")
        kept = [not heads or name.startswith(tuple(heads)) for name in self.subject]
        return np.array(kept, bool)

    def views(self, indices: Sequence[int] | NDArray[Any]) -> NDArray[np.uint8]:
        """Pictures (B, V, C, S, S), or (B, T, V, C, S, S) of frames."""
        chosen = (self._place[int(i)] for i in indices)
        return np.concatenate([self._slices[k][row : row + 1] for k, row in chosen])
