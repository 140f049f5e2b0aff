"""One training stage on ``transformers.Trainer``: settings, resume, result."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import TrainerCallback, TrainingArguments, set_seed

from deft_llm.deft.tuning.callbacks import (
    TENSORBOARD,
    JsonLines,
    PaceOfStage,
    StopWhenAsked,
    TensorBoard,
    ValidateEvery,
)
from deft_llm.deft.tuning.recipe import DeftRecipe
from deft_llm.deft.tuning.stage_settings import Stage
from deft_llm.deft.tuning.trainer import DeftTrainer, only
from deft_llm.deft.tuning.validation import parts
from deft_llm.errors import UserError
from deft_llm.files import replacing
from deft_llm.machine import sharded_on_cpu, takes_bfloat16
from deft_llm.stopping import StopRequest, after_this_step
from deft_llm.training.checkpoints import checkpoints, drop_damaged, tell_other_processes
from deft_llm.training.run_folder import BEST

logger = logging.getLogger(__name__)
# Names of Trainer's schedules; unlike LearningRate.rate, their warm-up starts at a rate of 0.
_SHAPES = {"constant": "constant", "onecycle": "linear", "cosine": "cosine"}
STAGES: tuple[str, ...] = ("experts", "projectors", "instruct", "reward")


def arguments(recipe: DeftRecipe, stage: Stage, folder: Path) -> TrainingArguments:
    """Trainer's settings for a stage.

    Raises:
        UserError: If DeepSpeed is configured for bfloat16 without a GPU.
    """
    options: dict[str, Any] = {}
    if stage.gradient_checkpointing:  # newer transformers warn about this name, older ones need it
        options["gradient_checkpointing"] = True
        # Reentrant checkpointing gives no gradient if the block's inputs need none, as with frozen
        # embeddings.
        options["gradient_checkpointing_kwargs"] = {"use_reentrant": False}
    if sharded_on_cpu():
        if stage.bf16:
            raise UserError(
                f"{folder.name}.bf16: DeepSpeed without a GPU trains in float32 only; "
                f"say {folder.name}.bf16=false"
            )
        options["ddp_backend"] = "gloo"
    return TrainingArguments(
        output_dir=str(folder),
        max_steps=stage.steps,
        per_device_train_batch_size=stage.batch_size,
        gradient_accumulation_steps=stage.accumulate,
        learning_rate=stage.learning_rate,
        lr_scheduler_type=_SHAPES[stage.shape],
        warmup_steps=round(stage.warmup * stage.steps),
        weight_decay=stage.weight_decay,
        max_grad_norm=stage.clip,
        bf16=takes_bfloat16(stage.bf16),
        use_cpu=not (torch.cuda.is_available() or sharded_on_cpu()),
        logging_steps=stage.log_every,
        save_steps=stage.save_every,
        # Two, because the newest may be damaged by what stopped the run.
        save_total_limit=2,
        seed=recipe.seed,
        data_seed=recipe.seed,
        # Rows hold "features", no argument of forward: Trainer would drop it before the collator.
        remove_unused_columns=False,
        dataloader_num_workers=0,
        report_to=[name for name in recipe.report_to if name != "tensorboard"],
        project="deft_llm",
        run_name=f"{recipe.output.name}-{folder.name}",
        label_names=["labels"],
        **options,
    )


def run_stage(
    name: str,
    model: Any,
    data: Any,
    collator: Callable[[list[dict[str, Any]]], dict[str, Any]],
    recipe: DeftRecipe,
    modules: tuple[str, ...] | None = None,
    held_out: frozenset[str] = frozenset(),
    write: Callable[[Path], None] | None = None,
    keep: bool = False,
    trainer_of: Callable[..., DeftTrainer] | None = None,
) -> None:
    """Train one stage, resuming from its last whole checkpoint if there is one.

    Args:
        name: One of ``STAGES``; the log is ``<name>.log.jsonl``.
        model: Model to train; parameters that do not require gradients stay fixed.
        data: Training data.
        collator: Makes batches from the data.
        recipe: The recipe.
        modules: Modules to save as ``<name>.safetensors`` at the end; if the file exists, the
            stage is done and its weights are loaded. None if the caller saves the whole model.
        held_out: Clips of people that are held out.
        write: Writes the whole model into a folder; with held-out clips, the folder ``best`` is
            the model of the lowest validation loss. None keeps no best one.
        keep: Save all that was trained as ``<name>.safetensors`` at the end, as with ``modules``,
            for a stage that follows.
        trainer_of: Makes the trainer; None for ``DeftTrainer``.

    Raises:
        UserError: If a setting does not fit the machine, nobody is held out or left, or the file
            of a stage that is done does not fit the model.
        Stopped: If the run was asked to stop; the current step is saved.
    """
    stage: Stage = getattr(recipe, name)
    if not stage.steps:
        return
    done = recipe.output / f"{name}.safetensors"
    if (modules or keep) and done.is_file():
        _take_over(model, done)
        return
    folder = recipe.output / name
    # Each stage starts from the same random state, whether the stages before it ran or were loaded.
    set_seed(recipe.seed)
    learned, validated = parts(data, held_out, name)
    with after_this_step() as request:
        trainer = (trainer_of or DeftTrainer)(
            rates={str(part): rate for part, rate in stage.learning_rates.items()},
            muon=stage.optimizer == "muon",
            modules=modules,
            held_out=validated,
            best=recipe.output / BEST if write else None,
            write=write,
            model=model,
            args=arguments(recipe, stage, folder),
            train_dataset=learned,
            data_collator=collator,
            callbacks=_callbacks(name, recipe, request),
        )
        started = time.monotonic()
        trainer.train(resume_from_checkpoint=_checkpoint(name, folder))
        if trainer.state.global_step < stage.steps:
            request.raise_if_asked()
        logger.info("stage %s: %d steps in %.0f s", name, stage.steps, time.monotonic() - started)
        if modules or keep:
            _save_weights(trainer, model, modules, done)
        _release(trainer, model)
        request.raise_if_asked()


def _take_over(model: Any, path: Path) -> None:
    """Load what a stage has taught.

    Raises:
        UserError: If the file is damaged, or the model has no such weights.
    """
    try:
        # The file holds the trained modules alone.
        unknown = model.load_state_dict(load_file(path), strict=False).unexpected_keys
    except (SafetensorError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:300]  # torch lists every key, on many lines
    else:
        if not unknown:
            return
        reason = f"the model has no {unknown[0]}"
    raise UserError(
        f"{path}: does not fit the model of this run ({reason}); "
        "delete it to train its stage again, or give another output"
    )


def _save_weights(
    trainer: DeftTrainer, model: Any, modules: tuple[str, ...] | None, path: Path
) -> None:
    """Write some modules, or all that was trained, as the stage's result."""
    # All processes take part: under ZeRO-3 this call gathers the weights.
    state = trainer.accelerator.get_state_dict(trainer.model_wrapped)
    # Tied weights are in the state twice, and among the parameters once.
    trained = {n for n, p in model.named_parameters() if p.requires_grad}
    kept = only(state, modules) if modules else _named(state, trained)
    if PartialState().is_main_process:
        with replacing(path) as partial:
            save_file(kept, partial)


