"""LoRA adapters on the language model, with the parts that are new to it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from peft import LoraConfig, PeftModel, get_peft_model
from torch import nn
from transformers import PreTrainedTokenizerBase
from transformers.pytorch_utils import Conv1D

from deft_llm import quiet
from deft_llm.deft.configuration_deft import DeftConfig
from deft_llm.deft.modeling_deft import DeftForConditionalGeneration
from deft_llm.deft.processing_deft import special_tokens
from deft_llm.deft.tuning.model import backbones, module_of
from deft_llm.deft.tuning.text_model import TextModel
from deft_llm.errors import UserError

_ADAPTABLE = (nn.Linear, nn.Embedding, Conv1D)


def with_adapters(
    model: DeftForConditionalGeneration,
    text: TextModel,
    tokenizer: PreTrainedTokenizerBase | None,
    freeze_experts: bool = False,
) -> PeftModel:
    """Put LoRA adapters on the language model.

    Args:
        model: The model; its language model becomes frozen.
        text: Rank, scale, dropout, targets and kind of the adapters.
        tokenizer: The processor's tokenizer; None for a model without weights, to count them.
        freeze_experts: Freeze experts and heads; the adapter folder contains them all the same.

    Raises:
        UserError: If the targets match no layer of the language model, or one without a matrix.
    """
    _require_targets(model, text)
    with quiet.peft_names():
        wrapped = get_peft_model(model, lora_config(text, tokenizer, model.config))
    if freeze_experts:
        for name, parameter in wrapped.named_parameters():
            if module_of(name) in ("experts", "heads"):
                parameter.requires_grad_(False)
    for backbone in backbones(wrapped):
        backbone.freeze()
    return wrapped


def merged(model: DeftForConditionalGeneration, folder: Path) -> Any:
    """The model with the adapters of a folder merged into its weights."""
    with quiet.peft_names():
        return PeftModel.from_pretrained(model, folder).merge_and_unload()


def _require_targets(model: DeftForConditionalGeneration, text: TextModel) -> None:
    """Check that the targets are layers that can have adapters, and that there are some."""
    pattern = re.compile(text.lora_pattern())
    inside = {
        name.removeprefix("language_model."): isinstance(module, _ADAPTABLE)
        for name, module in model.named_modules()
        if name.startswith("language_model.")
    }
    found = [name for name in inside if pattern.fullmatch(f"language_model.{name}")]
    wrong = next((name for name in found if not inside[name]), None)
    if found and wrong is None:
        return
    layers = [name for name, adaptable in inside.items() if adaptable]
    short = sorted({name.rpartition(".")[2] for name in layers})
    problem = "no layer of the language model" if wrong is None else f"{wrong} is no linear layer"
    raise UserError(
        f"text_model.lora_targets {text.lora_targets!r}: {problem}; its layers are "
        f"{', '.join(short)}, with whole names such as {layers[-1]}"
    )


def lora_config(
    text: TextModel, tokenizer: PreTrainedTokenizerBase | None, config: DeftConfig
) -> LoraConfig:
    """Adapters on the language model; the parts new to it are trained and saved with them.

    The new parts are experts, projectors, heads, and the embeddings of the special tokens.

    Args:
        text: Settings of the adapters.
        tokenizer: Knows the ids of the special tokens; None where only their number matters.
        config: Of the model.
    """
    tokens = special_tokens(config)
    new: list[int] = list(range(len(tokens)))
    if tokenizer is not None:
        new = tokenizer.convert_tokens_to_ids(tokens)
    return LoraConfig(
        r=text.lora_rank,
        lora_alpha=text.lora_alpha,
        lora_dropout=text.lora_dropout,
        target_modules=text.lora_pattern(),
        use_rslora=text.use_rslora,
        use_dora=text.use_dora,
        # Each projector by name, because PEFT cannot wrap a ModuleDict.
        modules_to_save=["experts", *(f"projectors.{name}" for name in config.experts), "heads"],
        # Trains these rows of the embedding matrix only.
        trainable_token_indices=new,
        task_type="CAUSAL_LM",
    )
