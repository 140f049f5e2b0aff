"""Location and loading of trained flow networks."""

from __future__ import annotations

from pathlib import Path

from deft_llm import weights as network_files
from deft_llm.flow_models.skflow import SKFlow, SKFlowConfig

WEIGHTS = Path(__file__).resolve().parent / "weights"
"""Folder of the project's own trained network."""


def load_flow_net(folder: Path = WEIGHTS) -> SKFlow:
    """Load a network in float32 and evaluation mode; see ``network_files.load_network``."""
    return network_files.load_network(folder, SKFlowConfig, SKFlow, "flow", "train.py")
