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
from deft_llm.data.flow_images import FlowImages, read_flow_images
from deft_llm.errors import UserError
from deft_llm.evaluation.recognition.runs import Entry, Material, run_entry
from deft_llm.evaluation.recognition.tables import Bar, Published, Result, bars, write_tables
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
        protocol: "loso" (of all datasets together: the composite), "kfold" with ``folds`` groups
            of subjects, "cross_dataset" (each dataset is tested by the others), or "hold_out" of
            a share of the subjects.
        folds: For "kfold".
        share: Of the subjects that "hold_out" tests.
        oracle_epoch: Run networks with the epoch that is best on the test subject, as
            "oracle_NAME", whatever their schedules say. Never for honest numbers.
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
    protocol: Literal["loso", "kfold", "cross_dataset", "hold_out"] = "loso"
    folds: int = 8
    share: float = Field(default=0.25, gt=0, lt=1)
    oracle_epoch: bool = False
    seeds: int = Field(default=3, ge=1)
    models: list[str] = Field(default_factory=list)
    entries: dict[str, Entry]
    baseline: str
    few: FewSubjects | None = None
    bars: list[Bar] = Field(default_factory=list)
    published: list[Published] = Field(default_factory=list)
    output: Path


def run(path: Path, overrides: Sequence[str] = ()) -> tuple[list[Figure], str]:
    """Run the benchmark; the entry of ``evaluation.benchmark``.

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
    told = [n for bar in bench.bars for n in (bar.model, bar.over or bar.model)]
    if unknown := [n for n in (*names, bench.baseline, *told) if n not in bench.entries]:
        raise UserError(
            f"{path}: model {unknown[0]!r}; expected some of {', '.join(bench.entries)}"
        )
    if bench.oracle_epoch:
        names = [_with_oracle(bench.entries, name) for name in names]
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
    people = np.char.add(np.char.add(images.datasets, "/"), images.subjects)
    make = {
        "loso": lambda: protocols.composite(images.datasets, images.subjects),
        "kfold": lambda: protocols.subject_kfold(people, bench.folds),
        "cross_dataset": lambda: protocols.cross_dataset(images.datasets, images.subjects),
        "hold_out": lambda: protocols.hold_out(people, bench.share),
    }
    splits = make[bench.protocol]()
    protocols.require_classes(splits, images.labels, facs.THREE_CLASSES)
    for split in splits:
        protocols.require_disjoint(split, people)
    return splits


def _with_oracle(entries: dict[str, Entry], name: str) -> str:
    """Add a network's entry with the oracle, and name it; others stay as they are."""
    schedule = entries[name].schedule
    if schedule is None or schedule.oracle_epoch:
        return name
    chosen = schedule.model_copy(update={"oracle_epoch": True})
    entries[f"oracle_{name}"] = entries[name].model_copy(update={"schedule": chosen})
    return f"oracle_{name}"


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
