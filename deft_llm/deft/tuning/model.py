"""Build model and processor from a recipe, before any training."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError
from transformers import AutoConfig, AutoTokenizer, BitsAndBytesConfig, PreTrainedTokenizerBase
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from deft_llm import resources
from deft_llm.answers import PIECES
from deft_llm.data.conversations import CONVERSATIONS, MARK, messages_of
from deft_llm.deft.backbones import ExpertBackbone, make_backbone, resolve_backbones
from deft_llm.deft.configuration_deft import DeftConfig
from deft_llm.deft.inference.explainer import Explainer
from deft_llm.deft.inference.loading import require_whole
from deft_llm.deft.modeling_deft import DeftForConditionalGeneration
from deft_llm.deft.processing_deft import (
    DeftFeatureExtractor,
    DeftProcessor,
    add_expert_tokens,
    clip_span,
)
from deft_llm.deft.tokenizer import train_sentencepiece, wrap
from deft_llm.deft.tuning.recipe import DeftRecipe
from deft_llm.deft.tuning.sizes import configured, require_experts
from deft_llm.deft.tuning.text_model import TextModel
from deft_llm.errors import UserError, did_you_mean
from deft_llm.files import read_lines
from deft_llm.unimer.answer_writer import Templates

MODULES: tuple[str, ...] = ("experts", "heads", "projectors", "language_model")
_SENTENCES = 6000  # conversations that the tokenizer is trained on


def start_config(recipe: DeftRecipe) -> DeftConfig:
    """The model configuration of a recipe, except for a language model yet to be loaded.

    Raises:
        UserError: If its checkpoint cannot be read, a backbone is unknown, or the experts of a new
            model cannot be built.
    """
    begun = recipe.checkpoint or recipe.experts_from
    if begun:
        folder = resources.checkpoint(begun)
        require_whole(folder)
        config = DeftConfig.from_pretrained(folder)
    else:
        config = configured(recipe.model)
    resolve_backbones(config)
    if not begun:
        require_experts(config)
    return config


def require_buildable(recipe: DeftRecipe) -> None:
    """Check the language model and the weights of backbones, before any data is there.

    Raises:
        UserError: If the language model has no tokenizer for chats or no configuration, a new one
            cannot be built from its sizes, or weights of a backbone are missing or do not fit.
    """
    if recipe.checkpoint:
        return
    config = start_config(recipe)
    text = recipe.text_model
    if source := text.source():
        # The configuration first: without a network, a tokenizer is asked for twice as long.
        _published(AutoConfig.from_pretrained, source)
        _chat_tokenizer(text)
    else:
        config.text_config = new_text_config(text, text.vocab_size)
        build_empty(config)
    for expert, entry in config.backbones.items():
        if entry["weights"]:
            make_backbone(expert, config).load()


def new_text_config(text: TextModel, vocab_size: int, **ids: int | None) -> Any:
    """The configuration of a language model that is built here.

    Args:
        text: Its ``config`` is read.
        vocab_size: Number of tokens.
        **ids: Its special tokens.

    Raises:
        UserError: If its ``model_type`` is none that transformers knows.
    """
    values = {"model_type": "qwen3", **text.config}
    kind = values["model_type"]
    if kind not in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES:
        known = [name for name in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES if isinstance(name, str)]
        raise UserError(
            f"text_model.config.model_type {kind!r}: no causal language model of transformers; "
            f"expected one like qwen3 or llama{did_you_mean(str(kind), known)}"
        )
    with _buildable():
        return AutoConfig.for_model(**values, vocab_size=vocab_size, **ids)


def build_empty(config: DeftConfig) -> DeftForConditionalGeneration:
    """A model on the meta device, without memory.

    Raises:
        UserError: If the sizes of its language model do not fit together.
    """
    with _buildable(), torch.device("meta"):
        return DeftForConditionalGeneration(config)


@contextmanager
def _buildable() -> Iterator[None]:
    try:
        yield
    # Each architecture fails in its own way on sizes that do not fit together.
    except (
        *(ArithmeticError, AttributeError, IndexError, RuntimeError, TypeError, ValueError),
        StrictDataclassError,
    ) as error:
        reason = " ".join(str(error).split())[:160]
        raise UserError(
            f"text_model.config describes no language model that can be built ({reason}); expected "
            "sizes like hidden_size: 192, num_attention_heads: 4"
        ) from error


def build_model(
    recipe: DeftRecipe, *folders: Path, tokenizer: PreTrainedTokenizerBase | None = None
) -> tuple[DeftForConditionalGeneration, DeftProcessor]:
    """Build model and processor from a recipe, before any training.

    Args:
        recipe: The recipe.
        *folders: Data folders; their text trains the tokenizer of a language model built here.
        tokenizer: The one that was saved with the trained model; None loads or trains it.

    Raises:
        UserError: If the checkpoint, the language model or a backbone cannot be loaded.
    """
    if recipe.checkpoint:
        begun = Explainer.load(recipe.checkpoint)
        return begun.model, begun.processor
    config = start_config(recipe)
    text = recipe.text_model
    if source := text.source():
        tokenizer = tokenizer or _chat_tokenizer(text)
        model = before_text_model(source, config, tokenizer, **loading_options(text))
    else:
        if tokenizer is None:
            tokenizer = wrap(train_sentencepiece(_texts(folders), text.vocab_size), PIECES)
        add_expert_tokens(tokenizer, config)
        # After adding the expert tokens, because the vocabulary size counts them.
        config.text_config = new_text_config(
            text,
            vocab_size=len(tokenizer),
            pad_token_id=tokenizer.pad_token_id,
            eos_token_id=tokenizer.eos_token_id,
            bos_token_id=None,
        )
        model = DeftForConditionalGeneration(config)
        model.generation_config.eos_token_id = tokenizer.eos_token_id
        model.generation_config.pad_token_id = tokenizer.pad_token_id
    for backbone in backbones(model):
        backbone.load()
    if recipe.experts_from:
        _copy_experts(recipe.experts_from, model)
    prompts = Templates(recipe.templates).prompts()
    extractor = DeftFeatureExtractor.for_model(config)
    processor = DeftProcessor(extractor, tokenizer, span=clip_span(config), prompts=prompts)
    return model, processor


def before_text_model(
    source: str, config: DeftConfig, tokenizer: PreTrainedTokenizerBase, **options: Any
) -> DeftForConditionalGeneration:
    """Put new experts before a published language model.

    Args:
        source: Its hub name or folder.
        config: The model's; gets the language model's, and the ids of the experts' tokens.
        tokenizer: The language model's; learns those tokens.
        **options: For ``AutoModelForCausalLM.from_pretrained``.

    Raises:
        UserError: If the language model is missing or incomplete.
    """
    if tokenizer.pad_token is None:  # as in Llama; padding is masked, so any token works
        tokenizer.pad_token = tokenizer.eos_token
    add_expert_tokens(tokenizer, config)
    load = DeftForConditionalGeneration.from_text_model
    model: DeftForConditionalGeneration = _published(load, source, config, **options)
    model.resize_token_embeddings(len(tokenizer))
    model.generation_config.eos_token_id = _ends(model, tokenizer)
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    return model


def _copy_experts(checkpoint: Path, model: DeftForConditionalGeneration) -> None:
    """Give a model the experts and heads of a checkpoint."""
    begun = Explainer.load(checkpoint).model
    for name in ("experts", "heads"):
        getattr(model, name).load_state_dict(getattr(begun, name).state_dict())


def _chat_tokenizer(text: TextModel) -> PreTrainedTokenizerBase:
    """The tokenizer of a published language model.

    Raises:
        UserError: If it is missing, or has no chat template.
    """
    tokenizer: PreTrainedTokenizerBase = _published(AutoTokenizer.from_pretrained, text.source())
    if not tokenizer.chat_template:
        raise UserError(
            f"text_model.name_or_path {text.name_or_path!r}: its tokenizer has no chat template; "
            "take the model that was tuned for chat (…-Instruct)"
        )
    return tokenizer


def _ends(model: DeftForConditionalGeneration, tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """Tokens that end an answer: the model's own, and the one its chat template appends."""
    answer = "yes"
    turns = [{"role": "user", "content": "?"}, {"role": "assistant", "content": answer}]
    closed = tokenizer.apply_chat_template(turns, tokenize=False)
    after = closed[closed.rindex(answer) + len(answer) :]
    own = model.generation_config.eos_token_id
    ids = own if isinstance(own, list) else [own] if own is not None else []
    # Its first token only: what comes after, such as a line break, ends nothing.
    return list(dict.fromkeys([*ids, *tokenizer(after, add_special_tokens=False)["input_ids"][:1]]))


