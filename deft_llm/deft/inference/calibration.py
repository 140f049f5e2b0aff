"""Calibrated probabilities of label likelihoods: a temperature, and the weight of codings.

Each label set has a temperature (Guo et al., ICML 2017), which does not change the ranking, and the
weight of what codings say of the AUs (``codings.py``), which does. Both are fitted on subjects
outside training and test sets. ``calibration.json`` in the checkpoint folder holds them and a
description of the fitting data; without it every temperature is 1 and codings count nothing.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from deft_llm import facs
from deft_llm.answers import COARSE_LABELS
from deft_llm.errors import UserError
from deft_llm.files import write_text

FILE = "calibration.json"
RANGE = (0.05, 20.0)  # bounds of the fit: perfect answers would drive a temperature to 0

# Label set -> the question type to ask, and the answers to compare.
LABEL_SETS: dict[str, tuple[str, tuple[str, ...]]] = {
    "coarse": ("class", COARSE_LABELS),
    "three": ("class", facs.THREE_CLASSES),
    "seven": ("emotion", facs.SCHEMES["7-dfme"]),
}


@dataclass(frozen=True)
class Calibration:
    """Temperatures and weights by label set.

    Attributes:
        temperatures: Name in ``LABEL_SETS`` -> temperature; a missing one is 1.
        fitted_on: Description of the fitting data, for information only.
        codings: Name in ``LABEL_SETS`` -> weight of the codings' log shares beside
            log-likelihoods; a missing one is 0.
    """

    temperatures: dict[str, float] = field(default_factory=dict)
    fitted_on: dict[str, Any] = field(default_factory=dict)
    codings: dict[str, float] = field(default_factory=dict)

    @classmethod
    def load(cls, folder: Path) -> Calibration:
        """Read the file of a checkpoint folder; without one, temperatures of 1.

        Raises:
            UserError: If the file is damaged, a temperature is not positive, a weight is
                negative, or a label set is unknown.
        """
        path = folder / FILE
        if not path.is_file():
            return cls()
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
            temperatures = {str(k): float(v) for k, v in values["temperatures"].items()}
            fitted_on = dict(values["fitted_on"])
            codings = {str(k): float(v) for k, v in values.get("codings", {}).items()}
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise UserError(
                f"{path}: damaged ({error}); expected temperatures and fitted_on; fit it again "
                "with eval/calibrate.py, or remove the file"
            ) from error
        for name, value in temperatures.items():
            if name not in LABEL_SETS or not 0 < value < float("inf"):
                raise UserError(
                    f"{path}: temperature {name!r}: {value}; expected a positive number for some "
                    f"of {', '.join(LABEL_SETS)}"
                )
        for name, value in codings.items():
            if name not in LABEL_SETS or not 0 <= value < float("inf"):
                raise UserError(
                    f"{path}: codings {name!r}: {value}; expected a number of at least 0 for some "
                    f"of {', '.join(LABEL_SETS)}"
                )
        return cls(temperatures, fitted_on, codings)

    def save(self, folder: Path) -> Path:
        """Write the file atomically."""
        path = folder / FILE
        values = {
            "temperatures": self.temperatures,
            "codings": self.codings,
            "fitted_on": self.fitted_on,
        }
        write_text(path, json.dumps(values, indent=1) + "\n")
        return path

    def probabilities(self, label_set: str, log_likelihoods: Tensor) -> Tensor:
        """Calibrated probabilities (..., L) of log-likelihoods (..., L), L as in ``LABEL_SETS``.

        Args:
            label_set: A name of ``LABEL_SETS``.
            log_likelihoods: With the codings' share, as ``Explainer.likelihoods`` gives them.
        """
        return (log_likelihoods / self.temperatures.get(label_set, 1.0)).softmax(-1)


def fit_calibration(
    log_likelihoods: Tensor, log_shares: Tensor, labels: Sequence[int]
) -> tuple[float, float]:
    """The temperature and the weight of codings that maximise the likelihood of the true labels.

    Args:
        log_likelihoods: (N, L) of the language model alone.
        log_shares: (N, L) of ``Codings.log_shares``.
        labels: N indices of the true labels.

    Returns:
        The temperature, within ``RANGE``, and the weight, at least 0.

    Raises:
        UserError: If there are no clips.
    """
    from scipy.optimize import minimize

    if not len(labels):
        raise UserError("no clip with one of the labels to fit a temperature on; simulate more")
    scores, shares = log_likelihoods.double(), log_shares.double()
    wanted = torch.as_tensor(labels, device=scores.device)

    def loss(values: Any) -> float:
        cool, weight = (float(value) for value in values)
        return float(torch.nn.functional.cross_entropy(cool * scores + weight * shares, wanted))

    # By the inverse of the temperature and by what it makes of the weight, the loss is convex.
    low, high = (1 / bound for bound in reversed(RANGE))
    found = minimize(loss, (1.0, 0.0), method="L-BFGS-B", bounds=((low, high), (0.0, None)))
    cool, weight = found.x.tolist()
    return 1 / cool, weight / cool
