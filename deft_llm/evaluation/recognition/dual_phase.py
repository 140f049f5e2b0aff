"""The dual-phase benchmark: classes that need both phases, and FMANet's ablations.

Every variant sees the same clips, the same fixed schedule and the same seeds; test faces are in no
training clip, and nothing is selected on the test set. One phase alone carries no information on
the class. A logistic regression on both phases, which adds up a score for each, is measured with
the networks and must not do better than chance (``dual_phase_clips.py``).
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
from deft_llm.errors import UserError
from deft_llm.evaluation.benchmark import Benchmark
from deft_llm.evaluation.faces import require_unseen
from deft_llm.evaluation.recognition.dual_phase_clips import (
    OFFSET_CLASSES,
    DualPhaseData,
    DualPhaseSet,
    dual_phase_set,
    dual_phase_specs,
)
from deft_llm.evaluation.tables import markdown
from deft_llm.files import digest, write_lines
from deft_llm.machine import use_all_cores
from deft_llm.metrics.figures import Figure
from deft_llm.recognizers.base import Recognizer, load_recognizer
from deft_llm.recognizers.linear import LogisticDual
from deft_llm.recognizers.task import RecognizerTask
from deft_llm.simulator.scene.clip_spec import ClipSpec
from deft_llm.training.loop import fit
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
# Roughly thirds of the default log-uniform range, 0.5 to 3 px.
_PX_EDGES = (1.0, 1.7)  # of the motion, canonical px: three columns of the table


class DualPhaseBenchmark(Benchmark):
    """A file of ``eval/benchmarks`` with ``benchmark: dual_phase``.

    An interrupted run resumes if called again with the same settings; after a finished one,
    everything is trained again.

    Attributes:
        train: Training clips.
        test: Test clips, of other faces.
        options: Options of FMANet that all variants share.
        variants: Rows of the ablation table to measure.
        seeds: Seeds of initial weights and clip order; scores are means over them.
        batch_size: Clips per batch.
        schedule: Training schedule, the same for every variant.
    """

    train: DualPhaseData
    test: DualPhaseData
    options: dict[str, Any] = Field(default_factory=dict)
    variants: list[str] = list(VARIANTS)
    seeds: list[int] = [0]
    batch_size: int = Field(default=32, ge=2)
    schedule: Schedule

    def figure_names(self) -> list[str]:
        """See the base."""
        return [*(f"{name}_accuracy" for name in (LINEAR, *VARIANTS)), "test_clips"]

    def measure(self) -> tuple[list[Figure], str]:
        """See the base."""
        if unknown := [name for name in self.variants if name not in VARIANTS]:
            known = ", ".join(VARIANTS)
            raise UserError(f"variant {unknown[0]!r}; expected some of {known}")
        require_unseen(_clip_specs(self.train), _clip_specs(self.test), "train and test")
        train, test = (dual_phase_set(data, self.output) for data in (self.train, self.test))
        use_all_cores()
        runs = self.output / f"dual-phase-runs-{self._key()}"
        rows = _rows(LINEAR, 0, test, _linear(train, test))
        for name in self.variants:
            for seed in self.seeds:
                rows += _rows(name, seed, test, self._network(name, seed, train, test, runs))
        # Only now that all variants are done: until then the folders are what a rerun resumes from.
        shutil.rmtree(runs)
        write_lines(self.output / "predictions-dual-phase.jsonl", map(json.dumps, rows))
        scores = table(rows, {s.clip.name: s.motion_px for s in test.specs})
        values = {f"{name}_accuracy": float(v) for name, v in scores["accuracy"].items()}
        return self.with_bars({**values, "test_clips": float(len(test.specs))}), _table(scores)

    def _key(self) -> str:
        """A hash of what a variant's training depends on besides its name and seed."""
        # With other settings, a network that an interrupted run has left would be another one.
        told = self.model_dump_json(include={"options", "batch_size", "schedule"})
        return digest(told, self.train.digest())[:12]

    def _network(
        self, name: str, seed: int, train: DualPhaseSet, test: DualPhaseSet, runs: Path
    ) -> _Answers:
        """Train one variant, or resume it, and predict every test clip."""
        # Before the network is built, whose initial weights it decides.
        set_seed(seed)
        model = load_recognizer("fmanet", len(OFFSET_CLASSES), **{**self.options, **VARIANTS[name]})
        assert isinstance(model, Recognizer)
        task = RecognizerTask(model, train.clips, self.batch_size, seed)
        final = fit(task, self.schedule, runs / f"{name}-{seed}")
        load_model(task.model, final / "model.safetensors")  # ``fit`` skips a run finished earlier
        started = time.perf_counter()
        probabilities = task.probabilities(test.clips)
        seconds = (time.perf_counter() - started) / len(probabilities)
        return _Answers(probabilities, sum(p.numel() for p in model.parameters()), seconds)


