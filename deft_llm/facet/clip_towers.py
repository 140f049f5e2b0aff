"""The towers of CLIP (Radford et al. 2021), by a hub name or a folder, through transformers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from deft_llm.errors import UserError
from deft_llm.facet.configuration import FacetConfig

_CHANNELS = 3  # of CLIP's pictures


def _load(kind: str, name_or_path: str | None, key: str) -> Any:
    """A model or tokenizer of transformers.

    Raises:
        UserError: If none is named, or it cannot be loaded.
    """
    import transformers

    if not name_or_path:
        raise UserError(
            f"{key}: expected a hub name or a folder of CLIP, e.g. openai/clip-vit-base-patch32"
        )
    try:
        return getattr(transformers, kind).from_pretrained(name_or_path)
    # What a wrong folder raises depends on what is in it.
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"{key} {name_or_path}: not readable as CLIP ({reason})") from error


class ClipVisual(nn.Module):
    """CLIP's vision model; the views are its pictures, without its colour normalisation."""

    def __init__(self, config: FacetConfig) -> None:
        super().__init__()
        key = "model.visual.name_or_path"
        self.model = _load("CLIPModel", config.visual.name_or_path, key).vision_model
        size = self.model.config.image_size
        if len(config.channels) != _CHANNELS or config.side != size:
            raise UserError(
                f"{key} {config.visual.name_or_path}: takes {_CHANNELS} channels of {size} px, got "
                f"{len(config.channels)} of {config.side} px; change data.channels or data.side"
            )
        self.width: int = self.model.config.hidden_size

    def forward(self, pictures: Tensor) -> Tensor:
        """Tokens (N, 1 + P, width) of pictures (N, 3, S, S)."""
        # Its class token comes first, where our own tower has its token of the whole picture.
        seen: Tensor = self.model(pixel_values=pictures).last_hidden_state
        return seen


class ClipText:
    """CLIP's text model, frozen.

    Args:
        name_or_path: Its hub name or folder.

    Raises:
        UserError: If it cannot be loaded.
    """

    def __init__(self, name_or_path: str | None) -> None:
        key = "model.text.name_or_path"
        whole = _load("CLIPModel", name_or_path, key).eval()
        self._model, self._project = whole.text_model, whole.text_projection
        self._tokenizer = _load("AutoTokenizer", name_or_path, key)
        self.width: int = self._project.out_features
        self.name = f"CLIP, {name_or_path}"
        self._kept: dict[str, Tensor] = {}

    @torch.no_grad()
    def encode(self, texts: Sequence[str]) -> Tensor:
        """Unit vectors (K, E) of texts; each is computed once."""
        if new := [text for text in dict.fromkeys(texts) if text not in self._kept]:
            most = self._model.config.max_position_embeddings
            tokens = self._tokenizer(
                new, padding=True, truncation=True, max_length=most, return_tensors="pt"
            )
            # Through CLIP's projection, as similarity of texts was trained there.
            pooled = self._project(self._model(**tokens).pooler_output)
            vectors = F.normalize(pooled.float(), dim=-1)
            self._kept.update(zip(new, vectors, strict=True))
        return torch.stack([self._kept[text] for text in texts])
