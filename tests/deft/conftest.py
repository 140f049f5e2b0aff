"""A tiny DEFT-LLM with its processor."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from sentencepiece import SentencePieceProcessor
from transformers import AutoConfig, PreTrainedTokenizerBase

from deft_llm import facs
from deft_llm.answers import PIECES
from deft_llm.deft.configuration_deft import DeftConfig
from deft_llm.deft.modeling_deft import DeftForConditionalGeneration
from deft_llm.deft.processing_deft import (
    DeftFeatureExtractor,
    DeftProcessor,
    add_expert_tokens,
    clip_span,
)
from deft_llm.deft.tokenizer import train_sentencepiece, wrap
from deft_llm.unimer.answer_writer import Templates

ROOT = Path(__file__).resolve().parents[2]
TEXT = {
    "model_type": "qwen3",
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 16,
    "intermediate_size": 48,
    "max_position_embeddings": 512,
}


@pytest.fixture(scope="session")
def corpus() -> list[str]:
    """Sentences in the words of the instruction data."""
    templates = Templates(ROOT / "deft_llm" / "unimer" / "templates")
    questions = [text for texts in templates.questions.values() for text in texts]
    moves = [f"The {name} moves {d}, slight." for name in facs.REGIONS for d in facs.DIRECTIONS]
    units = [unit.label for unit in facs.ACTION_UNITS.values()]
    return [*questions, *moves, *units, *facs.EMOTIONS]


@pytest.fixture(scope="session")
def pieces(corpus: list[str]) -> SentencePieceProcessor:
    return train_sentencepiece(corpus, vocab_size=400)


@pytest.fixture
def tokenizer(pieces: SentencePieceProcessor) -> PreTrainedTokenizerBase:
    return wrap(pieces, PIECES)


def small_config(**changes: Any) -> DeftConfig:
    values: dict[str, Any] = {"expert_dim": 16, "expert_dropout": 0.0, "aus": [1, 4, 12]}
    return DeftConfig(**values | changes)


@pytest.fixture
def config(tokenizer: PreTrainedTokenizerBase) -> DeftConfig:
    """Also teaches the tokenizer the experts' tokens."""
    config = small_config()
    add_expert_tokens(tokenizer, config)
    config.text_config = AutoConfig.for_model(
        **TEXT,
        vocab_size=len(tokenizer),
        tie_word_embeddings=True,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        bos_token_id=None,
    )
    return config


@pytest.fixture
def processor(tokenizer: PreTrainedTokenizerBase, config: DeftConfig) -> DeftProcessor:
    prompts = {"class": "Which class is it?"}
    return DeftProcessor(DeftFeatureExtractor(), tokenizer, clip_span(config), prompts)


@pytest.fixture
def model(config: DeftConfig) -> DeftForConditionalGeneration:
    """With weights large enough that every token depends on every input."""
    torch.manual_seed(0)
    model = DeftForConditionalGeneration(config).eval()
    with torch.no_grad():
        for parameter in model.language_model.parameters():
            parameter.mul_(5 if parameter.ndim > 1 else 1)
    return model