def _clip_specs(data: DualPhaseData) -> list[ClipSpec]:
    return [spec.clip for spec in dual_phase_specs(data)]


@dataclass(frozen=True)
class _Answers:
    """Class probabilities (N, classes) of the test clips, parameter count and seconds per clip."""

    probabilities: NDArray[np.floating]
    parameters: int
    seconds: float


def _linear(train: DualPhaseSet, test: DualPhaseSet) -> _Answers:
    """A logistic regression on every pixel of both phases, settings as for real flow images."""
    model = LogisticDual(len(OFFSET_CLASSES))
    learnt, scored = (drawn.clips.clips.inputs(model.inputs) for drawn in (train, test))
    model.fit(learnt, train.clips.labels)
    started = time.perf_counter()
    probabilities = model.predict_proba(scored)
    seconds = (time.perf_counter() - started) / len(probabilities)
    # Two classes need one weight vector and one bias.
    return _Answers(probabilities, learnt["flow_dual"][0].size + 1, seconds)


def _rows(name: str, seed: int, test: DualPhaseSet, answers: _Answers) -> list[dict[str, Any]]:
    """A ``Prediction`` for every test clip, with the model's name and size."""
    rows = []
    for spec, label, values in zip(
        test.specs, test.clips.labels, answers.probabilities, strict=True
    ):
        row = Prediction(
            dataset="dual_phase",
            subject=spec.clip.subject,
            clip=spec.clip.name,
            fold=0,
            seed=seed,
            label=OFFSET_CLASSES[label],
            predicted=OFFSET_CLASSES[int(values.argmax())],
            probabilities=dict(zip(OFFSET_CLASSES, values.tolist(), strict=True)),
            seconds=answers.seconds,
        )
        rows.append({"model": name, "parameters": answers.parameters, **asdict(row)})
    return rows


def table(rows: Sequence[dict[str, Any]], px: dict[str, float]) -> pd.DataFrame:
    """Scores of every model from its predictions alone.

    Args:
        rows: Predictions, with "model" and "parameters".
        px: Clip -> motion of a phase, canonical px.

    Returns:
        One row per model: accuracy over all clips, for each class, and by motion; parameters.
        Means over seeds.
    """
    frame = pd.DataFrame(rows)
    frame["accuracy"] = frame["label"] == frame["predicted"]
    group: NDArray[np.intp] = np.digitize(frame["clip"].map(px).to_numpy(), _PX_EDGES)
    # Models stay in the order in which they were run.
    by_model = frame.groupby("model", sort=False)
    scores = by_model[["accuracy"]].mean()
    for name in OFFSET_CLASSES:
        scores[name] = frame[frame["label"] == name].groupby("model")["accuracy"].mean()
    low, high = _PX_EDGES
    for k, name in enumerate((f"< {low} px", f"{low}-{high} px", f"> {high} px")):
        scores[name] = frame[group == k].groupby("model")["accuracy"].mean()
    scores["parameters"] = by_model["parameters"].first()
    return scores


def _table(scores: pd.DataFrame) -> str:
    """The scores as a Markdown table."""
    rows = []
    for name, row in scores.iterrows():
        numbers = {str(c): float(v) for c, v in row.items() if c != "parameters"}
        count = f"{row['parameters']:,.0f}"
        rows.append({"model": str(name).replace("_", " "), **numbers, "parameters": count})
    return markdown(rows)
