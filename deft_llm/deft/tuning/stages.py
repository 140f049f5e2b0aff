"""One training stage on ``transformers.Trainer``: parameter groups, log, checkpoints, resume."""

from __future__ import annotations

import json
import logging
import shutil
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from peft import PeftModel
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.utils.data import Dataset
from transformers import Trainer, TrainerCallback, TrainingArguments, set_seed
from transformers.trainer import TRAINER_STATE_NAME
from transformers.trainer_utils import get_last_checkpoint

from deft_llm.deft.tuning.datasets import Collator, LengthGroupedBatches
from deft_llm.deft.tuning.model import module_of
from deft_llm.deft.tuning.recipe import DeftRecipe, Stage
from deft_llm.errors import UserError
from deft_llm.files import replacing
from deft_llm.training.machine import sharded_on_cpu, takes_bfloat16
from deft_llm.training.muon import MuonAdamW, matrices_of

logger = logging.getLogger(__name__)
# Names of Trainer's schedules; unlike LearningRate.rate, their warm-up starts at a rate of 0.
_SHAPES = {"constant": "constant", "onecycle": "linear", "cosine": "cosine"}
STAGES: tuple[str, ...] = ("experts", "projectors", "instruct")


class DeftTrainer(Trainer):
    """Trainer with length-grouped batches, a learning rate per module, and small checkpoints.

    Args:
        rates: Module of the model -> its own peak rate; others use the stage's.
        muon: Train the matrices of linear layers with Muon, the rest with AdamW.
        modules: Modules that checkpoints hold, the rest being unchanged; None for all.
        **kwargs: Trainer's arguments.
    """

    optimizer: Any

    def __init__(
        self,
        *,
        rates: dict[str, float],
        modules: tuple[str, ...] | None,
        muon: bool = False,
        **kwargs: Any,
    ) -> None:
        self.rates, self.modules, self.muon = rates, modules, muon
        super().__init__(**kwargs)

    def _get_train_sampler(self, train_dataset: Any = None) -> Any:
        data: Any = train_dataset or self.train_dataset
        args = self.args
        order = LengthGroupedBatches(data.lengths(), args.train_batch_size, args.data_seed)
        self.add_callback(OrderOfEpoch(order))
        return order

    def create_optimizer(self, model: Any = None) -> Any:
        """Create the optimizer with one parameter group per kind, rate and weight decay.

        Raises:
            UserError: If Muon is configured but no process holds complete matrices.
        """
        if not self.rates and not self.muon:
            return super().create_optimizer(model)
        if self.muon and (self.is_deepspeed_enabled or self.is_fsdp_enabled):
            raise UserError(
                "optimizer: muon needs whole matrices, DeepSpeed and FSDP cut them; "
                "say optimizer: adamw"
            )
        if self.optimizer is None:
            model = model or self.model
            decayed = set(self.get_decay_parameter_names(model))
            whole = model.get_base_model() if isinstance(model, PeftModel) else model
            # Muon is meant for hidden layers: output layers stay with AdamW.
            readers = (whole.get_output_embeddings(), *whole.heads.modules())
            matrices = matrices_of(whole, readers) if self.muon else set()
            groups: dict[tuple[bool, float, float], list[Tensor]] = defaultdict(list)
            for name, parameter in model.named_parameters():
                if parameter.requires_grad:
                    rate = self.rates.get(module_of(name), self.args.learning_rate)
                    decay = self.args.weight_decay if name in decayed else 0.0
                    groups[id(parameter) in matrices, rate, decay].append(parameter)
            # Index False: AdamW's groups, True: Muon's.
            rows: tuple[list[dict[str, Any]], list[dict[str, Any]]] = ([], [])
            for (is_matrix, rate, decay), values in groups.items():
                rows[is_matrix].append({"params": values, "lr": rate, "weight_decay": decay})
            kind, options = self.get_optimizer_cls_and_kwargs(self.args, model)
            if self.muon:
                # Every group has its own lr; MuonAdamW passes the other options to AdamW.
                options.pop("lr")
                self.optimizer = MuonAdamW(rows[True], rows[False], **options)
            else:
                self.optimizer = kind(rows[False], **options)
        return self.optimizer

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        if self.modules is None:
            super()._save(output_dir, state_dict)
            return
        folder = Path(output_dir or self.args.output_dir)
        folder.mkdir(parents=True, exist_ok=True)
        state = self.model.state_dict() if state_dict is None else state_dict
        save_file(only(state, self.modules), folder / "model.safetensors", {"format": "pt"})

    def _run_epoch(self, *args: Any, **kwargs: Any) -> None:
        # If the run was stopped after its last step, Trainer would take one more on resuming.
        if self.state.global_step >= self.state.max_steps:
            self.control.should_training_stop = True
            return
        super()._run_epoch(*args, **kwargs)

    def _issue_warnings_after_load(self, load_result: Any) -> None:
        if self.modules is None:  # otherwise the checkpoint lacks weights on purpose
            super()._issue_warnings_after_load(load_result)


