"""Recognition benchmarks: recognizers under one honest protocol, measured beside published numbers.

Every model sees the same folds. A network learns on a schedule fixed in advance; an option with
several choices is chosen by subject-wise validation inside each fold's training set; the test
subject decides nothing. Rows of predictions are kept per model, seed and fold, so a run that was
stopped goes on, and every table comes from rows alone.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field

from deft_llm import facs, protocols
from deft_llm.config import Settings, load
from deft_llm.corpora.precomputed import FlowImages, read_flow_images
from deft_llm.errors import UserError
from deft_llm.evaluation.recognition_runs import Entry, Material, run_entry
from deft_llm.evaluation.recognition_tables import Bar, Published, Result, bars, write_tables
from deft_llm.leaks import audit
from deft_llm.metrics.figures import Figure
from deft_llm.motion.encoding import medsqrt

logger = logging.getLogger(__name__)


class FewSubjects(Settings):
    """Training on the labels of a few subjects only, testing on all others.

    Attributes:
        subjects: How many are drawn; a draw without every class is drawn again.
        draws: How often.
        models: Which entries.
    """

    subjects: int = Field(default=4, ge=1)
    draws: int = Field(default=10, ge=1)
    models: list[str] = Field(default_factory=list)


class RecognitionBenchmark(Settings):
    """A file of ``eval/benchmarks`` with ``benchmark: recognition``.

    Attributes:
        benchmark: "recognition".
        data: Folder of flow images, relative to the environment variable DEFT_DATA.
        protocol: "loso", or "kfold" with ``folds`` groups of subjects.
        folds: For "kfold".
        seeds: Runs of each model that has a random state.
        models: Names of entries to run; empty runs all.
        entries: What can be run, by name.
        baseline: Entry that the others are compared with, clip by clip.
        few: Training on few subjects.
        bars: What has to be reached.
        published: Published numbers for the leaderboard page.
        output: Where rows, tables and plots go.
    """

    benchmark: str
    data: Path
    protocol: Literal["loso", "kfold"] = "loso"
    folds: int = 8
    seeds: int = Field(default=3, ge=1)
    models: list[str] = Field(default_factory=list)
    entries: dict[str, Entry]
    baseline: str
    few: FewSubjects | None = None
    bars: list[Bar] = Field(default_factory=list)
    published: list[Published] = Field(default_factory=list)
    output: Path


def run(path: Path, overrides: Sequence[str] = ()) -> tuple[list[Figure], str]:
    """Run the benchmark; the entry of ``evaluation.benchmarks``.

    Args:
        path: A file of ``eval/benchmarks``.
        overrides: Dotted changes.

    Returns:
        The figures, and the table as Markdown.

    Raises:
        UserError: If the file or the data is wrong, or a certain leak is found.
    """
    bench = load(RecognitionBenchmark, path, overrides)
    names = bench.models or list(bench.entries)
    if unknown := [n for n in (*names, bench.baseline) if n not in bench.entries]:
        raise UserError(
            f"{path}: model {unknown[0]!r}; expected some of {', '.join(bench.entries)}"
        )
    images = _read(bench.data)
    material = _material(images)
    splits = _splits(bench, images)
    leaks = audit(splits, images.clips.tolist(), list(images.images))
    logger.info("%s", leaks.to_markdown(images.clips.tolist()).splitlines()[0])
    if not leaks.clean:
        raise UserError(f"{bench.data}: {leaks.to_markdown(images.clips.tolist())}")
    results = {}
    for name in names:
        entry = bench.entries[name]
        rows = run_entry(name, entry, material, splits, bench.seeds, bench.output / "rows")
        results[name] = Result(name, entry, rows)
    few = _few_subjects(bench, material, names)
    bench.output.mkdir(parents=True, exist_ok=True)
    report = leaks.to_markdown(images.clips.tolist()) + "\n"
    (bench.output / "leaks.md").write_text(report, encoding="utf-8")
    text = write_tables(bench.output, results, few, bench.baseline, bench.published)
    return bars(bench.bars, results, few, bench.baseline), text


def _read(data: Path) -> FlowImages:
    root = os.environ.get("DEFT_DATA")
    if not root and not data.is_absolute():
        raise UserError(f"data {data}: set DEFT_DATA to the folder that holds it")
    return read_flow_images(Path(root or ".") / data)


def _material(images: FlowImages) -> Material:
    return Material(
        {"flow_uvs": medsqrt(images.images)},
        images.labels,
        images.subjects,
        images.clips,
        images.datasets,
        facs.THREE_CLASSES,
    )


def _splits(bench: RecognitionBenchmark, images: FlowImages) -> list[protocols.Split]:
    if bench.protocol == "loso":
        splits = protocols.composite(images.datasets, images.subjects)
    else:
        splits = protocols.subject_kfold(images.subjects, bench.folds)
    protocols.require_classes(splits, images.labels, facs.THREE_CLASSES)
    for split in splits:
        protocols.require_disjoint(split, images.subjects)
    return splits


def _few_subjects(
    bench: RecognitionBenchmark, material: Material, names: Sequence[str]
) -> dict[str, Result]:
    """Results of the draws, each a fold of its own; scores are averaged over draws."""
    if bench.few is None:
        return {}
    splits = few_subject_splits(
        material.subjects, material.labels, bench.few.subjects, bench.few.draws
    )
    found: dict[str, Result] = {}
    for name in bench.few.models:
        if name in names:
            entry = bench.entries[name]
            folder = bench.output / f"rows-{bench.few.subjects}-subjects"
            found[name] = Result(name, entry, run_entry(name, entry, material, splits, 1, folder))
    return found


def few_subject_splits(
    subjects: Any, labels: protocols.Indices, count: int, draws: int
) -> list[protocols.Split]:
    """Splits that train on ``count`` random subjects who between them show every class.

    Raises:
        UserError: If there are not more subjects than that.
    """
    names = np.asarray(subjects)
    people = np.unique(names)
    if count >= len(people):
        raise UserError(f"{count} subjects to train on of {len(people)}; expected fewer")
    splits: list[protocols.Split] = []
    rng = np.random.default_rng([6, count])
    rows = np.arange(len(names))
    while len(splits) < draws:
        chosen = np.isin(names, rng.permutation(people)[:count])
        if len(np.unique(labels[chosen])) == len(np.unique(labels)):
            fold = len(splits)
            nothing = rows[:0]
            splits.append(
                protocols.Split(f"draw {fold}", fold, rows[chosen], nothing, rows[~chosen])
            )
    return splits
