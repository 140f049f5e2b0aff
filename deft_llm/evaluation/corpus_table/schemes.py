"""Measured clips under a label scheme: classes, folds, counts, and the clips without a class."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from deft_llm import facs, protocols
from deft_llm.data.clip_dataset import ClipDataset
from deft_llm.data.labelled import LabelledClips, labelled
from deft_llm.data.records import ClipRecord
from deft_llm.errors import UserError
from deft_llm.evaluation.corpus_table.left_out import LeftOutClip

MakeSplits = Callable[[LabelledClips], list[protocols.Split]]


@dataclass(frozen=True)
class SchemeClips:
    """The clips of one table.

    Attributes:
        scheme: A key of ``facs.SCHEMES``.
        data: The clips with their classes.
        splits: The folds.
        counts: A row for each class of the scheme.
        left_out: Measured clips without a class here.
    """

    scheme: str
    data: LabelledClips
    splits: Sequence[protocols.Split]
    counts: Sequence[Mapping[str, object]]
    left_out: Sequence[LeftOutClip]

    @property
    def tested(self) -> NDArray[np.int64]:
        """Rows that some fold tests, in order: of a hold-out set these are not all."""
        return tested_rows(self.splits)

    @property
    def size(self) -> str:
        """Number of clips: "9 clips", or "3 of 9 clips tested"."""
        count, of = len(self.tested), len(self.data)
        return f"{of} clips" if count == of else f"{count} of {of} clips tested"

    @property
    def complete(self) -> bool:
        """Whether no class of the scheme was left out."""
        return len(self.data.classes) == len(facs.SCHEMES[self.scheme])

    @property
    def title(self) -> str:
        """For headings: "3 classes"."""
        of = len(facs.SCHEMES[self.scheme])
        count = len(self.data.classes)
        return f"{count} classes" if self.complete else f"{count} of {of} classes"


def scheme_clips(
    scheme: str,
    clips: ClipDataset,
    splits_of: MakeSplits,
    published: Mapping[str, int],
) -> SchemeClips:
    """Give clips their classes.

    A class that some fold's training set lacks (because one subject alone shows it) cannot be
    learned there; it is left out whole, and the table says so.

    Args:
        scheme: A key of ``facs.SCHEMES``.
        clips: Measured clips.
        splits_of: Clips with classes -> folds.
        published: Class -> published number of clips, where known.

    Raises:
        UserError: If the scheme is unknown, or fewer than two classes are left.
    """
    label_of = partial(ClipRecord.class_of, scheme=scheme)
    facs.to_scheme(None, scheme)  # an unknown scheme has its own message
    classes = facs.SCHEMES[scheme]
    # Leaving a class out takes its clips away, and with them perhaps the only subject, or a fold,
    # that another class could be learned from: look again until nothing changes.
    while True:
        data = labelled(clips, classes, label_of)
        splits = splits_of(data)
        thin = _absent(data, splits)
        if not thin:
            break
        classes = tuple(name for name in classes if name not in thin)
        if len(classes) < 2:
            raise UserError(
                f"{clips.name}, {len(facs.SCHEMES[scheme])} classes: fewer than two of them are "
                "shown by two subjects, so that there is nothing to learn; take more subjects"
            )
    left_out = [
        LeftOutClip(record.dataset, record.clip, f"emotion {record.emotion or 'unknown'}", why)
        for record in clips.records
        if (why := _reason(label_of(record), classes))
    ]
    rows = tested_rows(splits)
    tested = None
    if len(rows) < len(data):
        tested = Counter(data.classes[k] for k in data.labels[rows])
    counts = [
        _count(name, clips, label_of, name in classes, published, tested)
        for name in facs.SCHEMES[scheme]
    ]
    return SchemeClips(scheme, data, splits, counts, left_out)


def tested_rows(splits: Sequence[protocols.Split]) -> NDArray[np.int64]:
    """Rows that some fold tests, in order."""
    return np.unique(np.concatenate([split.test for split in splits])).astype(np.int64)


def _absent(data: LabelledClips, splits: Sequence[protocols.Split]) -> set[str]:
    """Classes that the training set of some fold lacks."""
    found = set()
    for split in splits:
        counts = np.bincount(data.labels[split.train], minlength=len(data.classes))
        found |= {data.classes[k] for k in np.flatnonzero(counts == 0)}
    return found


def _reason(label: str | None, classes: Sequence[str]) -> str:
    if label is None:
        return "an emotion that is no class of this table"
    return "" if label in classes else "a class that some fold has nobody to learn it from"


def _count(
    name: str,
    clips: ClipDataset,
    label_of: Callable[[ClipRecord], str | None],
    used: bool,
    published: Mapping[str, int],
    tested: Mapping[str, int] | None,
) -> dict[str, object]:
    records = [r for r in clips.records if label_of(r) == name]
    emotions = Counter(str(r.emotion) for r in records)
    several = len(set(clips.datasets.tolist())) > 1
    of = Counter(r.dataset for r in records)
    return {
        "class": name if used else f"{name} (left out)",
        "emotions": ", ".join(f"{word} {n}" for word, n in sorted(emotions.items())),
        **(
            {corpus: of[corpus] for corpus in sorted(set(clips.datasets.tolist()))}
            if several
            else {}
        ),
        "clips": len(records),
        "subjects": len({r.subject for r in records}),
        **({} if tested is None else {"tested clips": tested.get(name, 0)}),
        "published clips": published.get(name, ""),
    }