def only(state: dict[str, Tensor], modules: tuple[str, ...]) -> dict[str, Tensor]:
    """The weights of some modules."""
    # safetensors refuses tensors that are not contiguous.
    return {name: x.contiguous() for name, x in state.items() if module_of(name) in modules}


class OrderOfEpoch(TrainerCallback):
    """Sets the sampler's epoch.

    accelerate does this too, but misses the sampler of a multi-process run that resumes inside an
    epoch; the order would then be that of the first epoch.
    """

    def __init__(self, order: LengthGroupedBatches) -> None:
        self.order = order

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Set the epoch before the first batch is drawn."""
        self.order.set_epoch(int(state.epoch))


class JsonLines(TrainerCallback):
    """Writes the log as JSON lines while training runs; a resumed run continues the file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Rewrite the file with the rows up to the step that the run resumes from."""
        self._write("w", state, state.log_history)

    def on_log(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Append a row."""
        self._write("a", state, state.log_history[-1:])

    def _write(self, mode: str, state: Any, rows: list[dict[str, Any]]) -> None:
        if state.is_world_process_zero:
            with self.path.open(mode, encoding="utf-8") as file:
                file.writelines(json.dumps(row) + "\n" for row in rows)


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
        save_total_limit=2,
        seed=recipe.seed,
        data_seed=recipe.seed,
        # Rows hold "features", no argument of forward: Trainer would drop it before the collator.
        remove_unused_columns=False,
        dataloader_num_workers=0,
        report_to=list(recipe.report_to),
        project="deft_llm",
        run_name=f"{recipe.output.name}-{folder.name}",
        label_names=["labels"],
        **options,
    )


def run_stage(
    name: str,
    model: Any,
    data: Dataset,
    collator: Collator,
    recipe: DeftRecipe,
    modules: tuple[str, ...] | None = None,
) -> None:
    """Train one stage, resuming from its last checkpoint if there is one.

    Args:
        name: One of ``STAGES``; the log is ``<name>.log.jsonl``.
        model: Model to train; parameters that do not require gradients stay fixed.
        data: Training data.
        collator: Makes batches from the data.
        recipe: The recipe.
        modules: Modules to save as ``<name>.safetensors`` at the end; if the file exists, the
            stage is done and its weights are loaded. None if the caller saves the whole model.
    """
    stage: Stage = getattr(recipe, name)
    if not stage.steps:
        return
    done = recipe.output / f"{name}.safetensors"
    if modules and done.is_file():
        model.load_state_dict(load_file(done), strict=False)
        return
    folder = recipe.output / name
    # Each stage starts from the same random state, whether the stages before it ran or were loaded.
    set_seed(recipe.seed)
    trainer = DeftTrainer(
        rates={str(part): rate for part, rate in stage.learning_rates.items()},
        muon=stage.optimizer == "muon",
        modules=modules,
        model=model,
        args=arguments(recipe, stage, folder),
        train_dataset=data,
        data_collator=collator,
        callbacks=[JsonLines(recipe.output / f"{name}.log.jsonl")],
    )
    # One process cleans up before the others look for the last checkpoint.
    with PartialState().main_process_first():
        for half in folder.glob("checkpoint-*"):
            if not (half / TRAINER_STATE_NAME).is_file():  # written last: saving was interrupted
                shutil.rmtree(half, ignore_errors=True)
    checkpoint = get_last_checkpoint(str(folder)) if folder.is_dir() else None
    if checkpoint:
        logger.info("stage %s goes on from %s", name, checkpoint)
    started = time.monotonic()
    trainer.train(resume_from_checkpoint=checkpoint)
    logger.info("stage %s: %d steps in %.0f s", name, stage.steps, time.monotonic() - started)
    if modules:
        # All processes take part: under ZeRO-3 this call gathers the weights.
        state = trainer.accelerator.get_state_dict(trainer.model_wrapped)
        if PartialState().is_main_process:
            with replacing(done) as partial:
                save_file(only(state, modules), partial)
    if trainer.is_deepspeed_enabled:
        trainer.model_wrapped.destroy()  # its hooks would clash with those of the next stage
