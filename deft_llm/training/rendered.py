"""Shared parts of trainings on rendered sets: the task's base class, and the complete run."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Sized
from pathlib import Path
from typing import Any, Generic, Literal, Protocol, TypeVar, cast

import torch
from accelerate.utils import set_seed

from deft_llm.machine import first_process_first, processes, use_all_cores
from deft_llm.training.loop import Task, fit
from deft_llm.training.run_folder import FINAL
from deft_llm.training.schedule import Schedule
from deft_llm.weights import Configured, save_network

logger = logging.getLogger(__name__)

Store = TypeVar("Store", bound=Sized)


class RenderedRecipe(Protocol):
    """Fields of every recipe that trains on rendered sets."""

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
    """Network, training set and held-out set; subclasses add the rest of a ``Task``.

    Args:
        recipe: The recipe.
        store: Training set.
        held_out: Set for the scores in the log.
    """

    def __init__(self, recipe: Recipe, store: Store, held_out: Store | None = None) -> None:
        self.recipe, self.store, self.held_out = recipe, store, held_out
        self.model: torch.nn.Module = self.network(recipe.start)
        self.model.train()

    @abstractmethod
    def network(self, start: Path | None) -> torch.nn.Module:
        """The network saved in a folder, or a new one."""

    def save(self, folder: Path) -> None:
        """Save weights and configuration."""
        network = cast(Configured, self.model)
        save_network(network, folder, getattr(torch, self.recipe.save_dtype))


def train_rendered(
    recipe: Recipe,
    folder: Path,
    load: Callable[[Any, Path], Store],
    make_task: Callable[[Recipe, Store, Store | None], Task],
    shown: str,
) -> None:
    """Render missing sets, then train or resume; does nothing if the run is finished.

    Args:
        recipe: The recipe; its folder is claimed already.
        folder: Folder of the training set.
        load: Settings and folder -> the set, rendered if missing.
        make_task: Recipe, training set, held-out set -> task.
        shown: Description of the set and a batch, for the log.
    """
    final = recipe.output / FINAL
    # Checked before the sets are opened, as missing ones would be rendered again.
    if final.is_dir():
        logger.info("already finished at step %d: %s", recipe.schedule.steps, final)
        return
    held_out = None
    # One process renders; the others then find the sets whole.
    with first_process_first():
        store = load(recipe.data, folder)
        if recipe.validation is not None:
            held_out = load(recipe.validation, recipe.output / "validation")
    use_all_cores()
    # After rendering, so that the initial weights do not depend on what was rendered in this run.
    set_seed(recipe.seed)
    task = make_task(recipe, store, held_out)
    logger.info(
        "%d %s · %.2f M parameters · %s · effective batch %d · %d steps",
        len(store),
        shown,
        sum(p.numel() for p in task.model.parameters()) / 1e6,
        torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU",
        recipe.batch_size * recipe.schedule.accumulate * processes(),
        recipe.schedule.steps,
    )
    logger.info("finished: %s", fit(task, recipe.schedule, recipe.output))
