"""Differential privacy of every clip by DP-SGD (Abadi et al., CCS 2016), with Opacus.

Each step draws every clip with the same chance, cuts the gradient of each to one norm, and adds
noise. Opacus adds the noise and says what is spent; gradients of single clips come from
``torch.func``, which takes any network without batch norms. On machines of their own, sites draw
clips and noise by a number that only they know: by the recipe's seed, which the server has as well,
it could take the noise off again.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call, grad_and_value, vmap

from deft_llm.errors import UserError
from deft_llm.federated.learners import Chooses, Learner
from deft_llm.federated.settings import FederatedRecipe, Privacy
from deft_llm.files import write_private
from deft_llm.recognizers.layers import SeededDropout

_SECRET = "secret"  # file of a site's number
MISSING = 'privacy needs Opacus, which is not installed: pip install "deft-llm[privacy]"'


@dataclass(frozen=True)
class PrivateSteps:
    """The noisy steps of one site.

    Attributes:
        privacy: Settings.
        clips: Number of training clips.
        chance: Chance of each clip to be in a step.
        noise: SD of the noise, in norms to which gradients are cut.
    """

    privacy: Privacy
    clips: int
    chance: float
    noise: float

    @classmethod
    def of(
        cls, recipe: FederatedRecipe, learner: Learner, clips: int, steps: int
    ) -> PrivateSteps | None:
        """Settings of a site, with as much noise as its steps need; None without privacy.

        Args:
            recipe: The federation.
            learner: What the site trains.
            clips: Training clips of the site.
            steps: Steps of the whole run.

        Raises:
            UserError: If Opacus is not installed, or the learner cannot take single clips.
        """
        if recipe.privacy is None:
            return None
        if not isinstance(learner, Chooses):
            raise UserError(
                f"privacy: {recipe.recognizer} has no gradients of single clips; take a network "
                "of the registry, or leave privacy out"
            )
        # The batch size is the expected one: how many are drawn differs from step to step.
        chance = min(1.0, learner.batch_size / clips)
        privacy = recipe.privacy
        noise = noise_for(privacy.epsilon, privacy.delta, chance, steps)
        return cls(privacy, clips, chance, noise)

    def spent(self, steps: int) -> float:
        """Epsilon that so many steps have spent."""
        from opacus.accountants import RDPAccountant

        accountant = RDPAccountant()
        # All steps have one noise and one chance, so the history is a single entry.
        accountant.history = [(self.noise, self.chance, steps)]
        return float(accountant.get_epsilon(self.privacy.delta))

    def gradients(
        self,
        learner: Learner,
        parameters: list[nn.Parameter],
        optimizer: torch.optim.Optimizer,
        step: int,
        rng: np.random.Generator,
    ) -> float:
        """Set noisy gradients of one step; returns the mean loss of its clips.

        Args:
            learner: Network and clips.
            parameters: Trained parameters.
            optimizer: Theirs.
            step: Number of the step, which says how far the training is.
            rng: Draws clips and noise.
        """
        from opacus.optimizers import DPOptimizer

        noisy = DPOptimizer(
            optimizer,
            noise_multiplier=self.noise,
            max_grad_norm=self.privacy.max_norm,
            # The sum is divided by the expected number: the drawn one would tell who took part.
            expected_batch_size=max(1, round(self.chance * self.clips)),
            generator=torch.Generator().manual_seed(int(rng.integers(1 << 40))),
        )
        assert isinstance(learner, Chooses)
        # Every clip by its own coin (Poisson sampling), which is what the accountant assumes.
        rows = torch.from_numpy(np.flatnonzero(rng.random(self.clips) < self.chance))
        batch = learner.chosen(rows, torch.from_numpy(rng.random(len(rows)) < 0.5), step)
        each, loss = per_clip(learner, batch, len(rows), rng)
        for name, parameter in learner.model.named_parameters():
            if parameter.requires_grad:
                parameter.grad_sample = each[name]  # type: ignore[attr-defined]
        noisy.pre_step()  # cuts, adds up and adds noise; the caller takes the step
        # Opacus keeps sums on the parameters, and would add the next step's to them.
        for parameter in parameters:
            parameter.grad_sample = None  # type: ignore[attr-defined]
            parameter.summed_grad = None  # type: ignore[attr-defined]
        return loss


@lru_cache(maxsize=64)
def noise_for(epsilon: float, delta: float, chance: float, steps: int) -> float:
    """SD of the noise with which so many steps spend an epsilon; a search of seconds.

    Raises:
        UserError: If Opacus is not installed, or no noise is enough.
    """
    try:
        from opacus.accountants.utils import get_noise_multiplier
    except ImportError:
        raise UserError(MISSING) from None
    try:
        found = get_noise_multiplier(
            target_epsilon=epsilon,
            target_delta=delta,
            sample_rate=chance,
            steps=steps,
            accountant="rdp",
        )
    except ValueError as error:  # however much noise, its bound stays above the budget
        raise UserError(
            f"privacy: epsilon {epsilon:g} with delta {delta:g} cannot be kept over {steps} steps "
            f"({error}); give a larger epsilon or delta, or fewer rounds"
        ) from error
    return float(found)


def secret_of(folder: Path) -> int:
    """The number that only a site knows; drawn once, so that a round that is run again is equal.

    Args:
        folder: Where the site keeps it, readable by its owner alone.

    Raises:
        UserError: If it cannot be written, or is damaged.
    """
    path = folder / _SECRET
    if not path.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        write_private(path, secrets.token_hex(16).encode())
    try:
        return int(path.read_text(encoding="ascii"), 16)
    except ValueError:
        raise UserError(f"{path}: damaged; delete it, and another one is drawn") from None


class _Loss(nn.Module):
    """The loss of a batch as a function of the learner's weights."""

    def __init__(self, learner: Learner) -> None:
        super().__init__()
        self.model, self.learner = learner.model, learner

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        """The loss that is minimised."""
        return self.learner.training_step(batch)["loss"]


