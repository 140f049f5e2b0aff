"""What all benchmarks of corpora share: their folders, how clips are measured, and the models."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from pydantic import Field, model_validator

from deft_llm.data.prepared import PrepareSettings
from deft_llm.errors import UserError
from deft_llm.evaluation.benchmark import Benchmark
from deft_llm.evaluation.corpus_table.material import (
    CorpusClips,
    measured_corpus,
    read_folder,
    settings_for,
)
from deft_llm.evaluation.corpus_table.models import inputs_of
from deft_llm.evaluation.recognition.entries import ModelEntry


class OfCorpora(Benchmark):
    """A benchmark on corpora as they were unpacked.

    Attributes:
        corpora: Name -> folder, as it was unpacked.
        corpus: The folder, if there is one corpus.
        readers: Name in ``corpora`` -> reader (``corpora.base.CORPORA``); the name itself by
            default.
        cache: Folder of measured clips, the same as that of ``deft-llm corpora prepare``.
        prepare: How clips are measured.
        workers: Processes that measure.
        seeds: Runs of each model that has a random state.
        models: Names of entries to run; empty runs all but vision-language models.
        entries: Available entries by name.
    """

    corpora: dict[str, Path | None]
    corpus: Path | None = None
    readers: dict[str, str] = Field(default_factory=dict)
    cache: Path = Path("cache")
    prepare: PrepareSettings = Field(default_factory=PrepareSettings)
    workers: int = Field(default=os.cpu_count() or 1, ge=1)
    seeds: int = Field(default=3, ge=1)
    models: list[str] = Field(default_factory=list)
    entries: dict[str, ModelEntry]

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
        for name in (*self.models, *more):
            if name not in self.entries:
                raise UserError(f"model {name!r}; expected some of {', '.join(self.entries)}")
        # Vision-language models only by name: an empty list must not download them.
        return self.models or [n for n, e in self.entries.items() if e.recognizer != "vlm"]

    def folders(self) -> dict[str, Path]:
        """The folders that are given.

        Raises:
            UserError: If one is not.
        """
        given = {name: folder for name, folder in self.corpora.items() if folder is not None}
        for name in self.corpora:
            if name not in given:
                key = "corpus" if len(self.corpora) == 1 else f"corpora.{name}"
                raise UserError(f"{name}: no folder; give it as it was unpacked: {key}=/data/…")
        return given

    def measured(self, names: Sequence[str]) -> list[CorpusClips]:
        """The clips of all corpora, measured for some models.

        All corpora are read before the first is measured, which takes long.

        Args:
            names: The models.

        Raises:
            UserError: If a folder is not given, cannot be read, or holds another corpus.
        """
        read = [
            read_folder(self.readers.get(name, name), path) for name, path in self.folders().items()
        ]
        inputs = {name for model in names for name in inputs_of(self.entries[model])}
        settings = settings_for(inputs, self.prepare)
        return [
            measured_corpus(corpus, reading, self.cache, settings, self.workers)
            for corpus, reading in read
        ]

    def as_run(self, names: Sequence[str]) -> dict[str, object]:
        """The settings as they were, for a file that runs the same again.

        Args:
            names: The models that were run.
        """
        values = self.model_dump(mode="json", exclude_none=True, exclude={"workers", "output"})
        values["corpora"] = {n: str(Path(p).resolve()) for n, p in values["corpora"].items()}
        return {**values, "models": list(names)}
