"""Refinement of any tracker's gaze by the events themselves, at inference time.

The steps of EyeLoRiN (Bandara et al., 2025), mended: blinks are found and left out; a smoother that
gives way where the events tell that the eye moves stands in for the median (``walk``); each point
moves a little along the flow of the events around it (``local_flow``). ``filter="median"`` is the
paper's M2F, and ``RefineSettings(released=True)`` does what the release does: a fixed median of 20
samples and a telescoping flow.

T predictions. Positions are cells of the grid, the first of which spans 0 to 1; times are µs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import Field

from deft_llm.config import Settings
from deft_llm.gaze import local_flow, walk
from deft_llm.gaze.blinks import blink_spans, joined, within
from deft_llm.gaze.checks import check_cells, checked, period_of, same_time
from deft_llm.gaze.grid import GRID
from deft_llm.gaze.local_flow import Estimator, LocalFlow
from deft_llm.gaze.median import (
    LONGEST,
    PERCENTILE,
    SHORTEST,
    Direction,
    Mode,
    motion_aware_median,
    moving_median,
)
from deft_llm.gaze.observe import observe
from deft_llm.media.events import DVXPLORER, EventSource, as_events
from deft_llm.runs import runs

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
_RELEASED = 20  # samples of the release's median


class RefineSettings(Settings):
    """How to refine.

    Attributes:
        grid: Columns and rows of the grid of the predictions.
        sensor: Width and height of the sensor, px.
        filter: "walk" (``walk``), "median" (``median.motion_aware_median``), or "none". Without
            events, "walk" is the median that smooths less where the trace varies.
        stiffness: Of the walk, see ``walk.STIFFNESS``; None for the usual one.
        mode: Of the local variance, see ``median.local_variance``.
        direction: Of the median, see ``median.window_lengths``.
        shortest: Least length of a median, samples.
        longest: Largest length, samples.
        percentile: Of the lengths near a sample.
        ahead: Samples that may be looked ahead, which is the latency of an online use; None for
            any number.
        estimator: Of the flow, see ``local_flow``; None leaves points where they are.
        flow_at: Point around which the flow is looked for: as predicted (ours, which reads the
            events once), or "filtered", as the paper and the release do.
        step: Largest shift along the flow, px of the sensor.
        least_steadiness: Of the flow, for a shift.
        blinks: Find blinks, and bridge them.
        released: Do what the release does, whatever the other settings say.
    """

    grid: tuple[int, int] = GRID
    sensor: tuple[int, int] = DVXPLORER
    filter: Literal["walk", "median", "none"] = "walk"
    stiffness: float | None = Field(default=None, gt=0)
    mode: Mode = "covariance"
    direction: Direction = "inverse"
    shortest: int = Field(default=SHORTEST, ge=1)
    longest: int = Field(default=LONGEST, ge=1, le=501)
    percentile: float = Field(default=PERCENTILE, ge=0, le=100)
    ahead: int | None = Field(default=None, ge=0)
    estimator: Estimator | None = "centroid"
    flow_at: Literal["predicted", "filtered"] = "predicted"
    step: float = Field(default=1.0, ge=0)
    least_steadiness: float = Field(default=0.6, ge=0, le=1)
    blinks: bool = True
    released: bool = False

    @property
    def own_stiffness(self) -> float:
        """The stiffness that counts."""
        usual = walk.STIFFNESS if self.ahead is None else walk.CAUSAL_STIFFNESS
        return usual if self.stiffness is None else self.stiffness

    @property
    def cell(self) -> float:
        """Width of a cell of the grid, px of the sensor."""
        return self.sensor[0] / self.grid[0]


PAPER = RefineSettings(
    filter="median", direction="paper", flow_at="filtered", blinks=False, least_steadiness=0.0
)
"""M2F and then flow, as the paper describes them."""
CAUSAL = RefineSettings(ahead=2)
"""For online use: 20 ms of latency at 100 predictions a second."""


@dataclass(frozen=True)
class Refined:
    """Refined predictions.

    Attributes:
        times: (T,) µs.
        raw: (T, 2) as predicted.
        filtered: (T, 2) smoothed, before the flow.
        xy: (T, 2) refined, cells.
        blink: (T,) samples in a blink; their places are bridged.
        blinks: (K, 2) first and last µs of each blink.
        flow: Motion of the events around each point, predicted or filtered: see ``flow_at``.
        latency: Seconds that a sample waits for later ones; infinite if any number is looked at.
    """

    times: NDArray[np.int64]
    raw: Floats
    filtered: Floats
    xy: Floats
    blink: Flags
    blinks: NDArray[np.int64]
    flow: LocalFlow
    latency: float


def refine(
    events: EventSource | ArrayLike,
    predictions: ArrayLike,
    times: ArrayLike,
    settings: RefineSettings | None = None,
    closed: ArrayLike | None = None,
) -> Refined:
    """Refine the predictions of any tracker.

    Args:
        events: A recording, or an array of events (``as_events``); without events a median is
            all that is done.
        predictions: (T, 2) cells of the grid; NaN where the tracker saw nothing.
        times: (T,) µs, increasing, of the clock of the events.
        settings: How; None for the usual way.
        closed: (T,) whether the eye is closed, if the tracker knows; None finds out by the events.

    Raises:
        UserError: If shapes or sizes do not fit, times do not increase, or the events are of
            another time.
    """
    chosen = settings or RefineSettings()
    check_cells(chosen.sensor, chosen.grid)
    raw, when = checked(predictions, times, chosen.grid)
    source: EventSource = events if isinstance(events, EventSource) else as_events(events)
    same_time(source, when)
    if chosen.released:
        return _released(source, raw, when, chosen)
    edges = np.concatenate([[when[0] - period_of(when)], when])
    seen = observe(source, raw * chosen.cell, edges, chosen.cell, chosen.sensor, chosen.estimator)
    usable: Flags = np.asarray(np.isfinite(raw).all(axis=1))
    spans, blink = np.zeros((0, 2), np.int64), np.zeros(len(when), bool)
    if closed is not None:
        blink = np.asarray(closed, bool)
        spans = spans_of(blink, when)
        if chosen.ahead is None:
            spans = joined(spans)
            blink = within(when, spans)
    elif chosen.blinks:
        spans = blink_spans(seen.brightness, edges, chosen.sensor, causal=chosen.ahead is not None)
        blink = within(when, spans)
    causal = chosen.ahead is not None
    # A recording that is one long blink tells nothing else.
    if causal or (usable & ~blink).any():
        usable = np.asarray(usable & ~blink)
    flow = seen.flow
    counts = np.add(*seen.brightness).astype(np.float64)
    filtered = _filtered(raw, usable, counts, chosen)
    if chosen.flow_at == "filtered":
        at = filtered * chosen.cell
        flow = observe(source, at, edges, chosen.cell, chosen.sensor, chosen.estimator).flow
    xy = filtered
    if chosen.estimator is not None:
        moved = local_flow.shifts(flow, chosen.step, chosen.least_steadiness)
        xy = filtered + moved * usable[:, None] / chosen.cell
    latency = float("inf") if chosen.ahead is None else chosen.ahead * period_of(when) / 1e6
    return Refined(when, raw, filtered, xy, blink, spans, flow, latency)


def _filtered(raw: Floats, usable: Flags, counts: Floats, chosen: RefineSettings) -> Floats:
    causal = chosen.ahead is not None
    if chosen.filter == "walk" and (counts > 0).any():
        usual = walk.usual_level(counts, causal)
        variance = walk.step_variance(counts, usual, chosen.own_stiffness)
        if chosen.ahead is None:
            return walk.smoothed(raw, usable, variance)
        return walk.followed(raw, usable, variance, chosen.ahead)
    smooth = raw
    if chosen.filter != "none":
        # The paper's lengths are variances in px of the sensor.
        smooth = motion_aware_median(
            walk.bridged(raw, usable) * chosen.cell, chosen.mode, chosen.direction,
            shortest=chosen.shortest, longest=chosen.longest, percentile=chosen.percentile,
            causal=causal,
        ) / chosen.cell  # fmt: skip
    known = usable & np.isfinite(smooth).all(axis=1)
    return walk.held(smooth, known) if causal else walk.bridged(smooth, known)


def _released(
    source: EventSource, raw: Floats, when: NDArray[np.int64], chosen: RefineSettings
) -> Refined:
    """Median of 20 samples, then the telescoping flow, over periods of the events' own span."""
    at = np.full(len(raw), _RELEASED)
    # The release knows no lost samples.
    filtered = moving_median(walk.bridged(raw, np.asarray(np.isfinite(raw).all(axis=1))), at)
    first, last = source.span
    edges = np.round(first + np.arange(len(raw) + 1) * ((last - first) / len(raw)))
    points = filtered * chosen.cell
    border = edges.astype(np.int64)
    seen = observe(source, points, border, chosen.cell, chosen.sensor, "telescoped", True)
    flow = seen.flow
    xy = filtered + local_flow.shifts(flow, whole=True) / chosen.cell
    none = np.zeros(len(raw), bool)
    # Half of the median, and the period after the sample.
    latency = _RELEASED // 2 * period_of(when) / 1e6
    return Refined(when, raw, filtered, xy, none, np.zeros((0, 2), np.int64), flow, latency)


def spans_of(flags: Flags, times: NDArray[np.int64]) -> NDArray[np.int64]:
    """First and last time of each run of flagged samples, (K, 2)."""
    found = runs(flags)
    return np.stack([times[found[:, 0]], times[found[:, 1] - 1]], axis=1).astype(np.int64)
