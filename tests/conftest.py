"""What the tests of several rooms share: an untrained DEFT-LLM on disk."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from deft_llm import facs

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
    from deft_llm.training.deft import DeftRecipe, build_model

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
