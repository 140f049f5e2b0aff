"""Settings of FACET-VLM, as they are saved beside its weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import Field, ValidationInfo, field_validator

from deft_llm.config import Settings
from deft_llm.data.scan_views import CHANNELS, SIDE, YAWS

Prompts = dict[str, list[str]]
"""Name of an expression -> the texts that describe it."""


def in_class_order(prompts: Prompts, classes: Sequence[str]) -> Prompts:
    """The texts of classes in the order of the classes, which is that of the linear head.

    Raises:
        ValueError: If a class has no text, or a text belongs to no class.
    """
    missing = ", ".join(name for name in classes if name not in prompts)
    wrong = [f"no text for {missing}"] if missing else []
    wrong += [f"{name} is no class" for name in prompts if name not in classes]
    if wrong:
        raise ValueError(f"{'; '.join(wrong)}; expected texts for {', '.join(classes)}")
    return {name: prompts[name] for name in classes}


class VisualConfig(Settings):
    """The visual tower.

    Attributes:
        kind: "vit" is our own small one, "clip" a vision model of CLIP.
        name_or_path: Of the CLIP model.
        width: Channels of our own tower.
        depth: Its transformer blocks.
        heads: Its attention heads.
        lora_rank: Train adapters of this rank in the attention of the tower, and nothing else of
            it; 0 trains all of it.
    """

    kind: Literal["vit", "clip"] = "vit"
    name_or_path: str | None = None
    width: int = Field(default=96, ge=8)
    depth: int = Field(default=2, ge=1)
    heads: int = Field(default=4, ge=1)
    lora_rank: int = Field(default=0, ge=0)


class TextConfig(Settings):
    """The text tower, which is never trained.

    Attributes:
        kind: "au" composes a text's vector of the action units in it and needs no file, "clip" is
            the text model of CLIP.
        name_or_path: Of the CLIP model.
    """

    kind: Literal["au", "clip"] = "au"
    name_or_path: str | None = None


class FacetConfig(Settings):
    """``config.json`` beside the weights.

    Attributes:
        classes: Names of the expressions that the linear head knows.
        prompts: Texts of each class, in the order of the classes.
        channels: Channels of the views, see `data.scan_views.channel`.
        yaws: Degrees of the views.
        side: Of the views, px.
        dim: Of the space that views and texts share.
        visual: The visual tower.
        text: The text tower.
        temporal: How a sequence becomes one input: "none" (3D scans), "rank" (approximate rank
            pooling before the tower) or "transformer" (over the frames, after it).
        frames: Frames of a sequence that are looked at.
        cvsa: Fuse the views by cross-view semantic aggregation, instead of their mean.
        mtgf: Fuse the face with the texts, instead of using it as it is.
        multi_label: An example may have several expressions.
    """

    classes: list[str] = Field(min_length=1)
    prompts: Prompts
    channels: list[str] = list(CHANNELS)
    yaws: list[float] = list(YAWS)
    side: int = Field(default=SIDE, ge=32)
    dim: int = Field(default=96, ge=8)
    visual: VisualConfig = VisualConfig()
    text: TextConfig = TextConfig()
    temporal: Literal["none", "rank", "transformer"] = "none"
    frames: int = Field(default=12, ge=2)
    cvsa: bool = True
    mtgf: bool = True
    multi_label: bool = False

    @field_validator("prompts")
    @classmethod
    def _of_classes(cls, prompts: Prompts, info: ValidationInfo) -> Prompts:
        if empty := [name for name, texts in prompts.items() if not texts]:
            raise ValueError(f"no text for {', '.join(empty)}")
        # Classes that are wrong themselves are not among the data, and told already.
        return in_class_order(prompts, info.data.get("classes", list(prompts)))
