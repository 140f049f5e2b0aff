"""Convert measured clips and text to model inputs.

``DeftFeatureExtractor`` scales the features of a clip to the experts' inputs. ``DeftProcessor``
combines it with a tokenizer, expands ``<clip>`` into the experts' placeholder spans, and encodes
conversations with labels on the answers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import (
    AutoFeatureExtractor,
    AutoProcessor,
    BatchFeature,
    FeatureExtractionMixin,
    PreTrainedTokenizerBase,
    ProcessorMixin,
)

from deft_llm import facs
from deft_llm.data.features import REGION_COLUMNS, Features
from deft_llm.deft.configuration_deft import EXPERTS, IGNORE_INDEX, DeftConfig
from deft_llm.errors import UserError
from deft_llm.motion.encoding import encode_flow

CLIP_TOKEN = "<clip>"
SPECIAL_TOKENS: tuple[str, ...] = tuple(
    token for name in EXPERTS for token in (f"<{name}>", f"<{name}_token>", f"</{name}>")
)
CHAT_TEMPLATE = (
    "{% for message in messages %}<|{{ message['role'] }}|>{{ message['content'] }}<|end|>"
    "{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
CHAT_TOKENS: tuple[str, ...] = ("<|user|>", "<|assistant|>", "<|system|>", "<|end|>")


def placeholder(expert: str) -> str:
    """The placeholder token for one token of an expert."""
    return f"<{expert}_token>"


def clip_span(config: DeftConfig) -> str:
    """The text that represents one clip: every expert's placeholders inside its tags."""
    return "".join(
        f"<{name}>{placeholder(name) * count}</{name}>"
        for name, count in config.token_counts().items()
    )


