"""A network of the small kind with random weights, and textures that were moved exactly."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from deft_llm.flow_models.first_flow import FirstFlowConfig
from deft_llm.flow_models.skflow import SKFlow, SKFlowConfig
from deft_llm.weights import save_network

TINY = SKFlowConfig(
    width=0.0625,
    stride=4,
    levels=2,
    radius=1,
    attention_pool=4,
    encoder_kernels=(1, 3),
    update_kernels=(1, 3),
    positions=0,
    first=FirstFlowConfig(widths=(8, 12), windows=(2.5, 5.0), passes=3),
    iterations=2,
)


def waves(height: int, width: int, u: float = 0.0, v: float = 0.0) -> NDArray[np.float32]:
    """A smooth RGB texture (H, W, 3) in 0..255, moved by (u, v) px without any interpolation."""
    rng = np.random.default_rng(5)
    y, x = np.mgrid[:height, :width].astype(np.float64)
    image = np.zeros((height, width))
    for fx, fy, phase in zip(*rng.uniform(-0.5, 0.5, (2, 12)), rng.uniform(0, 6, 12), strict=True):
        image += np.sin(fx * (x - u) + fy * (y - v) + phase)
    grey = 128 + 12 * image
    return np.repeat(grey[..., None], 3, axis=2).astype(np.float32)


def batch(image: NDArray[np.float32]) -> torch.Tensor:
    return torch.from_numpy(image.transpose(2, 0, 1)[None].copy())


@pytest.fixture(scope="session")
def tiny() -> SKFlow:
    torch.manual_seed(0)
    return SKFlow(TINY).eval()


@pytest.fixture(scope="session")
def tiny_folder(tiny: SKFlow, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("network")
    save_network(tiny, folder)
    return folder
