"""Put adapters into the published language model that they were trained on."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors import SafetensorError
from transformers import AutoTokenizer

from deft_llm.deft.configuration_deft import DeftConfig
from deft_llm.deft.processing_deft import DeftFeatureExtractor, DeftProcessor, clip_span
from deft_llm.deft.tuning.adapters import merged
from deft_llm.deft.tuning.model import before_text_model
from deft_llm.errors import UserError
from deft_llm.unimer.answer_writer import Templates


def write_adapted(adapters: Path, text_model: Path, folder: Path) -> None:
    """Write the whole model of some adapters.

    Args:
        adapters: What ``train.py`` wrote with a ``lora_rank``; its tokenizer is not needed.
        text_model: Folder of the language model.
        folder: Exists; gets the checkpoint, in float16 as the language model's own weights.

    Raises:
        UserError: If the language model is damaged, or the adapters are for another one.
    """
    config = DeftConfig.from_pretrained(adapters)
    try:
        tokenizer = AutoTokenizer.from_pretrained(text_model)
        model = before_text_model(str(text_model), config, tokenizer, dtype=torch.float32)
        whole = merged(model, adapters)
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        reason = " ".join(str(error).split())[:160]
        raise UserError(
            f"{text_model}: the adapters cannot be put into it ({reason}); "
            "`deft-llm models` says whether it is damaged"
        ) from error
    whole.half().save_pretrained(folder)
    extractor = DeftFeatureExtractor.for_model(config)
    span, prompts = clip_span(config), Templates().prompts()
    DeftProcessor(extractor, tokenizer, span=span, prompts=prompts).save_pretrained(folder)
