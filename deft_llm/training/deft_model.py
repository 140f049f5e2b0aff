"""Model and processor as a recipe describes them, before any training."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from peft import LoraConfig
from transformers import AutoConfig, AutoTokenizer, PreTrainedTokenizerBase

from deft_llm.deft.configuration_deft import EXPERTS, DeftConfig
from deft_llm.deft.modeling_deft import DeftForConditionalGeneration
from deft_llm.deft.processing_deft import (
    SPECIAL_TOKENS,
    DeftFeatureExtractor,
    DeftProcessor,
    add_expert_tokens,
    clip_span,
)
from deft_llm.deft.tokenizer import train_sentencepiece, wrap
from deft_llm.training.deft_recipe import DeftRecipe, TextModel
from deft_llm.unimer.dialogue import PIECES, Templates
from deft_llm.unimer.records import read_lines

LORA_TARGETS = r".*language_model\..*\.(q_proj|k_proj|v_proj|o_proj|gate_proj|up_proj|down_proj)"


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
