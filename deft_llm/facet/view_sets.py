"""Simulated sets of views, rendered before training.

Every scan goes the way of a user's file: scanned with noise, holes and a crop, put into the common
pose, drawn.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field, field_validator

from deft_llm.data.shards import Arrays, Shards, claim_set
from deft_llm.errors import UserError
from deft_llm.facet.sequences import scan_views, sequence_views
from deft_llm.facet.view_store import ViewSet, row
from deft_llm.parallel import parallel_map
from deft_llm.simulator.head import load_head
from deft_llm.simulator.ict_head.files import head_file
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
    noise_range,
    scanner_of,
)

Content = Literal["expressions", "seen", "unseen", "sequences", "micro"]
logger = logging.getLogger(__name__)
FOUR_D: tuple[Content, ...] = ("sequences", "micro")
SCANS_PER_SHARD = 50
_MORE = 4  # frames that are scanned besides those that are looked at


class ViewData(ViewSet):
    """Settings of a simulated set; see `ViewSet` for the others.

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

    @field_validator("noise")
    @classmethod
    def _range(cls, noise: tuple[float, float]) -> tuple[float, float]:
        return noise_range(noise)

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes."""
        return {"micro": FIVE, "seen": SEEN, "unseen": HELD_OUT}.get(self.content, SIX)

    @property
    def multi_label(self) -> bool:
        """See the base."""
        return self.content == "micro"

    @property
    def title(self) -> str:
        """See the base."""
        return f"{self.content} of heads {', '.join(self.heads)}"

    def shards(self, folder: Path) -> list[Shards]:
        """See the base."""
        counts = [len(range(k, self.scans, len(self.heads))) for k in range(len(self.heads))]
        pairs = zip(self.heads, counts, strict=True)
        return [Shards(folder, head, count, SCANS_PER_SHARD) for head, count in pairs]

    def build(self, folder: Path) -> None:
        """See the base."""
        claim_set(folder, "views", self)
        missing = [(k, shards) for k, shards in enumerate(self.shards(folder)) if not shards.whole]
        # First: a head without its file must not be told after another one's scans.
        for number, _ in missing:
            load_head(self.heads[number], head_file(self.heads[number]))
        for number, shards in missing:
            render = partial(_render, self)
            what = f"scans of {shards.prefix}"
            shards.render(list(performances(self, number)), render, what)


def performances(data: ViewData, number: int) -> Iterator[Performance]:
    """What the scans of one head show, in order."""
    for i in range(number, data.scans, len(data.heads)):
        # 83, and 84 below, only keep two streams of random numbers apart.
        rng = np.random.default_rng([data.seed + i, 83])
        identity = data.first_identity + int(rng.integers(data.identities))
        # A stream of its own: another scanner leaves what is shown as it is.
        scanner = scanner_of(np.random.default_rng([data.seed + i, 84]), data.noise, data.holes)
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
    """One row of a set; views of nothing, and no subject, where no face is found in the scan."""
    where = f"scan of {performance.head}{performance.identity}"
    subject = f"{performance.head}{performance.identity}"
    scans = performance.scans()
    try:
        if data.content in FOUR_D:
            drawn = sequence_views(
                scans, where, data.channels, data.frames, data.yaws, data.side, data.pooled
            ).views
        else:
            drawn = scan_views(scans[0], where, data.channels, data.yaws, data.side)[1]
    except UserError as error:
        logger.warning("%s; it teaches nothing, and counts as wrong in a test", error)
        drawn, subject = data.empty(data.content in FOUR_D), ""
    shown = "+".join(str(au) for au, _ in performance.aus)
    if data.content in ("seen", "unseen"):
        label = [name == shown for name in data.classes]  # classes are combinations such as "4+12"
    else:
        label = [name in performance.emotions for name in data.classes]
    return row(drawn, label, dict(performance.aus), performance.level, subject)


def _render(data: ViewData, items: Sequence[Performance]) -> Iterator[Arrays]:
    return parallel_map(partial(draw_views, data), items, data.workers)
