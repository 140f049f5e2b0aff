"""Small corpora without rendering, and places of real material."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from openpyxl import load_workbook

from deft_llm.corpora.synthetic import Written, write_corpus
from deft_llm.simulator.scene.clip_spec import ClipSpec


def tiny(spec: ClipSpec) -> NDArray[np.uint8]:
    """A few pixels, different in every frame and clip."""
    rng = np.random.default_rng(spec.seed)
    return rng.integers(0, 255, (spec.curve.frames, 4, 4, 3)).astype(np.uint8)


@pytest.fixture
def edit() -> Callable[[Path, int, int, object], None]:
    """Change one cell of a sheet: (file, row from 1, column from 1, value)."""

    def change(path: Path, row: int, column: int, value: object) -> None:
        book = load_workbook(path)
        book.worksheets[0].cell(row, column).value = value
        book.save(path)

    return change


@pytest.fixture
def casme2(tmp_path: Path) -> tuple[Path, tuple[Written, ...]]:
    root = tmp_path / "CASME2"
    return root, write_corpus("casme2", root, subjects=3, clips=2, renderer=tiny)
