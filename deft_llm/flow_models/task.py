"""Training of SRFlowNet on simulated pairs, with the face losses.

Augmentation, schedule and sizes are our own choice (the paper's are not public).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, model_validator
from torch import Tensor

from deft_llm.config import Settings, read_recipe
from deft_llm.data.shards import Arrays
from deft_llm.errors import UserError
from deft_llm.flow_models.files import load_flow_net
from deft_llm.flow_models.pairs import PairData, PairStore
from deft_llm.flow_models.regularizers import FaceLosses, face_loss
from deft_llm.flow_models.skflow import SKFlow, SKFlowConfig
from deft_llm.metrics.flow import flow_errors
from deft_llm.simulator.scene.sets import require_apart
from deft_llm.training.loop import Batch, Goal
from deft_llm.training.rendered import RenderedTask, train_rendered
from deft_llm.training.run_folder import claimed_folder
from deft_llm.training.schedule import Schedule


class FlowRecipe(Settings):
    """A file of ``train_configs/flow``.

    Attributes:
        output: Folder of the run.
        seed: Seed of initial weights, data order and augmentation.
        data: Pairs to render.
        pairs: Folder of the rendered pairs, which recipes may share; None puts it in ``output``.
        validation: Pairs of other faces for the scores in the log; None for no scores.
        start: Folder of a trained network of the same sizes to start from; None starts from
            random weights.
        model: Sizes of the network, and its first flow.
        losses: Weights of the loss terms.
        schedule: Training settings.
        batch_size: Crops per batch.
        crop: Side of the crops cut from those on disk, px.
        save_dtype: Type of the saved weights.
    """

    output: Path
    seed: int = 0
    data: PairData
    pairs: Path | None = None
    validation: PairData | None = None
    start: Path | None = None
    model: SKFlowConfig = SKFlowConfig()
    losses: FaceLosses = FaceLosses()
    schedule: Schedule
    batch_size: int = Field(default=8, ge=1)
    crop: int = Field(default=96, ge=16)
    save_dtype: Literal["float32", "float16"] = "float32"

    @model_validator(mode="after")
    def _apart(self) -> FlowRecipe:
        if self.validation is not None:
            require_apart(self.data, self.validation)
        return self


class FlowTask(RenderedTask[FlowRecipe, PairStore]):
    """SKFlow, the face losses and the pairs."""

    goal: Goal = ("epe", "min")

    def network(self, start: Path | None) -> torch.nn.Module:
        """A network of the recipe's sizes, with the weights from ``start`` if given."""
        network = SKFlow(self.recipe.model)
        if start is None:
            return network
        try:
            network.load_state_dict(load_flow_net(start).state_dict())
        except RuntimeError as error:
            raise UserError(
                f"start: the network in {start} has other sizes than the recipe's model; "
                "give the model that its config.json holds"
            ) from error
        return network

    def batch(self, index: int) -> dict[str, Tensor]:
        """Augmented crops, drawn with replacement; a function of the seed and ``index``."""
        rng = np.random.default_rng([self.recipe.seed, index])
        chosen = rng.integers(len(self.store), size=self.recipe.batch_size)
        return _stack([augment(self.store[int(i)], rng, self.recipe.crop) for i in chosen])

    def training_step(self, batch: Batch) -> dict[str, Tensor]:
        """Forward pass and losses."""
        flows = self.model(batch["images1"], batch["images2"])
        # float32 for the sums and means of the losses, as autocast may give bfloat16.
        return face_loss([f.float() for f in flows], batch["flow"], batch["mask"], self.losses)

    @property
    def losses(self) -> FaceLosses:
        """The weights of the loss terms."""
        return self.recipe.losses

    @torch.no_grad()
    def predict(self, batch: Batch) -> Tensor:
        """The last flow (B, 2, H, W), px."""
        self.model.eval()
        flow: Tensor = self.model(batch["images1"], batch["images2"])[-1]
        return flow

    def evaluate(self) -> dict[str, float]:
        """Endpoint error on held-out faces, of the network and of zero flow."""
        if self.held_out is None:
            return {}
        device = next(self.model.parameters()).device
        errors, zeros = [], []
        for i in range(len(self.held_out)):
            pair = self.held_out[i]
            batch = {name: x.to(device) for name, x in _stack([pair]).items()}
            flow = self.predict(batch)[0].cpu().numpy()
            truth, mask = pair["flow"].astype(np.float32), pair["mask"].astype(bool)
            if mask.any():
                errors.append(flow_errors(flow, truth, mask).epe)
                zeros.append(flow_errors(np.zeros_like(truth), truth, mask).epe)
        return {"epe": float(np.mean(errors)), "epe_zero_flow": float(np.mean(zeros))}