def _published(load: Any, name: str, *rest: Any, **options: Any) -> Any:
    """Call a loader for a published model or tokenizer.

    Raises:
        UserError: If it is missing or incomplete.
    """
    try:
        return load(name, *rest, **options)
    except (OSError, ValueError, ImportError, SafetensorError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(
            f"text_model.name_or_path {name!r}: no causal language model with its tokenizer can "
            f"be loaded from there ({reason}); give a hub name, or a folder with config.json, "
            "weights and tokenizer"
        ) from error


def loading_options(text: TextModel) -> dict[str, Any]:
    """Keyword arguments for ``AutoModelForCausalLM.from_pretrained``."""
    options: dict[str, Any] = {"dtype": text.dtype}
    if text.attention:
        options["attn_implementation"] = text.attention
    if text.quantize == 4:
        options["quantization_config"] = BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=torch.bfloat16,
        )
    elif text.quantize == 8:
        options["quantization_config"] = BitsAndBytesConfig(load_in_8bit=True)
    if text.quantize:  # quantize on the device that trains it
        # Each process of a distributed run has its own GPU.
        gpu = int(os.environ.get("LOCAL_RANK", "0"))
        options["device_map"] = {"": gpu if torch.cuda.is_available() else "cpu"}
    return options


def _texts(folders: Sequence[Path]) -> Iterator[str]:
    """A sample of the conversations' text, with an equal share from each folder."""
    for folder in folders:
        for i, row in enumerate(read_lines(folder / CONVERSATIONS)):
            if i >= _SENTENCES // len(folders):
                break
            yield from (message["content"].removeprefix(MARK) for message in messages_of(row))


