"""Precomputed onset-to-apex flow images in the layout that STSTNet and HTNet publish.

``<subject>/u_test/<0 negative, 1 positive, 2 surprise>/<clip>.png``: 28x28, file channels
R = u, G = v, B = optical strain, each stretched to 0..255 on its own. A fold's training set is
the other subjects' test images, so ``u_train`` folders are not read.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from deft_llm import facs
from deft_llm.errors import UserError

SIDE = 28
_TREE = "<subject>/u_test/<0, 1 or 2>/<clip>.png"


@dataclass(frozen=True)
class FlowImages:
    """All images of a folder, ordered by subject, class and clip.

    Attributes:
        images: uint8 (N, 28, 28, 3), channels u, v, strain.
        subjects: (N,) str.
        clips: (N,) str, unique.
        labels: (N,) int64, index in ``facs.THREE_CLASSES``.
        datasets: (N,) str, "SMIC" for subjects ``sNN``, "SAMM" for ``NNN``, "CASME II" for
            ``subNN``.
    """

    images: NDArray[np.uint8]
    subjects: NDArray[np.str_]
    clips: NDArray[np.str_]
    labels: NDArray[np.int64]
    datasets: NDArray[np.str_]

    def __len__(self) -> int:
        return len(self.labels)


def read_flow_images(folder: Path) -> FlowImages:
    """Read a folder of precomputed flow images.

    Args:
        folder: The folder that holds one folder per subject.

    Raises:
        UserError: If the folder or its images are missing, or an image is no 28x28 RGB PNG.
    """
    if not folder.is_dir():
        raise UserError(
            f"{folder}: no such folder; expected {_TREE}, as the authors of STSTNet and HTNet "
            "publish beside their code"
        )
    files = sorted(folder.glob("*/u_test/*/*.png"))
    if not files:
        raise UserError(f"{folder}: no images; expected {_TREE}")
    subjects = [path.parts[-4] for path in files]
    clips = [_clip_name(path.stem, subject) for path, subject in zip(files, subjects, strict=True)]
    if len(set(clips)) < len(clips):
        twice = next(c for c in clips if clips.count(c) > 1)
        raise UserError(f"{folder}: clip {twice} is there twice; keep one of its images")
    return FlowImages(
        np.stack([_read(path) for path in files]),
        np.array(subjects),
        np.array(clips),
        np.array([_label(path) for path in files], np.int64),
        np.array([_dataset(subject) for subject in subjects]),
    )


def _clip_name(stem: str, subject: str) -> str:
    """``"s11_s11_sur_01 "`` -> ``"s11_sur_01"``: the published names repeat the subject."""
    name = stem.strip().removeprefix(f"{subject}_")
    return name if name.startswith(subject) else f"{subject}_{name}"


def _label(path: Path) -> int:
    known = {str(i): i for i in range(len(facs.THREE_CLASSES))}
    if path.parent.name not in known:
        raise UserError(f"{path}: class folder {path.parent.name!r}; expected 0, 1 or 2")
    return known[path.parent.name]


def _dataset(subject: str) -> str:
    if subject.startswith("sub"):
        return "CASME II"
    return "SMIC" if subject.startswith("s") else "SAMM"


def _read(path: Path) -> NDArray[np.uint8]:
    content = np.fromfile(path, np.uint8)
    image = cv2.imdecode(content, cv2.IMREAD_UNCHANGED) if len(content) else None
    if image is None or image.shape != (SIDE, SIDE, 3) or image.dtype != np.uint8:
        got = "no image" if image is None else f"{image.dtype} {image.shape}"
        raise UserError(f"{path}: {got}; expected a {SIDE}x{SIDE} RGB PNG of 8 bits")
    rgb: NDArray[np.uint8] = np.ascontiguousarray(image[..., ::-1])
    return rgb
