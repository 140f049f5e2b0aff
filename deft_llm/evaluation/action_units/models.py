"""Models of action units: every unit is a question of its own, with the same folds for all."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from deft_llm import facs, protocols, registry
from deft_llm.clip import Prediction
from deft_llm.data.clip_dataset import ClipDataset
from deft_llm.data.labelled import LabelledClips
from deft_llm.errors import UserError
from deft_llm.evaluation.action_units.scores import ABSENT, PRESENT, AuCounts
from deft_llm.evaluation.recognition.entries import ModelEntry
from deft_llm.evaluation.recognition.runs import EntryRun
from deft_llm.pace import duration
from deft_llm.recognizers.base import RECOGNIZERS

logger = logging.getLogger(__name__)
CLASSES = (ABSENT, PRESENT)
ALL_NAMED, CONSTANT = "all_named", "constant"  # rows that look at no clip
BASELINES = {
    ALL_NAMED: "names every unit in every clip",
    CONSTANT: "the commoner answer of the training clips, for each unit",
}


@dataclass(frozen=True)
class AuClips:
    """Clips with coded action units, and the folds.

    Attributes:
        clips: The clips.
        aus: The units, FACS numbers.
        labels: Unit -> (N,) 1 where it is coded.
        splits: The folds, the same for all units.
        not_learned: Unit -> why it is left out.
    """

    clips: ClipDataset
    aus: tuple[int, ...]
    labels: Mapping[int, protocols.Indices]
    splits: Sequence[protocols.Split]
    not_learned: Mapping[int, str]

    def data(self, au: int) -> LabelledClips:
        """The clips, labelled for one unit."""
        return LabelledClips(self.clips, self.labels[au], CLASSES)


def au_clips(clips: ClipDataset, aus: Sequence[int], splits: Sequence[protocols.Split]) -> AuClips:
    """Label clips for some units; one that some fold cannot learn is left out.

    Args:
        clips: Clips with coded units.
        aus: FACS numbers.
        splits: The folds.

    Raises:
        UserError: If no unit is left.
    """
    coded = [{facs.au_number(code) for code in record.aus} for record in clips.records]
    labels = {n: np.array([int(n in own) for own in coded], np.int64) for n in aus}
    not_learned = {}
    for number, values in labels.items():
        for split in splits:
            shown = values[split.train]
            if shown.all() or not shown.any():
                who = "every clip shows" if shown.any() else "nobody shows"
                not_learned[number] = f"{who} it in the training clips of fold {split.name}"
                break
    left = tuple(n for n in aus if n not in not_learned)
    if not left:
        raise UserError(f"{clips.name}: none of the units {', '.join(map(str, aus))} is learnable")
    return AuClips(clips, left, labels, splits, not_learned)


def baseline(name: str, made: AuClips) -> list[AuCounts]:
    """A row that looks at no clip."""
    rows: dict[int, list[Prediction]] = {}
    for number in made.aus:
        labels, rows[number] = made.labels[number], []
        for split in made.splits:
            common = PRESENT if 2 * labels[split.train].sum() > len(split.train) else ABSENT
            said = PRESENT if name == ALL_NAMED else common
            for row in split.test:
                record = made.clips.records[row]
                place = (record.dataset, record.subject, record.clip, split.fold, 0)
                truth = CLASSES[labels[row]]
                rows[number].append(Prediction(*place, truth, said, {}, 0.0))
    return [AuCounts.of(rows)]


class AuRuns:
    """One model over all units, folds and seeds.

    Args:
        name: Name of the entry.
        entry: What to run.
        made: Clips, units and folds.
        seeds: Runs of a model that has a random state.
        folder: Where rows are kept.

    Raises:
        UserError: If the recognizer is unknown or an option is wrong.
    """

    def __init__(
        self, name: str, entry: ModelEntry, made: AuClips, seeds: int, folder: Path
    ) -> None:
        self.name, self.made = name, made
        self.runs = {
            number: EntryRun(
                f"{name} AU{number}",
                _for_au(entry, number),
                made.data(number),
                made.splits,
                entry.seeds or seeds,
                folder / f"AU{number}",
            )
            for number in made.aus
        }

    def tell_cost(self) -> float:
        """Say what it will cost, from the first unit; seconds, 0 if only a fold tells.

        Raises:
            UserError: If the clips lack what an input is made of.
        """
        first, *others = self.runs.values()
        cost = first.cost()
        left = sum(len(run.left) for run in others)
        each = (cost.seconds or 0.0) / max(cost.folds, 1)
        about = (cost.seconds or 0.0) + each * left
        shown = "?" if cost.seconds is None else duration(about)
        logger.info(
            "%s: %d units x %d folds, %s: %s",
            *(self.name, len(self.runs), len(self.made.splits), cost.measured, shown),
        )
        return about

    def finish(self) -> list[AuCounts]:
        """Run what is left; the counts of each seed.

        Raises:
            UserError: As for ``EntryRun.finish``.
        """
        rows = {number: run.finish() for number, run in self.runs.items()}
        seeds = sorted({row.seed for each in rows.values() for row in each})
        return [
            AuCounts.of({n: [r for r in each if r.seed == seed] for n, each in rows.items()})
            for seed in seeds
        ]


def _for_au(entry: ModelEntry, number: int) -> ModelEntry:
    """The entry, told the unit and the classes if its recognizer asks for them."""
    made: Any = registry.resolve(RECOGNIZERS, entry.recognizer, "recognizer")
    asked = inspect.signature(made).parameters
    more: dict[str, Any] = {"au": number} if "au" in asked else {}
    if "labels" in asked:
        more["labels"] = list(CLASSES)
    return entry.model_copy(update={"options": {**entry.options, **more}})
