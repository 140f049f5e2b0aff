"""Conversations that share a row learn what they would learn alone."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from deft_llm.config import read_yaml, validate_settings
from deft_llm.data.clip_dataset import ClipDataset
from deft_llm.deft.configuration_deft import IGNORE_INDEX
from deft_llm.deft.inference.explainer import Explainer
from deft_llm.deft.modeling_deft import CLIP_INPUTS
from deft_llm.deft.tuning import train as deft
from deft_llm.deft.tuning.datasets import Collator, InstructionDataset
from deft_llm.deft.tuning.packing import PackedCollator, packed, require_separate, shared_rows
from deft_llm.deft.tuning.recipe import DeftRecipe
from deft_llm.errors import UserError

ROOT = Path(__file__).resolve().parents[3]
SIZES = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "intermediate_size": 48,
    "vocab_size": 60,
    "max_position_embeddings": 256,
}


def test_rows_are_filled_in_order_and_a_long_one_stays_alone() -> None:
    assert shared_rows([5, 20, 4, 3, 9, 1], 10) == [[0, 2, 5], [1], [3], [4]]
    assert shared_rows([5, 20, 4], None) == [[0, 1, 2]]
    assert sorted(i for row in shared_rows([3] * 7, 10) for i in row) == list(range(7))


def test_positions_start_again_and_first_tokens_are_not_learned() -> None:
    talk = ([7, 8, 9], [7, IGNORE_INDEX, 9])
    found = packed([[talk, talk], [talk]], pad=1)
    assert found["input_ids"].tolist() == [[7, 8, 9, 7, 8, 9], [7, 8, 9, 1, 1, 1]]
    assert found["position_ids"].tolist() == [[0, 1, 2, 0, 1, 2]] * 2
    skipped = IGNORE_INDEX
    assert found["labels"].tolist() == [
        [skipped, skipped, 9] * 2,
        [skipped, skipped, 9, *[skipped] * 3],
    ]


@pytest.mark.parametrize("kind", ["qwen2", "qwen3", "llama", "mistral"])
@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_packed_logits_are_those_of_rows_of_their_own(kind: str, attention: str) -> None:
    torch.manual_seed(0)
    config = AutoConfig.for_model(kind, **SIZES, attn_implementation=attention)
    model = AutoModelForCausalLM.from_config(config).eval()
    talks = [(torch.randint(0, 60, (n,)).tolist(), [0] * n) for n in (9, 4, 13, 6)]
    groups = shared_rows([len(ids) for ids, _ in talks], 16)
    assert len(groups) < len(talks)
    rows = packed([[talks[i] for i in group] for group in groups], pad=0)
    rows.pop("labels")
    with torch.no_grad():
        found = model(**rows, use_cache=False).logits
        for row, group in zip(found, groups, strict=True):
            at = 0
            for i in group:
                alone = model(torch.tensor([talks[i][0]])).logits[0]
                torch.testing.assert_close(row[at : at + len(alone)], alone, atol=1e-5, rtol=1e-4)
                at += len(alone)


@pytest.fixture(scope="module")
def parts(data: Path, tiny_checkpoint: Path) -> tuple[Any, Collator, PackedCollator, list[Any]]:
    """Model, both collators and six conversations, mirrored ones among them."""
    explainer = Explainer.load(tiny_checkpoint)
    explainer.model.config.expert_dropout = 0.0
    clips, processor = ClipDataset.open(data), explainer.processor
    talks = InstructionDataset([data], clips, processor, explainer.model.config)
    options = (processor.feature_extractor, processor.tokenizer.pad_token_id)
    rows = [talks[i] for i in (0, 3, 5, len(clips), len(clips) + 2, 1)]
    longest = max(len(row["input_ids"]) for row in rows)
    return explainer.model, Collator(*options), PackedCollator(*options, 2 * longest), rows


def learned(model: Any, batch: dict[str, Any]) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    model.zero_grad()
    # As Trainer calls it, with a fixed number of answer tokens.
    loss = model.eval()(**batch, num_items_in_batch=torch.tensor(100)).loss
    loss.backward()
    return loss, {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}


def test_a_packed_batch_teaches_the_same(
    parts: tuple[Any, Collator, PackedCollator, list[Any]],
) -> None:
    """Also which clip a conversation is about: the experts' gradients are the same."""
    model, plain, packing, rows = parts
    one, two = plain(rows), packing(rows)
    assert len(two["input_ids"]) < len(one["input_ids"])
    assert (two["labels"] >= 0).sum() == (one["labels"] >= 0).sum()
    loss, gradients = learned(model, one)
    packed_loss, packed_gradients = learned(model, two)
    torch.testing.assert_close(packed_loss, loss, atol=1e-4, rtol=1e-5)
    for name, gradient in gradients.items():
        torch.testing.assert_close(packed_gradients[name], gradient, atol=1e-4, rtol=1e-3)
    wrong = {**two, **{name: two[name].flip(0) for name in CLIP_INPUTS}}
    assert (learned(model, wrong)[0] - loss).abs() > 100 * (packed_loss - loss).abs()


def test_a_model_that_mixes_conversations_is_refused(
    parts: tuple[Any, Collator, PackedCollator, list[Any]],
) -> None:
    require_separate(parts[0])

    class Recurrent(torch.nn.Module):
        """Sums over the whole row, as a state that nobody resets."""

        def forward(self, input_ids: torch.Tensor, **_: Any) -> Any:
            return SimpleNamespace(logits=input_ids.cumsum(1)[..., None].float())

    mixing: Any = SimpleNamespace(language_model=Recurrent(), device=torch.device("cpu"))
    with pytest.raises(UserError, match="conversations that share a row see each other"):
        require_separate(mixing)


def test_packing_is_a_setting_of_a_stage_with_words(data: Path, tmp_path: Path) -> None:
    values = read_yaml(ROOT / "train_configs" / "deft" / "smoke.yaml")
    values.pop("task")
    stage = {"steps": 1, "batch_size": 4, "packing": 512}
    own = {"output": str(tmp_path / "run"), "data": [], "folders": [str(data)]}
    with pytest.raises(UserError, match=r"experts: .*packing is for conversations"):
        validate_settings(DeftRecipe, {**values, **own, "experts": stage}, "test")
    few = {"experts": {"steps": 0}, "instruct": stage}
    deft.train({**values, **own, **few}, "smoke.yaml")
    assert (tmp_path / "run" / "final" / "model.safetensors").is_file()
