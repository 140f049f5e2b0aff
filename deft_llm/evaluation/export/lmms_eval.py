"""A task folder of lmms-eval 0.7: YAML, JSON lines, pictures, and the functions of the task.

lmms-eval --model … --tasks NAME --include_path FOLDER
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import yaml

from deft_llm.evaluation.export import scoring
from deft_llm.evaluation.export.material import Task
from deft_llm.files import write_lines, write_text

_TOKENS = 32
_METRICS = {"uf1": True, "uar": True, "accuracy": True, "unread": False}  # higher is better?
_FUNCTIONS = '''

# ---------------------------------------------------------------- what lmms-eval calls

LABELS = {labels}


def doc_to_visual(doc):
    """The pictures of a question."""
    from pathlib import Path

    from PIL import Image

    here = Path(__file__).resolve().parent
    return [Image.open(here / name).convert("RGB") for name in doc["pictures"]]


def doc_to_text(doc, lmms_eval_specific_kwargs=None):
    """The question."""
    return doc["question"]


def process_results(doc, results):
    """The true label and the answer, for each score: they are pooled over all clips."""
    pair = (doc["answer"], results[0])
    return {{name: pair for name in ({names},)}}


def aggregate_uf1(pairs):
    return uf1(pairs, LABELS)


def aggregate_uar(pairs):
    return uar(pairs, LABELS)


def aggregate_accuracy(pairs):
    return accuracy(pairs, LABELS)


def aggregate_unread(pairs):
    return unread(pairs, LABELS)
'''


class _Function(str):
    """A name that YAML shows as ``!function utils.name``."""


def _represented(dumper: yaml.SafeDumper, name: _Function) -> yaml.Node:
    return dumper.represent_scalar("!function", f"utils.{name}")


class _Dumper(yaml.SafeDumper):
    """Writes the functions of a task."""


_Dumper.add_representer(_Function, _represented)


def write(folder: Path, task: Task) -> list[Path]:
    """Write the task beside its pictures.

    Args:
        folder: Folder of the task, which has its pictures.
        task: The task.

    Returns:
        The files.
    """
    listed, settings = folder / f"{task.name}.jsonl", folder / f"{task.name}.yaml"
    functions = folder / "utils.py"
    write_lines(listed, (json.dumps(asdict(clip), ensure_ascii=False) for clip in task.clips))
    names = ", ".join(repr(name) for name in _METRICS)
    source = Path(scoring.__file__).read_text(encoding="utf-8").rstrip()
    write_text(functions, source + _FUNCTIONS.format(labels=list(task.labels), names=names))
    write_text(settings, yaml.dump(_settings(task, listed), Dumper=_Dumper, sort_keys=False))
    return [settings, functions, listed]


def _settings(task: Task, listed: Path) -> dict[str, object]:
    return {
        "task": task.name,
        "dataset_path": "json",
        # The harness reads data from wherever it is started.
        "dataset_kwargs": {"data_files": {"test": str(listed.resolve())}},
        "test_split": "test",
        "output_type": "generate_until",
        "doc_to_visual": _Function("doc_to_visual"),
        "doc_to_text": _Function("doc_to_text"),
        "doc_to_target": "answer",
        "generation_kwargs": {
            "max_new_tokens": _TOKENS,
            "temperature": 0,
            "top_p": 1.0,
            "num_beams": 1,
            "do_sample": False,
        },
        "process_results": _Function("process_results"),
        "metric_list": [
            {
                "metric": name,
                "aggregation": _Function(f"aggregate_{name}"),
                "higher_is_better": higher,
            }
            for name, higher in _METRICS.items()
        ],
        "metadata": [{"version": 1.0}],
    }
