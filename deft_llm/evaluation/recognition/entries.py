"""What a recognition benchmark runs: entries of a file, on one set of inputs and labels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import Field

from deft_llm.config import Settings
from deft_llm.files import file_digest
from deft_llm.training.fold_trainer import FoldSchedule


class ModelEntry(Settings):
    """One row of the table: a recognizer and how it learns.

    Attributes:
        recognizer: A name of ``recognizers.base``.
        options: Its own options.
        choices: Option -> values to choose from by subject-wise validation inside each training
            set (classical recognizers).
        schedule: How a network learns.
        seeded: Whether a classical recognizer takes ``seed``, and so has several runs.
        note: A word for the table.
    """

    recognizer: str
    options: dict[str, Any] = Field(default_factory=dict)
    choices: dict[str, list[Any]] = Field(default_factory=dict)
    schedule: FoldSchedule | None = None
    seeded: bool = False
    note: str = ""

    @property
    def selection(self) -> str:
        """How epoch and options were chosen, for the tables."""
        if self.schedule is not None and self.schedule.oracle_epoch:
            return "ORACLE: best epoch on the test subject"
        if self.choices:
            return f"{', '.join(self.choices)} by inner subject-wise validation"
        return "fixed schedule" if self.schedule is not None else "fixed settings"

    def weights(self) -> list[str]:
        """Hashes of the weights in folders that options name: other weights, other predictions."""
        folders = [
            Path(v) for v in self.options.values() if isinstance(v, str) and Path(v).is_dir()
        ]
        files = [file for folder in folders for file in sorted(folder.glob("*.safetensors"))]
        return [file_digest(file) for file in files]
