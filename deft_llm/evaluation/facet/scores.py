"""What a trained FACET-VLM says of a set of views, and the scores of it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from deft_llm.facet.files import LoadedFacet
from deft_llm.facet.texts import class_vectors
from deft_llm.facet.view_store import ViewStore, restored
from deft_llm.metrics.classification import binary_f1

Array = NDArray[np.float64]
_BATCH = 32
_SHUFFLES = 50


def say(
    loaded: LoadedFacet,
    store: ViewStore,
    texts: Tensor | None = None,
    missing: Sequence[float] = (),
) -> Array:
    """Probabilities (N, K) for every scan of a set.

    Args:
        loaded: The network.
        store: Its views; the network may look at fewer than the set has.
        texts: (K, E) vectors of other texts than those of its classes.
        missing: Yaws of the views that are left out.
    """
    network, config = loaded.network, loaded.network.config
    every = list(store.data.yaws)
    chosen = [every.index(yaw) for yaw in config.yaws]
    known = class_vectors(config.prompts, loaded.texts)
    there = torch.tensor([[yaw not in missing for yaw in config.yaws]])
    found = []
    with torch.inference_mode():
        for first in range(0, len(store), _BATCH):
            indices = range(first, min(first + _BATCH, len(store)))
            views = torch.from_numpy(restored(store.views(indices)[..., chosen, :, :, :]))
            present = there.expand(len(views), -1)
            output = network(views, [known if texts is None else texts], present)[0]
            found.append(network.probabilities(output, trained=texts is None).double().numpy())
    shares = np.concatenate(found)
    shares[~store.good] = 0.0  # nothing was seen of them
    return shares


def right(shares: Array, store: ViewStore) -> NDArray[np.bool_]:
    """Whether the likeliest class is the one that is shown, (N,)."""
    hit: NDArray[np.bool_] = store.good & (shares.argmax(axis=1) == store.label.argmax(axis=1))
    return hit


def several_labels(shares: Array, truth: NDArray[np.bool_]) -> dict[str, float]:
    """UF1 and UAR of classes of which a clip may have several: means over the classes.

    Args:
        shares: (N, Y) probabilities.
        truth: (N, Y).
    """
    said = shares > 0.5
    recalls = [said[truth[:, c], c].mean() for c in range(truth.shape[1]) if truth[:, c].any()]
    return {"uf1": float(binary_f1(truth, said).mean()), "uar": float(np.mean(recalls))}


def zero_shot(
    loaded: LoadedFacet, unseen: ViewStore, seen: ViewStore, prompts: tuple[Tensor, Tensor]
) -> dict[str, float]:
    """Scores of combinations of units that are named by their text alone.

    Args:
        loaded: The network.
        unseen: Scans of combinations that it was never shown.
        seen: Scans of combinations that it was.
        prompts: Their vectors, (K, E) each.

    Returns:
        ``unseen``: accuracy among the unseen ones. ``joint_unseen``, ``joint_seen``, ``harmonic``:
        among all together, and the harmonic mean of both. ``shuffled``: accuracy where texts and
        combinations are shuffled, the mean of many shuffles.
    """
    alone = say(loaded, unseen, prompts[0])
    truth = unseen.label.argmax(axis=1)
    both = torch.cat(prompts)
    of_unseen = say(loaded, unseen, both).argmax(axis=1) == truth
    # The texts of the seen combinations stand after those of the unseen ones.
    of_seen = say(loaded, seen, both).argmax(axis=1) == len(prompts[0]) + seen.label.argmax(axis=1)
    u, s = float(of_unseen.mean()), float(of_seen.mean())
    rng = np.random.default_rng(0)
    orders = [rng.permutation(len(prompts[0])) for _ in range(_SHUFFLES)]
    # Shuffled texts give the same columns in another order.
    shuffled = [float((order[alone.argmax(axis=1)] == truth).mean()) for order in orders]
    return {
        "unseen": float((alone.argmax(axis=1) == truth).mean()),
        "joint_unseen": u,
        "joint_seen": s,
        "harmonic": 2 * u * s / max(u + s, 1e-9),
        "shuffled": float(np.mean(shuffled)),
    }
