"""The files of a run of ME-VQA: tables, rows, confusion matrices, and what is handed in."""

from __future__ import annotations

import json
import math
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from deft_llm.evaluation.corpus_table.result_folder import RESULT
from deft_llm.evaluation.mevqa.questions import VqaQuestion, submission
from deft_llm.evaluation.mevqa.scores import confusions, intervals, vqa_scores
from deft_llm.evaluation.tables import markdown, write_table
from deft_llm.files import replacing, write_bytes, write_text
from deft_llm.metrics.classification import accuracy, uar, weighted_f1
from deft_llm.metrics.subjects import bootstrap, paired_difference
from deft_llm.viz.confusion import confusion_plot
from deft_llm.viz.plots import FORMS

SCORES = (
    *("coarse_uf1", "coarse_uar", "fine_uf1", "fine_uar", "yes_no_accuracy", "side_accuracy"),
    *("au_f1", "count_micro_mae", "count_micro_rmse", "count_macro_mae", "count_macro_rmse"),
    *("micro_or_macro_uf1", "micro_or_macro_uar", "bleu", "rouge1"),
    *("description_bleu", "description_rouge1", "unread"),
)
_PRIOR = "prior"  # the row that others are compared with


@dataclass(frozen=True)
class Answered:
    """All answers of one model.

    Attributes:
        name: Of the model.
        note: For the table.
        answers: Question name -> answer.
    """

    name: str
    note: str
    answers: Mapping[str, str]


def write_report(
    folder: Path,
    questions: Sequence[VqaQuestion],
    results: Sequence[Answered],
    published: Sequence[Mapping[str, Any]],
    notes: Sequence[str],
    simulated: bool,
) -> tuple[dict[str, float], str]:
    """Write all files.

    Args:
        folder: Where to.
        questions: The questions; those without a reference are only handed in.
        results: The models' answers.
        published: Scores from elsewhere, a row each.
        notes: What could not be used or answered.
        simulated: Whether the clips are simulated.

    Returns:
        The scores by name of the figure, and ``table.md``.
    """
    title = "ME-VQA on simulated clips" if simulated else "ME-VQA"
    values: dict[str, float] = {}
    parts = [f"# {title}\n"]
    scored = _with_reference(questions)
    for dataset, asked in scored.items():
        rows, more = _dataset(folder, dataset, asked, results)
        values |= more
        parts += [_counts(dataset, asked), markdown(rows)]
        for suffix in (".csv", ".tex"):
            write_table(folder / f"{dataset}{suffix}", rows)
    for result in results:
        submission(folder / f"submission-{result.name}.jsonl", questions, result.answers)
    _write_rows(folder / "rows.parquet", questions, results)
    if not scored:
        parts.append("No question has a reference answer: nothing is scored.\n")
    if published:
        parts.append("## Published\n\n" + markdown(_same_columns(published)))
    parts.append("## Left out\n\n" + "".join(f"- {n}\n" for n in notes or ["nothing"]))
    text = "\n".join(parts)
    write_text(folder / "table.md", text)
    found = {
        **{"title": title, "protocol": "answers to questions", "simulated": simulated},
        **{"made": date.today().isoformat(), "left_out": list(notes)},
        "tables": [
            table
            for dataset, asked in scored.items()
            for table in _class_tables(dataset, asked, results)
        ],
    }
    write_text(folder / RESULT, json.dumps(found, indent=1) + "\n")
    return values, text


def _with_reference(questions: Sequence[VqaQuestion]) -> dict[str, list[VqaQuestion]]:
    """Dataset, in alphabetical order -> its questions that can be scored."""
    found: dict[str, list[VqaQuestion]] = defaultdict(list)
    for question in questions:
        if question.answer:
            found[question.dataset].append(question)
    return dict(sorted(found.items()))


def _counts(dataset: str, asked: Sequence[VqaQuestion]) -> str:
    """The heading of a dataset, with how many questions of each kind there are."""
    kinds = Counter(q.kind for q in asked)
    said = ", ".join(f"{kind} {n}" for kind, n in sorted(kinds.items()))
    clips = len({q.clip for q in asked})
    return f"## {dataset}: {len(asked)} questions about {clips} clips\n\n{said}\n"


