"""Training loop for all tasks outside ``transformers.Trainer``: checkpoints, bit-equal resume.

A task combines a model, its loss and its data. Batch ``i`` is a function of ``i`` alone, and the
learning rate a function of the step, so an interrupted run resumes from its last checkpoint with
bit-equal results.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any, Literal, Protocol, overload, runtime_checkable

import torch
from accelerate import Accelerator, DistributedDataParallelKwargs
from torch import Tensor, nn
from tqdm import tqdm

from deft_llm.errors import UserError
from deft_llm.machine import takes_bfloat16, together_on_cpu
from deft_llm.pace import Pace
from deft_llm.stopping import StopRequest, after_this_step
from deft_llm.training.batches import batches
from deft_llm.training.muon import MuonAdamW, matrices_of
from deft_llm.training.run_folder import BEST, FINAL, RunFolder, is_better, keep_best
from deft_llm.training.schedule import Schedule

logger = logging.getLogger(__name__)
Batch = Mapping[str, Tensor]
Goal = tuple[str, Literal["min", "max"]]
"""Name of a score, and which way is better."""


class Task(Protocol):
    """A model with its loss, its data and its scores."""

    model: nn.Module

    def batch(self, index: int) -> dict[str, Tensor]:
        """Training batch number ``index``; the same at every call."""

    def training_step(self, batch: Batch) -> dict[str, Tensor]:
        """Losses by name: "loss" is minimised, the others are only logged."""

    def predict(self, batch: Batch) -> Any:
        """The model's output for a batch, without gradients."""

    def evaluate(self) -> dict[str, float]:
        """Scores on held-out data; may be empty."""

    def save(self, folder: Path) -> None:
        """Write weights (safetensors) and configuration (JSON)."""


@runtime_checkable
class HasEnds(Protocol):
    """A network that names the layers that Muon leaves to AdamW."""

    def ends(self) -> list[nn.Module]:
        """First and last layers: those that read pixels or write the output."""


@runtime_checkable
class HasGoal(Protocol):
    """A task that names the score by which ``best`` is chosen."""

    goal: Goal


@overload
def fit(task: Task, schedule: Schedule, output: Path, cpu: bool = False) -> Path: ...
@overload
def fit(task: Task, schedule: Schedule, output: None, cpu: bool = False) -> None: ...
def fit(task: Task, schedule: Schedule, output: Path | None, cpu: bool = False) -> Path | None:
    """Train a task in its own folder, resuming if it was interrupted.

    Writes ``log.jsonl``, ``checkpoint-N`` folders, and at the end ``final``. If the task names its
    goal, ``best`` is the network of the best evaluation. A request to stop (``stopping.py``) is
    followed when the current step is saved.

    Args:
        task: The task to train.
        schedule: Training settings.
        output: Folder of the run; None writes nothing and shows no progress bar, for a short run
            that is part of a larger one.
        cpu: Train on the CPU even if there is an accelerator.

    Returns:
        The folder ``final``, or None without an output folder.

    Raises:
        UserError: If the loss becomes NaN or infinite.
        Stopped: If the run was asked to stop.
    """
    final = None if output is None else output / FINAL
    if final is not None and final.is_dir():
        logger.info("already finished at step %d: %s", schedule.steps, final)
        return final
    accelerator = Accelerator(
        cpu=cpu or together_on_cpu(),
        mixed_precision="bf16" if takes_bfloat16(schedule.bf16) else "no",
        # Otherwise a weight without a part in the loss, as of an unused head, ends the run.
        kwargs_handlers=[DistributedDataParallelKwargs(find_unused_parameters=True)],
    )
    optimizer = _optimizer(task.model, schedule)
    model, optimizer = accelerator.prepare(task.model, optimizer)
    task.model = model
    run = RunFolder(output, accelerator)
    # After prepare: accelerate restores only the objects that it has prepared.
    start = run.resume()
    with after_this_step() if output is not None else nullcontext() as stop:
        _loop(accelerator, task, optimizer, schedule, run, start, stop)
    task.model = accelerator.unwrap_model(model).eval()
    run.finish(task.save)
    return final


