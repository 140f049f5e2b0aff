"""Gaze while it is recorded: events of one period in, a refined point out, a little later.

What :func:`refine.refine` does with ``ahead`` set, sample by sample, with the same results; memory
does not grow.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from deft_llm.errors import UserError
from deft_llm.gaze import blinks, local_flow, walk
from deft_llm.gaze import walk_kernels as kernels
from deft_llm.gaze.refine import CAUSAL, RefineSettings
from deft_llm.gaze.tracker import Tracker
from deft_llm.media.events import Events, as_events

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Point:
    """A refined place.

    Attributes:
        t: µs.
        x: Cells of the grid.
        y: Cells of the grid.
        blink: Whether the eye blinks; the place is then that of the samples around.
    """

    t: int
    x: float
    y: float
    blink: bool


class OnlineGaze:
    """Tracks and refines sample by sample.

    Args:
        settings: How to refine; ``ahead`` must be a number, the filter "walk", and
            the flow that around predictions.
        tracker: Folder of the tracker's network; None is the one in the package. It is loaded with
            the first step that brings no prediction.
        period: µs between two steps.

    Raises:
        UserError: If the settings are for offline use.
    """

    def __init__(
        self,
        settings: RefineSettings = CAUSAL,
        tracker: Path | None = None,
        period: int = 10_000,
    ) -> None:
        late = settings.filter != "walk" or settings.flow_at != "predicted" or settings.released
        if settings.ahead is None or late:
            raise UserError(
                "online use needs ahead, a number of samples, the filter 'walk', the flow around "
                "predictions (flow_at), and not the release's way"
            )
        self.settings, self.period, self._folder = settings, period, tracker
        self._ahead: int = settings.ahead
        self._tracker: Tracker | None = None
        self._blink = blinks.new_state()
        self._usual = 0.0  # number of events
        self._follower = walk.Follower()
        self._past: list[_Sample] = []
        self._jumps: list[Floats] = []  # predictions whose mean says where the point was
        self._steps = 0

    @property
    def latency(self) -> float:
        """Seconds that a point is late."""
        return self._ahead * self.period / 1e6

    def step(
        self, events: Events | ArrayLike, t: int, prediction: ArrayLike | None = None
    ) -> Point | None:
        """Take one period.

        Args:
            events: Its events; others are passed over.
            t: End of the period, µs; the next one ends a period later.
            prediction: (2,) of another tracker, cells, NaN where it sees nothing; None asks the
                own one.

        Returns:
            The point of the sample ``ahead`` steps before; None until there is one.
        """
        near = events if isinstance(events, Events) else as_events(events)
        closed: bool | None = None
        if prediction is None:
            if self._tracker is None:
                self._tracker = Tracker(self._folder, self.settings.sensor)
            found = self._tracker.track(near, np.array([t]))
            place, closed = found.xy[0], bool(found.closed[0] > 0.5)
        else:
            place = np.asarray(prediction, np.float64)
        self._past.append(self._sampled(near, t, place, closed))
        del self._past[: -self._ahead - 1]
        self._steps += 1
        return self._point(0) if self._steps > self._ahead else None

    def flush(self) -> list[Point]:
        """The points of the last samples, when nothing follows."""
        count = min(self._ahead, self._steps)
        return [self._point(len(self._past) - k) for k in range(count, 0, -1)]

    def _sampled(self, events: Events, t: int, place: Floats, closed: bool | None) -> _Sample:
        chosen = self.settings
        edges = np.array([t - self.period, t])
        finite = np.nan_to_num(place * chosen.cell, nan=-1e6)
        self._jumps.append(finite)
        del self._jumps[: -local_flow.HISTORY - 2]
        sides = local_flow.half_sides(np.stack(self._jumps), chosen.cell)
        flow = local_flow.local_flow(
            events, finite[None], edges, chosen.estimator or "centroid", chosen.cell,
            sides=sides[-1:],
        )  # fmt: skip
        light = blinks.brightness(events, edges)
        pixels = chosen.sensor[0] * chosen.sensor[1]
        flag = bool(blinks.follow(self._blink, *light, float(self.period), pixels)[0][0])
        blink = closed if closed is not None else flag and chosen.blinks
        usable = bool(np.isfinite(place).all()) and not blink
        shift = np.zeros(2)
        if chosen.estimator is not None and usable:
            moved = local_flow.shifts(flow, chosen.step, chosen.least_steadiness)
            shift = moved[0] / chosen.cell
        counts = np.add(*light).astype(np.float64)
        usual = kernels.running_level(counts, self._usual)
        self._usual = float(usual[0])
        variance = walk.step_variance(counts, usual, chosen.own_stiffness)
        seen = self._follower.take(place[None], np.array([usable]), variance)
        return _Sample(t, blink, shift, float(variance[0]), seen.means[0], float(seen.spreads[0]))

    def _point(self, at: int) -> Point:
        """The point of a remembered sample, from it and from all that are later."""
        part = self._past[at:]
        variance = np.array([sample.variance for sample in part])
        means = np.stack([sample.mean for sample in part])
        spreads = np.array([sample.spread for sample in part])
        x, y = kernels.look_back(means, spreads, variance, self._ahead)[0] + part[0].shift
        return Point(part[0].t, float(x), float(y), part[0].blink)


@dataclass(frozen=True)
class _Sample:
    """One sample that is remembered: what is told of it, and what the walk believes after it."""

    t: int
    blink: bool
    shift: Floats
    variance: float
    mean: Floats
    spread: float
