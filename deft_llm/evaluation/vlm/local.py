"""A vision-language model of transformers, by folder or hub name.

Tried with the formats of Qwen2.5-VL, Qwen3-VL, InternVL and LLaVA-OneVision; nothing here is theirs
alone. Pictures only: without its part for videos, a processor needs no torchvision.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image as Pictures
from safetensors import SafetensorError
from torch import Tensor
from transformers import AutoConfig, AutoModelForImageTextToText
from transformers.models.auto.processing_auto import PROCESSOR_MAPPING

from deft_llm.errors import UserError
from deft_llm.evaluation.vlm.base import VlmChoice
from deft_llm.evaluation.vlm.views import Image

# What transformers raises for a folder that holds no such model; the last two for weights that are
# damaged, or of other shapes than the configuration says.
_UNREADABLE = (OSError, ValueError, ImportError, KeyError, RuntimeError, SafetensorError)


class LocalVlm:
    """A model in this process.

    Args:
        choice: Its folder or name.

    Raises:
        UserError: If it cannot be loaded, or has no chat template.
    """

    def __init__(self, choice: VlmChoice) -> None:
        name, where = choice.model, {"revision": choice.revision} if choice.revision else {}
        if not Path(name).is_dir() and (Path(name).is_absolute() or name.startswith(".")):
            raise UserError(f"model {name}: no such folder; expected one, or a name on the hub")
        usual = "cuda" if torch.cuda.is_available() else "cpu"
        self.device = torch.device(choice.device or usual)
        try:
            self.processor = _processor(name, where)
            self.model = AutoModelForImageTextToText.from_pretrained(
                name, dtype="auto" if self.device.type != "cpu" else torch.float32, **where
            )
        except _UNREADABLE as error:
            reason = " ".join(str(error).split())[:200]
            raise UserError(
                f"model {name}: cannot be loaded as an image-text-to-text model ({reason})"
            ) from error
        self.model.to(self.device).eval()
        if not getattr(self.processor, "chat_template", None):
            raise UserError(
                f"model {name}: no chat template; expected chat_template.jinja beside its weights: "
                "take the instruction-tuned model, or add the template of its family"
            )
        self.name, self.end = name, self._end_token()

    def _end_token(self) -> int:
        """The token that ends a turn."""
        ends = self.model.generation_config.eos_token_id
        ends = [ends] if isinstance(ends, int) else list(ends or ())
        known = self.processor.tokenizer.eos_token_id
        # A model can have several; the tokenizer's is the one that its template writes.
        if known is not None:
            return int(known)
        if not ends:
            raise UserError(f"model {self.name}: no token ends an answer; expected an eos_token")
        return int(ends[0])

    @torch.inference_mode()
    def write(self, pictures: Sequence[Image], question: str, tokens: int) -> str:
        """See ``Vlm``."""
        asked = self._asked(pictures, question)
        written = self.model.generate(
            **asked,
            do_sample=False,
            max_new_tokens=tokens,
            eos_token_id=self.end,
            pad_token_id=self.end,
        )
        new = written[0, asked["input_ids"].shape[1] :]
        return str(self.processor.tokenizer.decode(new, skip_special_tokens=True)).strip()

    @torch.inference_mode()
    def log_likelihoods(
        self, pictures: Sequence[Image], question: str, labels: Sequence[str]
    ) -> list[float]:
        """See ``Vlm``; with the end of the turn, so that no label is the start of another."""
        asked = self._asked(pictures, question)
        return [self._log_likelihood(asked, label) for label in labels]

    def _log_likelihood(self, asked: dict[str, Tensor], label: str) -> float:
        # One label at a time, unpadded: models place pictures and positions in different ways, and
        # none of them has to be told about padding.
        ids = self.processor.tokenizer(label, add_special_tokens=False)["input_ids"]
        answer = torch.tensor([[*ids, self.end]], device=self.device)
        count = answer.shape[1]
        inputs = {name: _longer(name, x, asked, answer) for name, x in asked.items()}
        # The logits before the answer and inside it, but not those after its last token.
        logits = self.model(**inputs, use_cache=False, logits_to_keep=count + 1).logits[0, :-1]
        found = logits.float().log_softmax(-1).gather(-1, answer[0, :, None])
        return float(found.sum())

    def _asked(self, pictures: Sequence[Image], question: str) -> dict[str, Tensor]:
        """A question as tensors."""
        content = [*({"type": "image"} for _ in pictures), {"type": "text", "text": question}]
        prompt = self.processor.apply_chat_template(
            [{"role": "user", "content": content}], add_generation_prompt=True, tokenize=False
        )
        shown = {"images": [Pictures.fromarray(p) for p in pictures]} if len(pictures) else {}
        made = self.processor(text=[prompt], **shown, return_tensors="pt")
        kept = {name: x for name, x in made.items() if isinstance(x, Tensor)}
        return {
            name: x.to(self.device, self.model.dtype)
            if x.is_floating_point()
            else x.to(self.device)
            for name, x in kept.items()
        }


def _longer(name: str, x: Tensor, asked: dict[str, Tensor], answer: Tensor) -> Tensor:
    """An input of a prompt, continued over the answer if it has an entry for each token."""
    if x.shape != asked["input_ids"].shape:
        return x
    # Of an answer all is seen (the mask) and nothing is a picture (the types).
    fill = {"input_ids": answer, "attention_mask": torch.ones_like(answer)}
    return torch.cat([x, fill.get(name, torch.zeros_like(answer)).to(x.dtype)], dim=1)


def _processor(name: str, where: dict[str, str]) -> Any:
    """The processor of a model, without its part for videos."""
    config = AutoConfig.from_pretrained(name, **where)
    if type(config) not in PROCESSOR_MAPPING:
        raise ValueError(f"a {config.model_type} takes no pictures")
    base: Any = PROCESSOR_MAPPING[type(config)]

    class PicturesAlone(base):
        @classmethod
        def get_attributes(cls) -> list[str]:
            return [part for part in super().get_attributes() if part != "video_processor"]

    return PicturesAlone.from_pretrained(name, **where)
