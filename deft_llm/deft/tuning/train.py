"""Train DEFT-LLM: data and tokenizer, experts, projectors, instruction tuning, then rewards.

Each part writes a file or folder when it is finished, and is skipped when the command is run
again. Within a stage, ``transformers.Trainer`` resumes from its last checkpoint with results
bit-equal to an uninterrupted run. The stages follow LLaVA and Emotion-LLaMA; the paper states
neither schedule nor sizes, they are our own choice.
"""

from __future__ import annotations

import logging
from functools import partial
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from transformers import set_seed

from deft_llm.config import read_recipe
from deft_llm.data.clip_dataset import ClipDataset
from deft_llm.data.clip_lines import CLIPS
from deft_llm.data.clip_shards import claim_recipe
from deft_llm.data.simulated import SimulatedData, head_to_send
from deft_llm.deft.configuration_deft import DeftConfig
from deft_llm.deft.inference.loading import end_ids
from deft_llm.deft.processing_deft import DeftProcessor
from deft_llm.deft.tuning.adapters import with_adapters
from deft_llm.deft.tuning.datasets import (
    ExpertDataset,
    ExpertTokens,
    InstructionDataset,
    require_sizes,
)
from deft_llm.deft.tuning.hub import publish, require_repository
from deft_llm.deft.tuning.model import (
    MODULES,
    build_model,
    module_of,
    require_buildable,
    start_config,
    train_only,
)
from deft_llm.deft.tuning.packing import make_collator, require_separate
from deft_llm.deft.tuning.recipe import DeftRecipe, require_machine
from deft_llm.deft.tuning.result import finish, finished_for_now, save_whole
from deft_llm.deft.tuning.reward import RewardTrainer, Task
from deft_llm.deft.tuning.reward_data import PromptCollator, RewardDataset
from deft_llm.deft.tuning.stage_settings import LABELS, Stage
from deft_llm.deft.tuning.stages import STAGES, run_stage
from deft_llm.deft.tuning.validation import Source, held_out_clips
from deft_llm.files import replacing_folder
from deft_llm.machine import (
    is_first_process,
    is_shared,
    process_state,
    use_all_cores,
    whole,
)
from deft_llm.training.run_folder import BEST, FINAL, claimed_folder
from deft_llm.unimer.answer_writer import Templates
from deft_llm.unimer.audit import folder_records, require_disjoint_records
from deft_llm.unimer.simulated import build_simulated
from deft_llm.unimer.unlabelled import measure_folder
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
    recipe = read_recipe(DeftRecipe, values, where)
    require_machine(recipe, where)
    config = start_config(recipe)  # checked here to fail before hours of rendering
    if recipe.push_to_hub and is_first_process():
        require_repository(recipe.push_to_hub)
    with claimed_folder(recipe.output, recipe):
        _train(recipe, config)
        if recipe.push_to_hub and is_first_process():
            publish(recipe.output, recipe.push_to_hub)


def _train(recipe: DeftRecipe, config: DeftConfig) -> None:
    """Train in a folder that is held by this run."""
    final = recipe.output / FINAL
    state = process_state()
    # One process renders the data; the others then find it finished.
    with state.main_process_first():
        if final.is_dir():
            steps = recipe.reward.steps or recipe.instruct.steps
            logger.info("already finished at step %d: %s", steps, final)
            return
        # All of it before hours of rendering.
        require_buildable(recipe)
        held_out_records = [list(folder_records(folder)) for folder in recipe.held_out]
        folders = data_folders(recipe)
        for _, folder in recipe.simulated() if recipe.labels == "coded" else ():
            require_valid(folder)
    clips = ClipDataset.open(*folders)
    for records in held_out_records:
        require_disjoint_records(clips.records, records)
    require_sizes(clips, config)
    held_out = held_out_clips(clips, recipe.validation, recipe.seed)
    use_all_cores()
    # Seed after rendering and reading, so that neither changes the initial weights.
    set_seed(recipe.seed)
    model, processor = build_model(recipe, *folders)
    _banner(recipe, model, clips, held_out)
    if recipe.projectors.packing or recipe.instruct.packing:
        _require_separate(recipe, model)
    tuned = _run_stages(recipe, model, processor, clips, held_out)
    with whole(tuned):
        finish(tuned, recipe)
        if state.is_main_process:
            with replacing_folder(final) as unfinished:
                save_whole(tuned, processor, recipe, unfinished)
            best = f"; lowest validation loss: {recipe.output / BEST}" if held_out else ""
            logger.info("finished: %s%s", final, best)
    state.wait_for_everyone()


def _require_separate(recipe: DeftRecipe, model: Any) -> None:
    text = model.language_model
    # Some attention kernels run on a GPU only. Quantized and sharded weights are in their place.
    if not recipe.text_model.quantize and not is_shared(text):
        text.to(process_state().device)
    with whole(text):
        require_separate(model)


