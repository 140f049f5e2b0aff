"""Model and processor as a recipe describes them, before any training."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoConfig, AutoTokenizer, BitsAndBytesConfig, PreTrainedTokenizerBase

from deft_llm import resources
from deft_llm.answers import PIECES
from deft_llm.deft.backbones import ExpertBackbone, resolve_backbones
from deft_llm.deft.configuration_deft import EXPERTS, DeftConfig
from deft_llm.deft.inference.explainer import Explainer, require_whole
from deft_llm.deft.modeling_deft import DeftForConditionalGeneration
from deft_llm.deft.processing_deft import (
    SPECIAL_TOKENS,
    DeftFeatureExtractor,
    DeftProcessor,
    add_expert_tokens,
    clip_span,
)
from deft_llm.deft.tokenizer import train_sentencepiece, wrap
from deft_llm.deft.tuning.recipe import DeftRecipe, TextModel
from deft_llm.errors import UserError
from deft_llm.files import read_lines
from deft_llm.unimer.answer_writer import Templates

LORA_TARGETS = r".*language_model\..*\.(q_proj|k_proj|v_proj|o_proj|gate_proj|up_proj|down_proj)"
MODULES: tuple[str, ...] = ("experts", "heads", "projectors", "language_model")
_SENTENCES = 6000  # conversations that the tokenizer is trained on


def start_config(recipe: DeftRecipe) -> DeftConfig:
    """What a recipe's model is configured as, but for the language model it may still lack.

    Raises:
        UserError: If its checkpoint cannot be read, or a backbone is unknown.
    """
    if recipe.checkpoint:
        folder = resources.checkpoint(recipe.checkpoint)
        require_whole(folder)
        config = DeftConfig.from_pretrained(folder)
    else:
        config = DeftConfig(**recipe.model)
    resolve_backbones(config)
    return config


def build_model(
    recipe: DeftRecipe, *folders: Path
) -> tuple[DeftForConditionalGeneration, DeftProcessor]:
    """Model and processor as a recipe describes them, before any training.

    Args:
        recipe: The recipe.
        *folders: Data folders, whose text the tiny tokenizer is trained on.

    Raises:
        UserError: If the checkpoint, the language model or a backbone cannot be had.
    """
    if recipe.checkpoint:
        begun = Explainer.load(recipe.checkpoint)
        return begun.model, begun.processor
    config = start_config(recipe)
    text = recipe.text_model
    if text.name_or_path:
        tokenizer = _published(AutoTokenizer.from_pretrained, text.name_or_path)
        if not tokenizer.chat_template:
            raise UserError(
                f"text_model.name_or_path {text.name_or_path!r}: its tokenizer has no chat "
                "template; take the model that was tuned for chat (…-Instruct)"
            )
        if tokenizer.pad_token is None:  # Llama's; padding is masked, so that any token will do
            tokenizer.pad_token = tokenizer.eos_token
        add_expert_tokens(tokenizer, config)
        model = _published(
            DeftForConditionalGeneration.from_text_model,
            text.name_or_path,
            config,
            **loading_options(text),
        )
        model.resize_token_embeddings(len(tokenizer))
        model.generation_config.eos_token_id = _ends(model, tokenizer)
        model.generation_config.pad_token_id = tokenizer.pad_token_id
    else:
        tokenizer = wrap(train_sentencepiece(_texts(folders), text.vocab_size), PIECES)
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
    for backbone in backbones(model):
        backbone.load()
    prompts = Templates(recipe.templates).prompts()
    processor = DeftProcessor(
        DeftFeatureExtractor(), tokenizer, span=clip_span(config), prompts=prompts
    )
    return model, processor


def _ends(model: DeftForConditionalGeneration, tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """Tokens that end an answer: the model's own, and what its chat template writes after one."""
    answer = "yes"
    turns = [{"role": "user", "content": "?"}, {"role": "assistant", "content": answer}]
    closed = tokenizer.apply_chat_template(turns, tokenize=False)
    after = closed[closed.rindex(answer) + len(answer) :]
    own = model.generation_config.eos_token_id
    ids = own if isinstance(own, list) else [own] if own is not None else []
    return list(dict.fromkeys([*ids, *tokenizer(after, add_special_tokens=False)["input_ids"][:1]]))


