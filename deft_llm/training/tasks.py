"""What ``train.py`` can train, by the ``task`` key of its YAML."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Callable, Sequence
from pathlib import Path

from deft_llm.config import apply_overrides, read_yaml
from deft_llm.errors import UserError

# name -> "module:function(values, where)", imported when asked for.
TASKS: dict[str, str] = {
    "deft": "deft_llm.training.deft:train",
    "flow": "deft_llm.training.flow:train",
    "recognizer": "deft_llm.training.recognizer:train",
    "landmarks": "deft_llm.training.landmarks:train",
    "flow_prior": "deft_llm.training.flow_prior:train",
}


def run(path: Path, overrides: Sequence[str] = ()) -> None:
    """Train what a configuration describes.

    Args:
        path: A file of ``train_configs/``.
        overrides: Dotted ``key=value`` changes.

    Raises:
        UserError: If the file, the task or a setting is wrong.
    """
    values = apply_overrides(read_yaml(path), overrides)
    name = str(values.pop("task", None))
    if name not in TASKS:
        near = difflib.get_close_matches(name, TASKS, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise UserError(f"{path}: task {name!r}; expected one of {', '.join(TASKS)}{hint}")
    module, _, function = TASKS[name].partition(":")
    task: Callable[..., None] = getattr(importlib.import_module(module), function)
    task(values, str(path))
