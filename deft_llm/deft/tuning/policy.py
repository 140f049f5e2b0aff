"""The loss of sampled answers: advantages in their group, and the divergence from the model before.

As in GRPO (arXiv 2402.03300), with one update per sample, so that no ratio has to be clipped. The
mean is over tokens (arXiv 2503.14476): over answers, a long wrong one would cost no more than a
short one. Letters: B groups, G answers of each, N = B * G, A tokens.
"""

from __future__ import annotations

import torch
from torch import Tensor

_ALIKE = 1e-6  # rewards of a group that differ by less are the same
_FLOOR = 0.02  # added to the spread of a group: else tiny differences would count like large ones


def advantages(rewards: Tensor) -> Tensor:
    """How much better each answer is than the others of its group, in spreads of the group.

    Args:
        rewards: (B, G).

    Returns:
        (B, G); zeros for a group whose rewards are all the same, which teaches nothing.
    """
    centred = rewards - rewards.mean(1, keepdim=True)
    alike = centred.abs().amax(1, keepdim=True) < _ALIKE
    return (centred / (rewards.std(1, keepdim=True) + _FLOOR)).masked_fill(alike, 0.0)


def answer_mask(answers: Tensor, ends: tuple[int, ...]) -> Tensor:
    """The tokens of each answer (N, A), its end included; what follows is padding."""
    ended = torch.isin(answers, torch.tensor(ends, device=answers.device)).long()
    # How many ends came before: 0 up to the first end token and on it.
    return (ended.cumsum(1) - ended) == 0


def policy_loss(
    logp: Tensor, before: Tensor, advantage: Tensor, mask: Tensor, kl: float
) -> tuple[Tensor, Tensor]:
    """The loss of sampled answers, and their mean divergence per token.

    Args:
        logp: (N, A) log-likelihoods of the tokens under the model, with gradient.
        before: (N, A) under the model before.
        advantage: (N,).
        mask: (N, A), true on answer tokens.
        kl: Weight of the divergence, estimated as ``exp(d) - d - 1`` with d the difference of the
            log-likelihoods (Schulman's k3, never negative).
    """
    count = mask.sum().clamp(min=1)
    # The ratio is 1, as every sample is used once; its gradient is that of the likelihood.
    ratio = (logp - logp.detach()).exp()
    away = (before - logp).masked_fill(~mask, 0.0)
    divergence = ((away.exp() - away - 1) * mask).sum() / count
    gain = (ratio * advantage[:, None] * mask).sum() / count
    return kl * divergence - gain, divergence