def per_clip(
    learner: Learner, batch: dict[str, Tensor], clips: int, rng: np.random.Generator
) -> tuple[dict[str, Tensor], float]:
    """Gradients of every clip by itself, and their mean loss.

    Args:
        learner: Network and loss.
        batch: B clips; what has no axis of clips is for all of them.
        clips: B.
        rng: Draws dropout, which is another one for each clip.

    Returns:
        Parameter -> (B, ...).
    """
    model = learner.model
    trained = {n: p.detach() for n, p in model.named_parameters() if p.requires_grad}
    if not clips:  # nobody was drawn
        return {n: p.new_zeros((0, *p.shape)) for n, p in trained.items()}, 0.0
    whole = _Loss(learner)
    # Buffers are arguments of the function: it may not change what it captured.
    shared = {n: b.clone() for n, b in model.named_buffers()}
    own = {
        f"{name}.counter": torch.from_numpy(rng.integers(1 << 40, size=clips))
        for name, module in model.named_modules()
        if isinstance(module, SeededDropout)
    }
    # Under vmap a label has no axis left, as a number for the whole batch has none: tell by name.
    flat = {name for name, x in batch.items() if x.ndim == 1}

    def loss(
        weights: dict[str, Tensor],
        buffers: dict[str, Tensor],
        drawn: dict[str, Tensor],
        clip: dict[str, Tensor],
    ) -> Tensor:
        # A batch of one, as networks read no single clips.
        one = {name: x[None] if x.ndim or name in flat else x for name, x in clip.items()}
        state = {**buffers, **drawn, **weights}
        found: Tensor = functional_call(whole, {f"model.{n}": x for n, x in state.items()}, (one,))
        return found

    axes: Any = {name: None if x.ndim == 0 else 0 for name, x in batch.items()}
    run = vmap(grad_and_value(loss), in_dims=(None, None, 0, axes), randomness="different")
    each, values = run(trained, shared, own, batch)
    return each, float(values.mean())
