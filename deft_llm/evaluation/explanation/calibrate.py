"""Fit a checkpoint's calibration, temperatures and weights of codings, on validation faces.

The model was not trained on these faces, and no benchmark in ``apart_from`` tests on them. What is
fitted is written to the checkpoint folder (``deft/inference/calibration.py``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from deft_llm import resources
from deft_llm.config import Settings, load, validate_settings
from deft_llm.data.clip_dataset import MeasuredClip
from deft_llm.data.simulated import SimulatedData, head_at_hand, simulated_clips, specs
from deft_llm.deft.inference.calibration import LABEL_SETS, Calibration, fit_calibration
from deft_llm.deft.inference.explainer import Explainer
from deft_llm.errors import UserError
from deft_llm.evaluation.benchmark import settings_of
from deft_llm.evaluation.explanation.references import training_draw
from deft_llm.evaluation.explanation.replies import ask
from deft_llm.evaluation.explanation.scores import labelled_scores
from deft_llm.evaluation.faces import require_unseen
from deft_llm.metrics.classification import expected_calibration_error
from deft_llm.metrics.figures import Figure

_TESTED = ("data", "rows", "probe", "still")  # parts of benchmarks that hold the clips of a test


class CalibrationSettings(Settings):
    """``eval/benchmarks/calibration.yaml``.

    Attributes:
        checkpoint: Folder of the model, where the file is written; "embedded" is the one in the
            package.
        recipes: Recipes it was trained with.
        data: Sets of validation clips; sets whose head is missing are skipped.
        apart_from: Benchmark files whose clips must share no face with the validation clips.
        output: Folder for measured clips; the benchmarks' own.
    """

    checkpoint: Path
    recipes: list[Path]
    data: list[SimulatedData]
    apart_from: list[Path]
    output: Path = Path("runs/benchmarks")


def calibrate(path: Path, overrides: Sequence[str] = ()) -> tuple[list[Figure], Path]:
    """Fit the calibration and write it.

    Args:
        path: ``eval/benchmarks/calibration.yaml``, or a file like it.
        overrides: Dotted changes.

    Returns:
        What is fitted, and the calibration error before and after on the same clips; the file.

    Raises:
        UserError: If validation faces are used in training or tests, a benchmark has no simulated
            clips, or no clips are left.
    """
    settings = load(CalibrationSettings, path, overrides)
    sets = [data for data in settings.data if head_at_hand(data.head)]
    if not sets:
        raise UserError(f"{path}: no validation clips can be rendered; add a set of the head 'own'")
    drawn = [spec for data in sets for spec in specs(data)]
    require_unseen(training_draw(settings.recipes), drawn, "training draw and validation")
    for benchmark in settings.apart_from:
        for tested in _tested(benchmark):
            require_unseen(specs(tested), drawn, f"{benchmark} and validation")
    explainer = Explainer.load(settings.checkpoint)  # a wrong folder fails before the rendering
    clips = [clip for data in sets for clip in simulated_clips(data, settings.output)]
    figures, calibration = _fitted(explainer, clips)
    fitted_on = {
        "clips": len(clips),
        "subjects": len({clip.spec.subject for clip in clips}),
        # Only what decides the clips goes into the file, not how they were computed.
        "sets": [data.model_dump(exclude={"workers", "variants", "turns"}) for data in sets],
    }
    kept = replace(calibration, fitted_on=fitted_on)
    return figures, kept.save(resources.checkpoint(settings.checkpoint))


def _fitted(
    explainer: Explainer, clips: Sequence[MeasuredClip]
) -> tuple[list[Figure], Calibration]:
    """What is fitted, and its figures with the calibration error before and after."""
    explainer.calibration = Calibration()  # the language model alone
    replies = ask(explainer, clips, write=False)
    figures: list[Figure] = []
    fitted = Calibration()
    for name, (_, names) in LABEL_SETS.items():
        likelihoods, labels, aus = labelled_scores(clips, replies, name)
        shares = explainer.codings.log_shares(names, aus)
        temperature, weight = fit_calibration(likelihoods, shares, labels.tolist())
        fitted.temperatures[name], fitted.codings[name] = temperature, weight
        figures += [Figure(f"temperature_{name}", temperature), Figure(f"codings_{name}", weight)]
        both = likelihoods + weight * shares
        for when, by, scores in (("before", Calibration(), likelihoods), ("after", fitted, both)):
            probabilities = by.probabilities(name, scores)
            error = expected_calibration_error(probabilities.numpy(), labels.numpy())
            figures.append(Figure(f"ece_{name}_{when}", error))
    return figures, fitted


def _tested(benchmark: Path) -> list[SimulatedData]:
    """All sets of a benchmark file; its parts hold one set, or several by name.

    Raises:
        UserError: If it has none, so that nothing would be kept apart from it, or one is wrong.
    """
    values = settings_of(resources.benchmark(benchmark))
    sets: dict[str, Any] = {}
    for key in _TESTED:
        part = values.get(key)
        # A single set is recognised by its own field "clips".
        named = {"": part} if isinstance(part, dict) and "clips" in part else part
        if isinstance(named, dict):
            sets |= {f"{key}.{name}".rstrip("."): one for name, one in named.items()}
    if not sets:
        raise UserError(
            f"apart_from: {benchmark} has no simulated clips ({', '.join(_TESTED)}) to keep the "
            "validation apart from; name benchmarks that test on some"
        )
    return [
        validate_settings(SimulatedData, one, f"{benchmark}: {name}") for name, one in sets.items()
    ]
