"""FACET-VLM on a dataset of scans by folds of subjects, and on another one that it never saw.

BU-3DFE, Bosphorus and BU-4DFE are usually tested ten-fold with disjoint subjects; of BU-3DFE,
subset I has the two highest intensities and subset II all four. Nothing is chosen on a test fold:
the last network of each is tested.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field

from deft_llm import protocols
from deft_llm.errors import UserError
from deft_llm.evaluation.benchmark import Benchmark
from deft_llm.evaluation.facet.benchmark import PUBLISHED
from deft_llm.evaluation.facet.scores import right, say, several_labels
from deft_llm.evaluation.tables import markdown
from deft_llm.facet.corpus_views import CorpusViews
from deft_llm.facet.files import load_facet
from deft_llm.facet.task import FacetRecipe, FacetTask, LossSettings, ModelSettings
from deft_llm.facet.view_store import ViewStore
from deft_llm.files import digest, write_lines
from deft_llm.metrics.classification import binary_f1
from deft_llm.metrics.figures import Figure
from deft_llm.training.loop import fit
from deft_llm.training.run_folder import FINAL, claimed_folder
from deft_llm.training.schedule import Schedule

logger = logging.getLogger(__name__)


class FacetFolds(Benchmark):
    """A file of ``eval/benchmarks`` with ``benchmark: facet_folds``.

    Attributes:
        data: The dataset.
        levels: Intensities that count; empty for all. (3, 4) is subset I of BU-3DFE.
        folds: Number of folds.
        cross: Another dataset, on which a network that was trained on all of `data` is tested.
        model: Sizes and parts of the network.
        losses: Weights of the losses.
        schedule: Of each fold's training.
        batch_size: Scans per batch.
        start: Network from which every fold starts, trained on other people (simulated ones, say).
        seed: Of folds and training.
    """

    data: CorpusViews
    levels: tuple[int, ...] = ()
    folds: int = Field(default=10, ge=2)
    cross: CorpusViews | None = None
    model: ModelSettings = ModelSettings()
    losses: LossSettings = LossSettings()
    schedule: Schedule
    batch_size: int = Field(default=24, ge=2)
    start: Path | None = None
    seed: int = 0
    output: Path = Path("runs/benchmarks/facet-folds")

    def figure_names(self) -> list[str]:
        """See the base."""
        if self.data.multi_label:
            return ["uf1", "uar"]
        return ["accuracy", "accuracy_sd", "cross_accuracy"]

    def measure(self) -> tuple[list[Figure], str]:
        """See the base."""
        store = ViewStore.rendered(self.data, self.output / "views")
        used = store.good & (np.isin(store.level, self.levels) if self.levels else True)
        rows = np.flatnonzero(used)
        if not len(rows):
            raise UserError(f"{self.data.folder}: no scan of intensity {self.levels}")
        if not store.good.all():
            logger.warning("%d scans could not be read and are left out", int((~store.good).sum()))
        subjects = store.subject[rows]
        splits = protocols.subject_kfold(subjects, self.folds, seed=self.seed)
        shares = np.zeros(store.label.shape)
        for split in splits:
            protocols.require_disjoint_subjects(split, subjects)
            test = rows[split.test]
            task = self._trained(store, rows[split.train], f"fold-{split.fold}")
            shares[test] = task.probabilities(store, test)
        self._write_rows(store, shares, splits, rows)
        truth, said = store.label[rows].astype(bool), shares[rows]
        if self.data.multi_label:
            scores = several_labels(said, truth)
            return self.with_bars(scores), markdown(_by_class(self.data.classes, truth, said))
        hits = said.argmax(axis=1) == truth.argmax(axis=1)
        by_fold = [float(hits[split.test].mean()) for split in splits]
        values = {"accuracy": float(np.mean(by_fold)), "accuracy_sd": float(np.std(by_fold))}
        if self.cross is not None:
            values["cross_accuracy"] = self._cross(store, rows, self.cross)
        tables = [_confusion(self.data.classes, truth, said), _beside(values, self.data.corpus)]
        return self.with_bars(values), "\n\n".join(tables)

    def _recipe(self, name: str) -> FacetRecipe:
        # The intensities are no part of the recipe: each choice of them has its own folders.
        kept = f"levels-{''.join(map(str, self.levels))}" if self.levels else "all-levels"
        return FacetRecipe(
            output=self.output / kept / name,
            seed=self.seed,
            data=self.data,
            start=self.start,
            model=self.model,
            losses=self.losses,
            schedule=self.schedule,
            batch_size=self.batch_size,
        )

    def _trained(self, store: ViewStore, train: NDArray[np.int64], name: str) -> FacetTask:
        """Train on some rows, or go on, or take the network that was trained on them before."""
        # Other folds, or other scans in the dataset, are another training: a network that was kept
        # from one could have learned from the people whom another fold tests.
        learned = digest(json.dumps(store.subject[train].tolist()), train.tobytes())[:8]
        recipe = self._recipe(f"{name}-{learned}")
        # Every fold starts from the same random weights.
        torch.manual_seed(self.seed)
        with claimed_folder(recipe.output, recipe):
            task = FacetTask(recipe, store, rows=train)
            final = fit(task, recipe.schedule, recipe.output)
        # From the file, as a fold that was finished before has not trained this one.
        task.model = load_facet(final).network
        return task

    def _cross(self, store: ViewStore, rows: NDArray[np.int64], cross: CorpusViews) -> float:
        """Accuracy on another dataset, among the classes that it has."""
        trained = self._trained(store, rows, "all").recipe.output
        other = ViewStore.rendered(cross, self.output / "cross-views")
        shares = say(load_facet(trained / FINAL), other)
        # Classes that the other dataset lacks are out of the running.
        shares[:, ~other.label.any(axis=0)] = 0
        return float(right(shares, other)[other.good].mean())

    def _write_rows(
        self,
        store: ViewStore,
        shares: NDArray[np.float64],
        splits: Sequence[protocols.Split],
        rows: NDArray[np.int64],
    ) -> None:
        """Every prediction, from which all scores can be computed again."""
        fold = np.zeros(len(store), int)
        for split in splits:
            fold[rows[split.test]] = split.fold
        classes = self.data.classes
        lines = (
            json.dumps(
                {
                    **{"dataset": self.data.corpus, "subject": str(store.subject[i])},
                    **{"fold": int(fold[i]), "level": int(store.level[i]), "seed": self.seed},
                    "labels": [
                        c for c, there in zip(classes, store.label[i], strict=True) if there
                    ],
                    "probabilities": [round(float(p), 5) for p in shares[i]],
                }
            )
            for i in rows
        )
        write_lines(self.output / "predictions.jsonl", lines)


def _by_class(
    classes: Sequence[str], truth: NDArray[np.bool_], shares: NDArray[np.float64]
) -> list[dict[str, Any]]:
    scores = binary_f1(truth, shares > 0.5)
    return [{"class": name, "F1": float(f)} for name, f in zip(classes, scores, strict=True)]


def _confusion(
    classes: Sequence[str], truth: NDArray[np.bool_], shares: NDArray[np.float64]
) -> str:
    shown, said = truth.argmax(axis=1), shares.argmax(axis=1)
    rows = [
        {"shown": name}
        | {
            f"said {other}": str(int(((shown == i) & (said == j)).sum()))
            for j, other in enumerate(classes)
        }
        for i, name in enumerate(classes)
    ]
    return markdown(rows)


def _beside(values: dict[str, float], corpus: str) -> str:
    rows = [
        {"system": system, "data": data, "accuracy, %": number}
        for system, data, number in PUBLISHED
    ]
    ours = f"{100 * values['accuracy']:.2f}"
    return markdown([*rows, {"system": "this run", "data": corpus, "accuracy, %": ours}])
