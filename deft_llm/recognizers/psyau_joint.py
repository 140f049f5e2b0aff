"""FED-PsyAU's network trained with its AUs in one call, as a benchmark's row.

``fit`` gets the training clips of one fold, so the prior is counted from them alone and its share
begins at 1 in every fold. Common trainers of folds know no AUs.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field

from deft_llm.config import validate_settings
from deft_llm.data.inputs import mirror_inputs
from deft_llm.recognizers.psyau import SIDE, PsyAU
from deft_llm.recognizers.psyau_task import AUS, AuLoss, joint_losses
from deft_llm.recognizers.saved import save_recognizer
from deft_llm.training.schedule import LearningRate, Shape

Floats = NDArray[np.float32]
_CLIPS_AT_ONCE = 64  # in prediction


class PsyAUTraining(AuLoss, LearningRate):
    """How the network is trained in a fold.

    Attributes:
        epochs: Passes over the training clips.
        batch_size: Clips of a step, limited to the number of clips.
    """

    # Epochs are those of the public code, which has AdamW at 5e-5 and batches of 256.
    learning_rate: float = Field(default=1e-3, gt=0)
    shape: Shape = "cosine"
    weight_decay: float = Field(default=1e-2, ge=0)
    epochs: int = Field(default=30, ge=1)
    batch_size: int = Field(default=64, ge=2)


class PsyAUJoint:
    """``PsyAU`` as a recognizer with ``fit`` and ``predict_proba``.

    Args:
        classes: Number of classes.
        training: Settings of ``PsyAUTraining``.
        seed: Of initial weights, order and mirroring.
        **options: Options of ``PsyAU``.
    """

    inputs: tuple[str, ...] = (*PsyAU.inputs, AUS)
    side: int = SIDE

    def __init__(
        self, classes: int, training: dict[str, Any] | None = None, seed: int = 0, **options: Any
    ) -> None:
        self.training = validate_settings(PsyAUTraining, training or {}, "psyau_joint: training")
        self.classes, self.options, self.seed = classes, options, seed
        self.network = self._fresh()

    def _fresh(self) -> PsyAU:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            return PsyAU(self.classes, **self.options)

    def fit(self, inputs: dict[str, Floats], labels: NDArray[np.int64]) -> None:
        """Train a new network on N clips; labels are class indices."""
        tensors = self._tensors(inputs) | {AUS: torch.from_numpy(inputs[AUS])}
        self.network, given = self._fresh().train(), torch.from_numpy(labels)
        self.network.take_prior(tensors[AUS])  # of this fold's training clips
        rng = np.random.default_rng([self.seed, 51])
        size = min(self.training.batch_size, len(given))
        steps = self.training.epochs * (len(given) // size)
        optimizer = torch.optim.AdamW(
            self.network.parameters(), weight_decay=self.training.weight_decay
        )
        order = np.empty(0, np.int64)
        for step in range(steps):
            self.training.set_rate(optimizer, step, steps)
            # Full batches: what is left of a permutation is not used.
            if len(order) < size:
                order = rng.permutation(len(given))
            rows, order = torch.from_numpy(order[:size]), order[size:]
            self.network.progress(step / steps)
            chosen = {name: x[rows] for name, x in tensors.items()}
            flipped, mirror = torch.from_numpy(rng.random(size) < 0.5), mirror_inputs(chosen)
            batch = {
                name: torch.where(flipped.view(-1, *[1] * (x.ndim - 1)), mirror[name], x)
                for name, x in chosen.items()
            }
            found = self.network.joint({name: batch[name] for name in PsyAU.inputs})
            losses = joint_losses(found, {**batch, "labels": given[rows]}, self.training.au_weight)
            optimizer.zero_grad()
            losses["loss"].backward()
            optimizer.step()
        # At the end of its fall: a trained network answers without the prior.
        self.network.progress(1.0)

    @torch.no_grad()
    def predict_proba(self, inputs: dict[str, Floats]) -> NDArray[np.float64]:
        """Class probabilities (N, classes); coded AUs are not looked at."""
        self.network.eval()
        tensors = self._tensors(inputs)
        count = len(next(iter(tensors.values())))
        found = [
            self.network({name: x[rows] for name, x in tensors.items()}).double().softmax(1)
            for rows in torch.arange(count).split(_CLIPS_AT_ONCE)
        ]
        return np.asarray(torch.cat(found).numpy(), np.float64)

    def _tensors(self, inputs: dict[str, Floats]) -> dict[str, torch.Tensor]:
        """Inputs of the network."""
        return {name: torch.from_numpy(np.ascontiguousarray(inputs[name])) for name in PsyAU.inputs}

    def save(self, folder: Path, classes: tuple[str, ...]) -> None:
        """Write weights and configuration of the network, to be opened as ``psyau``."""
        description = {"recognizer": "psyau", "options": self.options}
        save_recognizer(self.network, folder, classes, description)