def backbones(model: torch.nn.Module) -> Iterator[ExpertBackbone]:
    """The configured backbones among the model's modules."""
    return (module for module in model.modules() if isinstance(module, ExpertBackbone))


@contextmanager
def evaluating(model: torch.nn.Module) -> Iterator[None]:
    """Evaluation mode for the length of the block, without dropout."""
    training = model.training
    evaluate(model)
    try:
        yield
    finally:
        model.train(training)


def evaluate(model: torch.nn.Module) -> None:
    """Evaluation mode, without dropout."""
    model.eval()
    for module in model.modules():
        # In evaluation mode on a CPU, bitsandbytes repacks 4-bit weights with coarser scales.
        if type(module).__name__ == "Linear4bit":
            module.training = True


def train_only(model: DeftForConditionalGeneration, modules: Iterable[str]) -> None:
    """Make some of ``MODULES`` trainable and freeze the rest; frozen backbones stay frozen."""
    model.requires_grad_(False)
    for name in modules:
        getattr(model, name).requires_grad_(True)
    for backbone in backbones(model):
        backbone.freeze()


def module_of(name: str) -> str:
    """Which of ``MODULES`` a parameter belongs to; works with PEFT's names as well."""
    return name.removeprefix("base_model.model.").partition(".")[0]
