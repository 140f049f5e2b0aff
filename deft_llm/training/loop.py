"""One loop for every task that is no language model: accelerate, checkpoints, bit-equal resume.

A task joins a model, its loss and its data. The loop knows steps: batch ``i`` is a function of
``i`` alone and the learning rate one of the step, so a run that was stopped goes on from its last
checkpoint bit for bit.
"""

from __future__ import annotations

import json
import logging
import math
import os
import shutil
import time
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

import torch
from accelerate import Accelerator
from pydantic import Field
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from deft_llm.config import Settings
from deft_llm.errors import UserError
from deft_llm.files import replacing_folder
from deft_llm.training.muon import MuonAdamW, matrices_of
from deft_llm.training.runs import takes_bfloat16

logger = logging.getLogger(__name__)
Batch = Mapping[str, Tensor]
_KEPT = 2  # checkpoints


class Schedule(Settings):
    """How long and how fast to learn.

    Attributes:
        steps: Optimizer steps.
        accumulate: Batches per optimizer step.
        learning_rate: Its peak.
        shape: "onecycle" rises and falls linearly; "cosine" falls along a cosine.
        warmup: Share of the steps with a rising rate.
        optimizer: "adamw", or "muon" for linear layers and convolutions with AdamW for the rest.
        weight_decay: AdamW's, and Muon's.
        clip: Largest norm of the gradient; 0 leaves it.
        bf16: Run under bfloat16 autocast, where the machine is fast at it (``takes_bfloat16``).
        save_every: Steps between checkpoints.
        log_every: Steps between rows of the log.
        evaluate_every: Steps between evaluations; 0 evaluates at the end only.
        loaders: Processes that prepare batches; 0 prepares them in this one.
    """

    steps: int = Field(ge=1)
    accumulate: int = Field(default=1, ge=1)
    learning_rate: float = Field(default=1e-3, gt=0)
    shape: Literal["onecycle", "cosine"] = "onecycle"
    warmup: float = Field(default=0.05, ge=0, lt=1)
    optimizer: Literal["adamw", "muon"] = "adamw"
    weight_decay: float = Field(default=1e-4, ge=0)
    clip: float = Field(default=1.0, ge=0)
    bf16: bool = False
    save_every: int = Field(default=500, ge=1)
    log_every: int = Field(default=20, ge=1)
    evaluate_every: int = Field(default=0, ge=0)
    loaders: int = Field(default=0, ge=0)

    def rate(self, step: int) -> float:
        """Learning rate of a step, 0-based."""
        rising = self.warmup * self.steps
        if step < rising:
            return self.learning_rate * (step + 1) / (rising + 1)
        done = (step - rising) / max(1.0, self.steps - rising)
        falling = 1 - done if self.shape == "onecycle" else (1 + math.cos(math.pi * done)) / 2
        return self.learning_rate * falling


class Task(Protocol):
    """A model with its loss, its data and its scores."""

    model: nn.Module

    def batch(self, index: int) -> dict[str, Tensor]:
        """Training batch number ``index``, the same whenever it is asked for."""

    def training_step(self, batch: Batch) -> dict[str, Tensor]:
        """Losses by name: what "loss" holds is minimised, the rest is for the log."""

    def predict(self, batch: Batch) -> Any:
        """The model's answer to a batch, without gradients."""

    def evaluate(self) -> dict[str, float]:
        """Scores on held-out data; may be empty."""

    def save(self, folder: Path) -> None:
        """Write weights (safetensors) and configuration (JSON)."""


@runtime_checkable
class HasEnds(Protocol):
    """A network that knows which of its layers Muon leaves to AdamW."""

    def ends(self) -> list[nn.Module]:
        """The layers that read pixels or write what is answered."""


class _Batches(Dataset[dict[str, Tensor]]):
    """The batches of one process from a given step on."""

    def __init__(self, task: Task, schedule: Schedule, start: int, rank: int, world: int) -> None:
        self.task, self.rank, self.world = task, rank, world
        self.first, self.count = start * schedule.accumulate, schedule.accumulate * schedule.steps

    def __len__(self) -> int:
        return self.count - self.first

    def __getitem__(self, i: int) -> dict[str, Tensor]:
        return self.task.batch((self.first + i) * self.world + self.rank)


