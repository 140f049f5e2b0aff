"""Tiny checkpoints with the files, special tokens and chat templates of Qwen2.5, Qwen3 and Llama 3.

What differs between them has to be learned from here: Llama has no padding token, Qwen3 writes the
last answer of a conversation otherwise than the earlier ones, and each ends a turn its own way.
Templates are shortened to what they do with plain conversations.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from tokenizers.decoders import ByteLevel
from tokenizers.trainers import BpeTrainer
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
    Qwen2Tokenizer,
)

from deft_llm.config import validate_settings
from deft_llm.data.features import Features
from deft_llm.deft.inference.explainer import Explainer
from deft_llm.deft.processing_deft import IGNORE_INDEX, DeftProcessor
from deft_llm.deft.tuning.datasets import Collator
from deft_llm.deft.tuning.model import build_model
from deft_llm.deft.tuning.recipe import DeftRecipe
from deft_llm.errors import UserError

ROOT = Path(__file__).resolve().parents[2]
CHATML = (
    "{%- for message in messages %}{{- '<|im_start|>' + message.role + '\n' + message.content + "
    "'<|im_end|>' + '\n' }}{%- endfor %}"
    "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\n' }}{%- endif %}"
)
QWEN2_5 = (
    "{%- if messages[0].role != 'system' %}{{- '<|im_start|>system\nYou are Qwen, created by "
    "Alibaba Cloud. You are a helpful assistant.<|im_end|>\n' }}{%- endif %}" + CHATML
)
QWEN3 = (
    "{%- for message in messages %}{{- '<|im_start|>' + message.role + '\n' }}"
    "{%- if loop.last and message.role == 'assistant' %}"
    "{{- '<think>\n\n</think>\n\n' }}{%- endif %}"
    "{{- message.content + '<|im_end|>\n' }}{%- endfor %}"
    "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\n' }}"
    "{%- if enable_thinking is defined and enable_thinking is false %}"
    "{{- '<think>\n\n</think>\n\n' }}{%- endif %}{%- endif %}"
)
LLAMA3 = (
    "{{- bos_token }}{%- for message in messages %}{{- '<|start_header_id|>' + message['role'] + "
    "'<|end_header_id|>\n\n' + message['content'] | trim + '<|eot_id|>' }}{%- endfor %}"
    "{%- if add_generation_prompt %}"
    "{{- '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{%- endif %}"
)
QWEN_TOKENS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
LLAMA_TOKENS = [
    *("<|begin_of_text|>", "<|end_of_text|>"),
    *("<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"),
]
# Name -> model type, special tokens, template, what ends an answer, keyword arguments.
QWEN = {"eos_token": "<|im_end|>", "pad_token": "<|endoftext|>"}
LLAMA = {"bos_token": "<|begin_of_text|>", "eos_token": "<|eot_id|>"}
FAMILIES: dict[str, tuple[str, list[str], str, str, dict[str, str]]] = {
    "Qwen2.5": ("qwen2", QWEN_TOKENS, QWEN2_5, "<|im_end|>\n", QWEN),
    "Qwen2.5 base": ("qwen2", QWEN_TOKENS, QWEN2_5, "<|im_end|>\n", {"eos_token": "<|endoftext|>"}),
    "Qwen3": ("qwen3", QWEN_TOKENS, QWEN3, "<|im_end|>\n", QWEN),
    "Llama 3": ("llama", LLAMA_TOKENS, LLAMA3, "<|eot_id|>", LLAMA),
}
TALK = [
    {"role": "user", "content": "<clip>Which action units are active?"},
    {"role": "assistant", "content": "AU12 lip corner puller."},
    {"role": "user", "content": "Why?"},
    {"role": "assistant", "content": "The left mouth corner moves up."},
]
# Answers that stand in the templates, and a question in the words of the answer before it.
ALIKE = [
    {"role": "user", "content": "<clip>Does it end?"},
    {"role": "assistant", "content": "end"},
    {"role": "user", "content": "end"},
    {"role": "assistant", "content": "assistant"},
]


def _tokenizer(family: str, corpus: list[str]) -> PreTrainedTokenizerBase:
    """Byte-level BPE in the class that the family is published with."""
    _, special, template, _, named = FAMILIES[family]
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = ByteLevel()
    trainer = BpeTrainer(
        vocab_size=500,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=special,
        show_progress=False,
    )
    backend.train_from_iterator(corpus, trainer)
    if special is QWEN_TOKENS:
        model = json.loads(backend.to_str())["model"]
        merges = [tuple(pair) for pair in model["merges"]]
        tokenizer: Any = Qwen2Tokenizer(
            vocab=model["vocab"], merges=merges, additional_special_tokens=special, **named
        )
    else:
        tokenizer = PreTrainedTokenizerFast(
            tokenizer_object=backend, additional_special_tokens=special, **named
        )
    tokenizer.chat_template = template
    return tokenizer


def save(folder: Path, family: str, corpus: list[str]) -> Path:
    """A checkpoint as it is published, tiny and untrained."""
    tokenizer = _tokenizer(family, corpus)
    torch.manual_seed(1)
    config = AutoConfig.for_model(
        FAMILIES[family][0],
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        intermediate_size=48,
        max_position_embeddings=512,
        vocab_size=len(tokenizer) + 3,  # published ones have rows to spare
        eos_token_id=tokenizer.eos_token_id,
        bos_token_id=tokenizer.bos_token_id,
        pad_token_id=None,
    )
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(params=FAMILIES)
def family(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def built(family: str, corpus: list[str], tmp_path: Path) -> tuple[Any, DeftProcessor]:
    folder = save(tmp_path / "text", family, corpus)
    return build_model(_recipe(folder), tmp_path)


def _recipe(folder: Path) -> DeftRecipe:
    values = {
        "output": "unused",
        "templates": ROOT / "deft_llm" / "unimer" / "templates",
        "data": {"clips": 1, "identities": 1},
        "text_model": {"name_or_path": str(folder)},
        "model": {"expert_dim": 16, "aus": [1, 12]},
        "experts": {"steps": 1},
        "instruct": {"steps": 1},
    }
    return validate_settings(DeftRecipe, values, "test")


@pytest.mark.parametrize("talk", [TALK, ALIKE], ids=["talk", "alike"])
def test_every_turn_is_taught_as_it_will_be_asked(
    family: str, built: tuple[Any, DeftProcessor], talk: list[dict[str, str]]
) -> None:
    _, processor = built
    decode = processor.tokenizer.decode
    ids, labels = processor.encode_conversation(talk)
    end = FAMILIES[family][3]
    learned = [talk[i]["content"] + end for i in (1, 3)]
    assert decode([i for i in labels if i != IGNORE_INDEX]) == "".join(learned)
    for turn, answer in zip((1, 3), learned, strict=True):
        prompt = processor.chat(talk[:turn]).replace("<clip>", processor.span)
        whole = processor.tokenizer(prompt, add_special_tokens=False)["input_ids"]
        assert ids[: len(whole)] == whole
        taught = labels[len(whole) :]
        assert decode([i for i in taught if i != IGNORE_INDEX]).startswith(answer)


def test_conversations_of_unequal_length_make_a_batch(
    built: tuple[Any, DeftProcessor], make_features: Callable[[int], Features]
) -> None:
    model, processor = built
    rows: list[dict[str, Any]] = []
    for i, turns in enumerate((TALK, TALK[:2])):
        ids, labels = processor.encode_conversation(turns)
        targets = {
            "emotion_labels": 0,
            "au_labels": torch.zeros(2, 2).numpy(),
            "region_labels": torch.zeros(20, dtype=torch.long).numpy(),
        }
        rows.append({"input_ids": ids, "labels": labels, "features": make_features(i), **targets})
    batch = Collator(processor.feature_extractor, processor.tokenizer.pad_token_id)(rows)
    assert batch["attention_mask"].sum(1).tolist() == [len(row["input_ids"]) for row in rows]
    del batch["region_labels"]
    loss = model.train()(**batch).loss
    loss.backward()
    assert torch.isfinite(loss)


def test_an_answer_ends_where_the_template_ends_it(
    family: str, built: tuple[Any, DeftProcessor]
) -> None:
    """A base model's own end token is that of documents; without the turn's it never stops."""
    model, processor = built
    end = processor.tokenizer.convert_tokens_to_ids(FAMILIES[family][3].strip())
    own = processor.tokenizer.convert_tokens_to_ids(FAMILIES[family][4]["eos_token"])
    assert set(Explainer(model, processor).end_ids) == {end, own}


def test_a_model_without_a_chat_template_is_named(corpus: list[str], tmp_path: Path) -> None:
    folder = save(tmp_path / "text", "Llama 3", corpus)
    (folder / "chat_template.jinja").unlink()
    with pytest.raises(UserError, match="no chat template; take") as caught:
        build_model(_recipe(folder), tmp_path)
    assert "\n" not in str(caught.value)
