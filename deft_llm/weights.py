"""A trained network on disk: ``model.safetensors`` and ``config.json`` in one folder."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Protocol, TypeVar

import torch
from pydantic import BaseModel
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from deft_llm.config import validate_settings
from deft_llm.errors import UserError

Config = TypeVar("Config", bound=BaseModel)
Network = TypeVar("Network", bound=nn.Module)


class Configured(Protocol):
    """A network that keeps its configuration."""

    @property
    def config(self) -> BaseModel:
        """Its configuration."""

    def state_dict(self) -> dict[str, torch.Tensor]:
        """Its weights by name."""


def save_network(network: Configured, folder: Path, dtype: torch.dtype = torch.float32) -> None:
    """Write a network into an existing folder.

    Args:
        network: The network.
        folder: The folder.
        dtype: Type of the stored floating-point weights.
    """
    # Integer buffers keep their type. safetensors rejects tensors that are not contiguous.
    state = {
        name: (x.to(dtype) if x.is_floating_point() else x).contiguous()
        for name, x in network.state_dict().items()
    }
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    text = network.config.model_dump_json(indent=1)
    (folder / "config.json").write_text(text + "\n", encoding="utf-8")


def load_network(
    folder: Path, settings: type[Config], build: Callable[[Config], Network], kind: str, maker: str
) -> Network:
    """Load a network as float32 in evaluation mode.

    Args:
        folder: Its folder.
        settings: Type of its configuration.
        build: Builds the network from its configuration.
        kind: The network's purpose, for messages.
        maker: The command that writes such a folder, for messages.

    Raises:
        UserError: If a file is missing or unreadable, or weights and configuration do not match.
    """
    config, weights = folder / "config.json", folder / "model.safetensors"
    for path in (config, weights):
        if not path.is_file():
            raise UserError(
                f"{path}: no such file; expected a folder with config.json and model.safetensors, "
                f"as {maker} leaves it in final/"
            )
    try:
        values = json.loads(config.read_text(encoding="utf-8"))
        state = load_file(weights)
    except (ValueError, SafetensorError) as error:
        raise UserError(f"{folder}: not a saved {kind} network ({error})") from error
    if not isinstance(values, dict):
        raise UserError(f"{config}: holds {type(values).__name__}; expected a mapping of settings")
    if "model_type" in values:  # as transformers marks its models
        raise UserError(
            f"{folder}: a model of transformers (model_type {values['model_type']!r}); expected a "
            f"{kind} network, as {maker} leaves it in final/"
        )
    network = build(validate_settings(settings, values, str(config)))
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:300]  # torch lists every key, on many lines
        raise UserError(f"{weights}: does not fit its config.json ({reason})") from error
    return network.float().eval()