def _published(load: Any, name: str, *rest: Any, **options: Any) -> Any:
    """Load what others published.

    Raises:
        UserError: If it is not there, or not whole.
    """
    try:
        return load(name, *rest, **options)
    except (OSError, ValueError, ImportError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(
            f"text_model.name_or_path {name!r}: no causal language model with its tokenizer can "
            f"be loaded from there ({reason}); give a hub name, or a folder with config.json, "
            "weights and tokenizer"
        ) from error


def loading_options(text: TextModel) -> dict[str, Any]:
    """Keyword arguments for ``AutoModelForCausalLM.from_pretrained``."""
    options: dict[str, Any] = {"dtype": text.dtype}
    if text.attention:
        options["attn_implementation"] = text.attention
    if text.quantize == 4:
        options["quantization_config"] = BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=torch.bfloat16,
        )
    elif text.quantize == 8:
        options["quantization_config"] = BitsAndBytesConfig(load_in_8bit=True)
    if text.quantize:  # quantized where it will be trained
        gpu = int(os.environ.get("LOCAL_RANK", "0"))
        options["device_map"] = {"": gpu if torch.cuda.is_available() else "cpu"}
    return options


def _texts(folders: Sequence[Path]) -> Iterator[str]:
    """A sample of the conversations' words, as much of each folder."""
    for folder in folders:
        for i, line in enumerate(read_lines(folder / "train.jsonl")):
            if i >= _SENTENCES // len(folders):
                break
            yield from (turn["value"].removeprefix("<clip>") for turn in line["conversations"])


def backbones(model: torch.nn.Module) -> Iterator[ExpertBackbone]:
    """The backbones that a configuration put into the experts."""
    return (module for module in model.modules() if isinstance(module, ExpertBackbone))


def train_only(model: DeftForConditionalGeneration, modules: Iterable[str]) -> None:
    """Let some of ``MODULES`` be trained; frozen backbones never are."""
    model.requires_grad_(False)
    for name in modules:
        getattr(model, name).requires_grad_(True)
    for backbone in backbones(model):
        backbone.freeze()


def with_adapters(
    model: DeftForConditionalGeneration,
    text: TextModel,
    tokenizer: PreTrainedTokenizerBase,
    freeze_experts: bool = False,
) -> PeftModel:
    """Put LoRA adapters on the language model.

    Args:
        model: The model, whose language model is frozen by this.
        text: Rank, scale and drop-out.
        tokenizer: The processor's.
        freeze_experts: Leave experts and heads as they are; the adapter folder holds them still.
    """
    wrapped = get_peft_model(model, lora_config(text, tokenizer))
    if freeze_experts:
        for name, parameter in wrapped.named_parameters():
            if module_of(name) in ("experts", "heads"):
                parameter.requires_grad_(False)
    for backbone in backbones(wrapped):
        backbone.freeze()
    return wrapped


def module_of(name: str) -> str:
    """Which of ``MODULES`` a parameter belongs to, under adapters too."""
    return name.removeprefix("base_model.model.").partition(".")[0]


def lora_config(text: TextModel, tokenizer: PreTrainedTokenizerBase) -> LoraConfig:
    """Adapters on the language model; all that is new to it is trained and saved beside them.

    New are the experts, projectors and heads, and the embeddings of the tags around a clip.
    """
    return LoraConfig(
        r=text.lora_rank,
        lora_alpha=text.lora_alpha,
        lora_dropout=text.lora_dropout,
        target_modules=LORA_TARGETS,
        # One projector at a time: PEFT cannot wrap a ModuleDict.
        modules_to_save=["experts", *(f"projectors.{name}" for name in EXPERTS), "heads"],
        trainable_token_indices=tokenizer.convert_tokens_to_ids(list(SPECIAL_TOKENS)),
        task_type="CAUSAL_LM",
    )
