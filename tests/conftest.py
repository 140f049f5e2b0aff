"""What the tests of several rooms share: an untrained DEFT-LLM on disk, random packets."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from deft_llm import facs
from deft_llm.motion.packet import REGION_COLUMNS, Packet

ROOT = Path(__file__).resolve().parents[1]


def _instruction_lines() -> list[str]:
    """Conversations in the words of the instruction data, for the tokenizer."""
    moves = [f"The {name} moves {d}, slight." for name in facs.REGIONS for d in facs.DIRECTIONS]
    units = [unit.label for unit in facs.ACTION_UNITS.values()]
    texts = [*moves, *units, *facs.EMOTIONS, *facs.THREE_CLASSES, "others", "none"]
    return [json.dumps({"conversations": [{"from": "gpt", "value": text}]}) for text in texts]


@pytest.fixture(scope="session")
def tiny_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as ``train.py`` leaves it in ``final/``, of a model that has learnt nothing."""
    import torch

    from deft_llm.config import read_yaml, validate
    from deft_llm.training.deft_model import build_model
    from deft_llm.training.deft_recipe import DeftRecipe

    folder = tmp_path_factory.mktemp("tiny")
    (folder / "train.jsonl").write_text("\n".join(_instruction_lines()), encoding="utf-8")
    values = read_yaml(ROOT / "train_configs" / "deft" / "smoke.yaml")
    values = {**values, "templates": str(ROOT / "instruction_data" / "templates")}
    values.pop("task")
    torch.manual_seed(0)
    model, processor = build_model(validate(DeftRecipe, values, "smoke.yaml"), folder)
    model.save_pretrained(folder / "final")
    processor.save_pretrained(folder / "final")
    return folder / "final"


@pytest.fixture(scope="session")
def make_packet() -> Callable[[int], Packet]:
    """Seed -> a packet of noise."""

    def make(seed: int) -> Packet:
        rng = np.random.default_rng(seed)
        table = (2, len(facs.REGIONS), len(REGION_COLUMNS))
        return {
            "onset": rng.integers(0, 255, (64, 64, 3)).astype(np.uint8),
            "texture": rng.normal(0, 4, (8, 48, 48)).astype(np.float16),
            "flow": rng.normal(0, 0.3, (2, 3, 56, 56)).astype(np.float16),
            "regions": rng.uniform(0, 2, table).astype(np.float16),
        }

    return make
