"""The language model of a recipe, and its adapters."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationInfo, field_validator

from deft_llm.config import Settings
from deft_llm.downloads import DOWNLOADS, model_folder

PROJECTIONS: tuple[str, ...] = (
    "q_proj",
    "k_proj",
    "v_proj",
    "o_proj",
    "gate_proj",
    "up_proj",
    "down_proj",
)
"""The linear layers of Qwen, Llama, Mistral and their like."""


class TextModel(Settings):
    """The language model.

    Attributes:
        name_or_path: Hub name or folder of a causal language model, or the name of one that
            ``deft-llm models`` downloads; None builds a new one.
        config: Configuration of a new model (``model_type`` and sizes).
        vocab_size: Sentencepiece pieces of a new model's tokenizer.
        dtype: Type of a loaded model's weights; "auto" is that of its files.
        attention: Attention kernel; None leaves the choice to transformers (SDPA).
        lora_rank: Rank of LoRA adapters; 0 trains all weights of the language model.
        lora_alpha: Scale of the adapters: they are multiplied by alpha / rank.
        lora_dropout: Dropout before the adapters.
        lora_targets: Layers with adapters: short names ([q_proj, v_proj]), or a regular expression
            for whole names as they are inside the language model.
        use_rslora: Multiply by alpha / sqrt(rank) instead (arXiv 2312.03732).
        use_dora: Train the length of the weights' columns as well (arXiv 2402.09353).
        quantize: Bits of a loaded model's frozen weights under LoRA (QLoRA); None does not
            quantize.
    """

    name_or_path: str | None = None
    config: dict[str, Any] = Field(default_factory=dict)
    vocab_size: int = 1000
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    attention: Literal["eager", "sdpa", "flash_attention_2"] | None = None
    lora_rank: int = Field(default=0, ge=0)
    lora_alpha: int = 32
    lora_dropout: float = Field(default=0.0, ge=0, lt=1)
    lora_targets: list[str] | str = Field(default=list(PROJECTIONS), min_length=1)
    use_rslora: bool = False
    use_dora: bool = False
    quantize: Literal[4, 8] | None = None

    @field_validator("quantize")
    @classmethod
    def _quantized_weights_are_frozen(cls, bits: int | None, info: ValidationInfo) -> int | None:
        if bits and not (info.data.get("lora_rank") and info.data.get("name_or_path")):
            raise ValueError(
                "quantized weights are not trained: give name_or_path and a lora_rank as well"
            )
        return bits

    @field_validator("lora_targets")
    @classmethod
    def _readable(cls, targets: list[str] | str) -> list[str] | str:
        for pattern in [targets] if isinstance(targets, str) else []:
            try:
                re.compile(pattern)
            except re.error as error:
                raise ValueError(f"{pattern!r} is no regular expression ({error})") from error
        return targets

    @field_validator("lora_targets", "use_rslora", "use_dora")
    @classmethod
    def _adapters_are_wanted(cls, value: Any, info: ValidationInfo) -> Any:
        assert info.field_name is not None
        default = cls.model_fields[info.field_name].default
        if value != default and not info.data.get("lora_rank"):
            raise ValueError("this is for adapters: give a lora_rank as well")
        return value

    def source(self) -> str:
        """What transformers loads the language model from; empty for a new one.

        Raises:
            UserError: If it is one that ``deft-llm models`` downloads, and it is not here.
        """
        name = self.name_or_path or ""
        downloaded = name in DOWNLOADS and not Path(name).is_dir()
        return str(model_folder(name)) if downloaded else name

    def lora_pattern(self) -> str:
        """Regular expression for the full names of the layers with adapters.

        It is rooted at the language model: vision backbones such as CLIP have layers of the same
        names.
        """
        inside = self.lora_targets
        if not isinstance(inside, str):
            inside = rf"(?:.*\.)?(?:{'|'.join(map(re.escape, inside))})"
        return rf"(?:.*\.)?language_model\.(?:{inside})"
