"""Pre-trained language models behind the experts: whole, and with LoRA adapters."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel, get_peft_model
from torch import Tensor
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForImageTextToText,
    PreTrainedTokenizerBase,
)

from deft_llm.config import validate_settings
from deft_llm.data.features import Features
from deft_llm.deft.modeling_deft import DeftForConditionalGeneration
from deft_llm.deft.processing_deft import DeftProcessor
from deft_llm.deft.tuning.adapters import lora_config
from deft_llm.deft.tuning.model import build_model
from deft_llm.deft.tuning.recipe import DeftRecipe
from deft_llm.deft.tuning.text_model import TextModel

MakeFeatures = Callable[[int], Features]
ROOT = Path(__file__).resolve().parents[2]
SIZES = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "intermediate_size": 48,
    "max_position_embeddings": 512,
}
FAMILIES = [("qwen2", True), ("qwen3", True), ("qwen3", False), ("llama", False)]


def save_text_model(
    folder: Path, tokenizer: PreTrainedTokenizerBase, family: str, tied: bool
) -> Path:
    """A causal language model with its tokenizer, as they are published."""
    torch.manual_seed(1)
    config = AutoConfig.for_model(
        family,
        **SIZES,
        vocab_size=len(tokenizer),
        tie_word_embeddings=tied,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=None,
    )
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def recipe(folder: Path, **text: Any) -> DeftRecipe:
    values = {
        "output": "unused",
        "templates": ROOT / "deft_llm" / "unimer" / "templates",
        "data": {"clips": 1, "identities": 1},
        "text_model": {"name_or_path": str(folder), **text},
        "model": {"expert_dim": 16, "expert_dropout": 0.0, "aus": [1, 12]},
        "experts": {"steps": 1},
        "instruct": {"steps": 1},
    }
    return validate_settings(DeftRecipe, values, "test")


@pytest.fixture
def text_folder(tokenizer: PreTrainedTokenizerBase, tmp_path: Path) -> Path:
    return save_text_model(tmp_path / "text", tokenizer, "qwen3", tied=True)


def ask(processor: DeftProcessor, make_features: MakeFeatures) -> dict[str, Tensor]:
    text = processor.chat([{"role": "user", "content": "<clip>Why?"}])
    return dict(processor([text, text], [make_features(0), make_features(1)]))


# ----------------------------------------------------------------------- from_text_model


@torch.no_grad()
@pytest.mark.parametrize(("family", "tied"), FAMILIES)
def test_a_published_language_model_keeps_its_own_voice(
    tokenizer: PreTrainedTokenizerBase, tmp_path: Path, family: str, tied: bool
) -> None:
    """On words alone the whole model says what the language model says."""
    folder = save_text_model(tmp_path, tokenizer, family, tied)
    original = AutoModelForCausalLM.from_pretrained(folder)
    model, processor = build_model(recipe(folder), tmp_path)
    ids = processor("The left cheek moves up")["input_ids"]
    size = original.config.vocab_size
    expected = original(ids).logits
    torch.testing.assert_close(model.eval()(input_ids=ids).logits[..., :size], expected)
    assert model.get_input_embeddings().num_embeddings == len(processor.tokenizer)
    assert model.config.text_config.model_type == family
    assert model.generation_config.eos_token_id == [tokenizer.eos_token_id]


@torch.no_grad()
@pytest.mark.parametrize(("family", "tied"), FAMILIES)
def test_a_saved_whole_gives_equal_logits(
    tokenizer: PreTrainedTokenizerBase,
    make_features: MakeFeatures,
    tmp_path: Path,
    family: str,
    tied: bool,
) -> None:
    folder = save_text_model(tmp_path / "text", tokenizer, family, tied)
    model, processor = build_model(recipe(folder), tmp_path)
    inputs = ask(processor, make_features)
    expected = model.eval()(**inputs).logits
    model.save_pretrained(tmp_path / "whole")
    loaded, report = AutoModelForImageTextToText.from_pretrained(
        tmp_path / "whole", output_loading_info=True
    )
    assert not any(report[name] for name in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    assert torch.equal(loaded(**inputs).logits, expected)
    embeddings, output = loaded.get_input_embeddings(), loaded.get_output_embeddings()
    assert (embeddings.weight is output.weight) == tied


# -------------------------------------------------------------------------------- LoRA


def adapted(folder: Path, seed: int = 0) -> tuple[Any, DeftProcessor]:
    """A model with adapters whose weights are not their neutral start."""
    torch.manual_seed(seed)
    settings = recipe(folder, lora_rank=2)
    model, processor = build_model(settings, folder)
    wrapped = get_peft_model(
        model, lora_config(settings.text_model, processor.tokenizer, model.config)
    )
    with torch.no_grad():
        for name, parameter in wrapped.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.2)
            elif parameter.requires_grad:
                parameter.add_(0.05 * torch.randn_like(parameter))
    return wrapped.eval(), processor


def train_one_step(model: Any, inputs: dict[str, Tensor]) -> None:
    optimizer = torch.optim.AdamW(p for p in model.parameters() if p.requires_grad)
    labels = {"labels": inputs["input_ids"], "emotion_labels": torch.tensor([0, 1])}
    model.train()(**inputs, **labels).loss.backward()
    optimizer.step()


def test_adapters_and_the_new_parts_train_and_nothing_else(
    text_folder: Path, make_features: MakeFeatures
) -> None:
    model, processor = adapted(text_folder)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    train_one_step(model, ask(processor, make_features))
    changed = {n for n, p in model.named_parameters() if not torch.equal(p, before[n])}
    trainable = {n for n, p in model.named_parameters() if p.requires_grad}
    assert changed <= trainable
    for name in trainable:
        assert any(kind in name for kind in ("lora_", "modules_to_save.", "trainable_tokens_"))
    for part in ("experts", "projectors.structure", "projectors.motion", "heads"):
        assert any(f".{part}.modules_to_save" in name for name in changed)
    assert any("trainable_tokens_delta" in name for name in changed)
    layers = {n.split(".lora_")[0].rpartition(".")[2] for n in changed if "lora_" in n}
    assert layers == {
        *("q_proj", "k_proj", "v_proj", "o_proj"),
        *("gate_proj", "up_proj", "down_proj"),
    }


@torch.no_grad()
@pytest.mark.parametrize(("family", "tied"), [("qwen3", True), ("llama", False)])
def test_an_adapter_folder_is_complete(
    tokenizer: PreTrainedTokenizerBase,
    make_features: MakeFeatures,
    tmp_path: Path,
    family: str,
    tied: bool,
) -> None:
    """On a base whose experts and new tokens were drawn with another seed."""
    text_folder = save_text_model(tmp_path / "text", tokenizer, family, tied)
    model, processor = adapted(text_folder)
    inputs = ask(processor, make_features)
    expected = model(**inputs)
    model.save_pretrained(tmp_path / "adapter")
    torch.manual_seed(99)
    base, _ = build_model(recipe(text_folder, lora_rank=2), text_folder)
    loaded = PeftModel.from_pretrained(base, tmp_path / "adapter").eval()
    found = loaded(**inputs)
    torch.testing.assert_close(found.emotion_logits, expected.emotion_logits)
    torch.testing.assert_close(found.logits, expected.logits, atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_merged_adapters_give_equal_logits(
    text_folder: Path, make_features: MakeFeatures, tmp_path: Path
) -> None:
    model, processor = adapted(text_folder)
    inputs = ask(processor, make_features)
    expected = model(**inputs)
    merged = model.merge_and_unload()
    assert isinstance(merged, DeftForConditionalGeneration)
    assert not any("lora" in name for name, _ in merged.named_parameters())
    torch.testing.assert_close(merged(**inputs).logits, expected.logits, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(merged(**inputs).emotion_logits, expected.emotion_logits)
    merged.save_pretrained(tmp_path / "merged")
    loaded = AutoModelForImageTextToText.from_pretrained(tmp_path / "merged")
    assert torch.equal(loaded(**inputs).logits, merged(**inputs).logits)


@torch.no_grad()
def test_adapters_start_neutral(text_folder: Path, make_features: MakeFeatures) -> None:
    torch.manual_seed(0)
    model, processor = build_model(recipe(text_folder), text_folder)
    inputs = ask(processor, make_features)
    expected = model.eval()(**inputs).logits
    wrapped = get_peft_model(
        model, lora_config(TextModel(lora_rank=4), processor.tokenizer, model.config)
    )
    wrapped.eval()
    torch.testing.assert_close(wrapped(**inputs).logits, expected)
