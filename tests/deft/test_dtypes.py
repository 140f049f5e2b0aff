"""A model of any dtype reads the float32 inputs that the processor gives."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForImageTextToText

from deft_llm.data.features import Features
from deft_llm.deft.backbones import resolve_backbones
from deft_llm.deft.configuration_deft import DeftConfig
from deft_llm.deft.modeling_deft import CLIP_INPUTS, DeftForConditionalGeneration
from deft_llm.deft.processing_deft import DeftProcessor

MakeFeatures = Callable[[int], Features]
VIT = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "patch_size": 8}
CONFIGURED = {
    "structure": {"config": {"model_type": "vit", "image_size": 16, **VIT}, "frozen": False},
    "texture": {
        "config": {
            **{"model_type": "videomae", "image_size": 16, "num_frames": 2, "tubelet_size": 2},
            **VIT,
        },
        "frozen": False,
    },
    "motion": {"name": "off_apexnet", "frozen": False},
}


def inputs_of(processor: DeftProcessor, make_features: MakeFeatures) -> dict[str, Any]:
    asked = processor.chat([{"role": "user", "content": "<clip>Why?"}])
    return dict(processor([asked, asked], [make_features(0), make_features(1)]))


@pytest.mark.parametrize(
    ("saved", "dtype"),
    [
        *((torch.float32, dtype) for dtype in (torch.bfloat16, torch.float16)),
        *((torch.bfloat16, dtype) for dtype in (torch.float32, torch.float16, "auto", None)),
    ],
)
def test_from_pretrained_keeps_one_dtype(
    model: DeftForConditionalGeneration,
    processor: DeftProcessor,
    make_features: MakeFeatures,
    tmp_path: Path,
    dtype: torch.dtype | str | None,
    saved: torch.dtype,
) -> None:
    inputs = inputs_of(processor, make_features)
    expected = model.get_clip_features(**{name: inputs[name] for name in CLIP_INPUTS})
    model.to(saved).save_pretrained(tmp_path)
    options = {} if dtype is None else {"dtype": dtype}
    loaded = AutoModelForImageTextToText.from_pretrained(tmp_path, **options).eval()
    wanted = saved if dtype in ("auto", None) else dtype
    assert {p.dtype for p in loaded.parameters()} == {wanted}
    labels = torch.where(inputs["attention_mask"] == 1, inputs["input_ids"], -100)
    output = loaded(**inputs, labels=labels, emotion_labels=torch.tensor([0, 1]))
    output.loss.backward()
    assert torch.isfinite(output.loss) and output.emotion_logits.dtype == wanted
    loaded.generate(**inputs, max_new_tokens=3, do_sample=False)
    with torch.no_grad():
        found = loaded.get_clip_features(**{name: inputs[name] for name in CLIP_INPUTS})
    for name, tokens in expected.items():
        torch.testing.assert_close(found[name].float(), tokens, atol=0.05, rtol=0.05)
    # Tokens that another, float32 model encoded.
    given = {k: v for k, v in inputs.items() if k not in CLIP_INPUTS}
    assert torch.isfinite(loaded(**given, expert_tokens=expected).logits).all()


@torch.no_grad()
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_backbones_are_loaded_in_that_dtype_too(
    config: DeftConfig,
    processor: DeftProcessor,
    make_features: MakeFeatures,
    tmp_path: Path,
    dtype: torch.dtype,
) -> None:
    config.backbones = dict(CONFIGURED)
    resolve_backbones(config)
    DeftForConditionalGeneration(config).save_pretrained(tmp_path)
    loaded = DeftForConditionalGeneration.from_pretrained(tmp_path, dtype=dtype)
    assert {p.dtype for p in loaded.parameters()} == {dtype}
    assert torch.isfinite(loaded(**inputs_of(processor, make_features)).logits).all()


@torch.no_grad()
def test_a_language_model_may_have_a_dtype_of_its_own(
    model: DeftForConditionalGeneration, processor: DeftProcessor, make_features: MakeFeatures
) -> None:
    """As a quantized one has beside experts in float32."""
    model.language_model.bfloat16()
    assert torch.isfinite(model(**inputs_of(processor, make_features)).logits).all()
