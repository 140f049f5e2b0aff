"""Small clips and folders for the tests of ``deft-llm explain``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Frames = NDArray[np.uint8]
DeftLlm = Callable[..., Any]
Film = Callable[[str, Frames], Path]


def labels(out: str) -> list[str]:
    """The words in the left column of the summary."""
    return [line.split()[0] for line in out.splitlines() if line[:1].strip()]


def files(folder: Path) -> set[str]:
    """Every file below a folder, hidden ones too; empty if there is no folder."""
    return {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()}


def folder_of_frames(folder: Path, frames: Frames) -> Path:
    folder.mkdir()
    for index, frame in enumerate(frames):
        cv2.imwrite(str(folder / f"img{index}.png"), frame[:, :, ::-1])
    return folder


def noise(count: int, size: int = 96) -> Frames:
    """Frames without a face: (count, size, size, 3)."""
    return np.random.default_rng(0).integers(90, 130, (count, size, size, 3)).astype(np.uint8)
