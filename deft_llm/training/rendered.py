"""What trainings on rendered sets share: a task's network and sets, and the run from set to end."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Sized
from pathlib import Path
from typing import Any, Generic, Literal, Protocol, TypeVar, cast

import torch
from accelerate.utils import set_seed

from deft_llm.training.loop import Task, fit
from deft_llm.training.machine import use_all_cores
from deft_llm.training.run_folder import FINAL
from deft_llm.training.schedule import Schedule
from deft_llm.weights import Configured, save_network

logger = logging.getLogger(__name__)

Store = TypeVar("Store", bound=Sized)


class RenderedRecipe(Protocol):
    """What a recipe on rendered sets has, whatever it trains."""

    output: Path
    seed: int
    start: Path | None
    schedule: Schedule
    batch_size: int
    save_dtype: Literal["float32", "float16"]

    @property
    def data(self) -> Any:
        """Settings of the training set."""

    @property
    def validation(self) -> Any:
        """Settings of the held-out set, or None."""


Recipe = TypeVar("Recipe", bound=RenderedRecipe)


class RenderedTask(ABC, Generic[Recipe, Store]):
    """A network and the sets it learns from and is scored on; half of a ``Task``.

    Args:
        recipe: The recipe.
        store: Training set.
        held_out: Set for the scores of the log.
    """

    def __init__(self, recipe: Recipe, store: Store, held_out: Store | None = None) -> None:
        self.recipe, self.store, self.held_out = recipe, store, held_out
        self.model: torch.nn.Module = self.network(recipe.start)
        self.model.train()

    @abstractmethod
    def network(self, start: Path | None) -> torch.nn.Module:
        """The network saved in a folder, or a fresh one."""

    def save(self, folder: Path) -> None:
        """Weights and configuration."""
        network = cast(Configured, self.model)
        save_network(network, folder, getattr(torch, self.recipe.save_dtype))


def train_rendered(
    recipe: Recipe,
    folder: Path,
    load: Callable[[Any, Path], Store],
    make_task: Callable[[Recipe, Store, Store | None], Task],
    shown: str,
) -> None:
    """Render what is missing, then train or go on; a finished run is left as it is.

    Args:
        recipe: The recipe; its folder is claimed already.
        folder: Of the training set.
        load: Settings and folder -> the set, rendered first where need be.
        make_task: Recipe, training set, held-out set -> task.
        shown: What the set shows and what a batch is made of, for the log.
    """
    final = recipe.output / FINAL
    if final.is_dir():
        logger.info("already finished at step %d: %s", recipe.schedule.steps, final)
        return
    store = load(recipe.data, folder)
    held_out = None
    if recipe.validation is not None:
        held_out = load(recipe.validation, recipe.output / "validation")
    use_all_cores()
    set_seed(recipe.seed)
    task = make_task(recipe, store, held_out)
    logger.info(
        "%d %s · %.2f M parameters · %s · effective batch %d · %d steps",
        len(store),
        shown,
        sum(p.numel() for p in task.model.parameters()) / 1e6,
        torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU",
        recipe.batch_size * recipe.schedule.accumulate,
        recipe.schedule.steps,
    )
    logger.info("finished: %s", fit(task, recipe.schedule, recipe.output))
