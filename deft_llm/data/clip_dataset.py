"""Measured clips of any origin, one row per clip, and the network inputs made from them.

A ``ClipDataset`` opens data folders (``clips.jsonl`` and shards of features) or a prepared corpus,
or holds clips in memory. A row has the coding, the measured features and, for a simulated clip, the
ground truth. ``inputs`` makes the inputs that a network declares (``data/inputs.py``);
``data/labelled.py`` adds classes. Features are memory-mapped, so a dataset uses no memory until its
rows are read.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from deft_llm.data.clip_lines import Shards, folder_records
from deft_llm.data.feature_files import FeatureFile, InMemory
from deft_llm.data.features import Features
from deft_llm.data.inputs import coded_input, is_coded, source_of
from deft_llm.data.records import ClipRecord
from deft_llm.errors import UserError
from deft_llm.simulator.scene.clip_spec import ClipSpec

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Truth:
    """Ground truth of a simulated clip.

    Attributes:
        spec: Its recipe.
        onset_phase: (R, 2) exact head-compensated motion of the regions, onset to apex, canonical
            px (``data/simulated.py``).
        offset_phase: The same from apex to offset; None if not requested.
    """

    spec: ClipSpec
    onset_phase: Floats
    offset_phase: Floats | None = None


@dataclass(frozen=True, repr=False)
class MeasuredClip:
    """One clip with its measured features, or the reason why it has none.

    Attributes:
        record: Coding, and the statements that flow and coding agree on.
        features: Measured features (``data/features.py``); None if measuring failed.
        problem: Why measuring failed, or "".
        truth: Ground truth of a simulated clip, if known.
        no_face: Whether measuring failed because no face is seen.
    """

    record: ClipRecord
    features: Features | None
    problem: str = ""
    truth: Truth | None = None
    no_face: bool = False

    def __repr__(self) -> str:
        """Short: in a notebook, the features would fill pages."""
        record = self.record
        what = self.problem or f"{record.emotion}, AUs {' '.join(record.aus) or 'none'}"
        return f"<MeasuredClip {record.clip!r} of subject {record.subject!r}: {what}>"

    @classmethod
    def simulated(
        cls, spec: ClipSpec, motion: Floats, features: Features | None, **known: Any
    ) -> MeasuredClip:
        """A simulated clip from recipe and exact motion; ``known`` sets fields of the record."""
        return cls(ClipRecord.of(spec.annotation(), **known), features, truth=Truth(spec, motion))

    @property
    def spec(self) -> ClipSpec:
        """The recipe of a simulated clip."""
        return self._truth.spec

    @property
    def motion(self) -> Floats:
        """Exact motion (R, 2) of a simulated clip, onset to apex."""
        return self._truth.onset_phase

    @property
    def _truth(self) -> Truth:
        assert self.truth is not None, f"{self.record.clip} is no simulated clip"
        return self.truth


@dataclass(frozen=True)
class ClipPlace:
    """Location of a clip's features: a shard and the row in it."""

    shard: FeatureFile | InMemory
    row: int
    folder: Path | None = None


