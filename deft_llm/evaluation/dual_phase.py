"""The dual-phase benchmark: classes that only both phases together tell, and FMANet's ablations.

Every variant sees the same clips, the same fixed schedule and the same seeds; faces of the test
are in no training clip, and nothing is chosen on the test. One phase alone can be right in half of
the clips at most (``dual_phase_clips.py``).
"""

from __future__ import annotations

import json
import logging
import shutil
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from accelerate.utils import set_seed
from numpy.typing import NDArray
from pydantic import Field
from safetensors.torch import load_model

from deft_llm.clip import Prediction
from deft_llm.config import Settings, load
from deft_llm.errors import UserError
from deft_llm.evaluation.dual_phase_clips import (
    CLASSES,
    GROUPS,
    DualPhaseData,
    DualPhaseSet,
    dual_phase_set,
    dual_phase_specs,
)
from deft_llm.metrics.figures import Figure
from deft_llm.recognizers.base import Recognizer, load_recognizer
from deft_llm.training.loop import Schedule, fit
from deft_llm.training.recognizer import Examples, RecognizerTask
from deft_llm.training.runs import use_all_cores
from deft_llm.unimer.records import write_lines

logger = logging.getLogger(__name__)

VARIANTS: dict[str, dict[str, Any]] = {
    "fmanet": {},
    "phase_1": {"phases": "first"},
    "phase_2": {"phases": "second"},
    "sum": {"phases": "sum"},
    "cof": {"phases": "cof"},
    "mm_cof": {"phases": "mm_cof"},
    "without_gate": {"gate": False},
    "without_attention": {"attention": False},
}
"""Row of the ablation table -> options of FMANet."""
_ONE_PHASE = ("phase_1", "phase_2")
_PX_EDGES = (1.0, 1.7)  # of the motion, canonical px: three columns of the table


class DualPhaseBars(Settings):
    """What has to be reached: least accuracy of FMANet, largest of each phase alone."""

    fmanet: float
    one_phase: float


class DualPhaseBenchmark(Settings):
    """A file of ``eval/benchmarks`` with ``benchmark: dual_phase``.

    Attributes:
        benchmark: "dual_phase".
        train: Clips to learn from.
        test: Clips to score, of other faces.
        options: Options of FMANet that all variants share.
        variants: Which rows of the ablation table to measure.
        seeds: Of initial weights and order; scores are means over them.
        batch_size: Clips of a batch.
        schedule: The same for every variant.
        bars: Bars.
        cache: Where measured clips, unfinished runs and predictions are kept.
    """

    benchmark: str
    train: DualPhaseData
    test: DualPhaseData
    options: dict[str, Any] = Field(default_factory=dict)
    variants: list[str] = list(VARIANTS)
    seeds: list[int] = [0]
    batch_size: int = Field(default=32, ge=2)
    schedule: Schedule
    bars: DualPhaseBars
    cache: Path = Path("runs/benchmarks")


def run(path: Path, overrides: Sequence[str] = ()) -> tuple[list[Figure], str]:
    """Run the benchmark; an interrupted one goes on, a finished one is measured anew.

    Args:
        path: A file of ``eval/benchmarks``.
        overrides: Dotted changes.

    Returns:
        The figures, and the ablation table as Markdown.

    Raises:
        UserError: If a variant is unknown, or training and test share a face or a clip.
    """
    bench = load(DualPhaseBenchmark, path, overrides)
    if unknown := [name for name in bench.variants if name not in VARIANTS]:
        raise UserError(f"{path}: variant {unknown[0]!r}; expected some of {', '.join(VARIANTS)}")
    audit(bench.train, bench.test)
    train, test = (dual_phase_set(data, bench.cache) for data in (bench.train, bench.test))
    use_all_cores()
    runs = bench.cache / "dual-phase-runs"
    rows = [
        row
        for name in bench.variants
        for seed in bench.seeds
        for row in _predictions(bench, name, seed, train, test, runs)
    ]
    shutil.rmtree(runs)
    write_lines(bench.cache / "dual-phase-predictions.jsonl", map(json.dumps, rows))
    scores = table(rows, {s.clip.name: s.motion_px for s in test.specs})
    bars = {"fmanet": bench.bars.fmanet, **dict.fromkeys(_ONE_PHASE, bench.bars.one_phase)}
    figures = [
        Figure(f"{name}_accuracy", float(value), bars.get(str(name)), above=name not in _ONE_PHASE)
        for name, value in scores["accuracy"].items()
    ]
    figures.append(Figure("test_clips", float(len(test.specs))))
    return figures, markdown(scores)


