"""Training of DEFT-LLM: data, tokenizer, experts, then the whole by instruction tuning.

Each part leaves a finished folder behind and is skipped when the command is run again; inside a
stage, ``transformers.Trainer`` resumes from its last checkpoint, bit-equal to a run that was
never stopped. Schedule and sizes are our own (the paper states neither).
"""

from __future__ import annotations

import difflib
import json
import logging
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from peft import LoraConfig, get_peft_model
from pydantic import Field, field_validator
from safetensors.torch import load_file, save_file
from torch import nn
from torch.utils.data import Dataset, Sampler
from transformers import (
    AutoConfig,
    AutoTokenizer,
    PreTrainedTokenizerBase,
    Trainer,
    TrainingArguments,
    set_seed,
)
from transformers.trainer import TRAINER_STATE_NAME
from transformers.trainer_utils import get_last_checkpoint

from deft_llm import facs
from deft_llm.config import Settings, validate
from deft_llm.deft.configuration_deft import EXPERTS, NO_EMOTION, DeftConfig
from deft_llm.deft.modeling_deft import DeftForConditionalGeneration
from deft_llm.deft.processing_deft import (
    IGNORED,
    SPECIAL_TOKENS,
    DeftFeatureExtractor,
    DeftProcessor,
    add_expert_tokens,
    clip_span,
)
from deft_llm.deft.tokenizer import train_sentencepiece, wrap
from deft_llm.motion.packet import mirror
from deft_llm.training.runs import claim_folder, use_all_cores
from deft_llm.unimer.audit import folder_records, require_disjoint
from deft_llm.unimer.build import SimulatedData, build_simulated
from deft_llm.unimer.dialogue import PIECES, Templates
from deft_llm.unimer.records import ClipRecord, PacketStore, read_lines

logger = logging.getLogger(__name__)
LORA_TARGETS = r".*language_model\..*\.(q_proj|k_proj|v_proj|o_proj|gate_proj|up_proj|down_proj)"


class TextModel(Settings):
    """The language model.

    Attributes:
        name_or_path: Hub name or folder of a causal language model; None builds one.
        config: Configuration of the built one (``model_type`` and sizes).
        vocab_size: Sentencepiece pieces of the built one's tokenizer.
        lora_rank: Rank of LoRA adapters; 0 trains the language model whole.
        lora_alpha: Scale of the adapters.
    """

    name_or_path: str | None = None
    config: dict[str, Any] = Field(default_factory=dict)
    vocab_size: int = 1000
    lora_rank: int = 0
    lora_alpha: int = 32


class Stage(Settings):
    """One stage of training.

    Attributes:
        steps: Optimizer steps.
        batch_size: Clips (experts) or conversations (instruct) per step and process.
        accumulate: Micro-batches per optimizer step.
        learning_rate: Peak of the cosine schedule.
        warmup: Share of the steps with a rising rate.
        weight_decay: AdamW's.
        bf16: Run under bfloat16 autocast.
        save_every: Steps between checkpoints.
        freeze_experts: Leave experts and heads as they are (instruct only).
    """

    steps: int
    batch_size: int = 32
    accumulate: int = 1
    learning_rate: float = 1e-3
    warmup: float = 0.05
    weight_decay: float = 0.01
    bf16: bool = True
    save_every: int = 200
    freeze_experts: bool = False


class DeftRecipe(Settings):
    """A file of ``train_configs/deft``.

    Attributes:
        output: Folder of the run.
        seed: Seed of data order, initial weights and drop-out.
        templates: Folder with the wording.
        data: What to simulate.
        text_model: The language model.
        model: Fields of ``DeftConfig``.
        experts: Stage 1, experts and heads alone.
        instruct: Stage 2, everything on conversations.
        save_dtype: Type of the saved weights.
        held_out: Data folders that share no subject, clip or content with the training data; a
            leak stops the run.
    """

    output: Path
    seed: int = 0
    templates: Path = Path("instruction_data/templates")
    data: SimulatedData
    text_model: TextModel
    model: dict[str, Any] = Field(default_factory=dict)
    experts: Stage
    instruct: Stage
    save_dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    held_out: list[Path] = Field(default_factory=list)

    @field_validator("model")
    @classmethod
    def _known_fields(cls, fields: dict[str, Any]) -> dict[str, Any]:
        known = sorted(DeftConfig().to_dict())
        for name in fields:
            if name not in known:
                near = difflib.get_close_matches(name, known, n=1)
                hint = f"; did you mean {near[0]!r}?" if near else ""
                raise ValueError(f"{name!r} is no field of DeftConfig{hint}")
        return fields