class ClipDataset(Sequence[MeasuredClip]):
    """Measured clips in a fixed order.

    Args:
        records: One per clip.
        places: Location of each clip's features; None for a clip that could not be measured.
        truths: Ground truth of simulated clips.
        name: Name of the dataset in messages.

    Attributes:
        records: As given.
    """

    def __init__(
        self,
        records: Iterable[ClipRecord],
        places: Iterable[ClipPlace | None],
        truths: Iterable[Truth | None] | None = None,
        name: str = "clips",
    ) -> None:
        self.records: tuple[ClipRecord, ...] = tuple(records)
        self._places = tuple(places)
        count = len(self.records)
        self._truths = (None,) * count if truths is None else tuple(truths)
        assert len(self._places) == len(self._truths) == count, "one place and truth a record"
        self.name = name
        self._index = {record.clip: i for i, record in enumerate(self.records)}

    @classmethod
    def open(cls, *folders: Path) -> ClipDataset:
        """The clips of data folders that ``unimer`` or ``deft-llm instructions build`` wrote.

        Raises:
            UserError: If a file is missing, a line is wrong, or two clips have the same id.
        """
        records: list[ClipRecord] = []
        places: list[ClipPlace] = []
        # One open file per shard: all of its clips share the memory map.
        shards = Shards()
        seen: dict[str, Path] = {}
        for folder in folders:
            for record in folder_records(folder, shards):
                if record.clip in seen:
                    raise UserError(
                        f"{folder}: clip {record.clip!r} is also in {seen[record.clip]}; name each "
                        "folder once, and give simulated ones seeds of their own"
                    )
                seen[record.clip] = folder
                records.append(record)
                places.append(ClipPlace(shards.get(folder / record.shard), record.row, folder))
        return cls(records, places, name=", ".join(map(str, folders)))

    @classmethod
    def of_clips(cls, clips: Iterable[MeasuredClip], name: str = "clips") -> ClipDataset:
        """A dataset of clips in memory."""
        clips = list(clips)
        # Each clip becomes a shard with one row, hence the leading axis.
        places = [
            None
            if clip.features is None
            else ClipPlace(InMemory({n: x[None] for n, x in clip.features.items()}), 0)
            for clip in clips
        ]
        return cls((c.record for c in clips), places, (c.truth for c in clips), name)

    @classmethod
    def of_arrays(
        cls, records: Iterable[ClipRecord], arrays: Mapping[str, NDArray[Any]], name: str = "clips"
    ) -> ClipDataset:
        """A dataset of features that are already stacked, (N, ...) each."""
        records, shard = list(records), InMemory(arrays)
        return cls(records, (ClipPlace(shard, i) for i in range(len(records))), name=name)

    @classmethod
    def joined(cls, *parts: ClipDataset) -> ClipDataset:
        """The clips of several datasets, one after the other; features are shared, not copied."""
        return cls(
            (record for part in parts for record in part.records),
            (place for part in parts for place in part._places),
            (truth for part in parts for truth in part._truths),
            " and ".join(dict.fromkeys(part.name for part in parts)),
        )

    def __len__(self) -> int:
        return len(self.records)

    def __repr__(self) -> str:
        return f"<ClipDataset {self.name!r}: {len(self)} clips, {sum(self.found)} measured>"

    @overload
    def __getitem__(self, index: int) -> MeasuredClip: ...
    @overload
    def __getitem__(self, index: slice) -> ClipDataset: ...
    def __getitem__(self, index: int | slice) -> MeasuredClip | ClipDataset:
        if isinstance(index, slice):
            # Slicing a range resolves negative and missing bounds.
            return self.subset(range(len(self))[index])
        place = self._places[index]
        found = None
        if place is not None:
            found = {name: place.shard.row(name, place.row) for name in place.shard.names}
        return MeasuredClip(self.records[index], found, truth=self._truths[index])

    def __iter__(self) -> Iterator[MeasuredClip]:
        return (self[i] for i in range(len(self)))

    @cached_property
    def features(self) -> tuple[str, ...]:
        """Names of the features that every measured clip has."""
        # Every shard is asked: one folder may hold corpora that were measured with other settings.
        shards = {id(place.shard): place.shard for place in self._places if place is not None}
        held = [shard.names for shard in shards.values()]
        return tuple(n for n in held[0] if all(n in names for names in held)) if held else ()

    @property
    def found(self) -> tuple[bool, ...]:
        """Whether each clip could be measured."""
        return tuple(place is not None for place in self._places)

    def subset(self, rows: Iterable[int]) -> ClipDataset:
        """A selection of the clips; features are shared, not copied."""
        chosen = [int(row) for row in rows]
        return ClipDataset(
            (self.records[i] for i in chosen),
            (self._places[i] for i in chosen),
            (self._truths[i] for i in chosen),
            self.name,
        )

    def from_folders(self, *folders: Path) -> ClipDataset:
        """The clips that came from these folders."""
        places = enumerate(self._places)
        return self.subset(i for i, p in places if p is not None and p.folder in folders)

    def measured(self) -> ClipDataset:
        """The clips that could be measured."""
        return self.subset(i for i, found in enumerate(self.found) if found)

    def without_labels(self) -> ClipDataset:
        """The same clips without coding, statements and ground truth; features are shared."""
        bare = (record.without_labels() for record in self.records)
        return ClipDataset(bare, self._places, name=self.name)

    # ------------------------------------------------------------------------ by name

    def __contains__(self, clip: object) -> bool:
        return clip in self._index

    def row_of(self, clip: str) -> int:
        """The row of a clip id."""
        return self._index[clip]

    def by_name(self, clip: str) -> MeasuredClip:
        """The clip with this id."""
        return self[self._index[clip]]

    # ------------------------------------------------------------------------ columns

    @property
    def clips(self) -> NDArray[np.str_]:
        """Clip ids (N,)."""
        return np.array([record.clip for record in self.records], np.str_)

    @property
    def subjects(self) -> NDArray[np.str_]:
        """Subjects (N,)."""
        return np.array([record.subject for record in self.records], np.str_)

    @property
    def datasets(self) -> NDArray[np.str_]:
        """Corpus of each clip (N,)."""
        return np.array([record.dataset for record in self.records], np.str_)

    @property
    def people(self) -> NDArray[np.str_]:
        """The person of each clip (N,), for splits.

        The corpus and the subject, since two corpora may use the same subject numbers. Subjects of
        a prepared corpus are people already: the three cameras of SMIC show the same ones.
        """
        return np.array(
            [r.subject if "/" in r.subject else f"{r.dataset}/{r.subject}" for r in self.records],
            np.str_,
        )

    def stack(self, feature: str) -> NDArray[Any]:
        """One feature of all clips (N, ...).

        Raises:
            UserError: If the clips lack the feature, have it in several sizes, or some could not
                be measured.
        """
        if feature not in self.features:
            raise UserError(
                f"{self.name}: no feature {feature!r}; the clips have {', '.join(self.features)}"
            )
        rows = []
        for record, place in zip(self.records, self._places, strict=True):
            if place is None:
                raise UserError(f"{self.name}: clip {record.clip} could not be measured")
            rows.append(place.shard.row(feature, place.row))
        sizes = {row.shape for row in rows}
        if len(sizes) > 1:
            one, other, *_ = (" x ".join(map(str, size)) for size in sorted(sizes))
            raise UserError(
                f"{self.name}: {feature!r} is {one} for some clips and {other} for others; measure "
                "all of them with the same settings"
            )
        return np.stack(rows)

    # ------------------------------------------------------------------- for networks

    def inputs(self, names: Sequence[str], side: int | None = None) -> dict[str, Floats]:
        """The inputs that a network declares, for all clips.

        Args:
            names: Names of inputs (``data/inputs.py``).
            side: Side of the maps, px; None keeps that of the features.

        Returns:
            Name -> float32 (N, ...).

        Raises:
            UserError: If an input is unknown or cannot be made of these clips.
        """
        # Resolve all names first: an impossible input fails before any feature is read.
        sources = {
            name: source_of(name, self.features, self.name) for name in names if not is_coded(name)
        }
        made = {name: make(self.stack(feature), side) for name, (feature, make) in sources.items()}
        return made | {name: coded_input(name, self.records) for name in names if is_coded(name)}