def audit(train: DualPhaseData, test: DualPhaseData) -> None:
    """Raise a UserError where two sets share a face or the recipe of a clip."""
    drawn = [list(dual_phase_specs(data)) for data in (train, test)]
    faces, clips = (
        [{getattr(spec.clip, name) for spec in specs} for specs in drawn]
        for name in ("subject", "seed")
    )
    if both := (faces[0] & faces[1]) | (clips[0] & clips[1]):
        raise UserError(
            f"train and test share {min(map(str, both))} and {len(both) - 1} more; set "
            "first_identity and seed of the two apart"
        )


def _predictions(
    bench: DualPhaseBenchmark,
    name: str,
    seed: int,
    train: DualPhaseSet,
    test: DualPhaseSet,
    runs: Path,
) -> list[dict[str, Any]]:
    """Train one variant, or go on with it, and let it answer every test clip."""
    set_seed(seed)
    model = load_recognizer("fmanet", len(CLASSES), **{**bench.options, **VARIANTS[name]})
    assert isinstance(model, Recognizer)
    task = RecognizerTask(model, _examples(train, model), bench.batch_size, seed)
    final = fit(task, bench.schedule, runs / f"{name}-{seed}")
    load_model(task.model, final / "model.safetensors")  # of a run that was finished before
    started = time.perf_counter()
    shares = task.probabilities(_examples(test, model))
    seconds = (time.perf_counter() - started) / len(shares)
    parameters = sum(p.numel() for p in model.parameters())
    rows = []
    for spec, label, share in zip(test.specs, test.labels, shares, strict=True):
        row = Prediction(
            "dual_phase",
            spec.clip.subject,
            spec.clip.name,
            0,
            seed,
            CLASSES[label],
            CLASSES[int(share.argmax())],
            dict(zip(CLASSES, share.tolist(), strict=True)),
            seconds,
        )
        rows.append({"model": name, "parameters": parameters, **asdict(row)})
    return rows


def _examples(clips: DualPhaseSet, model: Recognizer) -> Examples:
    """Mirroring leaves the classes: they do not tell left from right."""
    return Examples(clips.flow, clips.labels, CLASSES, model.inputs)


def table(rows: Sequence[dict[str, Any]], px: dict[str, float]) -> pd.DataFrame:
    """Scores of every model from its predictions alone.

    Args:
        rows: Predictions, with "model" and "parameters".
        px: Clip -> motion of a phase, canonical px.

    Returns:
        A row a model: accuracy, share of clips whose rise and whose fall were read rightly,
        accuracy by motion, parameters; means over seeds.
    """
    frame = pd.DataFrame(rows)
    label = frame["label"].map(CLASSES.index).to_numpy()
    guess = frame["predicted"].map(CLASSES.index).to_numpy()
    frame["accuracy"] = label == guess
    frame["rise"] = label // len(GROUPS) == guess // len(GROUPS)
    frame["fall"] = label % len(GROUPS) == guess % len(GROUPS)
    group: NDArray[np.intp] = np.digitize(frame["clip"].map(px).to_numpy(), _PX_EDGES)
    by_model = frame.groupby("model", sort=False)
    scores = by_model[["accuracy", "rise", "fall"]].mean()
    low, high = _PX_EDGES
    for k, name in enumerate((f"< {low} px", f"{low}-{high} px", f"> {high} px")):
        scores[name] = frame[group == k].groupby("model")["accuracy"].mean()
    scores["parameters"] = by_model["parameters"].first()
    return scores


def markdown(scores: pd.DataFrame) -> str:
    """The table for people."""
    lines = [
        "| model | " + " | ".join(scores.columns) + " |",
        "|" + "---|" * (len(scores.columns) + 1),
    ]
    for name, row in scores.iterrows():
        cells = [f"{v:,.0f}" if c == "parameters" else f"{v:.3f}" for c, v in row.items()]
        lines.append(f"| {str(name).replace('_', ' ')} | " + " | ".join(cells) + " |")
    return "\n".join(lines)
