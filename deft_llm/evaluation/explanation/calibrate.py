"""Fits the temperatures of a checkpoint's label likelihoods on validation faces.

Those faces are neither trained on nor in any benchmark that is named; what was fitted goes into
the checkpoint folder (``deft/inference/calibration.py``).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from deft_llm import resources
from deft_llm.answers import NOTHING
from deft_llm.config import Settings, load, read_yaml
from deft_llm.data.simulated_test import TestClip, head_at_hand, test_clips
from deft_llm.deft.inference.calibration import LABEL_SETS, Calibration, fit_temperature
from deft_llm.deft.inference.explainer import Explainer
from deft_llm.errors import UserError
from deft_llm.evaluation.explanation.simulated import audit, training_draw
from deft_llm.evaluation.explanation.simulated_scores import Reply, ask, class_of
from deft_llm.metrics.classification import expected_calibration_error
from deft_llm.metrics.figures import Figure
from deft_llm.unimer.build import SimulatedData, specs


class CalibrationPlan(Settings):
    """``eval/benchmarks/calibration.yaml``.

    Attributes:
        checkpoint: Folder of the model, which gets the file; "embedded": the package's.
        recipes: What it was trained by.
        data: Sets of validation clips; those of a head that is not at hand are left out.
        apart_from: Benchmark files whose ``data`` shares no face with the validation clips.
        cache: Where measured clips are kept.
    """

    checkpoint: Path
    recipes: list[Path]
    data: list[SimulatedData]
    apart_from: list[Path]
    cache: Path = Path("runs/benchmarks")


def calibrate(path: Path, overrides: Sequence[str] = ()) -> tuple[list[Figure], Path]:
    """Fit the temperatures and write them.

    Args:
        path: ``eval/benchmarks/calibration.yaml``, or a file like it.
        overrides: Dotted changes.

    Returns:
        Temperatures, and the calibration error before and after on the same clips; the file.

    Raises:
        UserError: If validation faces are trained on or tested on, or nothing is left to fit on.
    """
    plan = load(CalibrationPlan, path, overrides)
    sets = [data for data in plan.data if head_at_hand(data.head)]
    if not sets:
        raise UserError(f"{path}: no validation clips can be rendered; add a set of the head 'own'")
    drawn = [spec for data in sets for spec in specs(data)]
    audit(training_draw(plan.recipes), drawn, "training draw and validation")
    for benchmark in plan.apart_from:
        for tested in _tested(benchmark):
            audit(list(specs(tested)), drawn, f"{benchmark} and validation")
    clips = [clip for data in sets for clip in test_clips(data, plan.cache)]
    explainer = Explainer.load(plan.checkpoint)
    replies = ask(explainer, clips, write=False)
    figures, temperatures = [], {}
    for name in LABEL_SETS:
        likelihoods, labels = labelled(clips, replies, name)
        temperatures[name] = fit_temperature(likelihoods, labels.tolist())
        figures.append(Figure(f"temperature_{name}", temperatures[name]))
        for when, fitted in (("before", {}), ("after", temperatures)):
            probabilities = Calibration(fitted).probabilities(name, likelihoods)
            error = expected_calibration_error(probabilities.numpy(), labels.numpy())
            figures.append(Figure(f"ece_{name}_{when}", error))
    fitted_on = {
        "clips": len(clips),
        "subjects": len({clip.spec.subject for clip in clips}),
        "sets": [data.model_dump(exclude={"workers", "variants", "turns"}) for data in sets],
    }
    return figures, Calibration(temperatures, fitted_on).save(resources.checkpoint(plan.checkpoint))


def labelled(
    clips: Sequence[TestClip], replies: Sequence[Reply], label_set: str
) -> tuple[torch.Tensor, torch.Tensor]:
    """Log-likelihoods (N, L) and true indices (N,) of the clips that have a label of the set.

    Clips without a face have no likelihoods and are left out.
    """
    names = LABEL_SETS[label_set][1]
    rows, wanted = [], []
    for clip, reply in zip(clips, replies, strict=True):
        if label_set == "coarse":
            nothing = NOTHING if not clip.spec.aus else "others"
            label: str | None = class_of(clip.spec) or nothing
        else:
            label = class_of(clip.spec, label_set)
        said = reply.emotions if label_set == "seven" else reply.likelihoods
        if label is not None and said:
            rows.append([said[name] for name in names])
            wanted.append(names.index(label))
    return torch.tensor(rows).reshape(len(rows), len(names)), torch.tensor(wanted).long()


def _tested(benchmark: Path) -> list[SimulatedData]:
    """The sets of a benchmark file; ``data`` and ``probe`` hold one, or several by name."""
    values = read_yaml(resources.benchmark(benchmark))
    sets: list[SimulatedData] = []
    for key in ("data", "probe"):
        part = values.get(key, {})
        sets += [SimulatedData(**s) for s in ([part] if "clips" in part else part.values())]
    return sets
