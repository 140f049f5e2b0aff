"""Estimate the cost of a DEFT-LLM run: tokens, parameters, memory, time. Loads no weights.

Weights, gradients and AdamW's two moments follow from the parameters' number and types.
Activations kept for the backward pass follow from the language model's sizes, tensor by tensor (as
in Korthikanti et al., arXiv 2205.05198, for gated feed-forward layers and an attention kernel that
keeps no scores); logits and their gradient are float32. The experts' activations are left out, as
they are comparatively small. ZeRO-2 spreads gradients and moments over the GPUs, ZeRO-3 the weights
as well.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoConfig

from deft_llm import resources
from deft_llm.answers import PIECES
from deft_llm.deft.modeling_deft import DeftForConditionalGeneration
from deft_llm.deft.processing_deft import special_tokens
from deft_llm.deft.tuning.adapters import with_adapters
from deft_llm.deft.tuning.model import (
    MODULES,
    build_empty,
    module_of,
    new_text_config,
    start_config,
    train_only,
)
from deft_llm.deft.tuning.recipe import DeftRecipe
from deft_llm.deft.tuning.sizes import empty_clips
from deft_llm.deft.tuning.stage_settings import RewardStage, Stage
from deft_llm.errors import UserError

WORDS = 256  # tokens of a conversation besides its clip; the simulated ones have fewer
_BYTES = {"float32": 4.0, "bfloat16": 2.0, "float16": 2.0}
_TUNED = ("instruct", "reward")  # stages that train the language model, whole or by adapters
_QUANTIZED = {4: 0.53, 8: 1.01}  # bytes per weight, including the block scales


@dataclass(frozen=True)
class StageCost:
    """What one stage takes.

    Attributes:
        trained: Module -> trainable parameters.
        weights: Bytes of all weights.
        states: Bytes of gradients and AdamW's moments.
        activations: Bytes kept for the backward pass of one micro-batch.
        operations: Floating-point operations of the whole stage, in one process.
    """

    trained: dict[str, int]
    weights: float
    states: float
    activations: float
    operations: float


def skeleton(recipe: DeftRecipe) -> DeftForConditionalGeneration:
    """The recipe's model on the meta device, without memory, with the largest possible vocabulary.

    Raises:
        UserError: If the language model's configuration cannot be read, or is of none.
    """
    config = start_config(recipe)
    text = recipe.text_model
    if text.name_or_path:
        config.text_config = _published_sizes(text.name_or_path)
    elif not recipe.checkpoint:
        tokens = text.vocab_size + len(PIECES) + len(special_tokens(config))
        config.text_config = new_text_config(text, tokens)
    return build_empty(config)


def _published_sizes(name: str) -> Any:
    """The configuration of a published language model: of those that we know, without a network.

    Raises:
        UserError: If it cannot be read.
    """
    known = resources.model_sizes(name)
    if known is not None:
        return AutoConfig.for_model(**json.loads(known.read_text(encoding="utf-8")))
    try:
        return AutoConfig.from_pretrained(name)
    except (OSError, ValueError) as error:
        raise UserError(
            f"text_model.name_or_path {name!r}: no configuration of a language model there; give a "
            "hub name, or a folder with config.json"
        ) from error


def stage_cost(recipe: DeftRecipe, name: str, model: DeftForConditionalGeneration) -> StageCost:
    """Cost of a stage.

    Args:
        recipe: The recipe.
        name: One of ``STAGES``.
        model: Its ``skeleton``.
    """
    stage: Stage = getattr(recipe, name)
    lora = name in _TUNED and recipe.text_model.lora_rank > 0
    counts = _trained(recipe, name, model)
    element = _element(recipe, model)
    others = sum(n for module, n in counts.items() if module != "language_model")
    # Three tensors per weight: the gradient and two moments. Adapters are float32 on any base
    # model.
    whole_text = name in _TUNED and not lora
    text_states = counts["language_model"] * 3 * (element if whole_text else 4)
    return StageCost(
        trained=counts,
        weights=_weights(recipe, model) + (4 * counts["language_model"] if lora else 0),
        states=3 * 4 * others + text_states,
        activations=0.0 if name == "experts" else _activations(stage, model),
        operations=stage.steps * stage.accumulate * _operations(recipe, name, model),
    )


def _trained(recipe: DeftRecipe, name: str, model: DeftForConditionalGeneration) -> dict[str, int]:
    """Module -> parameters that a stage trains."""
    stage: Stage = getattr(recipe, name)
    if name in _TUNED and recipe.text_model.lora_rank:
        # A skeleton of its own, because PEFT puts its layers into the model.
        adapted = with_adapters(skeleton(recipe), recipe.text_model, None, stage.freeze_experts)
        counts = dict.fromkeys(MODULES, 0)
        for parameter_name, parameter in adapted.named_parameters():
            counts[module_of(parameter_name)] += parameter.numel() * parameter.requires_grad
        return counts
    kept = ("experts", "heads") if name in _TUNED and stage.freeze_experts else ()
    modules = {"experts": ("experts", "heads"), "projectors": ("projectors",)}
    modules |= dict.fromkeys(_TUNED, MODULES)
    train_only(model, (module for module in modules[name] if module not in kept))
    return {module: size_of(getattr(model, module), trained_only=True) for module in MODULES}


def _operations(recipe: DeftRecipe, name: str, model: DeftForConditionalGeneration) -> float:
    """Floating-point operations of one micro-batch, forwards and backwards."""
    stage: Stage = getattr(recipe, name)
    # Frozen experts run once a clip, which does not count beside the language model.
    learns = name == "experts" or (name == "instruct" and not stage.freeze_experts)
    # A backward pass takes twice the forward one: for the inputs' gradients and the weights'.
    experts = 3 * stage.batch_size * expert_operations(model) if learns else 0
    if name == "experts":
        return experts
    whole_text = name in _TUNED and not recipe.text_model.lora_rank
    # Frozen weights need no gradient of their own: the backward pass is for the inputs alone. To
    # recompute activations is one more pass forwards.
    passes = (3 if whole_text else 2) + stage.gradient_checkpointing
    # Rewarded answers are sampled, and run through the model before as well.
    passes += 2 if isinstance(stage, RewardStage) else 0
    return experts + float(passes * rows_of(stage) * text_operations(model))


def rows_of(stage: Stage) -> int:
    """Conversations of a micro-batch."""
    samples = stage.samples if isinstance(stage, RewardStage) else 1
    return stage.batch_size * samples


def text_operations(model: DeftForConditionalGeneration) -> int:
    """Floating-point operations of the language model for one conversation, forwards."""
    text: Any = model.config.text_config
    embedded = 0 if text.tie_word_embeddings else text.vocab_size * text.hidden_size
    length = conversation_tokens(model)
    # Two per weight and token, and the two products of attention, of which the mask leaves half.
    matrices = 2 * (size_of(model.language_model) - embedded) * length
    return int(matrices + 2 * text.num_hidden_layers * length**2 * _inner(text))


def expert_operations(model: DeftForConditionalGeneration) -> int:
    """Floating-point operations of experts and heads for one clip, forwards."""
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        model.heads(model.experts(**empty_clips(model.config, 1)))
    return int(counter.get_total_flops())


def conversation_tokens(model: DeftForConditionalGeneration) -> int:
    """Tokens that a conversation is reckoned with, those of its clip among them."""
    return clip_tokens(model) + WORDS


def clip_tokens(model: DeftForConditionalGeneration) -> int:
    """Tokens that stand for a clip in a conversation."""
    # Each expert's span has an opening and a closing tag.
    return int(sum(model.config.token_counts().values())) + 2 * len(model.config.experts)


def _inner(text: Any) -> int:
    # Some models (Qwen3) have a head width other than hidden_size / heads.
    heads = text.num_attention_heads
    return int(heads * (getattr(text, "head_dim", None) or text.hidden_size // heads))


def _element(recipe: DeftRecipe, model: DeftForConditionalGeneration) -> float:
    """Bytes per weight of the language model."""
    text = recipe.text_model
    if text.name_or_path is None:
        return 4.0
    if text.dtype == "auto":
        declared = getattr(model.config.text_config, "dtype", None)
        return _BYTES[str(declared or "float32").removeprefix("torch.")]
    return _BYTES[text.dtype]


def _weights(recipe: DeftRecipe, model: DeftForConditionalGeneration) -> float:
    text: Any = model.language_model
    element = _element(recipe, model)
    matrices = 0
    if recipe.text_model.quantize:
        output = text.get_output_embeddings()
        # bitsandbytes quantizes linear layers only, and transformers leaves the output layer as it
        # is.
        layers = (m for m in text.modules() if isinstance(m, nn.Linear) and m is not output)
        matrices = sum(m.weight.numel() for m in layers)
    packed = matrices * _QUANTIZED[recipe.text_model.quantize] if recipe.text_model.quantize else 0
    others = sum(size_of(getattr(model, m)) for m in MODULES if m != "language_model")
    return packed + element * (size_of(text) - matrices) + 4.0 * others


def _activations(stage: Stage, model: DeftForConditionalGeneration) -> float:
    """Bytes that one micro-batch of conversations keeps for the backward pass."""
    text: Any = model.config.text_config
    tokens = rows_of(stage) * conversation_tokens(model)
    element = 2 if stage.bf16 else 4
    inner = _inner(text)
    # Keys and values under grouped-query attention.
    shared = 2 * inner * text.num_key_value_heads // text.num_attention_heads
    # norms and residual; queries, keys, values, attended; gate, up, their product, its activation
    layer = element * (4 * text.hidden_size + 2 * inner + shared + 4 * text.intermediate_size)
    layers = text.num_hidden_layers
    if stage.gradient_checkpointing:
        # The input of every layer, and one layer at a time that is recomputed.
        kept = layers * element * text.hidden_size + layer
    else:
        kept = layers * layer
    # The output in its own type, its float32 copy for the loss, and the gradient.
    logits = text.vocab_size * (element + 4 + 4)
    return float(tokens * (kept + logits))


def size_of(module: nn.Module, trained_only: bool = False) -> int:
    """Number of a module's parameters, or of the trainable ones."""
    chosen: Iterable[nn.Parameter] = module.parameters()
    return sum(p.numel() for p in chosen if p.requires_grad or not trained_only)
