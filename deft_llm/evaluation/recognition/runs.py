"""Run one recognizer over folds and seeds; finished folds are kept and skipped on a rerun."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from deft_llm import protocols
from deft_llm.clip import Prediction
from deft_llm.data.inputs import is_coded, mirror_inputs
from deft_llm.data.labelled import LabelledClips
from deft_llm.errors import UserError
from deft_llm.evaluation.recognition.classical import InputArrays, predict_folds
from deft_llm.evaluation.recognition.entries import ModelEntry
from deft_llm.evaluation.recognition.learned import require_unlearned
from deft_llm.evaluation.recognition.rows import PredictionRows
from deft_llm.parallel import for_a_while_on_one_core
from deft_llm.recognizers.base import (
    ClassicalRecognizer,
    FitsFoldsAtOnce,
    Recognizer,
    load_recognizer,
    side_of,
)
from deft_llm.training.fold_trainer import FoldJob, FoldSchedule, FoldTrainer
from deft_llm.training.folds import train_folds, workload

logger = logging.getLogger(__name__)
_TIMED_STEPS = 3  # after one that warms up
_TIMED_S = 5.0  # folds of a classical recognizer are timed for about so long
_AT_ONCE = 80  # folds that share work: all subjects of most corpora
Job = tuple[int, protocols.Split]  # seed and fold


def run_entry(
    name: str,
    entry: ModelEntry,
    data: LabelledClips,
    splits: Sequence[protocols.Split],
    seeds: int,
    folder: Path,
) -> list[Prediction]:
    """Rows of one recognizer over all folds and seeds; arguments as for :class:`EntryRun`.

    Returns:
        One row for each seed and tested clip.

    Raises:
        UserError: If the recognizer needs an input that the data does not have.
    """
    return EntryRun(name, entry, data, splits, seeds, folder).finish()


@dataclass(frozen=True)
class Cost:
    """What is left to do of a run.

    Attributes:
        folds: Folds left, over all seeds.
        seconds: About how long they take; None if only the first fold tells.
        measured: What was measured, for people.
    """

    folds: int
    seconds: float | None
    measured: str


class EntryRun:
    """One recognizer over all folds and seeds.

    Args:
        name: Name of the entry, for messages and files.
        entry: What to run.
        data: Clips with their classes.
        splits: The folds.
        seeds: Number of runs; a recognizer without randomness runs once.
        folder: Where rows are kept, one file per fold and seed.

    Raises:
        UserError: If the recognizer or an option is unknown, or a checkpoint has learned from a
            test fold.
    """

    def __init__(
        self,
        name: str,
        entry: ModelEntry,
        data: LabelledClips,
        splits: Sequence[protocols.Split],
        seeds: int,
        folder: Path,
    ) -> None:
        self.name, self.entry, self.data = name, entry, data
        require_unlearned(entry, data, splits)
        first = entry.for_fold(splits[0].fold)
        self.sample = load_recognizer(entry.recognizer, len(data.classes), **first.options)
        _require_uncoded(name, self.sample)
        self.store = PredictionRows(folder, name, entry, data, splits)
        random = isinstance(self.sample, Recognizer) or entry.seeded
        self.jobs: list[Job] = [
            (s, split) for s in range(seeds if random else 1) for split in splits
        ]

    @property
    def left(self) -> list[Job]:
        """The folds without stored rows."""
        return [(seed, split) for seed, split in self.jobs if not self.store.has(seed, split.fold)]

    @cached_property
    def inputs(self) -> InputArrays:
        """The recognizer's inputs of all rows.

        Raises:
            UserError: If the clips lack what one is made of.
        """
        try:
            return self.data.clips.inputs(self.sample.inputs, side_of(self.sample))
        except UserError as error:
            raise UserError(f"model {self.name}: {error}; leave it out with --models") from error

    def cost(self) -> Cost:
        """Measure how long the folds that are left will take.

        Of a network some steps are timed and thrown away; of a classical recognizer its first
        folds, which are kept.

        Raises:
            UserError: As for :meth:`finish`.
        """
        try:
            return self._cost()
        finally:
            # The inputs of all models together may not fit into memory.
            self.__dict__.pop("inputs", None)

    def _cost(self) -> Cost:
        if not self.left:
            return Cost(0, 0.0, "done before")
        if isinstance(self.sample, Recognizer):
            return self._cost_of_network()
        if self.entry.seeded:
            # It trains a network on a schedule of its own, whose steps cannot be timed from here.
            return Cost(len(self.left), None, "its first fold will tell")
        seconds, started = 0.0, time.perf_counter()
        while self.left and time.perf_counter() - started < _TIMED_S:
            before, jobs = time.perf_counter(), self._next()
            self._fit(jobs)
            # The last ones timed: the first also load weights.
            seconds = (time.perf_counter() - before) / len(jobs)
        return Cost(len(self.left), seconds * len(self.left), f"{seconds:.2g} s a fold")

    def _cost_of_network(self) -> Cost:
        schedule, left = self._schedule(), self.left
        tensors, labels = self._tensors()
        at_once, processes = workload(schedule, labels.device)
        jobs = [_fold_job(job) for job in left[:at_once]]
        steps = self._steps(schedule)
        with for_a_while_on_one_core():  # as the folds train
            trainer = FoldTrainer(
                self._maker(), jobs, tensors, labels, schedule, steps, mirror_inputs
            )
            float(trainer.step().sum())
            started = time.perf_counter()
            for _ in range(min(_TIMED_STEPS, max(1, steps - 1))):
                float(trainer.step().sum())  # waits for the device
            each = (time.perf_counter() - started) / min(_TIMED_STEPS, max(1, steps - 1))
        chunks = math.ceil(len(left) / at_once)
        seconds = each * steps * chunks / min(processes, chunks)
        told = "1 step" if steps == 1 else f"{steps} steps"
        return Cost(len(left), seconds, f"{each:.2g} s a step, {told} a fold")

    def finish(self) -> list[Prediction]:
        """Run the folds that are left.

        Returns:
            One row for each seed and tested clip, of all folds.

        Raises:
            UserError: If the clips lack what an input is made of, or a network has no schedule.
        """
        left = self.left
        if left and len(left) < len(self.jobs):
            done = len(self.jobs) - len(left)
            logger.info("%s: %d of %d folds are done already", self.name, done, len(self.jobs))
        if left and isinstance(self.sample, Recognizer):
            self._train(left)
        elif left:
            with tqdm(total=len(left), desc=self.name, unit="fold") as progress:
                while jobs := self._next():
                    self._fit(jobs)
                    progress.update(len(jobs))
        self.__dict__.pop("inputs", None)  # read again if they are needed
        return [row for seed, split in self.jobs for row in self.store.read(seed, split.fold)]

    def _train(self, left: Sequence[Job]) -> None:
        schedule = self._schedule()
        tensors, labels = self._tensors()
        # The whole run fixes the number of steps, so a resumed run trains exactly as long.
        whole, todo = ([_fold_job(job) for job in jobs] for jobs in (self.jobs, left))
        started = time.perf_counter()
        found = train_folds(
            self._maker(), todo, tensors, labels, schedule, self.name, whole, mirror_inputs
        )
        # Left early, by an error or Ctrl-C, closing ends the worker processes.
        with closing(found):
            for done, (job, p) in enumerate(found, 1):
                # Folds train side by side, so the time of one is the running mean, not its own.
                seconds = (time.perf_counter() - started) / done
                self.store.write(job.seed, job.fold, job.test, p, seconds)

    def _schedule(self) -> FoldSchedule:
        if self.entry.schedule is None:
            raise UserError(
                f"model {self.name}: a network needs a schedule (epochs, learning_rate, ...)"
            )
        return self.entry.schedule

    def _steps(self, schedule: FoldSchedule) -> int:
        return schedule.steps(float(np.mean([len(split.train) for _, split in self.jobs])))

    def _maker(self) -> partial[Recognizer]:
        return partial(_network, self.entry, len(self.data.classes))

    def _tensors(self) -> tuple[dict[str, Tensor], Tensor]:
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        # ``from_numpy`` takes no negative strides, which a mirrored or sliced array may have.
        tensors = {
            name: torch.from_numpy(np.ascontiguousarray(x)).to(device)
            for name, x in self.inputs.items()
        }
        return tensors, torch.from_numpy(self.data.labels).to(device)

    def _next(self) -> list[Job]:
        """The jobs to do next, all of one seed: as many as share work, or one."""
        left = self.left
        count = _AT_ONCE if isinstance(self.sample, FitsFoldsAtOnce) else 1
        return [job for job in left[:count] if job[0] == left[0][0]]

    def _fit(self, jobs: Sequence[Job]) -> None:
        started = time.perf_counter()
        splits = [split for _, split in jobs]
        found = predict_folds(self.entry, self.data, self.inputs, jobs[0][0], splits)
        seconds = (time.perf_counter() - started) / len(jobs)
        for (seed, split), p in zip(jobs, found, strict=True):
            self.store.write(seed, split.fold, split.test, p, seconds)


def _require_uncoded(name: str, sample: Recognizer | ClassicalRecognizer) -> None:
    """Refuse a model that would be given the coding of the clips that test it.

    A classical recognizer gets coded inputs in ``fit`` alone; others get all inputs at once.
    """
    if isinstance(sample, Recognizer | FitsFoldsAtOnce):
        for given in filter(is_coded, sample.inputs):
            raise UserError(
                f"model {name}: the input {given!r} is the coding of a clip, which its test must "
                "not see; read it in fit() of a classical recognizer"
            )


def _fold_job(job: Job) -> FoldJob:
    seed, split = job
    return FoldJob(split.fold, seed, split.train, split.test)


def _network(entry: ModelEntry, classes: int) -> Recognizer:
    made = load_recognizer(entry.recognizer, classes, **entry.options)
    assert isinstance(made, Recognizer)
    return made