def _release(trainer: DeftTrainer, model: Any) -> None:
    """Take off the model what its trainer has put around it, for the next stage."""
    # accelerate leaves its autocast around the model, and a mark that keeps the next stage from
    # wrapping it anew; that one may want another precision. Its own way to take the autocast off
    # would take the forward's decorators off as well, and leave the mark.
    for attribute in ("forward", "_original_forward", "_is_accelerate_prepared"):
        model.__dict__.pop(attribute, None)
    if trainer.is_deepspeed_enabled:
        trainer.model_wrapped.destroy()  # its hooks would clash with those of the next stage


def _named(state: dict[str, Tensor], names: set[str]) -> dict[str, Tensor]:
    """Some weights by name, as safetensors takes them."""
    return {name: state[name].contiguous() for name in state if name in names}


def _callbacks(name: str, recipe: DeftRecipe, request: StopRequest) -> list[TrainerCallback]:
    stage: Stage = getattr(recipe, name)
    found: list[TrainerCallback] = [
        JsonLines(recipe.output / f"{name}.log.jsonl"),
        PaceOfStage(name, stage.steps),
        StopWhenAsked(request),
    ]
    if "tensorboard" in recipe.report_to:
        found.append(TensorBoard(recipe.output / TENSORBOARD, name))
    if recipe.validation:
        found.append(ValidateEvery(recipe.validation.every))
    return found


def _checkpoint(name: str, folder: Path) -> str | None:
    """The checkpoint that a stage goes on from."""
    # One process cleans up before the others look.
    with PartialState().main_process_first():
        if PartialState().is_main_process:
            drop_damaged(folder)
    if not (saved := checkpoints(folder)):
        return None
    logger.info("stage %s goes on from %s", name, saved[-1][1])
    tell_other_processes(saved[-1][1], PartialState().num_processes)
    return str(saved[-1][1])
