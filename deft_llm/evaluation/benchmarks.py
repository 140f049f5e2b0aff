"""What ``eval/run.py`` can run, by the ``benchmark`` key of its YAML."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from pathlib import Path

from deft_llm.config import read_yaml
from deft_llm.errors import UserError
from deft_llm.metrics.figures import Figure

# name -> "module:function(path, overrides) -> (figures, tables)", imported when asked for.
BENCHMARKS: dict[str, str] = {
    "simulated": "deft_llm.evaluation.simulated:run",
    "deft_simulated": "deft_llm.evaluation.deft_simulated:run",
    "srflow": "deft_llm.evaluation.flow:run",
    "dual_phase": "deft_llm.evaluation.dual_phase:run",
    "landmarks": "deft_llm.evaluation.landmarks:run",
    "recognition": "deft_llm.evaluation.recognition:run",
    "flow_units": "deft_llm.evaluation.flow_units:run",
    "unimer": "deft_llm.evaluation.unimer:run",
}


def run(path: Path, overrides: Sequence[str] = ()) -> tuple[list[Figure], str]:
    """Run the benchmark that a file describes.

    Raises:
        UserError: If the file or its ``benchmark`` key is wrong.
    """
    name = str(read_yaml(path).get("benchmark"))
    if name not in BENCHMARKS:
        known = ", ".join(BENCHMARKS)
        raise UserError(f"{path}: benchmark {name!r}; expected one of {known}")
    module, _, function = BENCHMARKS[name].partition(":")
    run_one: Callable[..., tuple[list[Figure], str]] = getattr(
        importlib.import_module(module), function
    )
    return run_one(path, overrides)
