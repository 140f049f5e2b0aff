"""Pre-train ``recognizers.prior_flow`` on simulated flow: AUs and emotions.

No real clip is used. Each network has its own seed for initial weights and data order. Finished
networks are kept, and a stopped run resumes with the network that was being trained.
"""

from __future__ import annotations

import logging
import math
import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import PartialState
from pydantic import Field
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional

from deft_llm import facs
from deft_llm.config import read_recipe
from deft_llm.data.disturbed_flow import LabelledFlow, SimulatedFlowData, disturbed
from deft_llm.machine import first_process_first, use_all_cores
from deft_llm.recognizers.prior_flow import FlowPriorNet
from deft_llm.training.loop import Batch, fit
from deft_llm.training.run_folder import claimed_folder
from deft_llm.training.schedule import LearningRate, Schedule, Shape

logger = logging.getLogger(__name__)
_SMOOTHING = 0.1  # label smoothing: coders of emotions disagree


class FlowPriorRecipe(SimulatedFlowData, LearningRate):
    """A file of ``train_configs/recognizers`` with ``task: flow_prior``.

    Attributes:
        output: Folder of the run.
        networks: Number of networks, with seeds 0, 1, ...
        epochs: Passes over all images.
        batch_size: Images per step.
        au_loss: Weight of the AU loss relative to the emotion loss.
    """

    output: Path
    networks: int = Field(default=3, ge=1)
    epochs: int = Field(default=15, ge=1)
    batch_size: int = Field(default=64, ge=1)
    shape: Shape = "whole_cosine"
    weight_decay: float = Field(default=0.05, ge=0)
    au_loss: float = Field(default=1.0, ge=0)

    def schedule(self, images: int) -> Schedule:
        """Schedule of one network, with a saved state after every epoch."""
        epoch = math.ceil(images / self.batch_size)
        rates = self.model_dump(include=set(LearningRate.model_fields))
        return Schedule(steps=epoch * self.epochs, save_every=epoch, clip=0.0, **rates)


def train(values: dict[str, Any], where: str) -> None:
    """Train the networks of a recipe; ``training/tasks.py`` calls this.

    Args:
        values: The recipe as read from YAML.
        where: Its file, for messages.

    Raises:
        UserError: If the recipe is wrong, its folder belongs to another recipe, or a head's file
            is missing.
    """
    recipe = read_recipe(FlowPriorRecipe, values, where)
    with claimed_folder(recipe.output, recipe):
        _train_all(recipe)


def _train_all(recipe: FlowPriorRecipe) -> None:
    """Train the networks that are not finished yet."""
    left = [s for s in range(recipe.networks) if not _file(recipe, s).is_file()]
    if not left:
        logger.info("already finished: %d networks in %s", recipe.networks, recipe.output)
        return
    with first_process_first():  # one process draws the images; the others then find them
        images, held_out = recipe.simulated(recipe.output / "data")
    use_all_cores()
    for seed in left:
        logger.info("network %d of %d", seed + 1, recipe.networks)
        task = FlowPriorTask(recipe, seed, images, held_out)
        final = fit(task, recipe.schedule(len(images)), recipe.output / f"net{seed}")
        # One process moves the file. The move is atomic, so a network file is always complete.
        if PartialState().is_main_process:
            os.replace(final / "model.safetensors", _file(recipe, seed))
            final.rmdir()


def _file(recipe: FlowPriorRecipe, seed: int) -> Path:
    return recipe.output / f"net{seed}.safetensors"


class _BothHeads(nn.Module):
    """Class and AU logits in one forward pass, as required by training in several processes."""

    def __init__(self, network: FlowPriorNet) -> None:
        super().__init__()
        self.network = network

    def forward(self, flow: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (B, classes) and (B, 2 K) of ``flow_uvs`` (B, 3, S, S)."""
        features = self.network.describe({"flow_uvs": flow})
        return self.network.emotion(features), self.network.aus(features)


class FlowPriorTask:
    """Training of one network on disturbed flow images, for ``training/loop.py``.

    Args:
        recipe: The recipe.
        seed: Seed of initial weights, order and disturbances.
        images: Training images.
        held_out: Images for the logged score.
    """

    def __init__(
        self, recipe: FlowPriorRecipe, seed: int, images: LabelledFlow, held_out: LabelledFlow
    ) -> None:
        torch.manual_seed(seed)  # also seeds dropout, which uses the global stream
        self.network = FlowPriorNet(len(facs.THREE_CLASSES))
        self.model: nn.Module = _BothHeads(self.network).train()
        self.recipe, self.seed, self.images, self.held_out = recipe, seed, images, held_out

    def batch(self, index: int) -> dict[str, Tensor]:
        """Batch number ``index``: every image once an epoch; the last batch may be smaller."""
        size = self.recipe.batch_size
        # By number, so that a resumed run draws the same.
        epoch, place = divmod(index, math.ceil(len(self.images) / size))
        order = np.random.default_rng([self.seed, epoch]).permutation(len(self.images))
        rows = torch.from_numpy(order[place * size :][:size])
        # A torch seed is one integer: the large factor keeps the streams of two networks apart.
        rng = torch.Generator().manual_seed(self.seed * 1_000_003 + index)
        flow, aus = disturbed(self.images.flow[rows], self.images.aus[rows], self.recipe, rng)
        return {"flow_uvs": flow, "labels": self.images.labels[rows], "aus": aus.flatten(1)}

    def training_step(self, batch: Batch) -> dict[str, Tensor]:
        """Cross-entropy of the emotion, and binary cross-entropy of each AU."""
        classes, aus = self.model(batch["flow_uvs"])
        emotion = functional.cross_entropy(classes, batch["labels"], label_smoothing=_SMOOTHING)
        acting = functional.binary_cross_entropy_with_logits(aus, batch["aus"])
        return {"loss": emotion + self.recipe.au_loss * acting, "emotion": emotion, "aus": acting}

    @torch.no_grad()
    def predict(self, batch: Batch) -> Tensor:
        """Class logits (B, classes)."""
        self.network.eval()
        logits: Tensor = self.network({"flow_uvs": batch["flow_uvs"]})
        return logits

    def evaluate(self) -> dict[str, float]:
        """Accuracy on held-out simulated faces."""
        device = next(self.network.parameters()).device
        predicted = self.predict({"flow_uvs": self.held_out.flow.to(device)}).argmax(1).cpu()
        return {"accuracy": float((predicted == self.held_out.labels).float().mean())}

    def save(self, folder: Path) -> None:
        """Write the weights; ``prior_flow.load_priors`` builds the matching network."""
        state = {name: x.contiguous() for name, x in self.network.state_dict().items()}
        save_file(state, folder / "model.safetensors")