# --------------------------------------------------------------------------- data sets


class ClipTargets:
    """Class index, AU labels and region statements of a clip."""

    def __init__(self, config: DeftConfig) -> None:
        self.emotions = {name: i for i, name in enumerate(config.emotions)}
        self.units = {number: i for i, number in enumerate(config.aus)}
        self.regions = {name: i for i, name in enumerate(facs.REGIONS)}

    def __call__(self, record: ClipRecord, mirrored: bool) -> dict[str, Any]:
        labels = np.zeros((len(self.units), 2), np.float32)
        for code in record.aus:
            code = facs.mirror_au(code) if mirrored else code
            row = self.units.get(facs.au_number(code))
            for side in facs.au_sides(code) if row is not None else ():
                labels[row, 0 if side == "left" else 1] = 1.0
        regions = np.zeros(len(facs.REGIONS), np.int64)
        for row in record.facts(mirrored).evidence:
            side = facs.REGIONS[row.region].side
            regions[self.regions[row.region]] = 1 + facs.octant(row.direction, side)
        emotion = self.emotions[record.emotion or NO_EMOTION] if record.emotion_known else IGNORED
        return {"emotion_labels": emotion, "au_labels": labels, "region_labels": regions}


class ExpertDataset(Dataset):
    """Every clip and its mirror image, without words."""

    def __init__(self, store: PacketStore, config: DeftConfig) -> None:
        self.store, self.clips = store, list(store.records)
        self.targets = ClipTargets(config)

    def __len__(self) -> int:
        return 2 * len(self.clips)

    def __getitem__(self, index: int) -> dict[str, Any]:
        clip, mirrored = self.clips[index // 2], index % 2 == 1
        packet = self.store[clip]
        return {
            "packet": mirror(packet) if mirrored else packet,
            **self.targets(self.store.records[clip], mirrored),
        }


class InstructionDataset(Dataset):
    """Conversations of ``train.jsonl`` with their clips."""

    def __init__(
        self, folder: Path, store: PacketStore, processor: DeftProcessor, config: DeftConfig
    ):
        self.store, self.processor = store, processor
        self.targets = ClipTargets(config)
        self.lines = [
            (line["clip"], line["mirrored"], line["conversations"])
            for line in read_lines(folder / "train.jsonl")
        ]

    def __len__(self) -> int:
        return len(self.lines)

    def lengths(self) -> list[int]:
        """Characters of every conversation, which go with its tokens."""
        return [sum(len(turn["value"]) for turn in turns) for _, _, turns in self.lines]

    def __getitem__(self, index: int) -> dict[str, Any]:
        clip, mirrored, turns = self.lines[index]
        ids, labels = self.processor.encode_conversation(as_messages(turns))
        packet = self.store[clip]
        return {
            "input_ids": ids,
            "labels": labels,
            "packet": mirror(packet) if mirrored else packet,
            **self.targets(self.store.records[clip], mirrored),
        }


def as_messages(turns: list[dict[str, str]]) -> list[dict[str, str]]:
    """LLaVA's conversation form -> chat messages."""
    roles = {"human": "user", "gpt": "assistant"}
    return [{"role": roles[turn["from"]], "content": turn["value"]} for turn in turns]


class Collator:
    """Pads text on the right and stacks the clips."""

    def __init__(self, extractor: DeftFeatureExtractor, pad_token_id: int) -> None:
        self.extractor, self.pad = extractor, pad_token_id

    def __call__(self, rows: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        """Rows of a data set -> one batch of tensors."""
        batch = dict(self.extractor([row["packet"] for row in rows]))
        batch["emotion_labels"] = torch.tensor([row["emotion_labels"] for row in rows])
        for name in ("au_labels", "region_labels"):
            batch[name] = torch.from_numpy(np.stack([row[name] for row in rows]))
        if "input_ids" in rows[0]:
            length = max(len(row["input_ids"]) for row in rows)

            def padded(name: str, value: int) -> torch.Tensor:
                return torch.tensor([r[name] + [value] * (length - len(r[name])) for r in rows])

            batch["input_ids"] = padded("input_ids", self.pad)
            batch["labels"] = padded("labels", IGNORED)
            lengths = torch.tensor([len(row["input_ids"]) for row in rows])
            batch["attention_mask"] = (torch.arange(length) < lengths[:, None]).long()
        return batch


class LengthGroupedBatches(Sampler[int]):
    """Batches of conversations of like length, in random order.

    The sampler of transformers goes from long to short inside a block; here short answers are
    those of clips in which nothing moved, and a small model would forget the others each time.
    """

    def __init__(self, lengths: list[int], batch_size: int, seed: int) -> None:
        self.lengths, self.batch_size, self.seed, self.epoch = lengths, batch_size, seed, 0

    def __len__(self) -> int:
        return len(self.lengths)

    def set_epoch(self, epoch: int) -> None:
        """Called by accelerate's loader; each epoch has an order of its own."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[int]:
        rng = np.random.default_rng([self.seed, self.epoch])
        jitter = rng.uniform(0.9, 1.1, len(self.lengths))
        order = np.argsort(np.array(self.lengths) * jitter, kind="stable")
        whole = len(order) // self.batch_size * self.batch_size
        batches = order[:whole].reshape(-1, self.batch_size)
        rng.shuffle(batches)
        return iter([*batches.ravel().tolist(), *order[whole:].tolist()])


class DeftTrainer(Trainer):
    """Trainer with length-grouped batches where the data has lengths."""

    def _get_train_sampler(self, train_dataset: Any = None) -> Any:
        data = train_dataset or self.train_dataset
        if not isinstance(data, InstructionDataset):
            return super()._get_train_sampler(data)
        return LengthGroupedBatches(data.lengths(), self.args.train_batch_size, self.args.data_seed)


# ------------------------------------------------------------------------------ stages


def build_model(
    recipe: DeftRecipe, folder: Path
) -> tuple[DeftForConditionalGeneration, DeftProcessor]:
    """Model and processor as a recipe describes them, before any training.

    Args:
        recipe: The recipe.
        folder: Data folder, whose text the tiny tokenizer is trained on.
    """
    templates = Templates(recipe.templates)
    config = DeftConfig(**recipe.model)
    text = recipe.text_model
    if text.name_or_path:
        tokenizer = AutoTokenizer.from_pretrained(text.name_or_path)
        add_expert_tokens(tokenizer, config)
        model = DeftForConditionalGeneration.from_text_model(text.name_or_path, config)
        model.resize_token_embeddings(len(tokenizer))
    else:
        tokenizer = wrap(train_sentencepiece(_texts(folder), text.vocab_size), PIECES)
        add_expert_tokens(tokenizer, config)
        config.text_config = AutoConfig.for_model(
            **{"model_type": "qwen3", **text.config},
            vocab_size=len(tokenizer),
            pad_token_id=tokenizer.pad_token_id,
            eos_token_id=tokenizer.eos_token_id,
            bos_token_id=None,
        )
        model = DeftForConditionalGeneration(config)
        model.generation_config.eos_token_id = tokenizer.eos_token_id
        model.generation_config.pad_token_id = tokenizer.pad_token_id
    processor = DeftProcessor(
        DeftFeatureExtractor(), tokenizer, span=clip_span(config), prompts=templates.prompts()
    )
    return model, processor


def _texts(folder: Path) -> Iterator[str]:
    """A sample of the conversations' words."""
    for i, line in enumerate(read_lines(folder / "train.jsonl")):
        if i >= 6000:
            return
        yield from (turn["value"].removeprefix("<clip>") for turn in line["conversations"])


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


def lora_config(text: TextModel, tokenizer: PreTrainedTokenizerBase) -> LoraConfig:
    """Adapters on the language model; all that is new to it is trained and saved beside them.

    New are the experts, projectors and heads, and the embeddings of the tags around a clip.
    """
    return LoraConfig(
        r=text.lora_rank,
        lora_alpha=text.lora_alpha,
        target_modules=LORA_TARGETS,
        # One projector at a time: PEFT cannot wrap a ModuleDict.
        modules_to_save=["experts", *(f"projectors.{name}" for name in EXPERTS), "heads"],
        trainable_token_indices=tokenizer.convert_tokens_to_ids(list(SPECIAL_TOKENS)),
        task_type="CAUSAL_LM",
    )


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
