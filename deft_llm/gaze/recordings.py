"""Simulated recordings as event frames, made before training and stored as shards."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from deft_llm.config import Settings
from deft_llm.data.shards import Arrays, Shards, claim_set, open_shards, settings_of
from deft_llm.gaze.grid import GRID, event_frames
from deft_llm.media.events import DVXPLORER
from deft_llm.parallel import parallel_map
from deft_llm.simulator.events import PERIOD, EyeSpec, simulate_eye

_PER_SHARD = 20
CELL = DVXPLORER[0] / GRID[0]
"""px of the sensor a cell of the grid, either way."""
FRAME = (40, 30)
"""Columns and rows of the stored frames."""


class EyeData(Settings):
    """Settings of a set of recordings, each of another eye.

    Attributes:
        recordings: How many.
        seconds: Length of each.
        first_eye: Seed of the first eye; sets with disjoint ranges share none.
        seed: Seed of the first motion.
        workers: Number of processes.
    """

    recordings: int = Field(ge=1)
    seconds: float = Field(default=4.0, gt=0.2)
    first_eye: int = 1_000
    seed: int = 5_000_000
    workers: int = Field(default=2, ge=1)

    def specs(self) -> list[EyeSpec]:
        """The recipes of all recordings."""
        return [
            EyeSpec(self.seed + i, self.first_eye + i, self.seconds) for i in range(self.recordings)
        ]


def _framed(spec: EyeSpec) -> Arrays:
    made = simulate_eye(spec)
    return {
        "frames": event_frames(made.events, made.times, DVXPLORER, PERIOD, FRAME),
        "points": (made.pupil / CELL).astype(np.float32),
        "closed": made.closed.astype(np.uint8),
    }


class EyeStore:
    """Recordings on disk by number.

    Args:
        folder: A folder filled by :meth:`rendered`.

    Raises:
        UserError: If the folder holds no complete set.
    """

    def __init__(self, folder: Path) -> None:
        self.data = settings_of(folder, "eyes", EyeData)
        self._files = open_shards(_shards(self.data, folder).files)
        self.length = round(1e6 * self.data.seconds) // PERIOD

    @classmethod
    def rendered(cls, data: EyeData, folder: Path) -> EyeStore:
        """Open a set, after making what is missing of it.

        Raises:
            UserError: If the folder holds recordings of other settings.
        """
        claim_set(folder, "eyes", data)
        render = partial(parallel_map, _framed, workers=data.workers)
        _shards(data, folder).render(data.specs(), render, "recordings")
        return cls(folder)

    def __len__(self) -> int:
        return self.data.recordings

    def read(self, number: int, name: str, first: int, stop: int) -> NDArray[Any]:
        """Some frames of a recording.

        Args:
            number: The recording.
            name: "frames" (T, 2, H, W), "points" (T, 2) in cells, or "closed" (T,).
            first: First frame.
            stop: The one after the last.
        """
        start = (number % _PER_SHARD) * self.length
        file = self._files[number // _PER_SHARD]
        return np.asarray(file.get_slice(name)[start + first : start + stop])


def _shards(data: EyeData, folder: Path) -> Shards:
    return Shards(folder, "eyes", data.recordings, _PER_SHARD)
