"""What ``train.py`` can train, by the ``task`` key of its YAML."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from deft_llm.config import apply_overrides, read_yaml
from deft_llm.errors import UserError, did_you_mean

# name -> "module:function(values, where)", imported when asked for.
TASKS: dict[str, str] = {
    "deft": "deft_llm.deft.tuning.train:train",
    "deft_flow": "deft_llm.deft.tuning.flow_instruction:train",
    "flow": "deft_llm.flow_models.task:train",
    "recognizer": "deft_llm.recognizers.task:train",
    "landmarks": "deft_llm.landmark_models.task:train",
    "flow_prior": "deft_llm.recognizers.flow_prior_task:train",
}


# name -> "module:function(values, where) -> lines": what a run would cost.
PLANS: dict[str, str] = {"deft": "deft_llm.deft.tuning.cost:plan"}


def run(path: Path, overrides: Sequence[str] = ()) -> None:
    """Train what a configuration describes.

    Args:
        path: A file of ``train_configs/``.
        overrides: Dotted ``key=value`` changes.

    Raises:
        UserError: If the file, the task or a setting is wrong.
    """
    values, name = _read(path, overrides)
    task: Callable[..., None] = _resolve(TASKS[name])
    task(values, str(path))


def plan(path: Path, overrides: Sequence[str] = ()) -> list[str]:
    """What a run would cost, in lines to print; nothing is trained or written.

    Raises:
        UserError: As ``run``, or if the task has no plan.
    """
    values, name = _read(path, overrides)
    if name not in PLANS:
        raise UserError(f"{path}: task {name} has no dry run; those that have: {', '.join(PLANS)}")
    lines: list[str] = _resolve(PLANS[name])(values, str(path))
    return lines


def _read(path: Path, overrides: Sequence[str]) -> tuple[dict[str, Any], str]:
    """The settings of a configuration and its task."""
    values = apply_overrides(read_yaml(path), overrides)
    name = str(values.pop("task", None))
    if name not in TASKS:
        hint = did_you_mean(name, TASKS)
        raise UserError(f"{path}: task {name!r}; expected one of {', '.join(TASKS)}{hint}")
    return values, name


def _resolve(place: str) -> Callable[..., Any]:
    module, _, function = place.partition(":")
    found: Callable[..., Any] = getattr(importlib.import_module(module), function)
    return found