def fit(task: Task, schedule: Schedule, output: Path, cpu: bool = False) -> Path:
    """Train a task in its own folder, or go on where it was stopped.

    Writes ``log.jsonl``, ``checkpoint-N`` folders, and at the end ``final``.

    Args:
        task: What to train.
        schedule: How.
        output: Folder of the run.
        cpu: Leave accelerators alone.

    Returns:
        The folder ``final``.

    Raises:
        UserError: If the loss is no longer finite.
    """
    final = output / "final"
    if final.is_dir():
        logger.info("already finished at step %d: %s", schedule.steps, final)
        return final
    accelerator = Accelerator(
        cpu=cpu, mixed_precision="bf16" if takes_bfloat16(schedule.bf16) else "no"
    )
    optimizer = _optimizer(task.model, schedule)
    model, optimizer = accelerator.prepare(task.model, optimizer)
    task.model = model
    start = _resume(accelerator, output)
    log = _Log(output / "log.jsonl", start, accelerator.is_main_process)
    data = _Batches(task, schedule, start, accelerator.process_index, accelerator.num_processes)
    # A generator of its own: starting to iterate would draw from the state just restored.
    loader = DataLoader(
        data, batch_size=None, num_workers=schedule.loaders, generator=torch.Generator()
    )
    batches = iter(loader)
    shown = tqdm(
        range(start, schedule.steps),
        initial=start,
        total=schedule.steps,
        desc="training",
        unit="step",
        disable=not accelerator.is_main_process,
    )
    for step in shown:
        for group in optimizer.param_groups:
            group["lr"] = schedule.rate(step)
        losses = _step(accelerator, task, optimizer, batches, schedule)
        done = step + 1
        if done % schedule.log_every == 0 or done == schedule.steps:
            values = {name: float(value) for name, value in losses.items()}
            _must_be_finite(values["loss"], done, output)
            log.write({"step": done, "lr": schedule.rate(step), **values})
            shown.set_postfix(loss=f"{values['loss']:.4f}")
        if done == schedule.steps or _due(done, schedule.evaluate_every):
            task.model = accelerator.unwrap_model(model)
            if accelerator.is_main_process and (scores := task.evaluate()):
                log.write({"step": done, **scores})
                text = ", ".join(f"{name} {value:.4f}" for name, value in scores.items())
                logger.info("step %d: %s", done, text)
            task.model = model.train()
        if _due(done, schedule.save_every) and done < schedule.steps:
            _must_be_finite(float(losses["loss"]), done, output)
            _save_state(accelerator, output, done)
    task.model = accelerator.unwrap_model(model).eval()
    if accelerator.is_main_process:
        with replacing_folder(final) as partial:
            task.save(partial)
        _drop_checkpoints(output, keep=0)
    accelerator.wait_for_everyone()
    return final


def _optimizer(model: nn.Module, schedule: Schedule) -> torch.optim.Optimizer:
    rates: dict[str, Any] = {"lr": schedule.learning_rate, "weight_decay": schedule.weight_decay}
    if schedule.optimizer == "adamw":
        return torch.optim.AdamW(model.parameters(), **rates)
    ends = model.ends() if isinstance(model, HasEnds) else []
    chosen = matrices_of(model, ends, (nn.Linear, nn.Conv2d))
    matrices = [p for p in model.parameters() if id(p) in chosen]
    others = [p for p in model.parameters() if id(p) not in chosen]
    return MuonAdamW([{"params": matrices, **rates}], [{"params": others, **rates}])


def _step(
    accelerator: Accelerator, task: Task, optimizer: Any, batches: Any, schedule: Schedule
) -> dict[str, Tensor]:
    """One optimizer step over ``accumulate`` batches; the mean of each loss."""
    total: dict[str, Tensor] = {}
    for k in range(schedule.accumulate):
        batch = {name: x.to(accelerator.device) for name, x in next(batches).items()}
        last = k + 1 == schedule.accumulate
        with nullcontext() if last else accelerator.no_sync(task.model), accelerator.autocast():
            losses = task.training_step(batch)
            accelerator.backward(losses["loss"] / schedule.accumulate)
        for name, value in losses.items():
            total[name] = total.get(name, torch.zeros(())) + value.detach() / schedule.accumulate
    if schedule.clip:
        accelerator.clip_grad_norm_(task.model.parameters(), schedule.clip)
    optimizer.step()
    optimizer.zero_grad()
    return total


def _due(step: int, every: int) -> bool:
    return every > 0 and step % every == 0


def _must_be_finite(loss: float, step: int, output: Path) -> None:
    if not math.isfinite(loss):
        raise UserError(
            f"{output}: the loss is {loss} at step {step}; lower schedule.learning_rate, "
            "and run in a new folder"
        )


class _Log:
    """JSON lines; rows after the step that a run goes on from are dropped."""

    def __init__(self, path: Path, start: int, active: bool) -> None:
        self.path, self.active, self.started = path, active, time.monotonic()
        if active:
            rows = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
            kept = [row for row in rows if json.loads(row)["step"] <= start]
            path.write_text("".join(row + "\n" for row in kept), encoding="utf-8")

    def write(self, row: dict[str, Any]) -> None:
        """Append one row."""
        if self.active:
            row = {**row, "seconds": round(time.monotonic() - self.started, 1)}
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")


def _checkpoints(output: Path) -> list[tuple[int, Path]]:
    """Whole checkpoints by step."""
    found = (p for p in output.glob("checkpoint-*") if p.suffix != ".partial")
    return sorted((int(p.name.removeprefix("checkpoint-")), p) for p in found)


def _resume(accelerator: Accelerator, output: Path) -> int:
    """Load the last checkpoint; the number of steps that are done."""
    output.mkdir(parents=True, exist_ok=True)
    saved = _checkpoints(output)
    if not saved:
        return 0
    step, folder = saved[-1]
    accelerator.load_state(str(folder))
    logger.info("goes on from step %d: %s", step, folder)
    return step


def _save_state(accelerator: Accelerator, output: Path, step: int) -> None:
    """Save under a temporary name, then put in place; the oldest are dropped."""
    folder = output / f"checkpoint-{step}"
    partial = folder.with_suffix(".partial")
    accelerator.save_state(str(partial), safe_serialization=True)
    accelerator.wait_for_everyone()
    if accelerator.is_main_process:
        os.replace(partial, folder)
        _drop_checkpoints(output, _KEPT)


def _drop_checkpoints(output: Path, keep: int) -> None:
    saved = _checkpoints(output)
    for _, folder in saved[: len(saved) - keep]:
        shutil.rmtree(folder)
