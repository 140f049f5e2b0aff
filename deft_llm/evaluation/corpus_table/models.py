"""The models of a table: which of them can be run, what they will cost, and their rows."""

from __future__ import annotations

import inspect
import logging
from collections import deque
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from deft_llm import registry
from deft_llm.data.clip_lines import folder_records
from deft_llm.deft.inference.adapted import model_path
from deft_llm.errors import UserError
from deft_llm.evaluation.corpus_table.result_folder import SchemeTable
from deft_llm.evaluation.corpus_table.schemes import SchemeClips
from deft_llm.evaluation.recognition.entries import ModelEntry
from deft_llm.evaluation.recognition.results import Result
from deft_llm.evaluation.recognition.runs import EntryRun
from deft_llm.evaluation.recognition.tables import PublishedScore
from deft_llm.pace import duration
from deft_llm.recognizers.base import RECOGNIZERS, Recognizer

logger = logging.getLogger(__name__)


class TableRun:
    """All models on the clips of one label scheme.

    A model that these clips do not suit is left out with its reason; the others go on.

    Args:
        made: Clips, classes and folds.
        entries: The models.
        seeds: Runs of each model that has a random state.
        folder: Where rows are kept.
        title: For messages; by default the label scheme.

    Attributes:
        made: As given.
        runs: Model -> its run.
        not_run: Model -> why it is left out.
    """

    def __init__(
        self,
        made: SchemeClips,
        entries: Mapping[str, ModelEntry],
        seeds: int,
        folder: Path,
        title: str = "",
    ) -> None:
        self.made, self.title = made, ", ".join(filter(None, (made.title, title)))
        self.runs: dict[str, EntryRun] = {}
        self.not_run: dict[str, str] = {}
        for name, entry in entries.items():
            own = _with_labels(entry, made.data.classes)
            place = (made.data, made.splits, own.seeds or seeds, folder / made.scheme)
            try:
                self.runs[name] = EntryRun(name, own, *place)
            except UserError as error:
                self._leave_out(name, error)

    def _leave_out(self, name: str, error: UserError) -> None:
        logger.warning("%s: %s is left out: %s", self.title, name, error)
        self.runs.pop(name, None)
        self.not_run[name] = str(error)

    def tell_costs(self) -> tuple[float, list[str]]:
        """Say what every model will cost.

        Returns:
            Seconds of all of them, and the models whose time only their first fold tells.
        """
        total, unknown = 0.0, []
        for name, run in list(self.runs.items()):
            try:
                cost = run.cost()
            except UserError as error:
                self._leave_out(name, error)
                continue
            total += cost.seconds or 0.0
            if cost.seconds is None:
                unknown.append(name)
            about = "?" if cost.seconds is None else duration(cost.seconds)
            seeds = len({seed for seed, _ in run.jobs})
            folds = f"{len(run.jobs) // seeds} folds x {seeds} seed{'s' if seeds > 1 else ''}"
            logger.info("%s: %s: %s, %s: %s", self.title, name, folds, cost.measured, about)
        return total, unknown

    def finish(self, published: Sequence[PublishedScore]) -> SchemeTable:
        """Run what is left.

        Args:
            published: Published numbers for the table.

        Raises:
            UserError: If no model can be run.
        """
        results = self.results()
        if not results:
            why = next(iter(self.not_run.values()))
            raise UserError(f"{self.made.title}: no model could be run ({why})")
        return SchemeTable(self.made, results, self.not_run, published)

    def results(self) -> dict[str, Result]:
        """Run what is left; model -> its rows, without those that are left out."""
        results: dict[str, Result] = {}
        for name, run in list(self.runs.items()):
            try:
                rows = run.finish()
            except UserError as error:
                self._leave_out(name, error)
                continue
            results[name] = Result(name, run.entry, rows, self.made.data.classes)
        return results


def tell_costs(tables: Sequence[TableRun]) -> None:
    """Say what every model of every table will cost, and all of them."""
    told = [table.tell_costs() for table in tables]
    names = dict.fromkeys(name for _, unknown in told for name in unknown)
    more = f", and {', '.join(names)}" if names else ""
    about = duration(sum(seconds for seconds, _ in told))
    logger.info("in all about %s%s; Ctrl-C stops, the same command goes on", about, more)


def inputs_of(entry: ModelEntry) -> tuple[str, ...]:
    """The inputs that a model reads, known before any clip is measured.

    Raises:
        UserError: If its recognizer is unknown, or an option names nothing that can be shown.
    """
    made: Any = registry.resolve(RECOGNIZERS, entry.recognizer, "recognizer")
    if hasattr(made, "inputs_for"):  # they depend on its options
        return tuple(made.inputs_for(entry.options))
    return tuple(made.inputs)


def require_trained(name: str, entry: ModelEntry) -> None:
    """Look for the checkpoint of DEFT-LLM, and the data that it learned from, of the first fold.

    Args:
        name: Name of the entry, for the message.
        entry: The entry; one without either passes.

    Raises:
        UserError: If one is not there, or the data has a wrong line.
    """
    first = entry.for_fold(0)
    option, network = first.trained or ("", "")
    try:
        if option == "checkpoint":
            model_path(network)
        if first.learned_from is not None:
            # To the end: a wrong line would stop the model later.
            deque(folder_records(Path(first.learned_from)), maxlen=0)
    except UserError as error:
        raise UserError(f"model {name}: {error}") from error


def require_options(name: str, entry: ModelEntry, told: Collection[str]) -> None:
    """Look whether a recognizer has all options that it needs, before any clip is measured.

    Args:
        name: Name of the entry, for the message.
        entry: The entry.
        told: Arguments that the benchmark gives by itself.

    Raises:
        UserError: If one is missing.
    """
    made = registry.resolve(RECOGNIZERS, entry.recognizer, "recognizer")
    for key, parameter in inspect.signature(made).parameters.items():
        needed = parameter.default is parameter.empty and parameter.kind != parameter.VAR_KEYWORD
        if needed and key not in (*told, *entry.options):
            raise UserError(
                f"model {name}: {entry.recognizer} needs its option {key}: "
                f"entries.{name}.options.{key}=…"
            )


def entry_by_name(name: str, given: Mapping[str, Any], schedule: object) -> dict[str, Any]:
    """The settings of an entry that is called like its recognizer and does not name it.

    Args:
        name: A key of ``RECOGNIZERS``.
        given: What is set of it.
        schedule: For a network that has no schedule of its own.
    """
    made: Any = registry.resolve(RECOGNIZERS, name, "recognizer")
    network = inspect.isclass(made) and issubclass(made, Recognizer)
    known: dict[str, Any] = {"schedule": schedule} if network else {}
    known["seeded"] = not network and "seed" in inspect.signature(made).parameters
    return {"recognizer": name, **known, **given}


def _with_labels(entry: ModelEntry, classes: tuple[str, ...]) -> ModelEntry:
    """The entry, told the names of the classes if its recognizer asks for them."""
    made = registry.resolve(RECOGNIZERS, entry.recognizer, "recognizer")
    if "labels" not in inspect.signature(made).parameters:
        return entry
    return entry.model_copy(update={"options": {**entry.options, "labels": list(classes)}})