def _run_stages(
    recipe: DeftRecipe,
    model: Any,
    processor: DeftProcessor,
    clips: ClipDataset,
    held_out: frozenset[str],
) -> Any:
    """Run the stages; returns the trained model, with adapters if the recipe has them."""
    # The last stage's model is the result: only of that one the best is kept.
    last = [name for name in STAGES if getattr(recipe, name).steps][-1:]

    def run(name: str, model: Any, data: Source, *modules: str) -> None:
        def write(folder: Path) -> None:
            with finished_for_now(model, recipe):
                save_whole(model, processor, recipe, folder)

        best = write if held_out and name in last else None
        collator = make_collator(processor, getattr(recipe, name), recipe.text_model)
        keep = name == "instruct" and recipe.reward.steps > 0
        run_stage(name, model, data, collator, recipe, modules or None, held_out, best, keep)

    if recipe.labels == "none":
        tuned = _to_be_tuned(recipe, model, processor)
        _reward(recipe, tuned, processor, clips)
        return tuned

    train_only(model, ENCODERS)
    shown = ExpertDataset(
        clips.from_folders(*recipe.folders_of("experts")), model.config, recipe.experts.perturb
    )
    run("experts", model, shown, *ENCODERS)
    folders = recipe.folders_of("language_model")
    clips = clips.from_folders(*folders)
    conversations = InstructionDataset(folders, clips, processor, model.config)
    train_only(model, ("projectors",))
    if recipe.projectors.steps or recipe.instruct.freeze_experts:
        model.experts.to(process_state().device)
        with whole(model.experts):
            # Frozen experts give the same tokens every epoch, so encode each clip once.
            conversations.tokens = ExpertTokens(model, processor.feature_extractor, clips)
    run("projectors", model, conversations, "projectors")
    # Stage 3 trains the experts, so tokens encoded before it would become stale.
    if not recipe.instruct.freeze_experts:
        conversations.tokens = None
    tuned = _to_be_tuned(recipe, model, processor)
    run("instruct", tuned, conversations)
    _reward(recipe, tuned, processor, clips)
    return tuned


def _reward(recipe: DeftRecipe, tuned: Any, processor: DeftProcessor, clips: ClipDataset) -> None:
    """Run the stage of rewards: experts and heads stay as they are, and are run once a clip."""
    stage = recipe.reward
    if not stage.steps:
        return
    for name, parameter in tuned.named_parameters():
        if module_of(name) in ENCODERS:
            parameter.requires_grad_(False)
    shown = clips if stage.weights[LABELS] else clips.without_labels()
    tuned.experts.to(process_state().device)
    tokens = ExpertTokens(tuned, processor.feature_extractor, shown)
    data = RewardDataset(shown, processor, tokens, stage, recipe.seed)
    ends = end_ids(tuned, processor)
    task = Task(stage, data, processor.tokenizer, ends)
    run_stage(
        "reward",
        tuned,
        data,
        PromptCollator(processor),
        recipe,
        trainer_of=partial(RewardTrainer, task=task),
    )


def data_folders(recipe: DeftRecipe) -> list[Path]:
    """The data folders of a recipe; missing or incomplete simulated sets are built first.

    Raises:
        UserError: If a folder was begun with other settings, as by a recipe that was corrected
            since.
    """
    # First: a folder without clips, or a head without its file, must not be told after hours of
    # rendering.
    own = [_clips_of(recipe, folder) for folder in recipe.folders]
    simulated = recipe.simulated()
    missing = [(data, folder) for data, folder in simulated if not (folder / CLIPS).is_file()]
    for data, _ in missing:
        head_to_send(data)
    for data, folder in simulated:
        # What lies there would be taken for what is asked for, whole or in part.
        claim_recipe(folder, _drawn_from(data, recipe))
    for data, folder in missing:
        logger.info("simulating %d clips: %s", data.clips, folder)
        build_simulated(data, folder, Templates(recipe.templates))
    return [*(folder for _, folder in simulated), *own]


def _drawn_from(data: SimulatedData, recipe: DeftRecipe) -> dict[str, Any]:
    """What the files of a simulated set depend on; as text, where it was made is no part of it."""
    fields = set(SimulatedData.model_fields) - {"workers", "head_path"}
    templates = None if recipe.templates is None else str(recipe.templates)
    return {"simulated": data.model_dump(mode="json", include=fields), "templates": templates}


def _clips_of(recipe: DeftRecipe, folder: Path) -> Path:
    """A data folder as it is; one of videos, measured into the folder of the run.

    Raises:
        UserError: If its codings are read and have a problem, it has no clips, or other ones than
            were measured for this run.
    """
    if recipe.labels == "coded":
        require_valid(folder)
        return folder
    if (folder / CLIPS).is_file():
        return folder
    measured = recipe.output / f"measured-{recipe.folders.index(folder) + 1}"
    # What was measured is enough where the videos are gone by now.
    if folder.is_dir() or not (measured / CLIPS).is_file():
        measure_folder(folder, measured)
    return measured


def _to_be_tuned(recipe: DeftRecipe, model: Any, processor: DeftProcessor) -> Any:
    """The model of the last stage: with adapters, or all weights trainable."""
    # Stages that do not run teach the experts nothing.
    frozen = recipe.instruct.freeze_experts or not recipe.instruct.steps
    if recipe.text_model.lora_rank:
        return with_adapters(model, recipe.text_model, processor.tokenizer, frozen)
    train_only(model, (name for name in MODULES if not (frozen and name in ENCODERS)))
    return model


def _banner(
    recipe: DeftRecipe, model: torch.nn.Module, clips: ClipDataset, held_out: frozenset[str]
) -> None:
    size = sum(p.numel() for p in model.parameters())
    stages: list[Stage] = [getattr(recipe, name) for name in STAGES]
    last = recipe.reward if recipe.reward.steps else recipe.instruct
    logger.info(
        "%d clips · %d subjects%s · %.2f M parameters · %s · effective batch %d · %s steps",
        len(clips),
        len({record.subject for record in clips.records}),
        f" · {len(held_out)} clips held out" if held_out else "",
        size / 1e6,
        f"{torch.cuda.get_device_name()}" if torch.cuda.is_available() else "CPU",
        last.batch_size * last.accumulate * PartialState().num_processes,
        " + ".join(str(stage.steps) for stage in stages),
    )
