"""Train the networks of all folds and seeds: batched, in several processes, or both.

On a GPU the networks of many folds train as one computation (``fold_trainer``). On a CPU a
small network is bound by memory, not by the number of operators, so the folds are distributed
over single-threaded processes. A fold's result is the same either way.

``oracle_epoch`` reproduces the common practice of keeping the epoch that is best on the test
subject. It exists for a fair comparison with published numbers; tables must state its use.
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
from deft_llm.training.fold_trainer import (
    FoldJob,
    FoldSchedule,
    FoldTrainer,
    Inputs,
    MakeNetwork,
    Mirror,
)

Probabilities = list[NDArray[np.float64]]
_AT_ONCE_ON_A_GPU = 16
_LABELS = "labels"  # key in the file of inputs; no input has this name


def train_folds(
    make: MakeNetwork,
    jobs: Sequence[FoldJob],
    inputs: Inputs,
    labels: Tensor,
    schedule: FoldSchedule,
    describe: str = "folds",
    all_jobs: Sequence[FoldJob] | None = None,
    mirror: Mirror | None = None,
) -> Generator[tuple[FoldJob, NDArray[np.float64]], None, None]:
    """Train every job and predict its test rows.

    Args:
        make: Builds a fresh network; with several processes, a module-level function or a partial
            of one.
        jobs: Jobs still to be trained.
        inputs: Named inputs of all rows, on the training device.
        labels: Class indices (N,), same device.
        schedule: Training settings.
        describe: Label of the progress bar.
        all_jobs: All jobs of the run, if some are done already; fixes the number of steps.
        mirror: Named inputs -> those of the mirrored clips; same restriction as ``make``.

    Yields:
        Each job with class probabilities (rows, C) of its test rows, as soon as they are ready;
        with several processes in order of completion. Use ``contextlib.closing`` if the generator
        may be abandoned early, which ends the processes.

    Raises:
        UserError: If a process was ended from outside or cannot import ``make``, the schedule
            asks for flips but ``mirror`` is None, or the networks have torch's own dropout.
    """
    # From all jobs, so that a resumed run trains the remaining folds for as many steps.
    steps = schedule.steps(float(np.mean([len(job.train) for job in all_jobs or jobs])))
    at_once, processes = workload(schedule, labels.device)
    chunks = [jobs[i : i + at_once] for i in range(0, len(jobs), at_once)]
    training, rows = _Training(make, schedule, steps, mirror), _Rows(inputs, labels)
    with tqdm(total=steps * len(jobs), desc=describe, unit="step", unit_scale=True) as bar:
        if min(processes, len(chunks)) > 1:
            yield from _by_processes(training, rows, chunks, min(processes, len(chunks)), bar)
            return
        for chunk in chunks:
            yield from zip(chunk, training.run(rows, chunk, bar.update), strict=True)


def workload(schedule: FoldSchedule, device: torch.device) -> tuple[int, int]:
    """Number of networks per computation, and of processes, on a device."""
    cpu = device.type == "cpu"
    at_once = schedule.folds_at_once or (1 if cpu else _AT_ONCE_ON_A_GPU)
    return at_once, schedule.processes or (torch.get_num_threads() if cpu else 1)


@dataclass(frozen=True)
class _Rows:
    """Named inputs of all rows, and their labels."""

    inputs: Inputs
    labels: Tensor


@dataclass(frozen=True)
class _Training:
    """The settings that all jobs share."""

    make: MakeNetwork
    schedule: FoldSchedule
    steps: int
    mirror: Mirror | None

    def run(
        self, rows: _Rows, jobs: Sequence[FoldJob], stepped: Callable[[int], object]
    ) -> Probabilities:
        """Train some jobs together; ``stepped`` is called after each step with their number."""
        trainer = FoldTrainer(
            self.make, jobs, rows.inputs, rows.labels, self.schedule, self.steps, self.mirror
        )
        best = _Best(jobs, rows.labels) if self.schedule.oracle_epoch else None
        # Steps in an epoch of the mean training set, as the folds differ in size.
        every = max(1, self.steps // self.schedule.epochs)
        for done in range(1, self.steps + 1):
            trainer.step()
            stepped(len(jobs))
            if best is not None and done % every == 0:
                best.offer(trainer.predict())
        return trainer.predict() if best is None else best.kept


class _Best:
    """Keeps each job's prediction with the most correct test rows."""

    def __init__(self, jobs: Sequence[FoldJob], labels: Tensor) -> None:
        self.truth = [labels.cpu().numpy()[job.test] for job in jobs]
        self.hits = [-1] * len(jobs)
        self.kept: Probabilities = [np.empty((0, 0))] * len(jobs)

    def offer(self, predictions: Sequence[NDArray[np.float64]]) -> None:
        for i, (truth, probabilities) in enumerate(zip(self.truth, predictions, strict=True)):
            hits = int((probabilities.argmax(1) == truth).sum())
            if hits > self.hits[i]:  # of equals, the earliest
                self.hits[i], self.kept[i] = hits, probabilities


def _by_processes(
    training: _Training,
    rows: _Rows,
    chunks: Sequence[Sequence[FoldJob]],
    processes: int,
    bar: tqdm,
) -> Iterator[tuple[FoldJob, NDArray[np.float64]]]:
    """Jobs with their probabilities, in order of completion."""
    # The context of parallel_map's processes; a shared value of another context cannot be passed
    # on.
    steps = get_context("spawn").Value("q", 0)
    with TemporaryDirectory(prefix="deft-folds-") as folder:
        # In a file, so that every process reads the inputs once, however many chunks it gets.
        file = Path(folder) / "rows.safetensors"
        given = {**rows.inputs, _LABELS: rows.labels}
        save_file({name: np.ascontiguousarray(x.cpu().numpy()) for name, x in given.items()}, file)
        found = parallel_map(
            _Remote(training, file, str(rows.labels.device)),
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
            for number, probabilities in found:
                yield from zip(chunks[number], probabilities, strict=True)


@dataclass(frozen=True)
class _Remote:
    """Runs ``_Training`` in another process; reads inputs and labels from a file once."""

    training: _Training
    file: Path
    device: str

    @cached_property
    def rows(self) -> _Rows:
        inputs = load_file(self.file, self.device)
        labels = inputs.pop(_LABELS)
        return _Rows(inputs, labels)

    def __call__(self, chunk: tuple[int, Sequence[FoldJob]]) -> tuple[int, Probabilities]:
        number, jobs = chunk
        return number, self.training.run(self.rows, jobs, _step_done)


# A global, because a shared value can be passed to a process only when it starts.
_steps_done: Synchronized[int]


def _count_in(steps: Synchronized[int]) -> None:
    """Store the shared step counter in this process."""
    global _steps_done
    _steps_done = steps


def _step_done(jobs: int) -> None:
    with _steps_done.get_lock():
        _steps_done.value += jobs
