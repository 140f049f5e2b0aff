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
from deft_llm.gaze import blinks, local_flow, steady
from deft_llm.gaze import steady_kernels as kernels
from deft_llm.gaze.median import LOCAL, evened, local_variance
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
        blink: Whether the eye blinks; the place is then the last one before.
    """

    t: int
    x: float
    y: float
    blink: bool


class OnlineGaze:
    """Tracks and refines sample by sample.

    Args:
        settings: How to refine; ``ahead`` must be a number, and the filter "steady".
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
        if settings.ahead is None or settings.filter != "steady" or settings.released:
            raise UserError(
                "online use needs ahead, a number of samples, the filter 'steady', and not the "
                "release's way"
            )
        self.settings, self.period, self._folder = settings, period, tracker
        self._ahead: int = settings.ahead
        self._tracker: Tracker | None = None
        self._blink = blinks.new_state()
        self._levels = [0.0] * 4  # usual variance, number of events, bend, drift
        self._last: Floats | None = None  # last output
        self._seen: Floats | None = None  # last usable prediction
        # Long enough for the longest window and for the lengths near its sample.
        self._room = settings.longest + 2 * self._ahead + 8
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
        del self._past[: -self._room]
        self._steps += 1
        return self._out(len(self._past) - 1 - self._ahead) if self._steps > self._ahead else None

    def flush(self) -> list[Point]:
        """The points of the last samples, when nothing follows."""
        count = min(self._ahead, self._steps)
        return [self._out(len(self._past) - k) for k in range(count, 0, -1)]

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
        if usable:
            self._seen = place
        shift = np.zeros(2)
        if chosen.estimator is not None and usable:
            moved = local_flow.shifts(flow, chosen.step, chosen.least_steadiness)
            shift = moved[0] / chosen.cell
        held = self._seen if self._seen is not None else np.full(2, np.nan)
        recent = np.stack([*(s.held for s in self._past[-steady.LAG - 2 :]), held])
        variance = local_variance(recent[-LOCAL - 3 :], chosen.mode)[-1:]
        bend, drift = (values[-1:] for values in steady.bend_and_drift(recent))
        most = steady.noise_lengths(self._usual(2, bend), self._usual(3, drift))
        usual = self._usual(0, variance)
        counts = np.add(*light).astype(np.float64)
        fast = bool(steady.fast_motion(counts, self._usual(1, counts))[0])
        wanted = float(np.fmin(steady.wanted_lengths(variance, usual, chosen.longest), most)[0])
        return _Sample(t, place, held, usable, blink, fast and usable, shift, wanted)

    def _usual(self, which: int, value: Floats) -> Floats:
        """The usual level with one more value, remembered."""
        level = kernels.running_level(np.nan_to_num(value), self._levels[which])
        self._levels[which] = float(level[0])
        return np.asarray(level)

    def _out(self, at: int) -> Point:
        chosen, past = self.settings, self._past
        wanted = np.array([s.wanted for s in past])
        lengths = evened(
            wanted, chosen.shortest, chosen.longest, chosen.percentile, after=min(self._ahead, 2)
        )
        moving = np.array([s.fast for s in past])
        low, high = kernels.windows((lengths - 1) // 2, moving, self._ahead, chosen.beside)
        usable = np.array([s.usable for s in past])
        places = np.nan_to_num(np.stack([s.place for s in past]))
        one = slice(at, at + 1)
        columns = (np.ascontiguousarray(c) for c in places.T)
        xy = np.array(
            [kernels.line_medians(c, usable, low[one], high[one], at)[0] for c in columns]
        )
        sample = past[at]
        if sample.usable and np.isfinite(xy).all():
            self._last = xy
        place = self._last if self._last is not None else xy
        x, y = (place + sample.shift).tolist()
        return Point(sample.t, x, y, sample.blink)


@dataclass(frozen=True)
class _Sample:
    """One sample that is remembered."""

    t: int
    place: Floats
    held: Floats
    usable: bool
    blink: bool
    fast: bool
    shift: Floats
    wanted: float
