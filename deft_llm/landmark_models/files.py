"""Location and loading of trained landmark networks."""

from __future__ import annotations

from pathlib import Path

from deft_llm import weights as network_files
from deft_llm.landmark_models.network import LandmarkConfig, LandmarkNet

WEIGHTS = Path(__file__).resolve().parent / "weights"
"""Folder of the project's own trained network."""


def load_landmark_net(folder: Path = WEIGHTS) -> LandmarkNet:
    """Read a network, float32, in evaluation mode; see ``network_files.load_network``."""
    return network_files.load_network(
        folder,
        LandmarkConfig,
        LandmarkNet,
        "landmark",
        "`train.py train_configs/landmarks/small.yaml`",
    )
