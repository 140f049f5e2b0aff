"""Pre-training of ``recognizers.prior_flow`` on simulated flow: action units and emotions.

No real clip takes part. Each network has a seed of its own for initial weights and data order;
finished ones are kept, so a run that was stopped goes on with the next.
"""

from __future__ import annotations

import json
import logging
import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import Field
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional
from tqdm import tqdm

from deft_llm import facs
from deft_llm.config import Settings, validate
from deft_llm.files import replacing
from deft_llm.motion.encoding import medsqrt
from deft_llm.recognizers.prior_flow import FlowPriorNet
from deft_llm.simulator.flow.images import FlowImageSettings, simulate_flow

logger = logging.getLogger(__name__)


class Disturbance(Settings):
    """What simulated flow images lack, put on in training.

    Attributes:
        noise: SD of the noise that is added to encoded flow.
        misfit: SD of an image's shift, pixels; its scale varies by 5 % for each.
        unrelated: Largest SD of smooth motion, in each channel, that belongs to no action unit.
    """

    noise: float = Field(default=0.25, ge=0)
    misfit: float = Field(default=1.2, ge=0)
    unrelated: float = Field(default=0.8, ge=0)


class FlowPriorRecipe(Disturbance):
    """A file of ``train_configs/recognizers`` with ``task: flow_prior``.

    Attributes:
        output: Folder of the run.
        draws: What to simulate; several heads may be mixed.
        held_out: Images of the first draw's head, of other seeds, for a score by the way.
        networks: How many, seeds 0, 1, ...
        epochs: Passes over all images.
        batch_size: Images per step.
        learning_rate: Peak of the cosine.
        weight_decay: AdamW's.
        unit_loss: Weight of the action units' loss beside the emotion's.
    """

    output: Path
    draws: list[FlowImageSettings]
    held_out: int = Field(default=300, ge=1)
    networks: int = Field(default=3, ge=1)
    epochs: int = Field(default=15, ge=1)
    batch_size: int = Field(default=64, ge=1)
    learning_rate: float = Field(default=1e-3, gt=0)
    weight_decay: float = Field(default=0.05, ge=0)
    unit_loss: float = Field(default=1.0, ge=0)


def train(values: dict[str, Any], where: str) -> None:
    """Train the networks of a recipe; the entry of ``training/tasks.py``.

    Args:
        values: The recipe as read from YAML.
        where: Its file, for messages.

    Raises:
        UserError: If the recipe is wrong, or a head's file is missing.
    """
    recipe = validate(FlowPriorRecipe, values, where)
    recipe.output.mkdir(parents=True, exist_ok=True)
    left = [s for s in range(recipe.networks) if not _file(recipe, s).is_file()]
    if not left:
        logger.info("already finished: %d networks in %s", recipe.networks, recipe.output)
        return
    flow, labels, units = material(recipe.draws, recipe.output)
    first = recipe.draws[0]
    other = first.model_copy(update={"images": recipe.held_out, "seed": first.seed + 1000})
    held = material([other], recipe.output)
    for seed in left:
        network = _train_one(recipe, seed, flow, labels, units)
        with torch.no_grad():
            logits = network({"flow_uvs": held[0]})
        right = float((logits.argmax(1) == held[1]).float().mean())
        logger.info("network %d: accuracy %.3f on simulated faces not seen", seed, right)
        with replacing(_file(recipe, seed)) as partial:
            save_file(network.state_dict(), partial)
    text = json.dumps(recipe.model_dump(mode="json", exclude={"output": True}), indent=1)
    (recipe.output / "recipe.json").write_text(text + "\n", encoding="utf-8")


def _file(recipe: FlowPriorRecipe, seed: int) -> Path:
    return recipe.output / f"net{seed}.safetensors"


