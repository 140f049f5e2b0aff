"""LoRA as the recipe says it: where, how large, and of which kind."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel

from deft_llm.config import validate_settings
from deft_llm.deft.inference.explainer import Explainer
from deft_llm.deft.tuning.adapters import with_adapters
from deft_llm.deft.tuning.text_model import TextModel
from deft_llm.errors import UserError

LAST = r"model\.layers\.0\.self_attn\.[qv]_proj"


@pytest.fixture
def explainer(tiny_checkpoint: Path) -> Explainer:
    return Explainer.load(tiny_checkpoint)


def adapted(explainer: Explainer, **settings: Any) -> PeftModel:
    text = validate_settings(TextModel, {"lora_rank": 4, **settings}, "text_model")
    torch.manual_seed(0)
    return with_adapters(explainer.model, text, explainer.processor.tokenizer)


def layers(model: PeftModel) -> set[str]:
    names = (name for name, _ in model.named_parameters() if "lora_A" in name)
    return {name.removeprefix("base_model.model.").partition(".lora_A")[0] for name in names}


@pytest.mark.parametrize(
    ("targets", "short"),
    [
        (["q_proj", "v_proj"], {"q_proj", "v_proj"}),
        (["down_proj"], {"down_proj"}),
        (LAST, {"q_proj", "v_proj"}),
        (r".*\.mlp\..*_proj", {"gate_proj", "up_proj", "down_proj"}),
    ],
)
def test_adapters_are_where_the_recipe_says(
    explainer: Explainer, targets: Any, short: set[str]
) -> None:
    found = layers(adapted(explainer, lora_targets=targets))
    assert {name.rpartition(".")[2] for name in found} == short
    # Rooted at the language model: backbones of the experts have layers of the same names.
    assert all(name.startswith("language_model.") for name in found)
    if isinstance(targets, str):
        assert all(re.fullmatch(targets, n.removeprefix("language_model.")) for n in found)


@pytest.mark.parametrize(
    ("targets", "words"),
    [
        (["query"], r"lora_targets \['query'\]: no layer .* down_proj, .* whole names such as"),
        ("q_proj", "lora_targets 'q_proj': no layer"),  # a pattern is of whole names
        (r".*\.mlp\..*", r"act_fn is no linear layer; its layers are"),
        ("(", "no regular expression"),
        ([], "at least 1"),
    ],
)
def test_targets_that_nothing_matches_are_told(
    explainer: Explainer, targets: Any, words: str
) -> None:
    with pytest.raises(UserError, match=words) as caught:
        adapted(explainer, lora_targets=targets)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("setting", [{"use_dora": True}, {"lora_targets": ["q_proj"]}])
def test_settings_of_adapters_need_a_rank(setting: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="this is for adapters: give a lora_rank"):
        validate_settings(TextModel, setting, "text_model")


def test_rslora_scales_by_the_root_of_the_rank(explainer: Explainer) -> None:
    for rslora, scale in ((False, 8 / 4), (True, 8 / 4**0.5)):
        model = adapted(explainer, lora_alpha=8, use_rslora=rslora, lora_targets=LAST)
        layer = model.base_model.model.language_model.model.layers[0].self_attn.q_proj
        assert layer.scaling["default"] == pytest.approx(scale)
        explainer.model = model.unload()


def test_dora_learns_lengths_as_well_and_merges(explainer: Explainer) -> None:
    model = adapted(explainer, use_dora=True, lora_targets=LAST)
    lengths = [p for n, p in model.named_parameters() if "lora_magnitude" in n]
    assert lengths and all(p.requires_grad for p in lengths)
    ids = torch.arange(12)[None]
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name or "lora_magnitude" in name:
                parameter.add_(0.1)
        before = model.eval()(input_ids=ids).logits
        merged: Any = model.merge_and_unload()
        torch.testing.assert_close(merged(input_ids=ids).logits, before, atol=1e-4, rtol=1e-4)
