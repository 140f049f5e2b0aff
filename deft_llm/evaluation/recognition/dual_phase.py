"""The dual-phase benchmark: classes that only both phases together tell, and FMANet's ablations.

Every variant sees the same clips, the same fixed schedule and the same seeds; faces of the test
are in no training clip, and nothing is chosen on the test. One phase alone says nothing of the
class, and a logistic regression on both, which adds up what each says, is measured beside the
networks: it must not do better (``dual_phase_clips.py``).
"""

from __future__ import annotations

import json
import logging
import shutil
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
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
from deft_llm.evaluation.recognition.dual_phase_clips import (
    CLASSES,
    DualPhaseData,
    DualPhaseSet,
    dual_phase_set,
    dual_phase_specs,
)
from deft_llm.evaluation.tables import markdown
from deft_llm.files import write_lines
from deft_llm.metrics.figures import Figure
from deft_llm.recognizers.base import Recognizer, load_recognizer
from deft_llm.recognizers.linear import LogisticDual
from deft_llm.recognizers.task import Examples, RecognizerTask
from deft_llm.training.loop import fit
from deft_llm.training.machine import use_all_cores
from deft_llm.training.schedule import Schedule

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
LINEAR = "linear"  # the row of the logistic regression on both phases
_ONE_PHASE = ("phase_1", "phase_2")
_PX_EDGES = (1.0, 1.7)  # of the motion, canonical px: three columns of the table


class DualPhaseBars(Settings):
    """Accuracies to reach: FMANet's at least, at most that of a phase alone and a linear model."""

    fmanet: float
    one_phase: float
    linear: float


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
    rows = _rows(LINEAR, 0, test, _linear(train, test))
    for name in bench.variants:
        for seed in bench.seeds:
            rows += _rows(name, seed, test, _network(bench, name, seed, train, test, runs))
    shutil.rmtree(runs)
    write_lines(bench.cache / "dual-phase-predictions.jsonl", map(json.dumps, rows))
    scores = table(rows, {s.clip.name: s.motion_px for s in test.specs})
    most = {LINEAR: bench.bars.linear, **dict.fromkeys(_ONE_PHASE, bench.bars.one_phase)}
    bars = {"fmanet": bench.bars.fmanet, **most}
    figures = [
        Figure(f"{name}_accuracy", float(value), bars.get(str(name)), above=name not in most)
        for name, value in scores["accuracy"].items()
    ]
    figures.append(Figure("test_clips", float(len(test.specs))))
    return figures, _table(scores)


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


@dataclass(frozen=True)
class _Answers:
    """Class probabilities (N, classes) of the test clips, and what they cost."""

    shares: NDArray[np.floating]
    parameters: int
    seconds: float


def _network(
    bench: DualPhaseBenchmark,
    name: str,
    seed: int,
    train: DualPhaseSet,
    test: DualPhaseSet,
    runs: Path,
) -> _Answers:
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
    return _Answers(shares, sum(p.numel() for p in model.parameters()), seconds)


def _linear(train: DualPhaseSet, test: DualPhaseSet) -> _Answers:
    """A logistic regression on every pixel of both phases, as strong as on real flow images."""
    model = LogisticDual(len(CLASSES))
    seen, asked = (
        {name: x.numpy() for name, x in _examples(clips, model).inputs.items()}
        for clips in (train, test)
    )
    model.fit(seen, train.labels)
    started = time.perf_counter()
    shares = model.predict_proba(asked)
    seconds = (time.perf_counter() - started) / len(shares)
    return _Answers(shares, seen["flow_dual"][0].size + 1, seconds)


def _rows(name: str, seed: int, test: DualPhaseSet, answers: _Answers) -> list[dict[str, Any]]:
    """A ``Prediction`` for every test clip, with the model's name and size."""
    rows = []
    for spec, label, share in zip(test.specs, test.labels, answers.shares, strict=True):
        row = Prediction(
            "dual_phase",
            spec.clip.subject,
            spec.clip.name,
            0,
            seed,
            CLASSES[label],
            CLASSES[int(share.argmax())],
            dict(zip(CLASSES, share.tolist(), strict=True)),
            answers.seconds,
        )
        rows.append({"model": name, "parameters": answers.parameters, **asdict(row)})
    return rows


def _examples(clips: DualPhaseSet, model: Recognizer | LogisticDual) -> Examples:
    """Mirroring leaves the classes: they do not tell left from right."""
    return Examples(clips.flow, clips.labels, CLASSES, model.inputs)


def table(rows: Sequence[dict[str, Any]], px: dict[str, float]) -> pd.DataFrame:
    """Scores of every model from its predictions alone.

    Args:
        rows: Predictions, with "model" and "parameters".
        px: Clip -> motion of a phase, canonical px.

    Returns:
        A row a model: accuracy over all clips, over those of each class, and by motion;
        parameters. Means over seeds.
    """
    frame = pd.DataFrame(rows)
    frame["accuracy"] = frame["label"] == frame["predicted"]
    group: NDArray[np.intp] = np.digitize(frame["clip"].map(px).to_numpy(), _PX_EDGES)
    by_model = frame.groupby("model", sort=False)
    scores = by_model[["accuracy"]].mean()
    for name in CLASSES:
        scores[name] = frame[frame["label"] == name].groupby("model")["accuracy"].mean()
    low, high = _PX_EDGES
    for k, name in enumerate((f"< {low} px", f"{low}-{high} px", f"> {high} px")):
        scores[name] = frame[group == k].groupby("model")["accuracy"].mean()
    scores["parameters"] = by_model["parameters"].first()
    return scores


def _table(scores: pd.DataFrame) -> str:
    """The scores for people."""
    return markdown(
        [
            {
                "model": str(name).replace("_", " "),
                **{
                    str(c): f"{v:,.0f}" if c == "parameters" else f"{v:.3f}" for c, v in row.items()
                },
            }
            for name, row in scores.iterrows()
        ]
    )
