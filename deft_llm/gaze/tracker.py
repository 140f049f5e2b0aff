"""The project's own tracker at work: events in, the place of the pupil out, period by period."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from deft_llm.errors import UserError
from deft_llm.gaze.checks import check_cells
from deft_llm.gaze.files import WEIGHTS, load_tracker
from deft_llm.gaze.grid import event_frames
from deft_llm.gaze.network import State, TrackerNet
from deft_llm.media.events import DVXPLORER, Events, EventSource, check_sensor

Floats = NDArray[np.float64]
_BLOCK = 500  # periods at a time


@dataclass(frozen=True)
class Tracked:
    """What a tracker found.

    Attributes:
        times: (T,) µs, ends of the periods.
        xy: (T, 2) cells of the grid.
        closed: (T,) probability of the eye being closed.
    """

    times: NDArray[np.int64]
    xy: Floats
    closed: Floats


class Tracker:
    """Follows a pupil; each call goes on where the one before ended.

    Args:
        folder: Folder of a trained network; None is the one in the package.
        sensor: Width and height of the sensor, px.

    Raises:
        UserError: If the folder is none of a network, or the sensor has another shape than its
            grid.
    """

    def __init__(self, folder: Path | None = None, sensor: tuple[int, int] = DVXPLORER) -> None:
        self.network = _fused(load_tracker(WEIGHTS if folder is None else folder))
        _require_shape(sensor, self.network.config.grid)
        self.sensor = sensor
        self._state: State | None = None

    @property
    def period(self) -> int:
        """µs between two places."""
        return self.network.config.period

    def reset(self) -> None:
        """Forget the eye."""
        self._state = None

    @torch.inference_mode()
    def track(self, events: Events, times: NDArray[np.int64]) -> Tracked:
        """Follow the pupil through consecutive periods.

        Args:
            events: Events of these periods; others are passed over.
            times: (T,) µs, a period apart: the ends of the periods.

        Raises:
            UserError: If an event lies outside of the sensor.
        """
        check_sensor(events, self.sensor)
        frames = event_frames(events, times, self.sensor, self.period, self.network.config.frame)
        found = self.network(torch.from_numpy(frames)[None], self._state)
        self._state = found.state
        return Tracked(
            times,
            found.points[0].double().numpy(),
            found.closed[0].double().sigmoid().numpy(),
        )

    def follow(self, source: EventSource) -> Iterator[Tracked]:
        """Follow the pupil through a whole recording, some seconds at a time.

        Args:
            source: The recording; memory does not grow with its length.

        Raises:
            UserError: If it is shorter than a period.
        """
        first, last = source.span
        if last - first < self.period:
            raise UserError(
                f"events of {(last - first) / 1000:g} ms; expected a recording of at least "
                f"{self.period / 1000:g} ms, a period of the tracker (times are whole µs)"
            )
        times = np.arange(first + self.period, last + self.period, self.period, dtype=np.int64)
        for start in range(0, len(times), _BLOCK):
            part = times[start : start + _BLOCK]
            yield self.track(source.between(int(part[0]) - self.period, int(part[-1]) + 1), part)


def _require_shape(sensor: tuple[int, int], grid: tuple[int, int]) -> None:
    try:
        check_cells(sensor, grid)
    except UserError as error:
        # Another grid, as for predictions that are given, is no way out: the network has this one.
        raise UserError(
            f"the tracker sees a grid of {grid[0]} x {grid[1]}, which a sensor of {sensor[0]} x "
            f"{sensor[1]} pixels does not fit; cut the events to that shape, or refine what "
            "another tracker finds (--predictions)"
        ) from error


def _fused(network: TrackerNet) -> TrackerNet:
    """The network with its normalisations in the convolutions before them: fewer small steps."""
    for part in network.modules():
        if isinstance(part, nn.Sequential):
            for k, layer in enumerate(part):
                if isinstance(layer, nn.BatchNorm2d):
                    before = part[k - 1]
                    assert isinstance(before, nn.Conv2d)
                    part[k - 1] = fuse_conv_bn_eval(before, layer)
                    part[k] = nn.Identity()
    return network


def joined(parts: list[Tracked]) -> Tracked:
    """One after the other as one."""
    return Tracked(
        *(np.concatenate([getattr(p, name) for p in parts]) for name in ("times", "xy", "closed"))
    )
