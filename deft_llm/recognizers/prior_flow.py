"""Our own recognizer on flow, pre-trained on simulated AUs before it sees a real label.

Not from a paper. A small convolutional network learns, only from the flow of simulated faces,
which AUs act on which side and which emotion that combination was coded as. Its weights are frozen
on real clips. In each fold a logistic regression on pixels and on the network's features is fitted
as a correction that is added to the network's class scores. The L2 penalty pulls the correction to
zero, so few labels change little; without real labels the network's scores are the answer.

Letters: N clips, B batch, S side, K AUs.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file
from scipy.optimize import minimize
from scipy.special import log_softmax, softmax
from torch import Tensor, nn

from deft_llm.errors import UserError
from deft_llm.files import digest
from deft_llm.motion.encoding import mirror_flow
from deft_llm.recognizers.base import Inputs, Recognizer
from deft_llm.simulator.flow.images import AUS

Floats = NDArray[np.float32]
_WIDTH = 48


class FlowPriorNet(Recognizer):
    """Predicts emotion and sided AUs from flow; 0.35 million parameters.

    Args:
        classes: Number of classes.
        side: Side of the flow, pixels; a multiple of 4.
        dropout: Rate before the shared features.
    """

    inputs: ClassVar[tuple[str, ...]] = ("flow_uvs",)
    feature_dim = _WIDTH

    def __init__(self, classes: int, side: int = 28, dropout: float = 0.3) -> None:
        super().__init__()
        self.side = side
        self.trunk = nn.Sequential(
            nn.Conv2d(3, _WIDTH // 2, 5, stride=2, padding=2),
            nn.ReLU(),
            nn.Conv2d(_WIDTH // 2, _WIDTH, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(_WIDTH, _WIDTH, 3, padding=1),
            nn.ReLU(),
        )
        cells = (side // 4) ** 2
        self.shared = nn.Sequential(
            nn.Dropout(dropout), nn.Linear(cells * _WIDTH, 128), nn.ReLU(), nn.Dropout(dropout)
        )
        self.emotion = nn.Linear(128, classes)
        # One logit for each AU and side; used only in pre-training.
        self.aus = nn.Linear(128, 2 * len(AUS))

    def forward_features(self, inputs: Inputs) -> Tensor:
        """Tokens (B, 49, 48): one for each of the 7x7 cells at 28x28."""
        maps: Tensor = self.trunk(inputs["flow_uvs"])
        return maps.flatten(2).transpose(1, 2)

    def describe(self, inputs: Inputs) -> Tensor:
        """The shared features (B, 128)."""
        shared: Tensor = self.shared(self.forward_features(inputs).flatten(1))
        return shared

    def forward(self, inputs: Inputs) -> Tensor:
        """Class logits (B, classes)."""
        logits: Tensor = self.emotion(self.describe(inputs))
        return logits


def load_priors(folder: Path, classes: int) -> list[FlowPriorNet]:
    """Load the networks that ``train_configs/recognizers/flow_prior.yaml`` wrote to a folder.

    Raises:
        UserError: If there are none, or their weights do not fit.
    """
    files = sorted(folder.glob("net*.safetensors"))
    if not files:
        raise UserError(
            f"{folder}: no net*.safetensors; run train.py "
            "train_configs/recognizers/flow_prior.yaml first, or name its folder by the option "
            "weights"
        )
    networks = []
    for file in files:
        network = FlowPriorNet(classes).eval()
        try:
            network.load_state_dict(load_file(file))
        except (RuntimeError, SafetensorError) as error:
            what = "damaged" if isinstance(error, SafetensorError) else "weights of another network"
            raise UserError(
                f"{file}: {what}; delete it and run train.py "
                "train_configs/recognizers/flow_prior.yaml again"
            ) from error
        networks.append(network)
    return networks


class Prior:
    """Applies the networks to clips and caches the results, because folds repeat the same clips.

    Args:
        networks: Pre-trained networks; their class scores are averaged.
    """

    def __init__(self, networks: Sequence[FlowPriorNet]) -> None:
        self.networks = networks
        self._kept: dict[str, Floats] = {}

    def __call__(self, flow: Floats) -> tuple[Floats, Floats]:
        """Features (N, D) and class scores (N, classes), averaged over both mirror images."""
        # Keyed by content: the same clip has another row number in every fold.
        keys = [digest(np.ascontiguousarray(clip).data) for clip in flow]
        new = [i for i, key in enumerate(keys) if key not in self._kept]
        if new:
            for i, row in zip(new, self._read(flow[new]), strict=True):
                self._kept[keys[i]] = row
        rows = np.stack([self._kept[key] for key in keys])
        classes = self.networks[0].emotion.out_features
        return rows[:, :-classes], rows[:, -classes:]

    def _read(self, flow: Floats) -> Floats:
        features, scores = [], []
        with torch.no_grad():
            for network in self.networks:
                seen = [torch.from_numpy(f) for f in (flow, mirror_flow(flow))]
                described = [network.describe({"flow_uvs": x}) for x in seen]
                # Features are concatenated: the root keeps their squared length, and so the effect
                # of the penalty, independent of the number of networks.
                features.append(torch.stack(described).mean(0) / len(self.networks) ** 0.5)
                # Logits are averaged, not probabilities, because the correction is added to logits.
                scores.append(torch.stack([network.emotion(d) for d in described]).mean(0))
        rows: Floats = torch.cat([*features, torch.stack(scores).mean(0)], 1).numpy()
        return rows


# Every fold builds a new PriorFlow; all share one Prior with its cached answers.
@lru_cache(maxsize=8)
def _load_prior(folder: Path, classes: int, seed: int | None) -> Prior:
    networks = load_priors(folder, classes)
    return Prior(networks if seed is None else [networks[seed % len(networks)]])


class PriorFlow:
    """Simulation-trained class scores, corrected by a penalised logistic regression.

    Args:
        classes: Number of classes.
        weights: Folder of pre-trained networks.
        C: Inverse strength of the L2 penalty on the correction, including its offsets.
        features: Scale of the networks' features relative to the pixels.
        real: If False, only the simulation-trained scores are used and no label is read.
        seed: Which network to use (modulo their number); None uses all of them.
    """

    inputs: tuple[str, ...] = ("flow_uvs",)

    def __init__(
        self,
        classes: int,
        weights: str,
        C: float = 1e-3,
        features: float = 3.0,
        real: bool = True,
        seed: int | None = None,
    ) -> None:
        self.prior = _load_prior(Path(weights), classes, seed)
        self.classes, self.C, self.features, self.real = classes, C, features, real
        self.correction: NDArray[np.float64] | None = None  # (D + 1, classes)

    def fit(self, inputs: dict[str, Floats], labels: NDArray[np.int64]) -> None:
        """Fit the correction on N clips, with classes weighted inversely to their frequency."""
        if not self.real:
            return
        vectors, scores = self._describe(inputs["flow_uvs"])
        # With an L2 penalty the solution lies in the span of the clips (representer theorem), so
        # it is found with as many unknowns as there are clips, not values in a vector.
        turn = np.linalg.qr(vectors.T)[0]
        span = vectors @ turn
        counts = np.bincount(labels, minlength=self.classes)
        # As scikit-learn's "balanced" weights, over the classes that occur.
        each = (len(labels) / ((counts > 0).sum() * np.maximum(counts, 1)))[labels]
        truth = np.eye(self.classes)[labels]

        def loss(flat: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
            weight = flat.reshape(span.shape[1], self.classes)
            logs = log_softmax(scores + span @ weight, axis=1)
            # scikit-learn's objective: C weighs the clips, the penalty has weight 1.
            value = -self.C * float((each * (logs * truth).sum(1)).sum())
            slope = self.C * span.T @ ((np.exp(logs) - truth) * each[:, None]) + weight
            return value + 0.5 * float((weight**2).sum()), slope.ravel()

        # Zero is the network's own answer.
        start = np.zeros(span.shape[1] * self.classes)
        found = minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": 200})
        self.correction = turn @ found.x.reshape(span.shape[1], self.classes)

    def predict_proba(self, inputs: dict[str, Floats]) -> NDArray[np.float64]:
        """Class probabilities (N, classes)."""
        vectors, scores = self._describe(inputs["flow_uvs"])
        if self.correction is not None:
            scores = scores + vectors @ self.correction
        probabilities: NDArray[np.float64] = softmax(scores, axis=1)
        return probabilities

    def _describe(self, flow: Floats) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Vectors (N, D + 1) of pixels, features and a constant 1; class scores (N, classes)."""
        features, scores = self.prior(flow)
        count = len(flow)
        columns = [flow.reshape(count, -1), self.features * features, np.ones((count, 1))]
        return np.concatenate(columns, axis=1).astype(np.float64), scores.astype(np.float64)
