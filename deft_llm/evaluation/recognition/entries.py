"""Entries of a recognition benchmark, all run on the same inputs and labels."""

from __future__ import annotations

import inspect
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import Field

from deft_llm import registry, resources
from deft_llm.config import Settings
from deft_llm.files import file_digest
from deft_llm.recognizers.base import RECOGNIZERS
from deft_llm.training.fold_trainer import FoldSchedule

FOLD = "{fold}"
# Of a folder of weights: the weights, and what else changes an answer (temperatures, prompts).
_READ = ("*.safetensors", "*.json")
# Options that name a network that was trained before the run.
_TRAINED = ("checkpoint", "weights", "model")


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
        note: Note for the table, of what holds whatever was learned; ``remark`` adds that.
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
        options, folder = (_filled(x, str(fold + 1)) for x in (self.options, self.learned_from))
        return self.model_copy(update={"options": options, "learned_from": folder})

    @property
    def selection(self) -> str:
        """How epoch and options were chosen, for the tables."""
        if self.schedule is not None and self.schedule.oracle_epoch:
            return "ORACLE: best epoch on the test subject"
        if self.choices:
            return f"{', '.join(self.choices)} by inner subject-wise validation"
        return "fixed schedule" if self.schedule is not None else "fixed settings"

    @property
    def trained(self) -> tuple[str, str] | None:
        """The option, and the network trained before the run that it names, if there is one."""
        given = {**self._defaults(), **self.options}
        return next(((name, str(given[name])) for name in _TRAINED if name in given), None)

    @property
    def unchecked(self) -> bool:
        """Whether it was trained before the run on what nobody here has looked at."""
        trained = self.trained
        return trained is not None and not self.learned_from and not resources.ships(trained[1])

    @property
    def remark(self) -> str:
        """The note, and what the model has learned from before the run, for the tables."""
        trained = self.trained
        origin = trained and learned_before(*trained, self.learned_from)
        return "; ".join(filter(None, (self.note, origin)))

    def _defaults(self) -> dict[str, str]:
        """The recognizer's options that are texts by default; the ceiling is none of them."""
        if self.recognizer not in RECOGNIZERS:
            return {}
        made = registry.resolve(RECOGNIZERS, self.recognizer, "recognizer")
        parameters = inspect.signature(made).parameters.values()
        return {p.name: p.default for p in parameters if isinstance(p.default, str)}

    def weights(self) -> list[str]:
        """Hashes of the files that predictions depend on: those of options, given or by default.

        A file, or the weights and settings in a folder.
        """
        files: list[Path] = []
        for value in _texts({**self._defaults(), **self.options}):
            # "embedded" is a checkpoint of the package, whose weights change with its versions.
            path = resources.checkpoint(value) if value == resources.EMBEDDED else Path(value)
            # Not those of Path, which fail on a text longer than any file name, as of a question.
            if os.path.isfile(path):
                files.append(path)
            elif value and os.path.isdir(path):
                files += read_of(path)
        return [file_digest(file) for file in files]


def read_of(folder: Path) -> list[Path]:
    """The files of a folder of weights that a model's answers depend on; none if there is none."""
    # Sorted: the order of ``glob`` depends on the file system, and a hash of them must not.
    return [file for form in _READ for file in sorted(folder.glob(form))]


def learned_before(option: str, network: str, learned_from: str | None = None) -> str:
    """What a network has learned from before a run, for a table: no more than is known.

    Args:
        option: What names it: "checkpoint".
        network: Its folder or name.
        learned_from: Folder of instruction data, compared with the test folds, that it is said to
            have learned from.
    """
    what = "what it learned from is not checked here"
    if learned_from:
        what = (
            f"said to have learned from {_end(learned_from)}, of which no subject, clip or picture "
            "is in a test fold"
        )
    elif resources.ships(network):
        what = "learned from other clips, all simulated"
    return f"{option} {_end(network)}: {what}"


def _end(path: str) -> str:
    """The last two parts of a path, or a hub name: the rest means nothing on another machine."""
    return "/".join(Path(path).as_posix().strip("/").split("/")[-2:])


def _filled(value: Any, number: str) -> Any:
    """An option, however deep, with the number of the fold in its texts."""
    if isinstance(value, str):
        return value.replace(FOLD, number)
    if isinstance(value, Mapping):
        return {name: _filled(inner, number) for name, inner in value.items()}
    return [_filled(inner, number) for inner in value] if isinstance(value, list) else value


def _texts(value: Any) -> Iterator[str]:
    """Every text in an option, however deep."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping | list):
        for inner in value.values() if isinstance(value, Mapping) else value:
            yield from _texts(inner)
