"""Instruction data of one fold: the clips of all subjects that a benchmark does not test in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from deft_llm import protocols
from deft_llm.data.clip_dataset import ClipDataset
from deft_llm.data.clip_shards import Share


@dataclass(frozen=True)
class Fold:
    """One fold of some.

    Attributes:
        part: Its number and how many there are.
        tested: Take the subjects that it tests, not those that it trains on.
    """

    part: Share
    tested: bool

    def __str__(self) -> str:
        side = "tested" if self.tested else "trained"
        return f"{self.part.index}/{self.part.count} {side}"


def of_fold(corpora: Sequence[ClipDataset], fold: Fold) -> list[ClipDataset]:
    """The clips of one side of a fold.

    The folds are those of ``deft-llm eval … protocol=kfold`` over the same corpora in the same
    order.

    Args:
        corpora: Prepared corpora, whole.
        fold: Which fold, and which side.

    Raises:
        UserError: If there are fewer subjects than folds.
    """
    people = np.concatenate([clips.people for clips in corpora])
    split = protocols.subject_kfold(people, fold.part.count)[fold.part.index - 1]
    chosen = set((split.test if fold.tested else split.train).tolist())
    found, first = [], 0
    for clips in corpora:
        found.append(clips.subset(i for i in range(len(clips)) if first + i in chosen))
        first += len(clips)
    return found
