"""The optional fourth expert: tokens of a 3D scan that comes with a clip."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoConfig, PreTrainedTokenizerBase

from deft_llm.data.features import Features
from deft_llm.deft.configuration_deft import DeftConfig
from deft_llm.deft.modeling_deft import DeftForConditionalGeneration
from deft_llm.deft.processing_deft import (
    DeftFeatureExtractor,
    DeftProcessor,
    add_expert_tokens,
    clip_span,
)
from deft_llm.errors import UserError
from tests.deft.conftest import TEXT, small_config

MakeFeatures = Callable[[int], Features]
SCAN = np.random.default_rng(0).normal(size=(4, 12)).astype(np.float32)


@pytest.fixture
def parts(tokenizer: PreTrainedTokenizerBase) -> tuple[DeftForConditionalGeneration, DeftProcessor]:
    config = small_config(scan_width=12)
    add_expert_tokens(tokenizer, config)
    config.text_config = AutoConfig.for_model(
        **TEXT, vocab_size=len(tokenizer), pad_token_id=tokenizer.pad_token_id
    )
    torch.manual_seed(0)
    model = DeftForConditionalGeneration(config).eval()
    # Blank tokens start at 0, as does a scan whose tokens have not been read.
    torch.nn.init.normal_(model.experts.blank["scan"])
    return model, DeftProcessor(DeftFeatureExtractor(), tokenizer, clip_span(config))


def test_a_scan_is_read_where_there_is_one(
    parts: tuple[DeftForConditionalGeneration, DeftProcessor], make_features: MakeFeatures
) -> None:
    model, processor = parts
    assert "<scan>" in processor.span and model.config.token_counts()["scan"] == 4
    plain, scanned = make_features(0), {**make_features(0), "scan": SCAN}
    texts = [processor.chat([{"role": "user", "content": "<clip>Why?"}])] * 2
    inputs = processor(texts, [plain, scanned])
    assert inputs["scan"].shape == (2, 4, 12) and not inputs["scan"][0].any()
    with torch.no_grad():
        logits = model(**inputs).logits
        alone = model(**processor(texts[:1], [plain])).logits
        ablated = model(**inputs, ablate=("scan",)).logits
    assert torch.allclose(logits[:1], alone, atol=1e-5)
    assert not torch.allclose(logits[0], logits[1], atol=1e-3)
    assert torch.allclose(ablated[0], ablated[1], atol=1e-5)
    generated = model.generate(**inputs, max_new_tokens=2, do_sample=False)
    assert generated.shape[1] == inputs["input_ids"].shape[1] + 2


def test_saved_and_loaded(
    parts: tuple[DeftForConditionalGeneration, DeftProcessor],
    make_features: MakeFeatures,
    tmp_path: Path,
) -> None:
    model, processor = parts
    model.save_pretrained(tmp_path)
    again = DeftForConditionalGeneration.from_pretrained(tmp_path).eval()
    inputs = processor.feature_extractor([{**make_features(0), "scan": SCAN}])
    with torch.no_grad():
        one, other = (m.get_clip_features(**inputs)["scan"] for m in (model, again))
    assert torch.equal(one, other)


def test_a_model_without_the_expert_refuses_a_scan(
    model: DeftForConditionalGeneration, make_features: MakeFeatures
) -> None:
    inputs = DeftFeatureExtractor()([{**make_features(0), "scan": SCAN}])
    with pytest.raises(ValueError, match="no expert for scans"):
        model(**inputs)
    assert "scan" not in DeftConfig().token_counts()


def test_scans_of_two_networks_are_refused(make_features: MakeFeatures) -> None:
    clips = [{**make_features(i), "scan": SCAN[:, : 12 - i]} for i in range(2)]
    with pytest.raises(UserError, match="expected those of one FACET-VLM"):
        DeftFeatureExtractor()(clips)
