"""A recipe's sizes and labels of the experts, checked by building them without memory."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from deft_llm import facs
from deft_llm.data.features import REGION_COLUMNS
from deft_llm.deft.configuration_deft import NO_EMOTION, DeftConfig
from deft_llm.deft.experts import DeftExperts
from deft_llm.deft.modeling_deft import DeftHeads
from deft_llm.errors import UserError


def configured(fields: dict[str, Any]) -> DeftConfig:
    """The model configuration of a recipe's ``model``.

    Raises:
        UserError: If a value is of another kind, or a label is unknown.
    """
    try:
        config = DeftConfig(**fields)
    except (AttributeError, TypeError, ValueError) as error:
        raise UserError(f"model: {' '.join(str(error).split())[:160]}; see DeftConfig") from error
    for number in config.aus:
        if number not in facs.ACTION_UNITS or config.aus.count(number) > 1:
            known = ", ".join(map(str, facs.ACTION_UNITS))
            raise UserError(f"model.aus: {number!r}; expected numbers of FACS, each once: {known}")
    *named, last = config.emotions or [""]
    if last != NO_EMOTION or len(set(named)) < len(named) or not set(named) <= set(facs.LABELS):
        raise UserError(
            f"model.emotions: {', '.join(map(str, config.emotions))}; expected some of "
            f"{', '.join(facs.LABELS)}, each once, and {NO_EMOTION} last"
        )
    return config


def require_experts(config: DeftConfig) -> None:
    """Check that experts and heads can be built, and give the tokens that a clip's span has.

    Args:
        config: With its backbones resolved.

    Raises:
        UserError: If not.
    """
    # A recognizer is only built: one of a user's own may not run without memory.
    unread = tuple(name for name, entry in config.backbones.items() if not entry["config"])
    try:
        with torch.device("meta"):
            experts, heads = DeftExperts(config), DeftHeads(config)
            tokens = experts(**empty_clips(config, 1), ablate=unread)
            heads(tokens)
    # Each layer fails in its own way on sizes that do not fit together.
    except (ArithmeticError, AssertionError, IndexError, RuntimeError, TypeError, ValueError) as e:
        reason = " ".join(str(e).split())[:160]
        raise UserError(
            f"model: no experts can be built of these sizes ({reason}); expected sizes like "
            "expert_dim: 128, texture_size: 48 (a multiple of 8), map_size: 56 (of 4)"
        ) from e
    for name, count in config.token_counts().items():
        if count < 1 or tokens[name].shape[1] != count:
            wanted = "a square number" if name == "structure" else "1 or more"
            raise UserError(f"model.{name}_tokens: {count}; expected {wanted}")


def empty_clips(config: DeftConfig, clips: int) -> dict[str, Tensor]:
    """Inputs of the experts for some clips, all zeros."""
    sizes: Any = config
    return {
        "structure": torch.zeros(clips, 3, sizes.structure_size, sizes.structure_size),
        "texture": torch.zeros(clips, sizes.texture_frames, *2 * (sizes.texture_size,)),
        "flow": torch.zeros(clips, 2, 3, sizes.map_size, sizes.map_size),
        "flow_scale": torch.zeros(clips, 2, 4),
        "regions": torch.zeros(clips, 2, len(facs.REGIONS), len(REGION_COLUMNS)),
    }
