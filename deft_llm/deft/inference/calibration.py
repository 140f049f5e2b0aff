"""Temperature scaling, which turns label likelihoods into calibrated probabilities.

There is one temperature per label set (Guo et al., ICML 2017), fitted on subjects outside training
and test sets; it does not change the ranking. ``calibration.json`` in the checkpoint folder holds
the temperatures and a description of the fitting data; without it every temperature is 1.
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
    """Temperatures by label set.

    Attributes:
        temperatures: Name in ``LABEL_SETS`` -> temperature; a missing one is 1.
        fitted_on: Description of the fitting data, for information only.
    """

    temperatures: dict[str, float] = field(default_factory=dict)
    fitted_on: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def load(cls, folder: Path) -> Calibration:
        """Read the file of a checkpoint folder; without one, temperatures of 1.

        Raises:
            UserError: If the file is damaged, a temperature is not positive, or a label set is
                unknown.
        """
        path = folder / FILE
        if not path.is_file():
            return cls()
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
            temperatures = {str(k): float(v) for k, v in values["temperatures"].items()}
            fitted_on = dict(values["fitted_on"])
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
        return cls(temperatures, fitted_on)

    def save(self, folder: Path) -> Path:
        """Write the file atomically."""
        path = folder / FILE
        values = {"temperatures": self.temperatures, "fitted_on": self.fitted_on}
        write_text(path, json.dumps(values, indent=1) + "\n")
        return path

    def probabilities(self, label_set: str, log_likelihoods: Tensor) -> Tensor:
        """Calibrated probabilities (..., L) of log-likelihoods (..., L), L as in ``LABEL_SETS``."""
        return (log_likelihoods / self.temperatures.get(label_set, 1.0)).softmax(-1)


def fit_temperature(log_likelihoods: Tensor, labels: Sequence[int]) -> float:
    """The temperature that maximises the likelihood of the true labels, within ``RANGE``.

    Args:
        log_likelihoods: (N, L).
        labels: N indices of the true labels.

    Raises:
        UserError: If there are no clips.
    """
    from scipy.optimize import minimize_scalar

    if not len(labels):
        raise UserError("no clip with one of the labels to fit a temperature on; simulate more")
    scores = log_likelihoods.double()
    wanted = torch.as_tensor(labels, device=scores.device)

    def loss(log_temperature: float) -> float:
        scaled = scores / torch.tensor(log_temperature).exp()
        return float(torch.nn.functional.cross_entropy(scaled, wanted))

    # Search over the logarithm: halving and doubling a temperature are equally large changes.
    low, high = torch.tensor(RANGE).log().tolist()
    found = minimize_scalar(loss, bounds=(low, high), method="bounded")
    return float(torch.tensor(found.x).exp())
