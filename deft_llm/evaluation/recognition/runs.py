"""Run one recognizer over folds and seeds; finished folds are kept and skipped on a rerun."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from deft_llm import protocols
from deft_llm.clip import Prediction
from deft_llm.data.inputs import mirror_inputs
from deft_llm.data.labelled import LabelledClips
from deft_llm.errors import UserError
from deft_llm.evaluation.recognition.entries import ModelEntry
from deft_llm.evaluation.recognition.rows import PredictionRows
from deft_llm.metrics.classification import confusion_matrix, uf1
from deft_llm.recognizers.base import ClassicalRecognizer, Recognizer, load_recognizer
from deft_llm.training.fold_trainer import FoldJob
from deft_llm.training.folds import train_folds

logger = logging.getLogger(__name__)
_INNER_FOLDS = 5
InputArrays = dict[str, NDArray[np.float32]]  # of all rows, by name


def run_entry(
    name: str,
    entry: ModelEntry,
    data: LabelledClips,
    splits: Sequence[protocols.Split],
    seeds: int,
    folder: Path,
) -> list[Prediction]:
    """Rows of one recognizer over all folds and seeds.

    Args:
        name: Name of the entry, for messages and files.
        entry: What to run.
        data: Clips with their classes.
        splits: The folds.
        seeds: Number of runs; a recognizer without randomness runs once.
        folder: Where rows are kept, one file per fold and seed.

    Returns:
        One row for each seed and tested clip.

    Raises:
        UserError: If the recognizer needs an input that the data does not have.
    """
    sample = load_recognizer(entry.recognizer, len(data.classes), **entry.options)
    side = sample.side if isinstance(sample, Recognizer) else None
    try:
        inputs = data.clips.inputs(sample.inputs, side)
    except UserError as error:
        raise UserError(f"model {name}: {error}; leave it out with --models") from error
    random = isinstance(sample, Recognizer) or entry.seeded
    store = PredictionRows(folder, name, entry, data, splits)
    jobs = [(seed, split) for seed in range(seeds if random else 1) for split in splits]
    left = [(seed, split) for seed, split in jobs if not store.has(seed, split.fold)]
    if left and len(left) < len(jobs):
        logger.info("%s: %d of %d folds are done already", name, len(jobs) - len(left), len(jobs))
    if isinstance(sample, Recognizer):
        _run_networks(name, entry, data, inputs, jobs, left, store)
    else:
        for seed, split in tqdm(left, desc=name, unit="fold"):
            _run_classical(entry, data, inputs, seed, split, store)
    return [row for seed, split in jobs for row in store.read(seed, split.fold)]


def _run_networks(
    name: str,
    entry: ModelEntry,
    data: LabelledClips,
    inputs: InputArrays,
    jobs: Sequence[tuple[int, protocols.Split]],
    left: Sequence[tuple[int, protocols.Split]],
    store: PredictionRows,
) -> None:
    if not left:
        return
    if entry.schedule is None:
        raise UserError(f"model {name}: a network needs a schedule (epochs, learning_rate, ...)")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    make = partial(_network, entry, len(data.classes))
    # ``from_numpy`` takes no negative strides, which a mirrored or sliced array may have.
    tensors = {n: torch.from_numpy(np.ascontiguousarray(x)).to(device) for n, x in inputs.items()}
    labels = torch.from_numpy(data.labels).to(device)
    # The whole run fixes the number of steps, so a resumed run trains exactly as long.
    whole = [FoldJob(split.fold, seed, split.train, split.test) for seed, split in jobs]
    todo = [FoldJob(split.fold, seed, split.train, split.test) for seed, split in left]
    started = time.perf_counter()
    found = train_folds(make, todo, tensors, labels, entry.schedule, name, whole, mirror_inputs)
    # Left early, by an error or Ctrl-C, closing ends the worker processes.
    with closing(found):
        for done, (job, p) in enumerate(found, 1):
            # Folds train side by side, so the time of one is the running mean, not its own.
            seconds = (time.perf_counter() - started) / done
            store.write(job.seed, job.fold, job.test, p, seconds)


def _network(entry: ModelEntry, classes: int) -> Recognizer:
    made = load_recognizer(entry.recognizer, classes, **entry.options)
    assert isinstance(made, Recognizer)
    return made


def _run_classical(
    entry: ModelEntry,
    data: LabelledClips,
    inputs: InputArrays,
    seed: int,
    split: protocols.Split,
    store: PredictionRows,
) -> None:
    started = time.perf_counter()
    options = dict(entry.options)
    if entry.seeded:
        options["seed"] = seed
    # One option after the other, the earlier ones at their best: not a full grid.
    for option, values in entry.choices.items():
        tried = [{**options, option: value} for value in values]
        scores = [_inner_score(entry, data, inputs, each, split) for each in tried]
        options[option] = values[int(np.argmax(scores))]
    p = _fit_predict(entry, data, inputs, options, split.train, split.test)
    store.write(seed, split.fold, split.test, p, time.perf_counter() - started)


def _inner_score(
    entry: ModelEntry,
    data: LabelledClips,
    inputs: InputArrays,
    options: dict[str, Any],
    split: protocols.Split,
) -> float:
    """UF1 pooled over subject-wise folds of the training set."""
    # Pooled like the benchmark's own score: a small fold may lack a class, and its F1 would be 0.
    labels, predicted = [], []
    for train, held in protocols.inner_folds(data.clips.people, split.train, _INNER_FOLDS):
        p = _fit_predict(entry, data, inputs, options, train, held)
        labels += [data.classes[i] for i in data.labels[held]]
        predicted += [data.classes[i] for i in p.argmax(1)]
    return uf1(confusion_matrix(labels, predicted, data.classes))


def _fit_predict(
    entry: ModelEntry,
    data: LabelledClips,
    inputs: InputArrays,
    options: dict[str, Any],
    train: protocols.Indices,
    test: protocols.Indices,
) -> NDArray[np.float64]:
    model = load_recognizer(entry.recognizer, len(data.classes), **options)
    assert not isinstance(model, Recognizer)
    classical: ClassicalRecognizer = model
    classical.fit({n: x[train] for n, x in inputs.items()}, data.labels[train])
    return classical.predict_proba({n: x[test] for n, x in inputs.items()})
