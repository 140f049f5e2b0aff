"""What ``eval/run.py`` can run, by the ``benchmark`` key of its YAML."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from deft_llm.config import read_yaml
from deft_llm.metrics.figures import Figure
from deft_llm.registry import resolve

# name -> "module:function(path, overrides) -> (figures, tables)", imported when asked for.
BENCHMARKS: dict[str, str] = {
    "simulated": "deft_llm.evaluation.explanation.simulated:run",
    "deft_simulated": "deft_llm.evaluation.explanation.deft_simulated:run",
    "srflow": "deft_llm.evaluation.flow.benchmark:run",
    "dual_phase": "deft_llm.evaluation.recognition.dual_phase:run",
    "landmarks": "deft_llm.evaluation.landmarks.benchmark:run",
    "recognition": "deft_llm.evaluation.recognition.benchmark:run",
    "flow_units": "deft_llm.evaluation.explanation.flow_aus:run",
    "unimer": "deft_llm.evaluation.unimer.benchmark:run",
}


def run(path: Path, overrides: Sequence[str] = ()) -> tuple[list[Figure], str]:
    """Run the benchmark that a file describes.

    Raises:
        UserError: If the file or its ``benchmark`` key is wrong.
    """
    name = str(read_yaml(path).get("benchmark"))
    run_one: Callable[..., tuple[list[Figure], str]]
    run_one = resolve(BENCHMARKS, name, "benchmark", where=str(path))
    return run_one(path, overrides)