class DeftFeatureExtractor(FeatureExtractionMixin):
    """Scales the features of clips to the experts' inputs.

    Attributes:
        texture_scale: Difference in grey levels that is scaled to 1.
        amplitude_floor: Pixels added to amplitudes before the logarithm.
    """

    model_input_names = ["structure", "texture", "flow", "flow_scale", "regions"]

    def __init__(
        self, texture_scale: float = 8.0, amplitude_floor: float = 0.02, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.texture_scale = texture_scale
        self.amplitude_floor = amplitude_floor

    def __call__(self, clips: Features | Sequence[Features]) -> BatchFeature:
        """Features -> float32 tensors, see ``DeftForConditionalGeneration.forward``."""
        clips = [clips] if isinstance(clips, dict) else list(clips)
        rows = [self._scale(features) for features in clips]
        stacked = {name: np.stack([row[name] for row in rows]) for name in self.model_input_names}
        return BatchFeature({k: torch.from_numpy(v) for k, v in stacked.items()})

    def _scale(self, features: Features) -> dict[str, NDArray[np.float32]]:
        flow, amplitude = encode_flow(features["flow"])
        texture = features["texture"].astype(np.float32) / self.texture_scale
        return {
            "structure": features["onset"].transpose(2, 0, 1).astype(np.float32) / 127.5 - 1.0,
            # The signed square root keeps large differences (a blink) from drowning faint ones.
            "texture": np.sign(texture) * np.sqrt(np.abs(texture)),
            "flow": flow,
            "flow_scale": self._flow_scale(amplitude),
            "regions": self._regions(features["regions"].astype(np.float32)),
        }

    def _flow_scale(self, amplitude: NDArray[np.float32]) -> NDArray[np.float32]:
        """Logarithm of the amplitudes (P, 3) and an availability flag: (P, 4)."""
        logs = np.log(amplitude + self.amplitude_floor)
        scale = np.concatenate([logs, np.ones((len(logs), 1), np.float32)], axis=1)
        return scale.astype(np.float32)

    def _regions(self, table: NDArray[np.float32]) -> NDArray[np.float32]:
        """Scale the columns to comparable ranges (arcsinh and logarithm for long tails)."""
        # arcsinh where values have a sign or can be zero: linear below the divisor, logarithmic
        # above.
        columns = {name: table[..., i] for i, name in enumerate(REGION_COLUMNS)}
        scaled = {
            "u": np.arcsinh(columns["u"] / 0.1),
            "v": np.arcsinh(columns["v"] / 0.1),
            "magnitude": np.log(columns["magnitude"] + self.amplitude_floor),
            "peak": np.log(columns["peak"] + self.amplitude_floor),
            "coherence": columns["coherence"],
            "noise": np.log(columns["noise"] + 1e-3) / 2,
            "z": np.arcsinh(columns["z"] / 3.0),
            "active": columns["active"],
        }
        stacked = np.stack([scaled[name] for name in REGION_COLUMNS], axis=-1)
        return np.nan_to_num(stacked).astype(np.float32)


class DeftProcessor(ProcessorMixin):
    """Tokenizer and feature extractor combined."""

    def __init__(
        self,
        feature_extractor: DeftFeatureExtractor,
        tokenizer: PreTrainedTokenizerBase,
        span: str = "",
        prompts: dict[str, str] | None = None,
        **kwargs: Any,
    ) -> None:
        """Combine a feature extractor and a tokenizer.

        Args:
            feature_extractor: Scales features.
            tokenizer: Must know the placeholder tokens (``add_expert_tokens``).
            span: Text that replaces ``<clip>`` (``clip_span``).
            prompts: Name -> question text.
            **kwargs: For ``ProcessorMixin``.

        Raises:
            UserError: If the tokenizer lacks a token of the span.
        """
        known = tokenizer.get_vocab()
        if missing := [t for t in SPECIAL_TOKENS if t in span and t not in known]:
            raise UserError(
                f"the tokenizer has no token {missing[0]}; take the tokenizer that was saved with "
                "the model, or teach it the experts' tokens (add_expert_tokens)"
            )
        self.span = span
        self.prompts = prompts or {}
        super().__init__(feature_extractor, tokenizer, **kwargs)

    def __call__(
        self, text: str | Sequence[str], clips: Features | Sequence[Features] | None = None
    ) -> BatchFeature:
        """Rendered text with ``<clip>`` and the features of those clips -> model inputs.

        Returns:
            ``input_ids`` and ``attention_mask`` (B, L), padded on the left, and the clip inputs.

        Raises:
            UserError: If the numbers of ``<clip>`` marks and clips differ.
        """
        texts = [text] if isinstance(text, str) else list(text)
        marks = sum(t.count(CLIP_TOKEN) for t in texts)
        clips = [clips] if isinstance(clips, dict) else list(clips or [])
        if marks != len(clips):
            raise UserError(
                f"{marks} {CLIP_TOKEN} marks in the text, but {len(clips)} clips; "
                f"write {CLIP_TOKEN} once for each clip"
            )
        encoded = self.tokenizer(
            [t.replace(CLIP_TOKEN, self.span) for t in texts],
            # The chat template has written the special tokens already.
            add_special_tokens=False,
            padding=True,
            padding_side="left",
            return_tensors="pt",
        )
        data = {"input_ids": encoded["input_ids"], "attention_mask": encoded["attention_mask"]}
        if clips:
            data.update(self.feature_extractor(clips))
        return BatchFeature(data)

    def chat(self, messages: list[dict[str, str]]) -> str:
        """Render messages (role, content), followed by the start of an assistant turn."""
        return self.tokenizer.apply_chat_template(
            messages, tokenize=False, add_generation_prompt=True
        )

    def encode_conversation(self, messages: list[dict[str, str]]) -> tuple[list[int], list[int]]:
        """Token ids and labels of a conversation; only the assistant's text is labelled.

        Each turn is tokenized separately, so that no token spans question and answer, whatever
        the tokenizer. Templates may render the last answer differently from earlier ones (Qwen3
        opens it with an empty thought), so the labels cover the answer and its end token, after
        the prompt that ``chat`` renders.
        """
        ids: list[int] = []
        labels: list[int] = []
        before = ""  # the previous answer with its end token
        for i, message in enumerate(messages):
            if message["role"] != "assistant":
                continue
            opened = self.chat(messages[:i])
            closed = self.tokenizer.apply_chat_template(messages[: i + 1], tokenize=False)
            # The last occurrence: the same words may stand in an earlier turn.
            answer = closed[closed.rindex(message["content"]) :]
            asked = opened[opened.rindex(before) + len(before) :] if before else opened
            for piece, learn in ((asked, False), (answer, True)):
                tokens = self.tokenizer(
                    piece.replace(CLIP_TOKEN, self.span), add_special_tokens=False
                )["input_ids"]
                ids += tokens
                labels += tokens if learn else [IGNORE_INDEX] * len(tokens)
            before = answer
        return ids, labels


def add_expert_tokens(tokenizer: PreTrainedTokenizerBase, config: DeftConfig) -> int:
    """Add the placeholder tokens to a tokenizer; store their ids and the motion names in config.

    Returns:
        Number of new tokens; resize the model's embeddings if it is not zero.
    """
    added = tokenizer.add_special_tokens(
        {"extra_special_tokens": list(SPECIAL_TOKENS)}, replace_extra_special_tokens=False
    )
    for name in EXPERTS:
        setattr(config, f"{name}_token_id", tokenizer.convert_tokens_to_ids(placeholder(name)))
    names = [*(f"AU{number}" for number in config.aus), *facs.REGIONS]
    config.motion_names = [tokenizer(n, add_special_tokens=False)["input_ids"] for n in names]
    return added


AutoFeatureExtractor.register(DeftConfig, DeftFeatureExtractor)
AutoProcessor.register(DeftConfig, DeftProcessor)


def padded(talks: Sequence[tuple[list[int], list[int]]], pad: int) -> dict[str, torch.Tensor]:
    """Ids, labels and mask of B conversations, padded on the right, each (B, L)."""
    lengths = torch.tensor([len(ids) for ids, _ in talks])
    longest = int(lengths.max())

    def fill(row: list[int], value: int) -> list[int]:
        return row + [value] * (longest - len(row))

    return {
        "input_ids": torch.tensor([fill(ids, pad) for ids, _ in talks]),
        "labels": torch.tensor([fill(labels, IGNORE_INDEX) for _, labels in talks]),
        "attention_mask": (torch.arange(longest) < lengths[:, None]).long(),
    }
