"""Training of the landmark network on augmented simulated faces."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, model_validator
from torch import Tensor

from deft_llm.config import Settings, read_recipe
from deft_llm.errors import UserError
from deft_llm.landmark_models.augment import disturb, sample
from deft_llm.landmark_models.faces import FaceData, FaceStore
from deft_llm.landmark_models.files import load_landmark_net
from deft_llm.landmark_models.network import LandmarkConfig, LandmarkNet, Placed, laplace_loss
from deft_llm.metrics.landmarks import interocular, landmark_errors, stated_error_ratio
from deft_llm.simulator.scene.sets import require_apart
from deft_llm.training.loop import Batch, Goal
from deft_llm.training.rendered import RenderedTask, train_rendered
from deft_llm.training.run_folder import claimed_folder
from deft_llm.training.schedule import Schedule

_EVALUATED = 64  # crops per evaluation batch


class LandmarkRecipe(Settings):
    """A file of ``train_configs/landmarks``.

    Attributes:
        output: Folder of the run.
        seed: Seed of initial weights, data order and augmentation.
        data: Faces to render.
        faces: Folder of the rendered faces, which recipes may share; None: inside ``output``.
        validation: Faces for the scores in the log; None for no scores.
        start: Folder of a trained network to start from; None starts from scratch.
        model: Sizes of the network.
        schedule: Steps, optimizer and learning rate of the training.
        batch_size: Crops per batch.
        warp: How far faces are bent in training (``augment.sample``), for proportions beyond
            those of the heads.
        save_dtype: Type of the saved weights.
    """

    output: Path
    seed: int = 0
    data: FaceData
    faces: Path | None = None
    validation: FaceData | None = None
    start: Path | None = None
    model: LandmarkConfig = LandmarkConfig()
    schedule: Schedule
    batch_size: int = Field(default=32, ge=1)
    warp: float = Field(default=0.0, ge=0, le=0.05)
    save_dtype: Literal["float32", "float16"] = "float16"

    @model_validator(mode="after")
    def _apart(self) -> LandmarkRecipe:
        if self.validation is not None:
            require_apart(self.data, self.validation)
        return self


class LandmarkTask(RenderedTask[LandmarkRecipe, FaceStore]):
    """The network, its loss and the faces."""

    goal: Goal = ("nme", "min")

    def network(self, start: Path | None) -> torch.nn.Module:
        """A network of the recipe's sizes, with the weights from ``start`` if given."""
        if start is None:
            return LandmarkNet(self.recipe.model)
        network = load_landmark_net(start)
        # The crops are cut for the recipe's sizes.
        if network.config != self.recipe.model:
            raise UserError(
                f"start: the network in {start} has other sizes than the recipe's model; "
                "give the model that its config.json holds"
            )
        return network

    def batch(self, index: int) -> dict[str, Tensor]:
        """Augmented faces drawn with replacement; depends only on the seed and the index."""
        # By index, so that a resumed run draws the batches that it would have drawn.
        rng = np.random.default_rng([self.recipe.seed, index])
        chosen = rng.integers(len(self.store), size=self.recipe.batch_size)
        side, warp, store = self.recipe.model.side, self.recipe.warp, self.store
        return _stack(
            sample(store.image[i], store.points[i], rng, side, disturb, warp) for i in chosen
        )

    def training_step(self, batch: Batch) -> dict[str, Tensor]:
        """Forward pass and loss."""
        placed = self.model(batch["crop"])
        return laplace_loss(placed, batch["points"], self.recipe.model.side)

    @torch.no_grad()
    def predict(self, batch: Batch) -> Placed:
        """Landmarks in px of the crops."""
        self.model.eval()
        placed: Placed = self.model(batch["crop"])
        return placed

    def evaluate(self) -> dict[str, float]:
        """Mean error on held-out faces, in interocular distances; one pass on a jittered box."""
        if self.held_out is None:
            return {}
        device = next(self.model.parameters()).device
        side, store = self.recipe.model.side, self.held_out
        # The same jitter every time, so that scores of one run are comparable.
        rng = np.random.default_rng(0)
        errors, stated = [], []
        for first in range(0, len(store), _EVALUATED):
            chosen = range(first, min(first + _EVALUATED, len(store)))
            batch = _stack(sample(store.image[i], store.points[i], rng, side) for i in chosen)
            placed = self.predict({name: x.to(device) for name, x in batch.items()})
            truth = batch["points"].double().numpy()
            errors.append(landmark_errors(placed.points.double().cpu().numpy(), truth))
            scale = placed.log_scale.double().exp().cpu().numpy() * side / 16
            # 2 b is the RMS error of a point, see `network.Placed`.
            stated.append(2 * scale / interocular(truth)[:, None])
        every, expected = np.concatenate(errors), np.concatenate(stated)
        return {
            "nme": float(every.mean()),
            "error_over_stated": stated_error_ratio(every, expected),
        }


def _stack(samples: Iterable[tuple[NDArray[np.uint8], NDArray[np.float32]]]) -> dict[str, Tensor]:
    crops, points = zip(*samples, strict=True)
    return {
        "crop": torch.from_numpy(np.stack(crops))[:, None],
        "points": torch.from_numpy(np.stack(points)),
    }


def train(values: dict[str, Any], where: str) -> None:
    """Train a landmark network from a recipe; the entry of ``training/tasks.py``.

    Args:
        values: The recipe as read from YAML.
        where: File of the recipe, for messages.

    Raises:
        UserError: If the recipe is invalid, or a folder belongs to another recipe.
    """
    recipe = read_recipe(LandmarkRecipe, values, where)
    folder = recipe.faces or recipe.output / "faces"
    heads = ", ".join(recipe.data.heads)
    shown = f"faces of heads {heads}, in crops of {recipe.model.side} px"
    with claimed_folder(recipe.output, recipe):
        train_rendered(recipe, folder, FaceStore.rendered, LandmarkTask, shown)