def _train_one(
    recipe: FlowPriorRecipe, seed: int, flow: Tensor, labels: Tensor, units: Tensor
) -> FlowPriorNet:
    torch.manual_seed(seed)
    network = FlowPriorNet(len(facs.THREE_CLASSES))
    optimizer = torch.optim.AdamW(network.parameters(), weight_decay=recipe.weight_decay)
    per_epoch = math.ceil(len(flow) / recipe.batch_size)
    steps = per_epoch * recipe.epochs
    for step in tqdm(range(steps), desc=f"network {seed}", unit="step"):
        if step % per_epoch == 0:
            order = torch.randperm(len(flow))
        place = step % per_epoch * recipe.batch_size
        rows = order[place : place + recipe.batch_size]
        x, y = disturbed(flow[rows], units[rows], recipe)
        for group in optimizer.param_groups:
            rise = min(1.0, (step + 1) / (0.05 * steps + 1))
            group["lr"] = recipe.learning_rate * rise * 0.5 * (1 + math.cos(math.pi * step / steps))
        described = network.describe({"flow_uvs": x})
        loss = functional.cross_entropy(
            network.emotion(described), labels[rows], label_smoothing=0.1
        )
        told = functional.binary_cross_entropy_with_logits(network.units(described), y.flatten(1))
        optimizer.zero_grad(set_to_none=True)
        (loss + recipe.unit_loss * told).backward()
        optimizer.step()
    return network.eval()


def disturbed(
    flow: Tensor, units: Tensor, how: Disturbance, rng: torch.Generator | None = None
) -> tuple[Tensor, Tensor]:
    """Encoded images mirrored at random, moved, with unrelated motion and noise, some channels out.

    Args:
        flow: (B, 3, S, S).
        units: (B, K, 2), left and right.
        how: How strongly.
        rng: Decides; None takes torch's own.
    """
    count = len(flow)
    flip = torch.rand(count, generator=rng) < 0.5
    mirrored = flow.flip(-1) * torch.tensor([-1.0, 1.0, 1.0]).view(3, 1, 1)
    x = torch.where(flip.view(-1, 1, 1, 1), mirrored, flow)
    y = torch.where(flip.view(-1, 1, 1), units.flip(-1), units)
    x = _moved(x, how.misfit, rng)
    x = x + how.unrelated * torch.rand(count, 3, 1, 1, generator=rng) * _smooth_noise(x, rng)
    x = x + how.noise * torch.randn(x.shape, generator=rng)
    kept = torch.rand(count, 3, 1, 1, generator=rng) > 0.1
    return x * kept, y


def _moved(x: Tensor, misfit: float, rng: torch.Generator | None = None) -> Tensor:
    """Each image scaled and shifted a little: no face finder puts the face where it belongs."""
    count, side = len(x), x.shape[-1]
    theta = torch.zeros(count, 2, 3)
    theta[:, 0, 0] = 1 + 0.05 * misfit * torch.randn(count, generator=rng)
    theta[:, 1, 1] = 1 + 0.05 * misfit * torch.randn(count, generator=rng)
    theta[:, :, 2] = 2 / side * misfit * torch.randn(count, 2, generator=rng)
    grid = functional.affine_grid(theta, list(x.shape), align_corners=False)
    return functional.grid_sample(x, grid, padding_mode="border", align_corners=False)


def _smooth_noise(x: Tensor, rng: torch.Generator | None = None) -> Tensor:
    """Unit noise without detail finer than a quarter of the face; another in each channel."""
    coarse = torch.randn(*x.shape[:2], 7, 7, generator=rng)
    fine = functional.interpolate(coarse, x.shape[-2:], mode="bicubic", align_corners=False)
    return fine / fine.std((2, 3), keepdim=True)


def material(draws: list[FlowImageSettings], folder: Path) -> tuple[Tensor, Tensor, Tensor]:
    """Encoded flow (N, 3, 28, 28), labels (N,), sided AUs (N, K, 2) of all draws, kept."""
    made = [simulate_flow(draw, folder / "data") for draw in draws]
    flow = np.concatenate([medsqrt(m.images) for m in made])
    labels = np.concatenate([m.labels for m in made])
    units = np.concatenate([m.aus for m in made]).astype(np.float32)
    return torch.from_numpy(flow), torch.from_numpy(labels), torch.from_numpy(units)
