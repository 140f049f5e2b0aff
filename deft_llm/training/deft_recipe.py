"""What a file of ``train_configs/deft`` says."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator

from deft_llm.config import Settings
from deft_llm.deft.configuration_deft import DeftConfig
from deft_llm.unimer.build import SimulatedData


class TextModel(Settings):
    """The language model.

    Attributes:
        name_or_path: Hub name or folder of a causal language model; None builds one.
        config: Configuration of the built one (``model_type`` and sizes).
        vocab_size: Sentencepiece pieces of the built one's tokenizer.
        lora_rank: Rank of LoRA adapters; 0 trains the language model whole.
        lora_alpha: Scale of the adapters.
    """

    name_or_path: str | None = None
    config: dict[str, Any] = Field(default_factory=dict)
    vocab_size: int = 1000
    lora_rank: int = 0
    lora_alpha: int = 32


class Stage(Settings):
    """One stage of training.

    Attributes:
        steps: Optimizer steps.
        batch_size: Clips (experts) or conversations (instruct) per step and process.
        accumulate: Micro-batches per optimizer step.
        learning_rate: Peak of the cosine schedule.
        warmup: Share of the steps with a rising rate.
        weight_decay: AdamW's.
        bf16: Run under bfloat16 autocast.
        save_every: Steps between checkpoints.
        freeze_experts: Leave experts and heads as they are (instruct only).
    """

    steps: int
    batch_size: int = 32
    accumulate: int = 1
    learning_rate: float = 1e-3
    warmup: float = 0.05
    weight_decay: float = 0.01
    bf16: bool = True
    save_every: int = 200
    freeze_experts: bool = False


class DeftRecipe(Settings):
    """A file of ``train_configs/deft``.

    Attributes:
        output: Folder of the run.
        seed: Seed of data order, initial weights and drop-out.
        templates: Folder with the wording.
        data: What to simulate.
        text_model: The language model.
        model: Fields of ``DeftConfig``.
        experts: Stage 1, experts and heads alone.
        instruct: Stage 2, everything on conversations.
        save_dtype: Type of the saved weights.
        held_out: Data folders that share no subject, clip or content with the training data; a
            leak stops the run.
    """

    output: Path
    seed: int = 0
    templates: Path = Path("instruction_data/templates")
    data: SimulatedData
    text_model: TextModel
    model: dict[str, Any] = Field(default_factory=dict)
    experts: Stage
    instruct: Stage
    save_dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    held_out: list[Path] = Field(default_factory=list)

    @field_validator("model")
    @classmethod
    def _known_fields(cls, fields: dict[str, Any]) -> dict[str, Any]:
        known = sorted(DeftConfig().to_dict())
        for name in fields:
            if name not in known:
                near = difflib.get_close_matches(name, known, n=1)
                hint = f"; did you mean {near[0]!r}?" if near else ""
                raise ValueError(f"{name!r} is no field of DeftConfig{hint}")
        return fields
