"""Training the networks of all folds and seeds: batched, by processes, or both.

On a GPU the networks of many folds train as one computation (``fold_trainer``). On a CPU a
small network is bound by memory, not by the number of operators, so there the folds are shared
out to processes of one thread each. A fold's result is the same either way.

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
_LABELS = "labels"  # beside the inputs, none of which is called so


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
        make: Builds a fresh network; a module-level function or a partial of one, where several
            processes share the work.
        jobs: What is still to be trained.
        inputs: Named inputs of all rows, on the device to train on.
        labels: Class indices (N,), same device.
        schedule: How.
        describe: Words for the progress bar.
        all_jobs: The whole run, where some of it is done already; fixes the number of steps.
        mirror: Named inputs -> those of the mirrored clips; a module-level function as well.

    Yields:
        Each job with class probabilities (rows, C) of its test rows, as soon as they are known;
        with several processes in the order in which they are finished. Close the generator
        (``contextlib.closing``) where it may be left early: that ends the processes.

    Raises:
        UserError: If a process was ended from outside or cannot import what makes a network, or the
            schedule asks for flips and nothing says how to mirror.
    """
    steps = schedule.steps(float(np.mean([len(job.train) for job in all_jobs or jobs])))
    at_once, processes = _split(schedule, labels.device)
    chunks = [jobs[i : i + at_once] for i in range(0, len(jobs), at_once)]
    training, rows = _Training(make, schedule, steps, mirror), _Rows(inputs, labels)
    with tqdm(total=steps * len(jobs), desc=describe, unit="step", unit_scale=True) as bar:
        if min(processes, len(chunks)) > 1:
            yield from _by_processes(training, rows, chunks, min(processes, len(chunks)), bar)
            return
        for chunk in chunks:
            yield from zip(chunk, training.run(rows, chunk, bar.update), strict=True)


def _split(schedule: FoldSchedule, device: torch.device) -> tuple[int, int]:
    """Networks at once, and processes."""
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
    """How every job is trained."""

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
        every = max(1, self.steps // self.schedule.epochs)
        for done in range(1, self.steps + 1):
            trainer.step()
            stepped(len(jobs))
            if best is not None and done % every == 0:
                best.offer(trainer.predict())
        return trainer.predict() if best is None else best.kept


class _Best:
    """Keeps, for each job, the prediction with the most hits on its test rows."""

    def __init__(self, jobs: Sequence[FoldJob], labels: Tensor) -> None:
        self.truth = [labels.cpu().numpy()[job.test] for job in jobs]
        self.hits = [-1] * len(jobs)
        self.kept: Probabilities = [np.empty((0, 0))] * len(jobs)

    def offer(self, predictions: Sequence[NDArray[np.float64]]) -> None:
        for i, (truth, probabilities) in enumerate(zip(self.truth, predictions, strict=True)):
            hits = int((probabilities.argmax(1) == truth).sum())
            if hits > self.hits[i]:
                self.hits[i], self.kept[i] = hits, probabilities


def _by_processes(
    training: _Training,
    rows: _Rows,
    chunks: Sequence[Sequence[FoldJob]],
    processes: int,
    bar: tqdm,
) -> Iterator[tuple[FoldJob, NDArray[np.float64]]]:
    """Jobs with their probabilities, as they are finished."""
    steps = get_context("spawn").Value("q", 0)
    with TemporaryDirectory(prefix="deft-folds-") as folder:
        # By a file: every process reads it once, however many chunks it is given.
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
    """``_Training`` in another process, which reads inputs and labels from a file once."""

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


_steps_done: Synchronized[int]


def _count_in(steps: Synchronized[int]) -> None:
    """Keep the counter of steps that all processes share."""
    global _steps_done
    _steps_done = steps


def _step_done(jobs: int) -> None:
    with _steps_done.get_lock():
        _steps_done.value += jobs
