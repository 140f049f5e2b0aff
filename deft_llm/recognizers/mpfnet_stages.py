"""MPFNet's progressive training: triplets, magnified clips, then episodes.

Ma et al., "MPFNet" (arXiv 2506.09735), three stages. Learnt from the training clips of a fold
alone, so that no test subject takes part in any of them:

1. PLTN trains GFE by triplets, on clips as filmed. All triplets of a batch count ("batch all" of
   Hermans et al., 2017): one forward pass a clip instead of three. Their hardest ones alone drew
   all clips into one point.
2. PLSM trains AFE by cross-entropy on magnified copies, as many of every class.
3. Episodes train both: six clips a class, each compared with the prototypes of the other ones.

Reproduced: the stages and their losses. Our own choice: embeddings of length 1, every clip of an
episode as the one that is asked (the paper asks one a class), AdamW (Loshchilov and Hutter, 2019)
in place of SGD, clips that are a little turned, zoomed and shifted, rates and lengths, and factors
that are drawn alike for all classes: if rare classes were magnified more, the amount of motion
alone would tell them. With SGD and one question a class, 200 steps of 18 clips had learnt half of
their own training clips.

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
from deft_llm.recognizers.mpfnet import MPFNet
from deft_llm.training.schedule import LearningRate

FACTORS = tuple(range(1, 11))  # of the magnification, as in the paper's figure
_MARGIN, _EMBEDDING = 1.0, 128
_DECAY = 0.05  # of weights; not of norms and biases
# SD of an augmentation: of a turn (rad), a zoom (log) and a shift (half sides).
_TURNED, _ZOOMED, _SHIFTED = 0.06, 0.06, 0.05
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
        shots: Most clips of a class behind a prototype in an episode; it holds one more.
        prior_rate: Peak learning rate of the first two.
        rate: Peak learning rate of the last.
    """

    triplets: int = Field(default=400, ge=0)
    magnified: int = Field(default=300, ge=0)
    episodes: int = Field(default=400, ge=1)
    batch_size: int = Field(default=18, ge=4)
    shots: int = Field(default=5, ge=1)
    prior_rate: float = Field(default=0.003, gt=0)
    rate: float = Field(default=0.003, gt=0)


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
        seed: Of heads, order, augmentation and factors.
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


def batch_all(embeddings: Tensor, labels: Tensor, margin: float = _MARGIN) -> Tensor:
    """Triplet loss over all triplets of a batch.

    Args:
        embeddings: (B, D).
        labels: (B,).
        margin: By how much the other class has to be further, squared distance.

    Returns:
        Mean of max(0, d²(a, p) - d²(a, n) + margin) over anchors a, other clips p of their class
        and clips n of other classes; exactly 0 if there is none, or if the classes are separated.
    """
    squares = (embeddings[:, None] - embeddings[None]).square().sum(-1)
    same = labels[:, None] == labels[None]
    partners = same & ~torch.eye(len(labels), dtype=torch.bool, device=labels.device)
    triplets = partners[:, :, None] & ~same[:, None, :]
    losses = F.relu(squares[:, :, None] - squares[:, None, :] + margin)
    return (losses * triplets).sum() / triplets.sum().clamp_min(1)


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


def prototypes_of_others(vectors: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Prototypes for each clip of an episode, without the clip itself.

    Args:
        vectors: (E, N, D).
        labels: (N,), every class up to the largest with a clip.

    Returns:
        Prototypes (E, N, C, D), and which clips can be asked (N,): not the only one of its class,
        which stands for it when others are asked.
    """
    chosen = F.one_hot(labels).to(vectors)  # (N, C)
    others = chosen.sum(0) - chosen  # (N, C): clips behind each prototype
    total = (chosen.T @ vectors)[:, None] - chosen[..., None] * vectors[:, :, None]
    alone = (others == 0) & (chosen > 0)
    means = total / others.clamp_min(1)[..., None]
    return torch.where(alone[..., None], vectors[:, :, None], means), ~alone.any(1)


def _pltn(
    encoder: CAI3D, volumes: Tensor, labels: Labels, stages: Stages, rng: np.random.Generator
) -> None:
    head = nn.Linear(pooled_size(encoder.width), _EMBEDDING)

    def loss() -> Tensor:
        rows = _of_each_class(labels, stages.batch_size, rng)
        found = head(encoder.pooled(_varied(volumes[rows], rng)).flatten(1))
        return batch_all(F.normalize(found), torch.from_numpy(labels[rows]))

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
        seen = F.pad(_varied(volumes[rows], rng), (0, 0) * 3 + (0, extra))
        found = head(pool(encoder(seen)).flatten(1))
        return F.cross_entropy(found, torch.from_numpy(labels[rows]))

    _descend("PLSM", nn.ModuleList([encoder, head]), loss, stages.magnified, stages.prior_rate)


def _episodes(
    network: MPFNet, volumes: Tensor, labels: Labels, stages: Stages, rng: np.random.Generator
) -> None:
    def loss() -> Tensor:
        rows = _of_each_class(labels, (stages.shots + 1) * len(np.unique(labels)), rng)
        named = torch.from_numpy(labels[rows])
        vectors = network.embed(_varied(volumes[rows], rng))
        prototypes, asked = prototypes_of_others(vectors, named)
        return F.cross_entropy(network.scores(vectors, prototypes)[asked], named[asked])

    _descend("episodes", network, loss, stages.episodes, stages.rate)


def _descend(
    name: str, model: nn.Module, loss: Callable[[], Tensor], steps: int, rate: float
) -> None:
    """Minimise by AdamW along half a cosine."""
    model.train()
    schedule = LearningRate(learning_rate=rate, shape="cosine")
    # What scales or shifts a channel is no weight that grows with overfitting.
    weights = [p for p in model.parameters() if p.ndim > 1]
    others = [p for p in model.parameters() if p.ndim <= 1]
    optimizer = torch.optim.AdamW(
        [{"params": weights, "weight_decay": _DECAY}, {"params": others, "weight_decay": 0.0}], rate
    )
    with trange(steps, desc=name, unit="step") as bar:
        for step in bar:
            schedule.set_rate(optimizer, step, steps)
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


def _varied(volumes: Tensor, rng: np.random.Generator) -> Tensor:
    """Each clip or its mirror image, a little turned, zoomed and shifted."""
    count = len(volumes)
    flips = torch.from_numpy(rng.random(count) < 0.5).view(-1, 1, 1, 1, 1)
    name = "flow_diff_volume"
    volumes = torch.where(flips, mirror_inputs({name: volumes})[name], volumes)
    # The vectors of the flow are left as they are: at these angles they hardly turn.
    angle, zoom = rng.normal(0, _TURNED, count), np.exp(rng.normal(0, _ZOOMED, count))
    cos, sin = zoom * np.cos(angle), zoom * np.sin(angle)
    x, y = rng.normal(0, _SHIFTED, (2, count))
    places = torch.tensor(np.array([[cos, -sin, x], [sin, cos, y]], np.float32)).permute(2, 0, 1)
    flat = volumes.flatten(1, 2)
    cells = F.affine_grid(places, list(flat.shape), align_corners=False)
    return F.grid_sample(flat, cells, align_corners=False).view_as(volumes)
