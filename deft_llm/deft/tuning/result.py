"""What a run leaves: the trained model, finished as its recipe says, with its processor."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from deft_llm.deft.inference.explainer import Explainer
from deft_llm.deft.processing_deft import DeftProcessor
from deft_llm.deft.tuning.recipe import DeftRecipe
from deft_llm.machine import is_shared

_ADAPTERS = "adapter_model.safetensors"


def save_whole(model: Any, processor: DeftProcessor, recipe: DeftRecipe, folder: Path) -> None:
    """Save model and processor into an existing folder.

    Adapters get the recipe's type here, because in training they stay float32. With them goes the
    configuration of the model that they are for.
    """
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    if not recipe.text_model.lora_rank:
        return
    model.config.save_pretrained(folder)
    if recipe.save_dtype != "float32":
        dtype = getattr(torch, recipe.save_dtype)
        tensors = {name: x.to(dtype) for name, x in load_file(folder / _ADAPTERS).items()}
        save_file(tensors, folder / _ADAPTERS, {"format": "pt"})


def finish(model: Any, recipe: DeftRecipe) -> None:
    """Interpolate the trained weights with those they began with, and give them their saved type.

    Args:
        model: The trained model, complete on one device.
        recipe: The recipe.
    """
    if recipe.checkpoint and recipe.weight_interpolation < 1:
        interpolate_weights(model, recipe.checkpoint, recipe.weight_interpolation)
    if not (recipe.text_model.lora_rank or is_shared(model)):
        model.to(getattr(torch, recipe.save_dtype))


@contextmanager
def finished_for_now(model: Any, recipe: DeftRecipe) -> Iterator[None]:
    """Finish a model for the length of the block, because it then goes on learning."""
    if recipe.text_model.lora_rank:  # adapters are saved as they are
        yield
        return
    # On the CPU: a GPU may not have room for the weights twice.
    kept = {name: x.detach().to("cpu", copy=True) for name, x in _tensors(model)}
    try:
        finish(model, recipe)
        yield
    finally:
        for name, x in _tensors(model):
            x.data = kept[name].to(x.device)


def _tensors(model: Any) -> Iterator[tuple[str, torch.Tensor]]:
    return chain(model.named_parameters(), model.named_buffers())


@torch.no_grad()
def interpolate_weights(model: Any, checkpoint: Path, share: float) -> None:
    """Interpolate a trained model's weights with those of its initial checkpoint.

    Args:
        model: The trained model, complete on one device.
        checkpoint: Folder of the initial checkpoint.
        share: Share of the trained weights.
    """
    begun = Explainer.load(checkpoint).model.state_dict()
    seen: set[int] = set()
    for name, weight in model.state_dict().items():
        # Tied weights appear under two names and must be interpolated once.
        if weight.is_floating_point() and weight.data_ptr() not in seen:
            weight.lerp_(begun[name].to(weight), 1 - share)
            seen.add(weight.data_ptr())
