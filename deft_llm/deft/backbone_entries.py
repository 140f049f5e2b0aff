"""Settings of an expert's backbone (``backbones.py``): look-up and checks."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pydantic import Field
from transformers import CONFIG_MAPPING, AutoConfig
from transformers.image_processing_base import ImageProcessingMixin

from deft_llm.config import Settings
from deft_llm.errors import UserError, did_you_mean

# Inputs of a recognizer with which it can be the backbone of an expert.
READS = {
    "structure": (),
    "texture": ("frames", "sub_clips"),
    "motion": ("flow_uvs", "flow_dual", "flow_diff_volume"),
}


class Backbone(Settings):
    """One entry of ``DeftConfig.backbones``.

    Attributes:
        name: A recognizer, or a hub name or folder of a vision model; None builds a vision model
            from ``config``.
        frozen: Do not train its weights.
        options: Options of a recognizer.
        weights: Trained weights of a recognizer or of a new vision model: a safetensors file, its
            folder, or that of the run.
        config: ``model_type`` and sizes of a vision model; filled in for a named model when it is
            looked up, so that a saved DEFT-LLM no longer needs the hub.
        mean: Mean per channel of the model's training images; filled in as well.
        std: Standard deviation per channel, likewise.
    """

    name: str | None = None
    frozen: bool = True
    options: dict[str, Any] = Field(default_factory=dict)
    weights: str | None = None
    config: dict[str, Any] = Field(default_factory=dict)
    # 0.5 and 0.5 take 0..1 to -1..1, the range of the expert's own network.
    mean: list[float] = Field(default_factory=lambda: [0.5] * 3)
    std: list[float] = Field(default_factory=lambda: [0.5] * 3)


def fill_configuration(expert: str, entry: Backbone) -> None:
    """Check and complete the configuration of a vision model to be built."""
    where = f"{expert} backbone"
    if not entry.config:
        raise UserError(f"{where}: neither name nor config; give one of them")
    if entry.frozen and entry.weights is None:
        raise UserError(
            f"{where}: built from its config it would be frozen at random weights; give "
            "weights, the name of a trained one, or frozen: false"
        )
    kind = entry.config.get("model_type")
    if kind not in CONFIG_MAPPING:
        raise UserError(
            f"{where}: config.model_type {kind!r} is none that transformers knows; expected vit or "
            "dinov2 (structure), videomae (texture)"
        )
    # transformers accepts unknown fields silently, so check for misspelt ones here.
    known = sorted({*AutoConfig.for_model(kind).to_dict(), "model_type"})
    for name in entry.config:
        if name not in known:
            hint = did_you_mean(name, known)
            raise UserError(f"{where}: {name!r} is no field of a {kind}'s config{hint}")
    entry.config = _vision_part(expert, "config", AutoConfig.for_model(**entry.config)).to_dict()


def look_up(expert: str, entry: Backbone, others: Iterable[str]) -> None:
    """Read configuration and image statistics of a vision model; suggests ``others`` on failure."""
    name = str(entry.name)
    hint = did_you_mean(name, others)
    unknown = UserError(
        f"{expert} backbone {name!r}: no recognizer, no folder with a vision model, and not to be "
        f"had from the hub{hint}"
    )
    # Without a network the hub is asked for half a minute; vision models there have an owner/.
    if hint and "/" not in name and not Path(name).is_dir():
        raise unknown
    try:
        whole = AutoConfig.from_pretrained(name)
    except (OSError, ValueError) as error:
        raise unknown from error
    entry.config = _vision_part(expert, repr(entry.name), whole).to_dict()
    if expert == "structure":
        entry.mean, entry.std = _image_statistics(str(entry.name))


def _vision_part(expert: str, where: str, whole: Any) -> Any:
    """The image tower of a CLIP-like model, or the vision model itself; checks that it fits."""
    vision: Any = getattr(whole, "vision_config", whole)
    kind = "VideoMAE" if expert == "texture" else "an image model (CLIP, SigLIP, DINOv2, ViT)"
    # By fields, not by type, so that new architectures of the same form are accepted.
    is_video = hasattr(vision, "tubelet_size")
    is_image = hasattr(vision, "image_size") and hasattr(vision, "patch_size") and not is_video
    if expert == "motion" or not (is_video if expert == "texture" else is_image):
        wanted = f"a recognizer that reads {' or '.join(READS['motion'])}"
        raise UserError(
            f"{expert} backbone {where}: a model of type {vision.model_type}; expected "
            f"{wanted if expert == 'motion' else kind}"
        )
    return vision


def _image_statistics(name: str) -> tuple[list[float], list[float]]:
    try:
        values, _ = ImageProcessingMixin.get_image_processor_dict(name)
        return list(values["image_mean"]), list(values["image_std"])
    except (OSError, KeyError) as error:
        raise UserError(
            f"structure backbone {name!r}: no preprocessor_config.json with image_mean and "
            "image_std; copy it from the model's own repository"
        ) from error
