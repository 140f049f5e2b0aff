"""Train DEFT-LLM: data and tokenizer, experts, projectors, then instruction tuning.

Each part writes a file or folder when it is finished, and is skipped when the command is run
again. Within a stage, ``transformers.Trainer`` resumes from its last checkpoint with results
bit-equal to an uninterrupted run. The stages follow LLaVA and Emotion-LLaMA; the paper states
neither schedule nor sizes, they are our own choice.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from transformers import set_seed

from deft_llm.config import validate_settings
from deft_llm.data.clip_dataset import ClipDataset
from deft_llm.deft.inference.explainer import Explainer
from deft_llm.deft.processing_deft import DeftProcessor
from deft_llm.deft.tuning.datasets import (
    Collator,
    ExpertDataset,
    ExpertTokens,
    InstructionDataset,
    require_sizes,
)
from deft_llm.deft.tuning.model import (
    MODULES,
    build_model,
    start_config,
    train_only,
    with_adapters,
)
from deft_llm.deft.tuning.recipe import DeftRecipe, require_machine
from deft_llm.deft.tuning.stages import run_stage
from deft_llm.errors import UserError
from deft_llm.files import replacing_folder
from deft_llm.training.machine import is_shared, process_state, use_all_cores, whole
from deft_llm.training.run_folder import FINAL, claim_folder
from deft_llm.unimer.answer_writer import Templates
from deft_llm.unimer.audit import folder_records, require_disjoint_records
from deft_llm.unimer.simulated import build_simulated
from deft_llm.unimer.validate import require_valid

logger = logging.getLogger(__name__)
ENCODERS = ("experts", "heads")


def train(values: dict[str, Any], where: str) -> None:
    """Train a DEFT-LLM from a recipe; the entry of ``training/tasks.py``.

    Args:
        values: The recipe as read from YAML.
        where: Its file, for messages.

    Raises:
        UserError: If the recipe is wrong, the machine cannot run it, its output folder belongs to
            another recipe, or its data shares a subject with a held-out set.
    """
    recipe = validate_settings(DeftRecipe, values, where)
    require_machine(recipe, where)
    config = start_config(recipe)  # checked here to fail before hours of rendering
    final = recipe.output / FINAL
    state = process_state()
    # One process renders the data; the others then find it finished.
    with state.main_process_first():
        claim_folder(recipe.output, recipe)
        if final.is_dir():
            logger.info("already finished at step %d: %s", recipe.instruct.steps, final)
            return
        folders = data_folders(recipe)
        for folder in folders:
            require_valid(folder)
    clips = ClipDataset.open(*folders)
    for folder in recipe.held_out:
        require_disjoint_records(clips.records, folder_records(folder))
    require_sizes(clips, config)
    use_all_cores()
    # Seed after rendering and reading, so that neither changes the initial weights.
    set_seed(recipe.seed)
    model, processor = build_model(recipe, *folders)
    _banner(recipe, model, clips)
    collator = Collator(processor.feature_extractor, processor.tokenizer.pad_token_id)
    train_only(model, ENCODERS)
    shown = ExpertDataset(clips.from_folders(*recipe.folders_of("experts")), model.config)
    run_stage("experts", model, shown, collator, recipe, ENCODERS)
    folders = recipe.folders_of("language_model")
    clips = clips.from_folders(*folders)
    conversations = InstructionDataset(folders, clips, processor, model.config)
    train_only(model, ("projectors",))
    if recipe.projectors.steps or recipe.instruct.freeze_experts:
        model.experts.to(state.device)
        with whole(model.experts):
            # Frozen experts give the same tokens every epoch, so encode each clip once.
            conversations.tokens = ExpertTokens(model, processor.feature_extractor, clips)
    run_stage("projectors", model, conversations, collator, recipe, ("projectors",))
    # Stage 3 trains the experts, so tokens encoded before it would become stale.
    if not recipe.instruct.freeze_experts:
        conversations.tokens = None
    tuned = _to_be_tuned(recipe, model, processor)
    run_stage("instruct", tuned, conversations, collator, recipe)
    with whole(tuned):
        if recipe.checkpoint and recipe.weight_interpolation < 1:
            interpolate_weights(tuned, recipe.checkpoint, recipe.weight_interpolation)
        if not (recipe.text_model.lora_rank or is_shared(tuned)):
            tuned = tuned.to(getattr(torch, recipe.save_dtype))
        if state.is_main_process:
            save_whole(tuned, processor, final)
            logger.info("finished: %s", final)
    state.wait_for_everyone()


@torch.no_grad()
def interpolate_weights(model: Any, checkpoint: Path, share: float) -> None:
    """Interpolate a trained model's weights with those of its initial checkpoint.

    Args:
        model: The trained model, complete on one device.
        checkpoint: Folder of the initial checkpoint.
        share: Share of the trained weights.

    Raises:
        UserError: If the weights are split between processes (DeepSpeed's ZeRO-3).
    """
    if is_shared(model):
        raise UserError(
            "weight_interpolation needs whole weights, ZeRO-3 cuts them; say weight_interpolation=1"
        )
    begun = Explainer.load(checkpoint).model.state_dict()
    seen: set[int] = set()
    for name, weight in model.state_dict().items():
        # Tied weights appear under two names and must be interpolated once.
        if weight.is_floating_point() and weight.data_ptr() not in seen:
            weight.lerp_(begun[name].to(weight), 1 - share)
            seen.add(weight.data_ptr())


def data_folders(recipe: DeftRecipe) -> list[Path]:
    """The data folders of a recipe; missing or incomplete simulated sets are built first."""
    simulated = recipe.simulated()
    for data, folder in simulated:
        if not (folder / "clips.jsonl").is_file():
            build_simulated(data, folder, Templates(recipe.templates))
    return [*(folder for _, folder in simulated), *recipe.folders]


def _to_be_tuned(recipe: DeftRecipe, model: Any, processor: DeftProcessor) -> Any:
    """The model of the last stage: with adapters, or all weights trainable."""
    frozen = recipe.instruct.freeze_experts
    if recipe.text_model.lora_rank:
        return with_adapters(model, recipe.text_model, processor.tokenizer, frozen)
    train_only(model, (name for name in MODULES if not (frozen and name in ENCODERS)))
    return model


def _banner(recipe: DeftRecipe, model: torch.nn.Module, clips: ClipDataset) -> None:
    size = sum(p.numel() for p in model.parameters())
    logger.info(
        "%d clips · %d subjects · %.2f M parameters · %s · effective batch %d · %d + %d + %d steps",
        len(clips),
        len({record.subject for record in clips.records}),
        size / 1e6,
        f"{torch.cuda.get_device_name()}" if torch.cuda.is_available() else "CPU",
        recipe.instruct.batch_size * recipe.instruct.accumulate * PartialState().num_processes,
        recipe.experts.steps,
        recipe.projectors.steps,
        recipe.instruct.steps,
    )


def save_whole(model: Any, processor: DeftProcessor, folder: Path) -> None:
    """Save model and processor under a temporary name, then put them in place."""
    with replacing_folder(folder) as partial:
        model.save_pretrained(partial)
        processor.save_pretrained(partial)
