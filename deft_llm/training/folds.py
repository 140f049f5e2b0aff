"""Training the networks of all folds and seeds: batched, by processes, or both.

On a GPU the networks of many folds train as one computation (``fold_trainer``). On a CPU a
small network is bound by memory, not by the number of operators, so there the folds are shared
out to processes of one thread each. A fold's result hangs on neither.

``oracle_epoch`` reproduces the field's habit of keeping the epoch that is best on the test
subject. It exists so that published numbers can be compared like with like; tables must name it.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property
from multiprocessing import get_context
from multiprocessing.sharedctypes import Synchronized
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.numpy import save_file
from safetensors.torch import load_file
from torch import Tensor
from tqdm import tqdm

from deft_llm.parallel import parallel_map
from deft_llm.recognizers.base import Inputs
from deft_llm.training.fold_trainer import FoldSchedule, FoldTrainer, Job, Make

Shares = list[NDArray[np.float64]]
_AT_ONCE_ON_A_GPU = 16
_LABELS = "labels"  # beside the inputs, none of which is called so


def train_folds(
    make: Make,
    jobs: Sequence[Job],
    inputs: Inputs,
    labels: Tensor,
    schedule: FoldSchedule,
    describe: str = "folds",
    all_jobs: Sequence[Job] | None = None,
) -> Generator[tuple[Job, NDArray[np.float64]], None, None]:
    """Train every job and predict its test rows.

    Args:
        make: Builds a fresh network; a module-level function or a partial of one, where several
            processes share the work.
        jobs: What is still to be trained.
        inputs: Named inputs of all rows, on the device to train on.
        labels: Class indices (N,), same device.
        schedule: How.
        describe: Words for the progress bar.
        all_jobs: The whole run, where some of it is done already; fixes the number of steps.

    Yields:
        Each job with class probabilities (rows, C) of its test rows, as soon as they are known;
        with several processes in the order in which they are finished. Close the generator
        (``contextlib.closing``) where it may be left early: that ends the processes.

    Raises:
        UserError: If a process was ended from outside, or cannot import what makes a network.
    """
    steps = schedule.steps(float(np.mean([len(job.train) for job in all_jobs or jobs])))
    at_once, processes = _plan(schedule, labels.device)
    chunks = [jobs[i : i + at_once] for i in range(0, len(jobs), at_once)]
    work = _Work(make, inputs, labels, schedule, steps)
    with tqdm(total=steps * len(jobs), desc=describe, unit="step", unit_scale=True) as bar:
        if min(processes, len(chunks)) > 1:
            yield from _by_processes(work, chunks, min(processes, len(chunks)), bar)
            return
        for chunk in chunks:
            yield from zip(chunk, work.train(chunk, bar.update), strict=True)


def _plan(schedule: FoldSchedule, device: torch.device) -> tuple[int, int]:
    """Networks at once, and processes."""
    cpu = device.type == "cpu"
    at_once = schedule.folds_at_once or (1 if cpu else _AT_ONCE_ON_A_GPU)
    return at_once, schedule.processes or (torch.get_num_threads() if cpu else 1)


@dataclass(frozen=True)
class _Work:
    """What the training of every job has in common."""

    make: Make
    inputs: Inputs
    labels: Tensor
    schedule: FoldSchedule
    steps: int

    def train(self, jobs: Sequence[Job], stepped: Callable[[int], object]) -> Shares:
        """Train some jobs together; ``stepped`` is told after each step how many took one."""
        trainer = FoldTrainer(self.make, jobs, self.inputs, self.labels, self.schedule, self.steps)
        best = _Best(jobs, self.labels) if self.schedule.oracle_epoch else None
        every = max(1, self.steps // self.schedule.epochs)
        for done in range(1, self.steps + 1):
            trainer.step()
            stepped(len(jobs))
            if best is not None and done % every == 0:
                best.offer(trainer.predict())
        return trainer.predict() if best is None else best.kept


class _Best:
    """Keeps, for each job, the prediction with the most hits on its test rows."""

    def __init__(self, jobs: Sequence[Job], labels: Tensor) -> None:
        self.truth = [labels.cpu().numpy()[job.test] for job in jobs]
        self.hits = [-1] * len(jobs)
        self.kept: Shares = [np.empty((0, 0))] * len(jobs)

    def offer(self, predictions: Sequence[NDArray[np.float64]]) -> None:
        for i, (truth, shares) in enumerate(zip(self.truth, predictions, strict=True)):
            hits = int((shares.argmax(1) == truth).sum())
            if hits > self.hits[i]:
                self.hits[i], self.kept[i] = hits, shares


def _by_processes(
    work: _Work, chunks: Sequence[Sequence[Job]], processes: int, bar: tqdm
) -> Iterator[tuple[Job, NDArray[np.float64]]]:
    """Jobs with their shares, as they are finished."""
    steps = get_context("spawn").Value("q", 0)
    with TemporaryDirectory(prefix="deft-folds-") as folder:
        material = Path(folder) / "material.safetensors"
        given = {**work.inputs, _LABELS: work.labels}
        arrays = {name: np.ascontiguousarray(x.cpu().numpy()) for name, x in given.items()}
        save_file(arrays, material)
        found = parallel_map(
            _Remote(work.make, material, str(work.labels.device), work.schedule, work.steps),
            enumerate(chunks),
            processes,
            ordered=False,
            initializer=_count_in,
            initargs=(steps,),
            tick=lambda: bar.update(steps.value - bar.n),
            advice=(
                "run again to go on with the folds that are left, with fewer processes "
                "(schedule.processes)"
            ),
        )
        with closing(found):
            for number, shares in found:
                yield from zip(chunks[number], shares, strict=True)


@dataclass(frozen=True)
class _Remote:
    """``_Work`` for other processes, which read inputs and labels from a file once."""

    make: Make
    material: Path
    device: str
    schedule: FoldSchedule
    steps: int

    @cached_property
    def work(self) -> _Work:
        tensors = load_file(self.material, self.device)
        labels = tensors.pop(_LABELS)
        return _Work(self.make, tensors, labels, self.schedule, self.steps)

    def __call__(self, chunk: tuple[int, Sequence[Job]]) -> tuple[int, Shares]:
        number, jobs = chunk
        return number, self.work.train(jobs, _step_done)


_steps_done: Synchronized[int]


def _count_in(steps: Synchronized[int]) -> None:
    """Keep the counter of steps that all processes share."""
    global _steps_done
    _steps_done = steps


def _step_done(jobs: int) -> None:
    with _steps_done.get_lock():
        _steps_done.value += jobs
