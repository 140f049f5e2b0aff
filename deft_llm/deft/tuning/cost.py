"""Estimate the cost of a DEFT-LLM run: tokens per clip, parameters, memory. Loads no weights.

Memory is estimated for one process without sharding. Weights, gradients and AdamW's two moments
follow from the parameters' number and types. Activations kept for the backward pass follow from
the language model's sizes, tensor by tensor (as in Korthikanti et al., arXiv 2205.05198, for gated
feed-forward layers and an attention kernel that keeps no scores); logits and their gradient are
float32. The experts' activations are left out, as they are comparatively small.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from transformers import AutoConfig

from deft_llm.answers import PIECES
from deft_llm.config import validate_settings
from deft_llm.deft.configuration_deft import EXPERTS
from deft_llm.deft.modeling_deft import DeftForConditionalGeneration
from deft_llm.deft.processing_deft import SPECIAL_TOKENS
from deft_llm.deft.tuning.model import LORA_TARGETS, MODULES, start_config, train_only
from deft_llm.deft.tuning.recipe import DeftRecipe, Stage, require_machine
from deft_llm.deft.tuning.stages import STAGES
from deft_llm.errors import UserError

WORDS = 256  # tokens of a conversation besides its clip; the simulated ones have fewer
GIB = 2**30
_BYTES = {"float32": 4.0, "bfloat16": 2.0, "float16": 2.0}
_QUANTIZED = {4: 0.53, 8: 1.01}  # bytes per weight, including the block scales


@dataclass(frozen=True)
class StageCost:
    """Trainable parameters and memory of one stage.

    Attributes:
        trained: Module -> trainable parameters.
        weights: Bytes of all weights.
        states: Bytes of gradients and AdamW's moments.
        activations: Bytes kept for the backward pass of one micro-batch.
    """

    trained: dict[str, int]
    weights: float
    states: float
    activations: float


def estimate_cost(values: dict[str, Any], where: str) -> list[str]:
    """The lines that ``train.py --dry-run`` prints.

    Args:
        values: The recipe as read from YAML.
        where: Its file, for messages.

    Raises:
        UserError: If the recipe is wrong, or this machine cannot run it.
    """
    recipe = validate_settings(DeftRecipe, values, where)
    require_machine(recipe, where)
    model = skeleton(recipe)
    counts = model.config.token_counts()
    # Each expert's span has an opening and a closing tag.
    clip = sum(counts.values()) + 2 * len(EXPERTS)
    lines = [
        f"tokens per clip  {clip} ("
        + ", ".join(f"{name} {count}" for name, count in counts.items())
        + f", tags {2 * len(EXPERTS)}); conversations are reckoned with {WORDS} more",
        "parameters       "
        + ", ".join(f"{name} {_number(_size(getattr(model, name)))}" for name in MODULES),
    ]
    for name in STAGES:
        stage: Stage = getattr(recipe, name)
        if not stage.steps:
            lines.append(f"{name:<17}left out")
            continue
        cost = stage_cost(recipe, name, model)
        trained = ", ".join(f"{module} {_number(n)}" for module, n in cost.trained.items() if n)
        total = cost.weights + cost.states + cost.activations
        lines.append(
            f"{name:<17}{stage.steps} steps of {stage.batch_size * stage.accumulate}; trains "
            f"{_number(sum(cost.trained.values()))}: {trained}"
        )
        lines.append(
            f"{'':<17}about {total / GIB:.2f} GiB a process: weights {cost.weights / GIB:.2f}, "
            f"gradients and AdamW {cost.states / GIB:.2f}, activations "
            f"{cost.activations / GIB:.2f}"
        )
    return lines


def skeleton(recipe: DeftRecipe) -> DeftForConditionalGeneration:
    """The recipe's model on the meta device, without memory, with the largest possible vocabulary.

    Raises:
        UserError: If the language model's configuration cannot be read.
    """
    config = start_config(recipe)
    text = recipe.text_model
    if text.name_or_path:
        try:
            config.text_config = AutoConfig.from_pretrained(text.name_or_path)
        except (OSError, ValueError) as error:
            raise UserError(
                f"text_model.name_or_path {text.name_or_path!r}: no configuration of a language "
                "model there; give a hub name, or a folder with config.json"
            ) from error
    elif not recipe.checkpoint:
        config.text_config = AutoConfig.for_model(
            **{"model_type": "qwen3", **text.config},
            vocab_size=text.vocab_size + len(PIECES) + len(SPECIAL_TOKENS),
        )
    with torch.device("meta"):
        return DeftForConditionalGeneration(config)


def stage_cost(recipe: DeftRecipe, name: str, model: DeftForConditionalGeneration) -> StageCost:
    """Cost of a stage.

    Args:
        recipe: The recipe.
        name: One of ``STAGES``.
        model: Its ``skeleton``.
    """
    stage: Stage = getattr(recipe, name)
    lora = name == "instruct" and recipe.text_model.lora_rank > 0
    kept = ("experts", "heads") if name == "instruct" and stage.freeze_experts else ()
    modules = {"experts": ("experts", "heads"), "projectors": ("projectors",), "instruct": MODULES}
    trained = {module for module in modules[name] if module not in kept}
    # Adapters are counted by adapter_size; the language model under them is frozen.
    train_only(model, trained - {"language_model"} if lora else trained)
    counts = {m: _size(getattr(model, m), trained_only=True) for m in MODULES}
    if lora:
        counts["language_model"] = adapter_size(model, recipe.text_model.lora_rank)
    element = _element(recipe)
    whole_text = name == "instruct" and not lora
    others = sum(n for module, n in counts.items() if module != "language_model")
    # Three tensors per weight: the gradient and two moments. Adapters are float32 on any base
    # model.
    text_states = counts["language_model"] * 3 * (element if whole_text else 4)
    return StageCost(
        trained=counts,
        weights=_weights(recipe, model) + (4 * counts["language_model"] if lora else 0),
        states=3 * 4 * others + text_states,
        activations=0.0 if name == "experts" else _activations(stage, model),
    )


def adapter_size(model: DeftForConditionalGeneration, rank: int) -> int:
    """Parameters of LoRA adapters, including the embeddings of the new tokens."""
    layers = [
        module
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear) and re.fullmatch(LORA_TARGETS, f"model.{name}")
    ]
    width = model.config.text_config.hidden_size
    return (
        sum(rank * (layer.in_features + layer.out_features) for layer in layers)
        + len(SPECIAL_TOKENS) * width
    )


def _element(recipe: DeftRecipe) -> float:
    """Bytes per weight of the language model."""
    text = recipe.text_model
    if text.name_or_path is None:
        return 4.0
    if text.dtype == "auto":
        declared = getattr(AutoConfig.from_pretrained(text.name_or_path), "dtype", None)
        return _BYTES[str(declared or "float32").removeprefix("torch.")]
    return _BYTES[text.dtype]


def _weights(recipe: DeftRecipe, model: DeftForConditionalGeneration) -> float:
    text: Any = model.language_model
    element = _element(recipe)
    matrices = 0
    if recipe.text_model.quantize:
        output = text.get_output_embeddings()
        # bitsandbytes quantizes linear layers only, and transformers leaves the output layer as it
        # is.
        layers = (m for m in text.modules() if isinstance(m, nn.Linear) and m is not output)
        matrices = sum(m.weight.numel() for m in layers)
    packed = matrices * _QUANTIZED[recipe.text_model.quantize] if recipe.text_model.quantize else 0
    others = sum(_size(getattr(model, m)) for m in MODULES if m != "language_model")
    return packed + element * (_size(text) - matrices) + 4.0 * others


def _activations(stage: Stage, model: DeftForConditionalGeneration) -> float:
    """Bytes that one micro-batch of conversations keeps for the backward pass."""
    text: Any = model.config.text_config
    tokens = stage.batch_size * (sum(model.config.token_counts().values()) + WORDS)
    element = 2 if stage.bf16 else 4
    heads = text.num_attention_heads
    # Some models (Qwen3) have a head width other than hidden_size / heads.
    inner = heads * (getattr(text, "head_dim", None) or text.hidden_size // heads)
    # Keys and values under grouped-query attention.
    shared = 2 * inner * text.num_key_value_heads // heads
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


def _size(module: nn.Module, trained_only: bool = False) -> int:
    chosen: Iterable[nn.Parameter] = module.parameters()
    return sum(p.numel() for p in chosen if p.requires_grad or not trained_only)


def _number(count: float) -> str:
    """1234567 -> "1.23 M"."""
    for unit, size in (("B", 1e9), ("M", 1e6), ("k", 1e3)):
        if count >= size:
            return f"{count / size:.2f} {unit}"
    return f"{count:.0f}"
