"""Simulated flow images for training, with random disturbances added in every batch.

Simulated flow is cleaner than an estimator's on real faces, and every face is perfectly aligned; so
training adds noise, smooth motion that belongs to no action unit, and misalignment.

Dimensions: N images, B batch, S side, K action units of ``simulator.flow.images.AUS``.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from pydantic import Field, model_validator
from torch import Tensor
from torch.nn import functional

from deft_llm.config import Settings
from deft_llm.motion.encoding import medsqrt
from deft_llm.simulator.flow.image_sets import simulate_flow
from deft_llm.simulator.flow.images import FlowImageSettings
from deft_llm.simulator.head import load_head
from deft_llm.simulator.ict_head.files import head_file

_HELD_OUT_SEEDS = 1000  # offset from the seed of the training images
_SCALE = 0.05  # SD of an image's scale for a misfit of one pixel
_LEFT_OUT = 0.1  # share of channels set to zero
_COARSE = 7  # cells of the smooth motion along each side


class Disturbance(Settings):
    """Strength of the disturbances added in training.

    Attributes:
        noise: SD of the noise added to encoded flow.
        misfit: SD of an image's shift, pixels; the SD of its scale is 5 % per pixel of misfit.
        unrelated: Largest SD, in each channel, of smooth motion that belongs to no action unit.
    """

    noise: float = Field(default=0.25, ge=0)
    misfit: float = Field(default=1.2, ge=0)
    unrelated: float = Field(default=0.8, ge=0)


@dataclass(frozen=True)
class LabelledFlow:
    """Encoded flow images with their labels.

    Attributes:
        flow: (N, 3, S, S) float32, encoded by ``medsqrt``.
        labels: (N,) int64, index in ``facs.THREE_CLASSES``.
        aus: (N, K, 2) float32, 1 if the action unit acts on the subject's (left, right).
    """

    flow: Tensor
    labels: Tensor
    aus: Tensor

    def __len__(self) -> int:
        return len(self.labels)


class SimulatedFlowData(Disturbance):
    """Flow images for training, and held-out ones.

    Attributes:
        draws: What to simulate; several heads may be mixed.
        held_out: Number of images for evaluation, of the first draw's head and other seeds.
    """

    draws: list[FlowImageSettings] = Field(min_length=1)
    held_out: int = Field(default=300, ge=1)

    @model_validator(mode="after")
    def _held_out_apart(self) -> SimulatedFlowData:
        first, other = self.draws[0].head, self.draws[0].seed + _HELD_OUT_SEEDS
        if any((draw.head, draw.seed) == (first, other) for draw in self.draws):
            raise ValueError(f"draws: seed {other} is that of the held-out images; give another")
        return self

    def simulated(self, cache: Path) -> tuple[LabelledFlow, LabelledFlow]:
        """The training images and the held-out ones; finished draws are cached.

        Raises:
            UserError: If a head or its file does not exist.
        """
        first = self.draws[0]
        other = {"images": self.held_out, "seed": first.seed + _HELD_OUT_SEEDS}
        held_out = first.model_copy(update=other)
        return _simulated(self.draws, cache), _simulated([held_out], cache)


def _simulated(draws: list[FlowImageSettings], cache: Path) -> LabelledFlow:
    # First: a head without its file must not be told after another one's images.
    for draw in draws:
        load_head(draw.head, head_file(draw.head, draw.head_path))
    made = [simulate_flow(draw, cache) for draw in draws]
    return LabelledFlow(
        torch.from_numpy(np.concatenate([medsqrt(m.images) for m in made])),
        torch.from_numpy(np.concatenate([m.labels for m in made])),
        torch.from_numpy(np.concatenate([m.aus for m in made]).astype(np.float32)),
    )


def disturbed(
    flow: Tensor, aus: Tensor, how: Disturbance, rng: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Mirror images at random, shift and scale them, add motion and noise, drop channels.

    Args:
        flow: (B, 3, S, S), encoded.
        aus: (B, K, 2), left and right.
        how: Strength of the disturbances.
        rng: Source of randomness.

    Returns:
        Disturbed flow and AUs, of the same shapes.
    """
    count = len(flow)
    flip = torch.rand(count, generator=rng) < 0.5
    # u points right, so it changes sign; v and strain do not. Sides of the AUs swap with it.
    mirrored = flow.flip(-1) * torch.tensor([-1.0, 1.0, 1.0]).view(3, 1, 1)
    x = torch.where(flip.view(-1, 1, 1, 1), mirrored, flow)
    y = torch.where(flip.view(-1, 1, 1), aus.flip(-1), aus)
    x = moved(x, how.misfit, rng)
    x = x + how.unrelated * torch.rand(count, 3, 1, 1, generator=rng) * smooth_noise(x, rng)
    # After the shift: interpolation would smooth the noise.
    x = x + how.noise * torch.randn(x.shape, generator=rng)
    kept = torch.rand(count, 3, 1, 1, generator=rng) > _LEFT_OUT
    return x * kept, y


def moved(x: Tensor, misfit: float, rng: torch.Generator) -> Tensor:
    """Scale and shift each image a little, because no face finder aligns faces perfectly."""
    count, side = len(x), x.shape[-1]
    theta = torch.zeros(count, 2, 3)
    theta[:, 0, 0] = 1 + _SCALE * misfit * torch.randn(count, generator=rng)
    theta[:, 1, 1] = 1 + _SCALE * misfit * torch.randn(count, generator=rng)
    # affine_grid uses -1..1 over the side, so a pixel is 2 / side.
    theta[:, :, 2] = 2 / side * misfit * torch.randn(count, 2, generator=rng)
    grid = functional.affine_grid(theta, list(x.shape), align_corners=False)
    return functional.grid_sample(x, grid, padding_mode="border", align_corners=False)


def smooth_noise(x: Tensor, rng: torch.Generator) -> Tensor:
    """Noise of unit SD without detail finer than a quarter of the face, drawn per channel."""
    coarse = torch.randn(*x.shape[:2], _COARSE, _COARSE, generator=rng)
    fine = functional.interpolate(coarse, x.shape[-2:], mode="bicubic", align_corners=False)
    # Interpolation lowers the variance; restore unit SD.
    return fine / fine.std((2, 3), keepdim=True)
