"""A textured face-like image, known smooth displacements of it, and clips made of them."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from deft_llm.media.canonical import CANONICAL_LANDMARKS

SIZE = 224
FloatArray = NDArray[np.float32]


def grid() -> tuple[FloatArray, FloatArray]:
    """Pixel coordinates x, y of the canonical square."""
    y, x = np.mgrid[:SIZE, :SIZE].astype(np.float32)
    return x, y


def bump(cx: Any, cy: Any, sigma: float, u: Any, v: Any) -> FloatArray:
    """A local displacement (2, H, W) with peak (u, v)."""
    x, y = grid()
    weight = np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / (2 * sigma**2))
    return np.stack([u * weight, v * weight]).astype(np.float32)


def warp(image: FloatArray, displacement: FloatArray) -> FloatArray:
    """Move every pixel p of ``image`` to p + displacement(p)."""
    x, y = grid()
    back = displacement
    for _ in range(5):
        back = np.stack(
            [cv2.remap(c, x - back[0], y - back[1], cv2.INTER_LINEAR) for c in displacement]
        )
    mode = cv2.BORDER_REFLECT
    return cv2.remap(image, x - back[0], y - back[1], cv2.INTER_LANCZOS4, borderMode=mode)


@pytest.fixture(scope="session")
def landmarks() -> FloatArray:
    return np.asarray(CANONICAL_LANDMARKS, np.float32)


@pytest.fixture(scope="session")
def face(landmarks: FloatArray) -> FloatArray:
    """Grey (H, W): shading, dark features at the landmarks, skin texture."""
    rng = np.random.default_rng(0)
    x, y = grid()
    image = 140 - 25 * ((x - 111.5) / 90) ** 2 + 8 * np.cos(y / 40)
    for sigma, strength in ((1.2, 4.0), (4.0, 6.0)):
        texture = cv2.GaussianBlur(rng.normal(size=image.shape).astype(np.float32), (0, 0), sigma)
        image += strength * texture / texture.std()
    for px, py in landmarks[17:]:
        image -= 35 * np.exp(-((x - px) ** 2 + (y - py) ** 2) / (2 * 3.0**2))
    return np.clip(image, 0, 255).astype(np.float32)


@pytest.fixture(scope="session")
def make_clip(face: FloatArray, landmarks: FloatArray) -> Callable[..., Any]:
    """``make_clip(displacements, fps, noise, seed)`` -> what ``measure`` needs of AlignedClip."""

    def make(
        displacements: list[FloatArray], fps: float = 60.0, noise: float = 2.0, seed: int = 0
    ) -> Any:
        rng = np.random.default_rng(seed)
        frames = np.stack([warp(face, d) for d in displacements])
        frames = np.clip(np.rint(frames + rng.normal(0, noise, frames.shape)), 0, 255)
        return SimpleNamespace(
            frames=np.repeat(frames.astype(np.uint8)[..., None], 3, axis=3),
            present=np.ones(len(frames), bool),
            landmarks=landmarks,
            landmark_uncertainty=np.ones(68, np.float32),
            landmark_depth=None,
            inside=None,
            transforms=np.repeat(np.eye(2, 3)[None], len(frames), axis=0),
            timestamps=np.arange(len(frames)) / fps,
            left_out="without a face",
            goes_on=False,
            remarks=(),
        )

    return make