def _dataset(
    folder: Path, dataset: str, asked: Sequence[VqaQuestion], results: Sequence[Answered]
) -> tuple[list[dict[str, Any]], dict[str, float]]:
    """The rows of a dataset's table, best coarse UF1 first, and its figures."""
    values: dict[str, float] = {}
    rows = []
    prior = next((r for r in results if r.name == _PRIOR), None)
    for result in results:
        scores = vqa_scores(asked, result.answers)
        values |= {f"{result.name}_{dataset}_{name}": value for name, value in scores.items()}
        ends = intervals(asked, result.answers)
        cells: dict[str, Any] = {"model": result.name}
        for name in SCORES:
            if name in scores:
                # BLEU of short answers alone is not defined.
                cells[name] = "-" if math.isnan(scores[name]) else scores[name]
            if name in ends:
                cells[f"{name} 95 %"] = f"{ends[name].low:.3f} to {ends[name].high:.3f}"
        cells["coarse UF1 over prior"] = _gain(asked, result, prior)
        cells["note"] = result.note
        rows.append(cells)
        _draw(folder, dataset, asked, result)
    rows.sort(key=lambda row: -float(row.get("coarse_uf1", row["rouge1"])))
    return _same_columns(rows), values


def _class_tables(
    dataset: str, asked: Sequence[VqaQuestion], results: Sequence[Answered]
) -> Iterator[dict[str, Any]]:
    """The class questions of a dataset as tables for the leaderboard."""
    found = [(r, confusions(asked, r.answers)) for r in results]
    for kind, (labels, _) in found[0][1].items():
        rows = [_leader_row(result, dataset, of[kind][1]) for result, of in found]
        yield {
            "scheme": kind,
            "title": f"{dataset}, {kind} questions",
            "classes": list(labels),
            "corpora": [dataset],
            "clips": len({q.clip for q in asked if q.kind == kind}),
            "rows": rows,
            "published": [],
            "left_out": [],
        }


def _leader_row(result: Answered, dataset: str, matrices: NDArray[np.int64]) -> dict[str, Any]:
    pooled, own = matrices.sum(0), bootstrap([matrices])
    return {
        "model": result.name,
        "UF1": own.value,
        "95 % interval": f"{own.low:.3f} to {own.high:.3f}",
        "UAR": uar(pooled),
        "accuracy": accuracy(pooled),
        "weighted F1": weighted_f1(pooled),
        f"UF1 {dataset}": own.value,
        "seeds": 1,
        "selection": result.note or "fixed settings",
    }


def _gain(asked: Sequence[VqaQuestion], result: Answered, prior: Answered | None) -> str:
    """The gain in coarse UF1 over the prior, paired by subject."""
    if prior is None or prior.name == result.name:
        return ""
    ours, theirs = (confusions(asked, each.answers).get("coarse") for each in (result, prior))
    if ours is None or theirs is None:
        return ""
    gain = paired_difference([ours[1]], [theirs[1]])
    return f"{gain.value:+.3f} [{gain.low:+.3f}, {gain.high:+.3f}]"


def _draw(folder: Path, dataset: str, asked: Sequence[VqaQuestion], result: Answered) -> None:
    """Confusion matrices of the kinds with classes."""
    for kind, (labels, matrices) in confusions(asked, result.answers).items():
        matrix = matrices.sum(0)
        for form in FORMS:
            plot = confusion_plot(matrix, labels, f"{result.name}: {kind}, {dataset}", form)
            write_bytes(folder / f"confusion-{result.name}-{dataset}-{kind}.{form}", plot)


def _write_rows(path: Path, questions: Sequence[VqaQuestion], results: Sequence[Answered]) -> None:
    rows = [
        {
            "model": result.name,
            "question": q.name,
            "dataset": q.dataset,
            "subject": q.subject,
            "clip": q.clip,
            "kind": q.kind,
            "reference": q.answer,
            "answer": result.answers[q.name],
        }
        for result in results
        for q in questions
    ]
    with replacing(path) as half:
        pd.DataFrame(rows).to_parquet(half, index=False)


def _same_columns(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Rows with the columns of all of them; empty cells where one has none."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    ordered = [n for n in names if n not in ("data", "source", "note")]
    ordered += [n for n in names if n not in ordered]
    return [{name: row.get(name, "") for name in ordered} for row in rows]
