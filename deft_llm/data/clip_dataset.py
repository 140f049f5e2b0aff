"""Measured clips: one row a clip, whatever it came from, and what networks read of them.

A ``ClipDataset`` opens data folders (``clips.jsonl`` and shards of features), a prepared corpus, or
holds clips in memory. Its rows say who and what was coded, hold the measured features and, of a
simulated clip, the truth. ``inputs`` makes what a network declares (``data/inputs.py``), and
``data/labelled.py`` adds classes. Features are memory-mapped: a set costs no memory until its rows
are read.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from deft_llm.data.feature_files import FeatureFile, InMemory
from deft_llm.data.features import Features
from deft_llm.data.inputs import source_of
from deft_llm.data.records import ClipRecord
from deft_llm.errors import UserError
from deft_llm.files import read_lines
from deft_llm.simulator.scene.clip_spec import ClipSpec

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Truth:
    """What a simulated clip really shows.

    Attributes:
        spec: Its recipe.
        onset_phase: (R, 2) exact head-compensated motion of the regions, onset to apex, canonical
            px (``data/simulated.py``).
        offset_phase: The same from apex to offset; None where it was not asked for.
    """

    spec: ClipSpec
    onset_phase: Floats
    offset_phase: Floats | None = None


@dataclass(frozen=True)
class MeasuredClip:
    """One clip and what became of it.

    Attributes:
        record: Coding, and what may be said of it.
        features: What was measured (``data/features.py``); None where it could not be.
        problem: Why it could not be measured, or "".
        truth: Of a simulated clip, where it is known.
    """

    record: ClipRecord
    features: Features | None
    problem: str = ""
    truth: Truth | None = None

    @classmethod
    def simulated(
        cls, spec: ClipSpec, motion: Floats, features: Features | None, **known: Any
    ) -> MeasuredClip:
        """A simulated clip by its recipe and exact motion; ``known`` are fields of the record."""
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
    """Where the features of a clip are: a shard and the row in it."""

    shard: FeatureFile | InMemory
    row: int
    folder: Path | None = None


class ClipDataset(Sequence[MeasuredClip]):
    """Measured clips in a fixed order.

    Args:
        records: One a clip.
        places: Where the features of each are; None where it could not be measured.
        truths: Of simulated clips.
        name: What the set is, in messages.

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
        """The clips of data folders, as ``unimer`` or ``deft-llm instructions build`` leave them.

        Raises:
            UserError: If a file is missing, or two folders have a clip of the same id.
        """
        records: list[ClipRecord] = []
        places: list[ClipPlace] = []
        shards: dict[Path, FeatureFile] = {}
        seen: dict[str, Path] = {}
        for folder in folders:
            for line in read_lines(folder / "clips.jsonl"):
                record = ClipRecord.from_json(json.dumps(line))
                if record.clip in seen:
                    raise UserError(
                        f"{folder}: clip {record.clip!r} is also in {seen[record.clip]}; name each "
                        "folder once, and give simulated ones seeds of their own"
                    )
                seen[record.clip] = folder
                path = folder / record.shard
                if path not in shards:
                    shards[path] = FeatureFile(path)
                records.append(record)
                places.append(ClipPlace(shards[path], record.row, folder))
        return cls(records, places, name=", ".join(map(str, folders)))

    @classmethod
    def of_clips(cls, clips: Iterable[MeasuredClip], name: str = "clips") -> ClipDataset:
        """Clips that are at hand, in memory."""
        clips = list(clips)
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
        """Clips whose features are stacked, (N, ...) each."""
        records, shard = list(records), InMemory(arrays)
        return cls(records, (ClipPlace(shard, i) for i in range(len(records))), name=name)

    def __len__(self) -> int:
        return len(self.records)

    @overload
    def __getitem__(self, index: int) -> MeasuredClip: ...
    @overload
    def __getitem__(self, index: slice) -> ClipDataset: ...
    def __getitem__(self, index: int | slice) -> MeasuredClip | ClipDataset:
        if isinstance(index, slice):
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
        first = next((place for place in self._places if place is not None), None)
        return first.shard.names if first else ()

    @property
    def found(self) -> tuple[bool, ...]:
        """Whether each clip could be measured."""
        return tuple(place is not None for place in self._places)

    def subset(self, rows: Iterable[int]) -> ClipDataset:
        """Some of the clips; features are shared, not copied."""
        chosen = [int(row) for row in rows]
        return ClipDataset(
            (self.records[i] for i in chosen),
            (self._places[i] for i in chosen),
            (self._truths[i] for i in chosen),
            self.name,
        )

    def from_folders(self, *folders: Path) -> ClipDataset:
        """The clips that came from some of the folders."""
        places = enumerate(self._places)
        return self.subset(i for i, p in places if p is not None and p.folder in folders)

    def measured(self) -> ClipDataset:
        """The clips that could be measured."""
        return self.subset(i for i, found in enumerate(self.found) if found)

    # ------------------------------------------------------------------------ by name

    def __contains__(self, clip: object) -> bool:
        return clip in self._index

    def row_of(self, clip: str) -> int:
        """The row of a clip id."""
        return self._index[clip]

    def by_name(self, clip: str) -> MeasuredClip:
        """The clip of an id."""
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
        """Corpora (N,)."""
        return np.array([record.dataset for record in self.records], np.str_)

    @property
    def people(self) -> NDArray[np.str_]:
        """Subjects with their corpus (N,): two corpora may number their subjects alike."""
        return np.array([f"{r.dataset}/{r.subject}" for r in self.records], np.str_)

    def stack(self, feature: str) -> NDArray[Any]:
        """One feature of all clips (N, ...).

        Raises:
            UserError: If the clips were not measured for it, or some could not be measured.
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
        return np.stack(rows)

    # ------------------------------------------------------------------- for networks

    def inputs(self, names: Sequence[str], side: int | None = None) -> dict[str, Floats]:
        """What a network declares, of all clips.

        Args:
            names: Inputs (``data/inputs.py``).
            side: Side of maps, px; None keeps that of the features.

        Returns:
            Name -> float32 (N, ...).

        Raises:
            UserError: If an input is unknown or cannot be made of these clips.
        """
        sources = {name: source_of(name, self.features, self.name) for name in names}
        return {name: make(self.stack(feature), side) for name, (feature, make) in sources.items()}
