"""Location and loading of trained trackers."""

from __future__ import annotations

from pathlib import Path

from deft_llm import weights as network_files
from deft_llm.gaze.network import TrackerConfig, TrackerNet

WEIGHTS = Path(__file__).resolve().parent / "weights"
"""Folder of the project's own trained tracker."""


def load_tracker(folder: Path = WEIGHTS) -> TrackerNet:
    """Read a tracker, float32, in evaluation mode; see ``network_files.load_network``."""
    return network_files.load_network(
        folder, TrackerConfig, TrackerNet, "tracker", "`train.py train_configs/gaze/small.yaml`"
    )