def augment(pair: Arrays, rng: np.random.Generator, crop: int) -> Arrays:
    """A random crop, randomly mirrored and transposed, with random brightness and contrast.

    Args:
        pair: Item of a :class:`PairStore`.
        rng: Random generator.
        crop: Side of the crop; limited to the size of the pair.

    Returns:
        The same arrays; ``images`` are float32 in 0..255.
    """
    height, width = pair["mask"].shape
    side = min(crop, height, width)
    y, x = int(rng.integers(height - side + 1)), int(rng.integers(width - side + 1))
    cut = (..., slice(y, y + side), slice(x, x + side))
    images = pair["images"][cut].astype(np.float32)
    flow, mask = pair["flow"][cut].astype(np.float32), pair["mask"][cut]
    # Mirrored left to right, u changes its sign; mirrored top to bottom, v does (-1 * _MIRROR).
    if rng.random() < 0.5:
        images, flow, mask = images[..., ::-1], flow[..., ::-1] * _MIRROR, mask[..., ::-1]
    if rng.random() < 0.5:
        images, flow, mask = images[..., ::-1, :], -flow[..., ::-1, :] * _MIRROR, mask[..., ::-1, :]
    # Transposed, u and v change places.
    if rng.random() < 0.5:
        turned = flow.swapaxes(-1, -2)[::-1]
        images, flow, mask = images.swapaxes(-1, -2), turned, mask.T
    gain, shift = np.exp(rng.normal(0, 0.2)), rng.normal(0, 15)
    # About 1 % brightness change between the two images; gain and shift are common to both.
    flicker = np.array([1.0, np.exp(rng.normal(0, 0.01))], np.float32)[:, None, None, None]
    images = (images - 128) * np.float32(gain) + np.float32(128 + shift)
    # Rounded and clipped, as 8-bit frames are.
    images = np.clip(np.rint(images * flicker), 0, 255)
    return {"images": images, "flow": flow, "mask": mask}


_MIRROR: NDArray[np.float32] = np.array([-1, 1], np.float32)[:, None, None]


def _stack(pairs: list[Arrays]) -> dict[str, Tensor]:
    images = torch.from_numpy(np.stack([p["images"] for p in pairs]).astype(np.float32))
    return {
        "images1": images[:, 0],
        "images2": images[:, 1],
        "flow": torch.from_numpy(np.stack([p["flow"] for p in pairs]).astype(np.float32)),
        "mask": torch.from_numpy(np.stack([p["mask"] for p in pairs]).astype(bool)),
    }


def train(values: dict[str, Any], where: str) -> None:
    """Train a flow network from a recipe; the entry of ``training/tasks.py``.

    Args:
        values: The recipe as read from YAML.
        where: Its file, for messages.

    Raises:
        UserError: If the recipe is wrong, or a folder belongs to another recipe.
    """
    recipe = read_recipe(FlowRecipe, values, where)
    folder = recipe.pairs or recipe.output / "pairs"
    shown = f"pairs of {recipe.data.identities} faces, in crops of {recipe.crop} px"
    with claimed_folder(recipe.output, recipe):
        train_rendered(recipe, folder, PairStore.rendered, FlowTask, shown)
