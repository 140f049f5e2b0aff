"""Convert a language model from a GGUF file to the folder that transformers loads quickly.

transformers dequantizes a GGUF file at every load, which takes a minute. Its weights are therefore
written once as safetensors, together with the tokenizer.
"""

from __future__ import annotations

import struct
from importlib.util import find_spec
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from deft_llm.errors import UserError


def require_gguf() -> None:
    """Check that GGUF files can be read.

    Raises:
        UserError: If the package gguf is missing.
    """
    if find_spec("gguf") is None:
        raise UserError(
            "reading this model needs the package gguf; get it with: pip install 'deft-llm[gguf]'"
        )


def to_folder(file: Path, folder: Path) -> None:
    """Write the model and the tokenizer of a GGUF file to a folder.

    Args:
        file: The GGUF file.
        folder: Exists; gets config.json, model.safetensors (float16) and the tokenizer's files.

    Raises:
        UserError: If the package gguf is missing, or the file holds no language model.
    """
    require_gguf()
    named = {"gguf_file": file.name}
    try:
        tokenizer = AutoTokenizer.from_pretrained(file.parent, **named)
        model = AutoModelForCausalLM.from_pretrained(file.parent, dtype=torch.float32, **named)
    # Where the file ends too early, each reader of its parts has an error of its own.
    except (OSError, ValueError, LookupError, RuntimeError, struct.error) as error:
        reason = " ".join(str(error).split())[:160]
        raise UserError(
            f"{file}: no language model can be read from it ({reason}); download it again"
        ) from error
    # transformers refuses to save what it still takes for quantized. The weights are not any more.
    del model.config.quantization_config
    model.hf_quantizer = None
    # 4-bit levels times a float16 scale: float16 holds them, in half of the space.
    model.to(torch.float16).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
