"""What a recipe says of the experts is checked before hours of rendering, and by its name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from deft_llm.config import read_yaml, validate_settings
from deft_llm.deft.tuning.model import start_config
from deft_llm.deft.tuning.recipe import DeftRecipe
from deft_llm.errors import UserError

SMOKE = Path(__file__).resolve().parents[3] / "train_configs" / "deft" / "smoke.yaml"


@pytest.mark.parametrize(
    ("model", "told"),
    [
        # Formerly told by the first step of training, or by no step.
        ({"structure_tokens": 5}, "model.structure_tokens: 5; expected a square number"),
        ({"texture_tokens": 0}, "model.texture_tokens: 0; expected 1 or more"),
        ({"texture_size": 50}, r"model: no experts .* texture_size: 48 \(a multiple of 8\)"),
        ({"map_size": 58}, "model: no experts can be built of these sizes"),
        ({"region_features": 5}, "model: no experts can be built of these sizes"),
        # Formerly blamed on text_model.config.
        ({"expert_dim": 130}, "model: no experts can be built of these sizes"),
        ({"expert_dim": "wide"}, "model: no experts can be built of these sizes"),
        ({"aus": 5}, "model: 'int' object is not iterable"),
        ({"aus": [1, 99]}, "model.aus: 99; expected numbers of FACS, each once: 1, 2, 4"),
        ({"aus": [1, 1]}, "model.aus: 1; expected"),
        ({"emotions": ["joy", "none"]}, "model.emotions: joy, none; expected some of anger"),
        ({"emotions": ["none", "fear"]}, "each once, and none last"),
        ({"emotions": []}, "each once, and none last"),
    ],
)
def test_sizes_and_labels_that_do_not_fit_are_told_first(model: dict[str, Any], told: str) -> None:
    values = read_yaml(SMOKE)
    values.pop("task")
    with pytest.raises(UserError, match=told) as caught:
        start_config(validate_settings(DeftRecipe, {**values, "model": model}, "test"))
    assert "text_model" not in str(caught.value)


def test_other_sizes_that_fit_are_taken() -> None:
    values = read_yaml(SMOKE)
    values.pop("task")
    model = {"structure_tokens": 9, "texture_size": 24, "map_size": 28, "emotions": ["none"]}
    config = start_config(validate_settings(DeftRecipe, {**values, "model": model}, "test"))
    assert config.token_counts()["structure"] == 9
