"""The tasks of ``train.py``, selected by the ``task`` key of its YAML."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from deft_llm.config import apply_overrides, read_yaml
from deft_llm.errors import UserError
from deft_llm.files import naming_disk_errors
from deft_llm.registry import resolve

TASKS: dict[str, str] = {
    "deft": "deft_llm.deft.tuning.train:train",
    "deft_flow": "deft_llm.deft.tuning.flow_instruction:train",
    "flow": "deft_llm.flow_models.task:train",
    "recognizer": "deft_llm.recognizers.task:train",
    "mol": "deft_llm.recognizers.mol_task:train",
    "psyau": "deft_llm.recognizers.psyau_task:train",
    "federated": "deft_llm.evaluation.federated.tables:train",
    "landmarks": "deft_llm.landmark_models.task:train",
    "spotting": "deft_llm.spotters.task:train",
    "queries": "deft_llm.unimer.query_task:train",
    "reader": "deft_llm.unimer.reader_task:train",
    "gaze": "deft_llm.gaze.task:train",
    "flow_prior": "deft_llm.recognizers.flow_prior_task:train",
    "facet": "deft_llm.facet.task:train",
}
"""Name -> "module:function(values, where)", imported on use."""

COSTS: dict[str, str] = {"deft": "deft_llm.deft.tuning.dry_run:estimate_cost"}
"""Name -> "module:function(values, where) -> lines": the estimated cost of a run."""


def run(path: Path, overrides: Sequence[str] = ()) -> None:
    """Train from a configuration file.

    Args:
        path: A file of ``train_configs/``.
        overrides: Dotted ``key=value`` changes.

    Raises:
        UserError: If the file, the task or a setting is wrong, or the disk is full or read-only.
    """
    values, name = _read(path, overrides)
    train: Callable[..., None] = resolve(TASKS, name, f"{path}: task")
    with naming_disk_errors(Path(str(values.get("output", ".")))):
        train(values, str(path))


def estimate_cost(path: Path, overrides: Sequence[str] = ()) -> list[str]:
    """Estimate the cost of a run, as lines to print; nothing is trained or written.

    Raises:
        UserError: As ``run``, or if the task has no cost estimate.
    """
    values, name = _read(path, overrides)
    resolve(TASKS, name, f"{path}: task")  # a misspelt task gets the same message as in run
    if name not in COSTS:
        raise UserError(f"{path}: task {name} has no dry run; those that have: {', '.join(COSTS)}")
    estimate: Callable[..., list[str]] = resolve(COSTS, name, "task")
    return estimate(values, str(path))


def _read(path: Path, overrides: Sequence[str]) -> tuple[dict[str, Any], str]:
    """The settings of a configuration and its task."""
    values = apply_overrides(read_yaml(path), overrides)
    return values, str(values.pop("task", None))
