"""Entries of a recognition benchmark, all run on the same inputs and labels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import Field

from deft_llm.config import Settings
from deft_llm.files import file_digest
from deft_llm.training.fold_trainer import FoldSchedule

FOLD = "{fold}"


class ModelEntry(Settings):
    """One row of the table: a recognizer and how it is trained.

    Attributes:
        recognizer: A name of ``recognizers.base``.
        options: Options of the recognizer; ``{fold}`` in a text is the number of the fold, from 1.
        choices: Option -> values to choose from by subject-wise validation inside each training
            set (classical recognizers).
        schedule: Training schedule of a network.
        seeded: Whether a classical recognizer takes ``seed`` and so is run several times.
        seeds: Runs of this entry; None for as many as the benchmark says.
        learned_from: Folder of the instruction data that a checkpoint has learned from, with
            ``{fold}`` as in options. A subject of it in the test fold stops the entry.
        note: Note for the table.
    """

    recognizer: str
    options: dict[str, Any] = Field(default_factory=dict)
    choices: dict[str, list[Any]] = Field(default_factory=dict)
    schedule: FoldSchedule | None = None
    seeded: bool = False
    seeds: int | None = Field(default=None, ge=1)
    learned_from: str | None = None
    note: str = ""

    def for_fold(self, fold: int) -> ModelEntry:
        """The entry in one fold (from 0)."""

        def filled(value: Any) -> Any:
            return value.replace(FOLD, str(fold + 1)) if isinstance(value, str) else value

        options = {name: filled(value) for name, value in self.options.items()}
        return self.model_copy(
            update={"options": options, "learned_from": filled(self.learned_from)}
        )

    @property
    def selection(self) -> str:
        """How epoch and options were chosen, for the tables."""
        if self.schedule is not None and self.schedule.oracle_epoch:
            return "ORACLE: best epoch on the test subject"
        if self.choices:
            return f"{', '.join(self.choices)} by inner subject-wise validation"
        return "fixed schedule" if self.schedule is not None else "fixed settings"

    def weights(self) -> list[str]:
        """Hashes of weight files in folders that options name, since predictions depend on them."""
        folders = [
            Path(v) for v in self.options.values() if isinstance(v, str) and Path(v).is_dir()
        ]
        # Sorted: the order of ``glob`` depends on the file system, and the hash must not.
        files = [file for folder in folders for file in sorted(folder.glob("*.safetensors"))]
        return [file_digest(file) for file in files]
