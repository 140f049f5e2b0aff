"""Trained recognizers on disk: what a run of ``train.py`` leaves in ``final``."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import Field
from safetensors.torch import save_file
from torch import nn

from deft_llm.config import Settings
from deft_llm.errors import UserError, did_you_mean
from deft_llm.files import write_text
from deft_llm.recognizers.base import RECOGNIZERS, Recognizer, load_recognizer
from deft_llm.recognizers.layers import grouped_norms
from deft_llm.training.run_folder import FINAL
from deft_llm.weights import load_network


class SavedConfig(Settings):
    """``config.json`` beside the weights.

    Attributes:
        classes: Names of the classes.
        recognizer: A name of ``recognizers.base``.
        options: Its keyword options.
        group_norms: Whether it was trained with group norms in place of its batch norms.
    """

    classes: list[str] = Field(min_length=1)
    recognizer: str
    options: dict[str, Any] = Field(default_factory=dict)
    group_norms: bool = False

    @property
    def name(self) -> str:
        """As users call it: "mol", "mpfnet-c"."""
        # "c" is what MPFNet takes by default.
        variant = self.options.get("variant", "c") if self.recognizer == "mpfnet" else ""
        return "-".join(filter(None, (self.recognizer, variant)))


@dataclass(frozen=True)
class SavedRecognizer:
    """A trained network with its configuration.

    Attributes:
        network: In evaluation mode.
        config: Its configuration.
    """

    network: Recognizer
    config: SavedConfig


def save_recognizer(
    network: nn.Module, folder: Path, classes: Sequence[str], description: Mapping[str, Any]
) -> None:
    """Write a network into an existing folder, to be opened by :func:`open_saved`.

    Args:
        network: The network.
        folder: The folder.
        classes: Names of the classes.
        description: The other fields of :class:`SavedConfig`.
    """
    # safetensors rejects tensors that are not contiguous.
    state = {name: x.contiguous() for name, x in network.state_dict().items()}
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    text = json.dumps({"classes": list(classes), **description}, indent=1)
    write_text(folder / "config.json", text + "\n")


def open_saved(run: Path) -> SavedRecognizer:
    """Open a trained network.

    Args:
        run: Folder of a run, or its ``final``.

    Raises:
        UserError: If a file is missing or unreadable, weights and configuration do not match, or
            what is saved is no network.
    """
    folder = run / FINAL if (run / FINAL).is_dir() else run
    # load_network reads the configuration and builds; it comes out by this list.
    kept: list[SavedConfig] = []

    def build(config: SavedConfig) -> Recognizer:
        kept.append(config)
        made = load_recognizer(config.recognizer, len(config.classes), **config.options)
        if not isinstance(made, Recognizer):
            raise UserError(f"{folder}: {config.recognizer} is no network; train one that is")
        return grouped_norms(made) if config.group_norms else made

    network = load_network(folder, SavedConfig, build, "recognizer", "train.py")
    return SavedRecognizer(network, kept[0])


def open_model(name: str | None, run: Path | None) -> SavedRecognizer:
    """Open a recognizer by its name from a run.

    Args:
        name: "mpfnet-c", "mol"; None for what the run holds.
        run: Folder of a run.

    Raises:
        UserError: If there is no run, it holds another network, or as :func:`open_saved`.
    """
    if run is None:
        # A variant follows a dash, as in mpfnet-c.
        if (kind := str(name).split("-")[0]) not in RECOGNIZERS:
            near = did_you_mean(kind, ("motion", *RECOGNIZERS))
            raise UserError(
                f"model {name!r}: expected motion, or the name of a network, such as mpfnet-c, mol "
                f"or psyau{near}"
            )
        raise UserError(
            f"model {name}: train it first, with one of the recipes recognizers/ (deft-llm train "
            "recognizers/mpfnet), and give the folder of the run with --weights"
        )
    saved = open_saved(run)
    if name is not None and name != saved.config.name:
        raise UserError(f"{run}: holds {saved.config.name}; expected {name} (--model)")
    return saved
