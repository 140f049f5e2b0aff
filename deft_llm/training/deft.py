"""Training of DEFT-LLM: data, tokenizer, experts, then the whole by instruction tuning.

Each part leaves a finished folder behind and is skipped when the command is run again; inside a
stage, ``transformers.Trainer`` resumes from its last checkpoint, bit-equal to a run that was
never stopped. Schedule and sizes are our own (the paper states neither).
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import time
from pathlib import Path
from typing import Any

import torch
from peft import get_peft_model
from safetensors.torch import load_file, save_file
from torch import nn
from torch.utils.data import Dataset
from transformers import Trainer, TrainingArguments, set_seed
from transformers.trainer import TRAINER_STATE_NAME
from transformers.trainer_utils import get_last_checkpoint

from deft_llm.config import validate
from deft_llm.deft.processing_deft import DeftProcessor
from deft_llm.training.deft_data import (
    Collator,
    ExpertDataset,
    InstructionDataset,
    LengthGroupedBatches,
)
from deft_llm.training.deft_model import build_model, lora_config
from deft_llm.training.deft_recipe import DeftRecipe, Stage
from deft_llm.training.runs import claim_folder, use_all_cores
from deft_llm.unimer.audit import folder_records, require_disjoint
from deft_llm.unimer.build import build_simulated
from deft_llm.unimer.dialogue import Templates
from deft_llm.unimer.records import PacketStore

logger = logging.getLogger(__name__)


class DeftTrainer(Trainer):
    """Trainer with length-grouped batches where the data has lengths."""

    def _get_train_sampler(self, train_dataset: Any = None) -> Any:
        data = train_dataset or self.train_dataset
        if not isinstance(data, InstructionDataset):
            return super()._get_train_sampler(data)
        return LengthGroupedBatches(data.lengths(), self.args.train_batch_size, self.args.data_seed)


def _arguments(recipe: DeftRecipe, stage: Stage, folder: Path) -> TrainingArguments:
    return TrainingArguments(
        output_dir=str(folder),
        max_steps=stage.steps,
        per_device_train_batch_size=stage.batch_size,
        gradient_accumulation_steps=stage.accumulate,
        learning_rate=stage.learning_rate,
        lr_scheduler_type="cosine",
        warmup_steps=round(stage.warmup * stage.steps),
        weight_decay=stage.weight_decay,
        max_grad_norm=1.0,
        bf16=stage.bf16,
        use_cpu=not torch.cuda.is_available(),
        logging_steps=20,
        save_steps=stage.save_every,
        save_total_limit=2,
        seed=recipe.seed,
        data_seed=recipe.seed,
        remove_unused_columns=False,
        dataloader_num_workers=0,
        report_to=[],
        label_names=["labels"],
    )


def _run_stage(
    name: str, model: Any, data: Dataset, collator: Collator, recipe: DeftRecipe
) -> None:
    """Train one stage, from its last checkpoint if there is one."""
    stage: Stage = getattr(recipe, name)
    folder = recipe.output / name
    set_seed(recipe.seed)
    trainer = DeftTrainer(
        model=model,
        args=_arguments(recipe, stage, folder),
        train_dataset=data,
        data_collator=collator,
    )
    for half in folder.glob("checkpoint-*"):
        if not (half / TRAINER_STATE_NAME).is_file():  # written last: saving was interrupted
            shutil.rmtree(half)
    checkpoint = get_last_checkpoint(str(folder)) if folder.is_dir() else None
    if checkpoint:
        logger.info("stage %s goes on from %s", name, checkpoint)
    started = time.monotonic()
    trainer.train(resume_from_checkpoint=checkpoint)
    rows = trainer.state.log_history
    log = recipe.output / f"{name}.log.jsonl"
    log.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    logger.info("stage %s: %d steps in %.0f s", name, stage.steps, time.monotonic() - started)


def train(values: dict[str, Any], where: str) -> None:
    """Train a DEFT-LLM from a recipe; the entry of ``training/tasks.py``.

    Args:
        values: The recipe as read from YAML.
        where: Its file, for messages.

    Raises:
        UserError: If the recipe is wrong, or its output folder belongs to another recipe.
    """
    recipe = validate(DeftRecipe, values, where)
    final = recipe.output / "final"
    claim_folder(recipe.output, recipe)
    if final.is_dir():
        logger.info("already finished at step %d: %s", recipe.instruct.steps, final)
        return
    data = recipe.output / "data"
    if not (data / "clips.jsonl").is_file():
        build_simulated(recipe.data, data, Templates(recipe.templates))
    store = PacketStore(data)
    for folder in recipe.held_out:
        require_disjoint(store.records.values(), folder_records(folder))
    use_all_cores()
    set_seed(recipe.seed)
    model, processor = build_model(recipe, data)
    _banner(recipe, model, store)
    collator = Collator(processor.feature_extractor, processor.tokenizer.pad_token_id)
    trained = nn.ModuleDict({"experts": model.experts, "heads": model.heads})
    expert_weights = recipe.output / "experts.safetensors"
    if expert_weights.is_file():
        trained.load_state_dict(load_file(expert_weights))
    else:
        model.language_model.requires_grad_(False)
        model.projectors.requires_grad_(False)
        _run_stage("experts", model, ExpertDataset(store, model.config), collator, recipe)
        model.requires_grad_(True)
        partial = expert_weights.with_suffix(".partial")
        save_file(trained.state_dict(), partial)
        os.replace(partial, expert_weights)
    if recipe.text_model.lora_rank:
        model = get_peft_model(model, lora_config(recipe.text_model, processor.tokenizer))
    elif recipe.instruct.freeze_experts:
        trained.requires_grad_(False)
    dataset = InstructionDataset(data, store, processor, model.config)
    _run_stage("instruct", model, dataset, collator, recipe)
    if not recipe.text_model.lora_rank:
        model = model.to(getattr(torch, recipe.save_dtype))
    _save_whole(model, processor, final)
    logger.info("finished: %s", final)


def _banner(recipe: DeftRecipe, model: torch.nn.Module, store: PacketStore) -> None:
    size = sum(p.numel() for p in model.parameters())
    logger.info(
        "%d clips · %d subjects · %.2f M parameters · %s · effective batch %d · %d + %d steps",
        len(store.records),
        len({record.subject for record in store.records.values()}),
        size / 1e6,
        f"{torch.cuda.get_device_name()}" if torch.cuda.is_available() else "CPU",
        recipe.instruct.batch_size * recipe.instruct.accumulate,
        recipe.experts.steps,
        recipe.instruct.steps,
    )


def _save_whole(model: Any, processor: DeftProcessor, folder: Path) -> None:
    """Save under a temporary name, then put in place."""
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    model.save_pretrained(partial)
    processor.save_pretrained(partial)
    os.replace(partial, folder)
