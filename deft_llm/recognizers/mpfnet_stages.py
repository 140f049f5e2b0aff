"""MPFNet's progressive training: triplets, magnified clips, then episodes.

Ma et al., "MPFNet" (arXiv 2506.09735), three stages. Learnt from the training clips of a fold
alone, so that no test subject takes part in any of them:

1. PLTN trains GFE by triplets, on clips as filmed. Every clip of a batch is an anchor with its
   hardest partners (batch-hard, Hermans et al., 2017): one forward pass a clip instead of three.
2. PLSM trains AFE by cross-entropy on magnified copies, as many of every class.
3. Episodes train both: prototypes of five clips a class, one query a class.

Reproduced: the stages and their losses. Our own choice: embeddings of length 1, learning rates and
lengths, and factors that are drawn alike for all classes: if rare classes were magnified more, the
amount of motion alone would tell them.

Letters: N clips, B batch, C classes, S side.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import trange

from deft_llm.config import Settings
from deft_llm.data.inputs import mirror_inputs
from deft_llm.recognizers.ca_i3d import CAI3D, pool, pooled_size
from deft_llm.recognizers.mpfnet import MPFNet, class_means
from deft_llm.training.schedule import LearningRate

FACTORS = tuple(range(1, 11))  # of the magnification, as in the paper's figure
_MARGIN, _EMBEDDING = 1.0, 128
Labels = NDArray[np.int64]
Magnify = Callable[[int, float], NDArray[np.float32]]
"""Row of a clip and factor -> its volume (5, T, S, S)."""


class Stages(Settings):
    """Lengths and learning rates of the stages.

    Attributes:
        triplets: Steps of PLTN; 0 leaves it out.
        magnified: Steps of PLSM; 0 leaves it out.
        episodes: Steps of the last stage.
        batch_size: Clips of a step in the first two.
        shots: Most clips of a class behind a prototype in an episode.
        prior_rate: Peak learning rate of the first two.
        rate: Peak learning rate of the last.
    """

    triplets: int = Field(default=150, ge=0)
    magnified: int = Field(default=150, ge=0)
    episodes: int = Field(default=100, ge=1)
    batch_size: int = Field(default=18, ge=4)
    shots: int = Field(default=5, ge=1)
    # The public code has 0.01 for triplets, 0.001 for magnified clips and 0.05 for episodes.
    prior_rate: float = Field(default=0.01, gt=0)
    rate: float = Field(default=0.01, gt=0)


def train_stages(
    network: MPFNet,
    volumes: Tensor,
    labels: Labels,
    magnify: Magnify,
    stages: Stages,
    seed: int = 0,
) -> None:
    """Train a network by the stages that it has encoders for, and set its prototypes.

    Args:
        network: Fresh.
        volumes: (N, 5, T, S, S) of the training clips.
        labels: (N,) class indices, every class up to the largest with a clip.
        magnify: Makes magnified volumes of these clips.
        stages: What to do.
        seed: Of heads, order, mirroring and factors.
    """
    rng = np.random.default_rng([seed, 21])
    if network.gfe is not None and stages.triplets:
        _pltn(network.gfe, network.visible(volumes), labels, stages, rng)
    if network.afe is not None and stages.magnified:
        copies = balanced_factors(labels, rng)
        magnified = torch.from_numpy(np.stack([magnify(*copy) for copy in copies]))
        classes = labels[[row for row, _ in copies]]
        _plsm(network.afe, network.visible(magnified), classes, stages, rng)
    _episodes(network, volumes, labels, stages, rng)
    network.remember(volumes, torch.from_numpy(labels))


def batch_hard(embeddings: Tensor, labels: Tensor, margin: float = _MARGIN) -> Tensor:
    """Triplet loss of each clip's furthest clip of its class and nearest of another.

    Args:
        embeddings: (B, D).
        labels: (B,).
        margin: By how much the other class has to be further, squared distance.

    Returns:
        Mean of max(0, d²(a, p) - d²(a, n) + margin) over the clips that have both; exactly 0 if
        none has, or if the classes are separated.
    """
    squares = (embeddings[:, None] - embeddings[None]).square().sum(-1)
    same = labels[:, None] == labels[None]
    own = torch.eye(len(labels), dtype=torch.bool, device=labels.device)
    # 0 is below and infinity above any distance, so what is left out is never chosen.
    positive = squares.masked_fill(~same | own, 0).amax(1)
    negative = squares.masked_fill(same, torch.inf).amin(1)
    both = (same & ~own).any(1) & ~same.all(1)
    # An infinite distance to no clip would make 0 * inf a NaN.
    losses = F.relu(positive - torch.where(both, negative, 0) + margin)
    return (losses * both).sum() / both.sum().clamp_min(1)


def balanced_factors(labels: Labels, rng: np.random.Generator) -> list[tuple[int, float]]:
    """Rows and factors of a set in which all classes have about as many clips.

    A clip of a class of n clips has ceil(largest / n) copies, each with a factor of its own.
    """
    counts = np.bincount(labels)
    copies = []
    for row, label in enumerate(labels):
        # Rounded up; a factor is given out once, so there are 10 copies at most.
        wanted = min(-(-int(counts.max()) // int(counts[label])), len(FACTORS))
        factors = rng.choice(FACTORS, wanted, replace=False)
        copies += [(row, float(factor)) for factor in factors]
    return copies


def episode(
    labels: Labels, shots: int, rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Support and query rows: up to ``shots`` clips of each class, and one other to be named.

    The only clip of a class is support; such a class has no query.
    """
    support, queries = [], []
    for label in np.unique(labels):
        rows = rng.permutation(np.flatnonzero(labels == label))
        count = max(1, min(shots, len(rows) - 1))  # one is kept for the query
        support.append(rows[:count])
        queries.append(rows[count : count + 1])
    return np.concatenate(support), np.concatenate(queries)


