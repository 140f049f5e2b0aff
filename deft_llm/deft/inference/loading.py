"""Read the model of a checkpoint folder, or say what is wrong with the folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError

from deft_llm.deft.modeling_deft import DeftForConditionalGeneration
from deft_llm.deft.processing_deft import DeftProcessor
from deft_llm.errors import UserError


def load_model(folder: Path) -> tuple[DeftForConditionalGeneration, DeftProcessor]:
    """The model of a checkpoint folder, in float32, and its processor.

    Raises:
        UserError: If the folder or one of its files is missing or damaged.
    """
    require_whole(folder)
    try:
        # float32 whatever the saved dtype: probabilities are calibrated in it, and CPUs without
        # bfloat16 arithmetic are many times slower in that.
        model = DeftForConditionalGeneration.from_pretrained(folder, dtype=torch.float32)
        processor = DeftProcessor.from_pretrained(folder)
    except (OSError, ValueError, SafetensorError) as error:
        reason = " ".join(str(error).split())
        raise UserError(
            f"checkpoint {folder}: damaged ({reason[:160]}); copy or train it again"
        ) from error
    if not processor.tokenizer.chat_template:
        raise UserError(
            f"checkpoint {folder}: its tokenizer has no chat template; expected "
            "chat_template.jinja beside tokenizer.json"
        )
    return model, processor


def require_whole(folder: Path) -> None:
    """Check that a checkpoint folder is complete.

    Raises:
        UserError: If a file is missing; names it.
    """
    if (folder / "adapter_config.json").is_file():
        raise UserError(
            f"checkpoint {folder}: holds adapters alone; put them into their language model "
            "first: deft-llm export RUN -o DIR --merge"
        )
    index = "model.safetensors.index.json"  # of weights in several files
    weights = index if (folder / index).is_file() else "model.safetensors"
    for name in ("config.json", weights, "processor_config.json", "tokenizer.json"):
        if not (folder / name).is_file():
            inside = folder / "final"
            hint = f"; did you mean {inside}?" if (inside / name).is_file() else ""
            raise UserError(
                f"checkpoint {folder}: no {name}; expected the folder that train.py writes "
                f"as final/ for a recipe of task deft{hint}"
            )


def end_ids(model: Any, processor: DeftProcessor) -> tuple[int, ...]:
    """Tokens that end an answer."""
    ids = model.generation_config.eos_token_id
    ids = processor.tokenizer.eos_token_id if ids is None else ids
    # A published model can have several: its own, and the one that its chat template writes.
    return tuple(ids) if isinstance(ids, list) else (ids,)
