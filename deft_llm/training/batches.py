"""The batches of a training loop, made in its process or by loaders."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from deft_llm.training.schedule import Schedule

Make = Callable[[int], dict[str, Tensor]]


class _Batches(Dataset[dict[str, Tensor]]):
    """The batches of one process, from a given step onwards."""

    def __init__(self, make: Make, schedule: Schedule, start: int, rank: int, world: int) -> None:
        self.make, self.rank, self.world = make, rank, world
        self.first, self.count = start * schedule.accumulate, schedule.accumulate * schedule.steps

    def __len__(self) -> int:
        return self.count - self.first

    def __getitem__(self, i: int) -> dict[str, Tensor]:
        # Processes take turns in one sequence of batches, so each batch is used once.
        return self.make((self.first + i) * self.world + self.rank)


def batches(
    make: Make, schedule: Schedule, start: int, accelerator: Accelerator
) -> Iterator[dict[str, Tensor]]:
    """This process's batches, from a given step onwards.

    Args:
        make: Number -> batch; the same at every call.
        schedule: Training settings.
        start: Steps that are done already.
        accelerator: Number and count of the processes.
    """
    data = _Batches(make, schedule, start, accelerator.process_index, accelerator.num_processes)
    return iter(
        DataLoader(
            data,
            batch_size=None,  # what `make` gives is a batch already
            num_workers=schedule.loaders,
            worker_init_fn=_outlast_the_step,
            # A separate generator: DataLoader draws a seed when iteration starts, which would
            # advance the global random state that was just restored.
            generator=torch.Generator(),
        )
    )


def _outlast_the_step(worker: int) -> None:
    """Let a loader outlast the signal that stops the run: the step in hand still needs batches."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def once(number: int, frame: Any) -> None:
        # The second SIGTERM comes from DataLoader itself, when it is done.
        signal.signal(signal.SIGTERM, signal.SIG_DFL)

    signal.signal(signal.SIGTERM, once)
