"""Where trained flow networks lie, and how one is read."""

from __future__ import annotations

from pathlib import Path

from deft_llm import weights as network_files
from deft_llm.flow_models.skflow import SKFlow, SKFlowConfig

WEIGHTS = Path(__file__).resolve().parent / "weights"
"""Where the project's own trained network lies."""


def load_flow_net(folder: Path = WEIGHTS) -> SKFlow:
    """Read a network, float32, in evaluation mode; see ``network_files.load_network``."""
    return network_files.load_network(folder, SKFlowConfig, SKFlow, "flow", "train.py")
