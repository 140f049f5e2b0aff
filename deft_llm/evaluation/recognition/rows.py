"""Rows of predictions; every table and figure of a benchmark is computed from them alone."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deft_llm import __version__, protocols
from deft_llm.clip import UNREAD, Prediction
from deft_llm.data.labelled import LabelledClips
from deft_llm.evaluation.recognition.entries import ModelEntry
from deft_llm.files import digest, read_lines, write_lines, write_text
from deft_llm.metrics.classification import likeliest


class PredictionRows:
    """Predictions of one entry on disk, one file per fold, so that an interrupted run resumes.

    The folder's name contains a hash of everything they depend on: entry, data with its classes and
    coded AUs, folds, weights, and the version of this software.

    Args:
        folder: Parent of the entry's own folder.
        name: Name of the entry.
        entry: The entry that is run.
        data: Clips with their classes.
        splits: The folds.
    """

    def __init__(
        self,
        folder: Path,
        name: str,
        entry: ModelEntry,
        data: LabelledClips,
        splits: Sequence[protocols.Split],
    ) -> None:
        # A note is only text, each run has its own files, and a fold trains the same however folds
        # are distributed.
        hidden: Any = {"note": True, "seeds": True, "schedule": {"folds_at_once", "processes"}}
        hidden["learned_from"] = True  # predictions depend on the weights alone
        shown = entry.model_dump_json(exclude=hidden)
        folds = [(s.train.tolist(), s.test.tolist()) for s in splits]
        # Each folder of weights once: most entries have the same in every fold.
        options = {json.dumps(own.options): own for s in splits for own in [entry.for_fold(s.fold)]}
        weights = [file for own in options.values() for file in own.weights()]
        # The digest of the data has neither: class indices alone would give "positive" for what is
        # "surprise" since a class was left out, and some models learn from the coded AUs.
        coded = [data.classes, [record.aus for record in data.clips.records]]
        text = json.dumps([__version__, shown, data.digest(), coded, folds, *weights])
        key = digest(text)[:12]  # 48 bits: a folder holds some dozens of entries
        self.folder, self.data = folder / f"{name}-{key}", data
        self.folder.mkdir(parents=True, exist_ok=True)
        write_text(self.folder / "entry.json", entry.model_dump_json(indent=1))

    def _path(self, seed: int, fold: int) -> Path:
        return self.folder / f"seed{seed}-fold{fold:03d}.jsonl"

    def has(self, seed: int, fold: int) -> bool:
        """Whether the predictions of a fold are stored."""
        return self._path(seed, fold).is_file()

    def write(
        self, seed: int, fold: int, test: protocols.Indices, p: NDArray[np.float64], seconds: float
    ) -> None:
        """Store the predictions of one fold: class probabilities ``p`` of the rows ``test``."""
        lines = []
        # A model that writes may name no class: an error of the true one, of no other.
        named = likeliest(p, self.data.classes)
        for row, values, name in zip(test, p, named, strict=True):
            record = self.data.clips.records[row]
            prediction = Prediction(
                dataset=record.dataset,
                subject=record.subject,
                clip=record.clip,
                fold=fold,
                seed=seed,
                label=self.data.classes[self.data.labels[row]],
                predicted=UNREAD if name is None else name,
                probabilities={
                    label: round(float(value), 6)
                    for label, value in zip(self.data.classes, values, strict=True)
                },
                seconds=round(seconds / len(test), 6),
            )
            lines.append(json.dumps(asdict(prediction)))
        # Written whole or not at all, so that a file's presence means a finished fold (``has``).
        write_lines(self._path(seed, fold), lines)

    def read(self, seed: int, fold: int) -> list[Prediction]:
        """The predictions of one fold."""
        return [Prediction(**row) for row in read_lines(self._path(seed, fold))]
