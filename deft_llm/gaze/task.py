"""Training of the tracker on simulated recordings of eyes."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, model_validator
from torch import Tensor

from deft_llm.config import Settings, read_recipe
from deft_llm.gaze.files import load_tracker
from deft_llm.gaze.network import Tracked, TrackerConfig, TrackerNet, tracker_loss
from deft_llm.gaze.recordings import EyeData, EyeStore
from deft_llm.simulator.scene.sets import require_apart
from deft_llm.training.loop import Batch, Goal
from deft_llm.training.rendered import RenderedTask, train_rendered
from deft_llm.training.run_folder import claimed_folder
from deft_llm.training.schedule import Schedule

_WARM = 16  # frames at the beginning of a crop that do not count
_SHIFT = (3, 2)  # cells of a frame that a crop may be moved to a side, and up or down
_LEAD = 150  # frames before a crop of which the surfaces are still seen


class GazeRecipe(Settings):
    """A file of ``train_configs/gaze``.

    Attributes:
        output: Folder of the run.
        seed: Seed of initial weights, data order and augmentation.
        data: Recordings to simulate.
        recordings: Folder of the recordings, which recipes may share; None: inside ``output``.
        validation: Recordings for the scores in the log; None for no scores.
        start: Folder of a trained network to start from; None starts from scratch.
        model: Sizes of the network.
        schedule: Steps, optimizer and learning rate of the training.
        batch_size: Crops per batch.
        frames: Frames of a crop.
        save_dtype: Type of the saved weights.
    """

    output: Path
    seed: int = 0
    data: EyeData
    recordings: Path | None = None
    validation: EyeData | None = None
    start: Path | None = None
    model: TrackerConfig = TrackerConfig()
    schedule: Schedule
    batch_size: int = Field(default=16, ge=1)
    frames: int = Field(default=64, gt=_WARM)
    save_dtype: Literal["float32", "float16"] = "float32"

    @model_validator(mode="after")
    def _apart(self) -> GazeRecipe:
        if self.validation is not None:
            ranges = (("first_eye", "recordings"), ("seed", "recordings"))
            require_apart(self.data, self.validation, ranges)
        return self


class GazeTask(RenderedTask[GazeRecipe, EyeStore]):
    """The network, its loss and the recordings."""

    goal: Goal = ("l2", "min")

    def network(self, start: Path | None) -> torch.nn.Module:
        """The network to start from, or a new one."""
        return TrackerNet(self.recipe.model) if start is None else load_tracker(start)

    def batch(self, index: int) -> dict[str, Tensor]:
        """Crops drawn with replacement; depends only on the seed and the index."""
        rng = np.random.default_rng([self.recipe.seed, index])
        crops = [self._crop(rng) for _ in range(self.recipe.batch_size)]
        return {name: torch.from_numpy(np.stack([c[name] for c in crops])) for name in crops[0]}

    def _crop(self, rng: np.random.Generator) -> dict[str, NDArray[Any]]:
        number = int(rng.integers(len(self.store)))
        count = min(self.recipe.frames, self.store.length)
        first = int(rng.integers(self.store.length - count + 1))
        lead = min(first, _LEAD)
        stop = first + count
        frames = self.store.read(number, "frames", first - lead, stop)
        points = self.store.read(number, "points", first, stop).copy()
        model = self.recipe.model
        if rng.random() < 0.5:  # the other eye
            frames = frames[..., ::-1]
            points[:, 0] = model.grid[0] - points[:, 0]
        dx, dy = (int(rng.integers(-far, far + 1)) for far in _SHIFT)
        frames = np.roll(frames, (dy, dx), (-2, -1))
        return {
            "frames": np.ascontiguousarray(frames[lead:]),
            "surfaces": _surfaces(frames[:lead], model),
            "points": points
            + np.float32(model.grid[0] / model.frame[0]) * np.array([dx, dy], np.float32),
            "closed": self.store.read(number, "closed", first, stop).astype(np.float32),
        }

    def training_step(self, batch: Batch) -> dict[str, Tensor]:
        """Forward pass and loss."""
        # The layers' own past is not known at a crop's start; that of the surfaces is.
        tracked = self.model(batch["frames"], [batch["surfaces"]])
        return tracker_loss(tracked, batch["points"], batch["closed"], _WARM)

    @torch.no_grad()
    def predict(self, batch: Batch) -> Tracked:
        """Places of the pupil, cells."""
        self.model.eval()
        tracked: Tracked = self.model(batch["frames"])
        return tracked

    def evaluate(self) -> dict[str, float]:
        """Mean distance over whole held-out recordings, from their first frame on, in cells."""
        if self.held_out is None:
            return {}
        device = next(self.model.parameters()).device
        apart, right = [], []
        for i in range(len(self.held_out)):
            frames, points, closed = (
                self.held_out.read(i, name, 0, self.held_out.length)
                for name in ("frames", "points", "closed")
            )
            tracked = self.predict({"frames": torch.from_numpy(frames)[None].to(device)})
            apart.append(np.linalg.norm(tracked.points[0].cpu().numpy() - points, axis=1))
            right.append((tracked.closed[0] > 0).cpu().numpy() == (closed > 0))
        return {
            "l2": float(np.mean(np.concatenate(apart))),
            "closed_accuracy": float(np.mean(np.concatenate(right))),
        }


def _surfaces(before: NDArray[np.uint8], model: TrackerConfig) -> NDArray[np.float32]:
    """The network's surfaces after some frames (T, 2, H, W), without running it."""

    def faded(frames: NDArray[Any], keep: float) -> NDArray[np.float32]:
        ages = np.arange(len(frames) - 1, -1, -1.0)
        weight = np.exp(-ages * model.period / 1000 / keep).astype(np.float32)
        return np.asarray(np.tensordot(weight, frames.astype(np.float32), 1))

    near = before[max(0, len(before) - round(8000 * model.fast / model.period)) :]
    gained, lost = before[:, 0].astype(np.float32), before[:, 1].astype(np.float32)
    return np.concatenate([faded(near, model.fast), faded(gained - lost, model.slow)[None]])


def train(values: dict[str, Any], where: str) -> None:
    """Train a tracker from a recipe; the entry of ``training/tasks.py``.

    Args:
        values: The recipe as read from YAML.
        where: File of the recipe, for messages.

    Raises:
        UserError: If the recipe is invalid, or a folder belongs to another recipe.
    """
    recipe = read_recipe(GazeRecipe, values, where)
    folder = recipe.recordings or recipe.output / "eyes"
    shown = f"recordings of eyes, in crops of {recipe.frames} frames"
    with claimed_folder(recipe.output, recipe):
        train_rendered(recipe, folder, EyeStore.rendered, GazeTask, shown)