def _loop(
    accelerator: Accelerator,
    task: Task,
    optimizer: Any,
    schedule: Schedule,
    run: RunFolder,
    start: int,
    stop: StopRequest | None,
) -> None:
    """Take the steps from ``start`` on; without ``stop``, requests to stop are not deferred."""
    model, steps = task.model, schedule.steps
    drawn = batches(task.batch, schedule, start, accelerator)
    shown = tqdm(
        range(start, steps),
        initial=start,
        total=steps,
        desc="training",
        unit="step",
        disable=run.path is None or not accelerator.is_main_process,
    )
    pace = Pace("training", steps)
    for step in shown:
        schedule.set_rate(optimizer, step, steps)
        losses = _step(accelerator, task, optimizer, drawn, schedule)
        done = step + 1
        if not shown.disable:
            pace.step(done)
        if done % schedule.log_every == 0 or done == steps:
            # float() waits for the GPU, so losses are read and checked on logging and saving steps
            # only.
            # All processes take part in the mean, and stop together if it is not finite.
            means = accelerator.reduce(losses, "mean")
            values = {name: float(value) for name, value in means.items()}
            _must_be_finite(values["loss"], done, run.path)
            run.log({"step": done, "lr": schedule.rate(step, steps), **values})
            shown.set_postfix(loss=f"{values['loss']:.4f}")
        if done == steps or _due(done, schedule.evaluate_every):
            # Without the wrapper of several processes: one of them alone would wait for the others.
            task.model = accelerator.unwrap_model(model)
            if accelerator.is_main_process:
                _evaluate(task, done, run)
            task.model = model.train()
        asked = stop is not None and stop.asked()
        # Never save a diverged network: the run would go on from it for ever.
        if done < steps and (asked or _due(done, schedule.save_every)):
            mean = accelerator.reduce(losses["loss"], "mean")
            _must_be_finite(float(mean), done, run.path)
            run.save(done)
        if stop is not None and asked and done < steps:
            stop.raise_if_asked()


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
    accelerator: Accelerator,
    task: Task,
    optimizer: Any,
    batches: Iterator[dict[str, Tensor]],
    schedule: Schedule,
) -> dict[str, Tensor]:
    """Take one optimizer step over ``accumulate`` batches; returns the mean of each loss."""
    total: dict[str, Tensor] = {}
    for k in range(schedule.accumulate):
        batch = {name: x.to(accelerator.device) for name, x in next(batches).items()}
        last = k + 1 == schedule.accumulate
        # Processes exchange gradients once per step, with the last batch.
        with nullcontext() if last else accelerator.no_sync(task.model), accelerator.autocast():
            losses = task.training_step(batch)
            accelerator.backward(losses["loss"] / schedule.accumulate)
        for name, value in losses.items():
            # A number without axes adds to one on any device.
            total[name] = total.get(name, torch.zeros(())) + value.detach() / schedule.accumulate
    if schedule.clip:
        accelerator.clip_grad_norm_(task.model.parameters(), schedule.clip)
    optimizer.step()
    optimizer.zero_grad()
    return total


def _evaluate(task: Task, step: int, run: RunFolder) -> None:
    """Log the task's scores, if it has any, and keep the network if it is the best so far."""
    if not (scores := task.evaluate()):
        return
    run.log({"step": step, **scores})
    text = ", ".join(f"{name} {value:.4f}" for name, value in scores.items())
    logger.info("step %d: %s", step, text)
    if isinstance(task, HasGoal) and run.path is not None:
        name, way = task.goal
        score = {"step": step, name: scores[name]}
        if is_better(run.path / BEST, score, higher=way == "max"):
            keep_best(run.path / BEST, score, task.save)


def _due(step: int, every: int) -> bool:
    return every > 0 and step % every == 0


def _must_be_finite(loss: float, step: int, output: Path | None) -> None:
    if not math.isfinite(loss):
        where = "" if output is None else f"{output}: "
        raise UserError(
            f"{where}the loss is {loss} at step {step}; lower schedule.learning_rate, "
            "and run in a new folder"
        )
