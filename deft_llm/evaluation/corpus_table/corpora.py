"""What all benchmarks of corpora share: their folders, how clips are measured, and the models."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

from pydantic import Field, model_validator

from deft_llm.data.prepared import PrepareSettings
from deft_llm.errors import UserError, did_you_mean
from deft_llm.evaluation.benchmark import Benchmark
from deft_llm.evaluation.corpus_table.material import (
    CorpusClips,
    measured_corpus,
    read_folder,
    require_other_people,
    settings_for,
)
from deft_llm.evaluation.corpus_table.models import (
    entry_by_name,
    inputs_of,
    require_options,
    require_trained,
)
from deft_llm.evaluation.corpus_table.simulated import (
    SimulatedCorpus,
    require_one_kind,
    simulated_folder,
)
from deft_llm.evaluation.recognition.entries import FOLD, ModelEntry
from deft_llm.recognizers.base import RECOGNIZERS
from deft_llm.training.fold_trainer import FoldSchedule


class OfCorpora(Benchmark):
    """A benchmark on corpora as they were unpacked.

    Attributes:
        corpora: Name -> folder, as it was unpacked.
        corpus: The folder, if there is one corpus.
        simulate: Name in ``corpora`` -> how it is simulated where no folder is given.
        simulate_into: Where simulated corpora are kept, for all benchmarks.
        readers: Name in ``corpora`` -> reader (``corpora.base.CORPORA``); the name itself by
            default.
        cache: Folder of measured clips, the same as that of ``deft-llm corpora prepare``.
        prepare: How clips are measured.
        workers: Processes that measure.
        seeds: Runs of each model that has a random state.
        models: Names of entries, or of recognizers (``recognizers.base``), to run; empty runs all
            entries but vision-language models and those that learned from a folder.
        entries: Available entries by name.
        schedule: How a network without an entry of its own is trained.
    """

    #: Arguments of a recognizer that the benchmark gives by itself.
    told: ClassVar[tuple[str, ...]] = ("classes", "labels")

    corpora: dict[str, Path | None]
    corpus: Path | None = None
    simulate: dict[str, SimulatedCorpus] = Field(default_factory=dict)
    simulate_into: Path = Path("runs/corpora")
    readers: dict[str, str] = Field(default_factory=dict)
    cache: Path = Path("cache")
    prepare: PrepareSettings = Field(default_factory=PrepareSettings)
    workers: int = Field(default=os.cpu_count() or 1, ge=1)
    seeds: int = Field(default=3, ge=1)
    models: list[str] = Field(default_factory=list)
    entries: dict[str, ModelEntry]
    schedule: FoldSchedule | None = None

    @model_validator(mode="before")
    @classmethod
    def _recognizers_by_name(cls, values: dict[str, Any]) -> dict[str, Any]:
        """Entries for recognizers that are named as models and have none in the file."""
        entries, models = values.get("entries"), values.get("models") or []
        if not isinstance(entries, dict) or not isinstance(models, list):
            return values  # which has its own message
        more = {name: entries.get(name, {}) for name in models if name in RECOGNIZERS}
        made = {
            name: entry_by_name(name, entry, values.get("schedule"))
            for name, entry in more.items()
            if isinstance(entry, dict) and "recognizer" not in entry
        }
        return {**values, "entries": {**entries, **made}}

    @model_validator(mode="after")
    def _one_folder(self) -> Self:
        if self.corpus is not None:
            if len(self.corpora) != 1:
                names = ", ".join(f"corpora.{name}=…" for name in self.corpora)
                raise ValueError(f"corpus is for one corpus; expected {names}")
            self.corpora = dict.fromkeys(self.corpora, self.corpus)
            self.corpus = None
        return self

    def names(self, *more: str) -> list[str]:
        """The entries to run.

        Args:
            *more: Others that have to be there.

        Raises:
            UserError: If one is unknown.
        """
        # A recognizer that is named as a model has an entry by its name; a baseline needs one.
        named = list(dict.fromkeys((*self.entries, *RECOGNIZERS)))
        for name in (*self.models, *more):
            if name not in self.entries:
                known = named if name in self.models else list(self.entries)
                hint = did_you_mean(name, known)
                raise UserError(f"model {name!r}; expected some of {', '.join(known)}{hint}")
        # By name only: vision-language models, which may have to be downloaded, and checkpoints of
        # one's own.
        ready = [n for n, e in self.entries.items() if e.recognizer != "vlm" and not e.learned_from]
        return self.models or ready

    def folders(self) -> dict[str, Path]:
        """The folders that are given, and those of the simulated corpora.

        Raises:
            UserError: If one is neither.
        """
        given = {name: folder for name, folder in self.corpora.items() if folder is not None}
        for name, drawn in self.simulate.items():
            if name in self.corpora and name not in given:
                drawn_as = (self.reader_of(name), drawn, self.simulate_into, self.workers)
                given[name] = simulated_folder(*drawn_as)
        for name in self.corpora:
            if name not in given:
                key = "corpus" if len(self.corpora) == 1 else f"corpora.{name}"
                raise UserError(f"{name}: no folder; give it as it was unpacked: {key}=/data/…")
        return given

    def reader_of(self, name: str) -> str:
        """The reader of a name in ``corpora``."""
        return self.readers.get(name, name)

    def measured(self, names: Sequence[str]) -> list[CorpusClips]:
        """The clips of all corpora, measured for some models.

        All corpora are read, and checkpoints looked for, before the first is measured, which takes
        long.

        Args:
            names: The models.

        Raises:
            UserError: If a folder is not given, cannot be read, or holds another corpus, if
                simulated and real corpora are mixed, if two show the same people, or if a model
                lacks an option, its checkpoint, or the data that it learned from.
        """
        for name in names:
            require_options(name, self.entries[name], self.told)
            require_trained(name, self.entries[name])
        read = [read_folder(self.reader_of(name), path) for name, path in self.folders().items()]
        require_one_kind([corpus for corpus, _ in read])
        require_other_people(read)
        inputs = {name for model in names for name in inputs_of(self.entries[model])}
        settings = settings_for(inputs, self.prepare)
        return [
            measured_corpus(corpus, reading, self.cache, settings, self.workers)
            for corpus, reading in read
        ]

    def as_run(self, names: Sequence[str]) -> dict[str, object]:
        """The settings as they were, for a file that runs the same again from any folder.

        Args:
            names: The models that were run.
        """
        values = self.model_dump(mode="json", exclude_none=True, exclude={"workers", "output"})
        values["corpora"] = {n: str(p.resolve()) for n, p in self.folders().items()}
        for name in ("cache", "simulate_into"):
            values[name] = str(Path(values[name]).resolve())
        for name in ("entries", "prepare"):
            values[name] = from_anywhere(values[name])
        return {**values, "models": list(names)}


def from_anywhere(value: Any) -> Any:
    """Settings in which paths to what is there are absolute, however deep."""
    if isinstance(value, dict):
        return {name: from_anywhere(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [from_anywhere(inner) for inner in value]
    # A word without a separator may be a setting that a file happens to be called like; and a text
    # may be longer than any path, of which ``os.path`` says that it is not there.
    if isinstance(value, str) and "/" in value and os.path.exists(value.replace(FOLD, "1")):
        return str(Path(value).absolute())
    return value
