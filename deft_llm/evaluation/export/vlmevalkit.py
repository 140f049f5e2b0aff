"""A task of VLMEvalKit: one TSV with the pictures in it, and the class that evaluates it.

Put the TSV into ``$LMUData``, the class beside ``vlmeval/dataset`` (its head says how).
"""

from __future__ import annotations

import base64
import csv
import io
import json
from keyword import iskeyword
from pathlib import Path

from deft_llm.evaluation.export import scoring
from deft_llm.evaluation.export.material import Task, TaskClip
from deft_llm.files import write_text

_CLASS = '''

# ----------------------------------------------------------------- what VLMEvalKit calls
# Copy {name}.tsv to $LMUData (by default ~/LMUData) and this file into vlmeval/dataset; import the
# class in vlmeval/dataset/__init__.py and add it to IMAGE_DATASET there. Then:
#   python run.py --data {name} --model …

LABELS = {labels}


def evaluate_rows(rows):
    """The scores of rows with "answer" (the true label) and "prediction" (what a model wrote)."""
    pairs = [(row["answer"], row["prediction"]) for row in rows]
    return {{f.__name__: f(pairs, LABELS) for f in (uf1, uar, accuracy, unread)}}


try:
    from vlmeval.dataset.image_base import ImageBaseDataset
    from vlmeval.smp import dump, load
except ImportError:  # scored without the harness
    ImageBaseDataset = object


class {title}(ImageBaseDataset):
    {said}

    TYPE = "VQA"
    DATASET_URL = {{"{name}": ""}}
    DATASET_MD5 = {{}}

    @classmethod
    def supported_datasets(cls):
        return ["{name}"]

    def evaluate(self, eval_file, **judge_kwargs):
        """Score the answers that the harness collected; no judge is asked."""
        found = evaluate_rows(load(eval_file).to_dict("records"))
        dump(found, eval_file.rsplit(".", 1)[0] + "_score.json")
        return found
'''


def write(folder: Path, task: Task) -> list[Path]:
    """Write the task; pictures lie in the TSV, so that one file is all.

    Args:
        folder: Folder of the task, which has its pictures.
        task: The task.

    Returns:
        The files.
    """
    buffer = io.StringIO()
    columns = ("index", "image", "question", "answer", "category", "subject", "clip")
    rows = csv.writer(buffer, delimiter="\t", lineterminator="\n")
    rows.writerow(columns)
    for index, clip in enumerate(task.clips):
        place = (clip.dataset, clip.subject, clip.name)
        rows.writerow((index, _pictures(folder, clip), clip.question, clip.answer, *place))
    table, source = folder / f"{task.name}.tsv", folder / f"{task.name}.py"
    write_text(table, buffer.getvalue())
    title = "".join(part.capitalize() for part in task.name.split("_"))
    # A task may be called like the corpus 4DME, or "none"; no class may.
    title = title if title.isidentifier() and not iskeyword(title) else f"Me{title}"
    # As a literal: the title holds a path, whose signs may mean something in a text of Python.
    told = {"title": title, "labels": list(task.labels), "said": repr(task.title)}
    code = _CLASS.format(name=task.name, **told)
    write_text(source, Path(scoring.__file__).read_text(encoding="utf-8").rstrip() + code)
    return [table, source]


def _pictures(folder: Path, clip: TaskClip) -> str:
    """One picture as base64, several as a list of them."""
    coded = [base64.b64encode((folder / p).read_bytes()).decode() for p in clip.pictures]
    return coded[0] if len(coded) == 1 else json.dumps(coded)
