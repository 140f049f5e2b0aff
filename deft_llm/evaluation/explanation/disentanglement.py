"""Disentanglement: do the experts separate face and motion, and does the answer follow motion?

Measured on the experts' tokens: a linear probe for identity, kernel alignment between experts, and
the counterfactual test, in which two clips exchange their motion.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import torch
from torch import Tensor

from deft_llm.data.clip_dataset import MeasuredClip
from deft_llm.deft.configuration_deft import EXPERTS
from deft_llm.deft.inference.explainer import Explainer
from deft_llm.errors import UserError
from deft_llm.evaluation.explanation.replies import BATCH
from deft_llm.metrics.representation import cka, linear_probe

LEAST_CLIPS = 20  # per face in the identity probe


def expert_tokens(explainer: Explainer, clips: Sequence[MeasuredClip]) -> dict[str, Tensor]:
    """Expert tokens (N, tokens, D) of the N clips with a face."""
    shard = [clip.features for clip in clips if clip.features is not None]
    parts = [explainer.encode(shard[i : i + BATCH]) for i in range(0, len(shard), BATCH)]
    return {name: torch.cat([part[name] for part in parts]) for name in EXPERTS}


# ------------------------------------------------------------------- the counterfactual test


@dataclass(frozen=True)
class Exchange:
    """Answers after clips exchanged their motion.

    Attributes:
        pairs: Pairs of clips whose own answers differ.
        follows_both: Share of pairs in which the donor's motion and texture give its answer.
        follows_motion: The same with the donor's motion alone.
    """

    pairs: int
    follows_both: float
    follows_motion: float


def exchange(explainer: Explainer, tokens: dict[str, Tensor], seed: int) -> Exchange:
    """Give every clip the motion of another clip, its donor; the answer is the likeliest class.

    Args:
        explainer: The model.
        tokens: Tokens of N clips (``expert_tokens``), at least 2.
        seed: Seed of the donors, a random cycle over the clips.
    """
    clips = len(tokens["motion"])
    if clips < 2:
        raise UserError(f"{clips} clip with a face; expected at least 2 to exchange their motion")
    # In a cycle no clip is its own donor, as some would be in a random permutation.
    round_trip = np.random.default_rng(seed).permutation(clips)
    donor = torch.empty(clips, dtype=torch.long)
    donor[torch.from_numpy(round_trip)] = torch.from_numpy(np.roll(round_trip, 1))
    own = answers(explainer, tokens)
    # Where both answers agree, keeping the answer and following the motion look the same.
    differ = own != own[donor]

    def follows(*parts: str) -> float:
        mixed = {n: values[donor] if n in parts else values for n, values in tokens.items()}
        return float((answers(explainer, mixed) == own[donor])[differ].float().mean())

    return Exchange(int(differ.sum()), follows("motion", "texture"), follows("motion"))


def answers(explainer: Explainer, tokens: dict[str, Tensor]) -> Tensor:
    """Index of the likeliest coarse label (N,), including "none"."""
    parts = [
        explainer.likelihoods({n: values[i : i + BATCH] for n, values in tokens.items()}, "coarse")
        for i in range(0, len(tokens["motion"]), BATCH)
    ]
    return torch.cat(parts).argmax(1)


# --------------------------------------------------------------------------- identity, CKA


@dataclass(frozen=True)
class IdentityProbe:
    """How well a linear probe identifies faces.

    Attributes:
        accuracy: Accuracy for each expert, 0..1.
        faces: Faces with at least ``LEAST_CLIPS`` clips.
        chance: Share of the most frequent face.
    """

    accuracy: dict[str, float]
    faces: int
    chance: float


def identity_probe(explainer: Explainer, clips: Sequence[MeasuredClip]) -> IdentityProbe:
    """Run the probe on every expert, with all its tokens concatenated.

    Raises:
        UserError: If fewer than two faces have enough clips.
    """
    shown = [clip for clip in clips if clip.features is not None]
    count = Counter(clip.spec.subject for clip in shown)
    kept = [clip for clip in shown if count[clip.spec.subject] >= LEAST_CLIPS]
    faces, labels = np.unique([clip.spec.subject for clip in kept], return_inverse=True)
    if len(faces) < 2:
        raise UserError(
            f"{len(faces)} faces with {LEAST_CLIPS} clips; simulate more clips of each face"
        )
    tokens = expert_tokens(explainer, kept)
    accuracy = {n: linear_probe(tokens[n].flatten(1).numpy(), labels) for n in EXPERTS}
    return IdentityProbe(accuracy, len(faces), float(np.bincount(labels).max() / len(labels)))


def alignment(tokens: dict[str, Tensor]) -> dict[tuple[str, str], float]:
    """Kernel alignment of each pair of experts, with all tokens concatenated."""
    flat = {name: values.flatten(1).numpy() for name, values in tokens.items()}
    return {(a, b): cka(flat[a], flat[b]) for a, b in combinations(EXPERTS, 2)}
