"""Clips with classes and their inputs as tensors, for training recognizers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from deft_llm.data.clip_dataset import ClipDataset
from deft_llm.data.inputs import mirror_inputs
from deft_llm.data.records import ClipRecord
from deft_llm.errors import UserError
from deft_llm.files import digest


@dataclass(frozen=True)
class LabelledClips:
    """Clips with one class each, for training recognizers.

    Attributes:
        clips: N measured clips.
        labels: (N,) class indices.
        classes: Names of the classes.
        mirrored: Class -> class of the mirrored clip; None if mirroring changes no class.
    """

    clips: ClipDataset
    labels: NDArray[np.int64]
    classes: tuple[str, ...]
    mirrored: tuple[int, ...] | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def subset(self, rows: NDArray[np.int64]) -> LabelledClips:
        """A selection of the clips."""
        return replace(self, clips=self.clips.subset(rows), labels=self.labels[rows])

    def digest(self) -> str:
        """A hash of features, labels, subjects and clip ids: the key of cached results."""
        columns = (self.clips.subjects, self.clips.clips)
        arrays = [self.clips.stack(name) for name in self.clips.features]
        parts = [np.ascontiguousarray(x).tobytes() for x in (*arrays, self.labels, *columns)]
        return digest(*parts)

    def batches(self, names: Sequence[str], side: int | None = None) -> LabelledInputs:
        """The inputs of a network with their labels, as tensors."""
        made = self.clips.inputs(names, side)
        swapped = self.mirrored or range(len(self.classes))
        return LabelledInputs(
            {name: torch.from_numpy(np.ascontiguousarray(x)) for name, x in made.items()},
            torch.from_numpy(self.labels),
            torch.as_tensor(list(swapped)),
        )


@dataclass(frozen=True)
class LabelledInputs:
    """Inputs of N clips as tensors.

    Attributes:
        inputs: Name -> (N, ...).
        labels: (N,).
        mirrored: Class index -> class index of the mirrored clip.
    """

    inputs: dict[str, Tensor]
    labels: Tensor
    mirrored: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def batch(self, rows: Tensor, flipped: Tensor) -> dict[str, Tensor]:
        """A batch of clips, some of them mirrored.

        Args:
            rows: (B,) indices.
            flipped: (B,) bool.

        Returns:
            The inputs and "labels".
        """
        labels = self.labels[rows]
        chosen = {name: values[rows] for name, values in self.inputs.items()}
        # Mirror all and select: branch-free, and cheap for a batch.
        mirror = mirror_inputs(chosen)
        batch = {"labels": torch.where(flipped, self.mirrored[labels], labels)}
        for name, values in chosen.items():
            # Broadcast the choice over all but the first axis.
            shape = (-1, *[1] * (values.ndim - 1))
            batch[name] = torch.where(flipped.view(shape), mirror[name], values)
        return batch


def labelled(
    clips: ClipDataset, classes: Sequence[str], label_of: Callable[[ClipRecord], str | None]
) -> LabelledClips:
    """The measured clips that have a class.

    Args:
        clips: Clips to select from.
        classes: Names of the classes.
        label_of: Record -> one of them, or None.

    Raises:
        UserError: If no clip has one.
    """
    known = {name: i for i, name in enumerate(classes)}
    rows, labels = [], []
    for i, (record, found) in enumerate(zip(clips.records, clips.found, strict=True)):
        label = label_of(record) if found else None
        if label in known:
            rows.append(i)
            labels.append(known[label])
    if not rows:
        raise UserError(
            f"{clips.name}: no clip with an emotion of {', '.join(classes)}; expected a data "
            "folder with labelled clips"
        )
    return LabelledClips(clips.subset(rows), np.array(labels, np.int64), tuple(classes))


def three_class(record: ClipRecord) -> str | None:
    """The three-class label of a record, None if its emotion is not known (for ``labelled``)."""
    return record.class_of("3")