def _pltn(
    encoder: CAI3D, volumes: Tensor, labels: Labels, stages: Stages, rng: np.random.Generator
) -> None:
    head = nn.Linear(pooled_size(encoder.width), _EMBEDDING)

    def loss() -> Tensor:
        rows = _of_each_class(labels, stages.batch_size, rng)
        found = head(encoder.pooled(_mirrored(volumes[rows], rng)).flatten(1))
        return batch_hard(F.normalize(found), torch.from_numpy(labels[rows]))

    _descend("PLTN", nn.ModuleList([encoder, head]), loss, stages.triplets, stages.prior_rate)


def _plsm(
    encoder: CAI3D, volumes: Tensor, labels: Labels, stages: Stages, rng: np.random.Generator
) -> None:
    head = nn.Linear(pooled_size(encoder.width), int(labels.max()) + 1)
    # The channels in which the cascade hands on what GFE saw are empty here.
    extra = encoder.channels - volumes.shape[1]

    def loss() -> Tensor:
        rows = _of_each_class(labels, stages.batch_size, rng)
        # F.pad counts axes from the last: none to width, height, time, `extra` to the channels.
        seen = F.pad(_mirrored(volumes[rows], rng), (0, 0) * 3 + (0, extra))
        found = head(pool(encoder(seen)).flatten(1))
        return F.cross_entropy(found, torch.from_numpy(labels[rows]))

    _descend("PLSM", nn.ModuleList([encoder, head]), loss, stages.magnified, stages.prior_rate)


def _episodes(
    network: MPFNet, volumes: Tensor, labels: Labels, stages: Stages, rng: np.random.Generator
) -> None:
    def loss() -> Tensor:
        support, queries = episode(labels, stages.shots, rng)
        rows = np.concatenate([support, queries])
        vectors = network.embed(_mirrored(volumes[rows], rng))
        known, asked = vectors.split([len(support), len(queries)], 1)
        prototypes = class_means(known, torch.from_numpy(labels[support]))
        logits = network.scores(asked, prototypes)
        return F.cross_entropy(logits, torch.from_numpy(labels[queries]))

    _descend("episodes", network, loss, stages.episodes, stages.rate)


def _descend(
    name: str, model: nn.Module, loss: Callable[[], Tensor], steps: int, rate: float
) -> None:
    """Minimise by SGD with momentum, as the paper's code, along half a cosine."""
    model.train()
    schedule = LearningRate(learning_rate=rate, shape="cosine")
    # Momentum and decay as the public code has them for its triplets and magnified clips.
    optimizer = torch.optim.SGD(model.parameters(), rate, momentum=0.9, weight_decay=5e-4)
    with trange(steps, desc=name, unit="step") as bar:
        for step in bar:
            for group in optimizer.param_groups:
                group["lr"] = schedule.rate(step, steps)
            value = loss()
            optimizer.zero_grad()
            value.backward()
            optimizer.step()
            bar.set_postfix(loss=f"{float(value.detach()):.3f}")


def _of_each_class(labels: Labels, size: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Rows of a batch, as many of every class; a small class gives fewer."""
    classes = np.unique(labels)
    each = max(2, size // len(classes))  # a triplet needs two of a class
    parts: Iterable[NDArray[np.int64]] = (
        rng.permutation(np.flatnonzero(labels == label))[:each] for label in classes
    )
    return np.concatenate(list(parts))


def _mirrored(volumes: Tensor, rng: np.random.Generator) -> Tensor:
    """Each clip or its mirror image."""
    flips = torch.from_numpy(rng.random(len(volumes)) < 0.5).view(-1, 1, 1, 1, 1)
    name = "flow_diff_volume"
    return torch.where(flips, mirror_inputs({name: volumes})[name], volumes)
