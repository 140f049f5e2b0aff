"""A tiny corpus of flow images and a benchmark file of it."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import yaml

from deft_llm.evaluation.benchmark import run
from deft_llm.metrics.figures import Figure

SUBJECTS = ("s01", "s02", "s03", "006", "007")


def write_images(folder: Path) -> None:
    """A folder in the published layout, whose class is the place of a patch of motion."""
    rng = np.random.default_rng(0)
    for subject in SUBJECTS:
        for label in range(3):
            place = folder / subject / "u_test" / str(label)
            place.mkdir(parents=True)
            for i in range(2):
                image = rng.integers(100, 140, (28, 28, 3)).astype(np.uint8)
                image[8 * label + 2 : 8 * label + 10, 8:20] += 60
                # The published names end in a space and repeat the subject.
                name = f"{subject}_{subject}_{label}_{i} .png"
                cv2.imwrite(str(place / name), image[..., ::-1])


def write_benchmark(folder: Path) -> Path:
    """Images in ``folder/data/flow``, and a file that writes to ``folder/out``."""
    write_images(folder / "data" / "flow")
    values: dict[str, Any] = {
        "benchmark": "recognition",
        "data": "flow",
        "seeds": 2,
        "baseline": "lr",
        "output": str(folder / "out"),
        "entries": {
            "lr": {"recognizer": "logistic_flow", "choices": {"C": [0.001, 0.01]}},
            "net": {
                "recognizer": "ststnet",
                "schedule": {"epochs": 2, "batch_size": 8, "folds_at_once": 5, "processes": 1},
            },
            "lbp": {"recognizer": "lbp_top"},
        },
        "models": ["lr", "net"],
        "few": {"subjects": 2, "draws": 2, "models": ["lr"]},
        "figures": ["lr_few_subjects_uf1"],
        "bars": {
            "lr_uf1": {"least": 0.9},
            "net_gain": {"least": 0.5},
            "lr_gain_over_net": {"least": 0.1},
        },
    }
    path = folder / "benchmark_file.yaml"
    path.write_text(yaml.safe_dump(values, sort_keys=False), encoding="utf-8")
    return path


@pytest.fixture
def benchmark_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file, nothing of it run."""
    monkeypatch.setenv("DEFT_DATA", str(tmp_path / "data"))
    return write_benchmark(tmp_path)


@pytest.fixture(scope="session")
def first_run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Figure], str]:
    """The file, run once for all: file, figures and tables. Do not write to its folder."""
    path = write_benchmark(tmp_path_factory.mktemp("recognition"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DEFT_DATA", str(path.parent / "data"))
        figures, text = run(path)
    return path, figures, text


@pytest.fixture
def done(benchmark_file: Path, first_run: tuple[Path, list[Figure], str]) -> Path:
    """The file, with the rows of the first run: what is asked for again is not computed again."""
    shutil.copytree(first_run[0].parent / "out", benchmark_file.parent / "out")
    return benchmark_file
