"""Configurable backbones of the experts: vision networks and recognizers.

``DeftConfig.backbones`` names the network that replaces an expert's own small one. It gets the
same input tensor as the network it replaces, so the experts' inputs stay disjoint:

=============  =================================================================================
``structure``  an image model (CLIP, SigLIP, DINOv2, ViT): the onset frame
``texture``    VideoMAE, or a recognizer that reads ``frames`` or ``sub_clips``: the differences to
               the onset; a recognizer gets them as grey levels around the middle
``motion``     a recognizer that reads ``flow_uvs``, ``flow_dual`` or ``flow_diff_volume``: the
               flow, in place of the flow map's network; AU queries and region table stay as they
               are; a volume gets the flow to the apex as a steady rate, and no differences
=============  =================================================================================

A vision network is either a published one (``name``, a hub name or a folder), or built from a
``config`` and trained with the experts: ``{config: {model_type: vit, hidden_size: 64, …}, frozen:
false}`` builds a small ViT, ``model_type: videomae`` a network on space-time cubes.

The paper names no backbones. Inputs are interpolated to the backbone's size; its tokens are pooled
to the expert's number of tokens and mapped to its width by a linear layer (our own choice).

Dimensions: B clips, N tokens, D expert width, T frames, S side.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
import transformers
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import AutoConfig

from deft_llm.config import validate_settings
from deft_llm.deft.backbone_entries import READS, Backbone, fill_configuration, look_up
from deft_llm.deft.configuration_deft import EXPERTS, DeftConfig
from deft_llm.errors import UserError, did_you_mean
from deft_llm.motion.flow_diff import LENGTH
from deft_llm.recognizers.base import RECOGNIZERS, Recognizer, load_recognizer
from deft_llm.recognizers.ca_i3d import VOLUME
from deft_llm.training.run_folder import FINAL


def resolve_backbones(config: DeftConfig) -> None:
    """Check the configured backbones and complete their configuration, so that it rebuilds them.

    Raises:
        UserError: If an expert or a backbone is unknown, or the backbone needs an input that its
            expert does not have.
    """
    for expert, values in config.backbones.items():
        if expert not in EXPERTS:
            hint = did_you_mean(expert, EXPERTS)
            raise UserError(
                f"backbones: {expert!r} is no expert, expected one of {', '.join(EXPERTS)}{hint}"
            )
        entry = validate_settings(Backbone, values, f"backbones.{expert}")
        if entry.name in RECOGNIZERS:
            _recognizer(expert, entry)
        elif entry.name is None:
            fill_configuration(expert, entry)
            _try(expert, entry, config)
        # A filled config comes from a saved model; looking it up again would need the hub.
        elif not entry.config:
            look_up(expert, entry, RECOGNIZERS)
        config.backbones[expert] = entry.model_dump()


def _try(expert: str, entry: Backbone, config: DeftConfig) -> None:
    """Build a configured vision model on the meta device and run an empty clip through it."""
    sides = {
        "structure": (1, 3, config.structure_size, config.structure_size),
        "texture": (1, config.texture_frames, config.texture_size, config.texture_size),
    }
    try:
        with torch.device("meta"):
            built = ImageBackbone if expert == "structure" else VideoBackbone
            built(entry, config)(torch.zeros(sides[expert]))  # on the meta device: shapes alone
    # Each architecture fails in its own way on sizes that do not fit together.
    except (ArithmeticError, IndexError, RuntimeError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split())[:120]
        raise UserError(
            f"{expert} backbone: config describes no network that can be built ({reason}); "
            "expected sizes like image_size: 64, patch_size: 8, hidden_size: 96"
        ) from error


def _recognizer(expert: str, entry: Backbone) -> Recognizer:
    """A fresh recognizer that fits an expert's input."""
    # Only forward_features is used; the class head needs some size to be built.
    options = {"classes": 3, **entry.options}
    try:
        made = load_recognizer(str(entry.name), **options)
    # An option that the recognizer does not have.
    except TypeError as error:
        raise UserError(f"{expert} backbone {entry.name}: {error}") from error
    if not isinstance(made, Recognizer) or not set(made.inputs) <= set(READS[expert]):
        wanted = " or ".join(READS[expert])
        network = "" if isinstance(made, Recognizer) else " and is no network"
        raise UserError(
            f"{expert} backbone {entry.name!r} reads {', '.join(made.inputs)}{network}; expected "
            + (f"a network that reads {wanted}" if wanted else "an image model by name or folder")
        )
    if entry.frozen and entry.weights is None:
        raise UserError(
            f"{expert} backbone {entry.name!r} would be frozen at random weights; give weights, or "
            "frozen: false"
        )
    return made


class ExpertBackbone(nn.Module):
    """Base class: a network, optionally frozen, and a linear layer to width D."""

    def __init__(self, net: nn.Module, entry: Backbone, inner: int, width: int) -> None:
        super().__init__()
        self.net, self.frozen, self.entry = net, entry.frozen, entry
        self.project = nn.Linear(inner, width)
        self.train()

    def train(self, mode: bool = True) -> ExpertBackbone:
        """Keep a frozen network in evaluation mode: no dropout, no running-statistics updates."""
        super().train(mode)
        if self.frozen:
            self.net.eval()
        return self

    def freeze(self) -> None:
        """Exclude a frozen network from training."""
        if self.frozen:
            self.net.requires_grad_(False)

    def load(self) -> None:
        """Load the weights named in the entry; not needed for a saved DEFT-LLM, which holds them.

        Raises:
            UserError: If they are missing or do not fit.
        """
        entry = self.entry
        if entry.config and entry.name:
            config = AutoConfig.for_model(**entry.config)
            self.net = transformers.AutoModel.from_pretrained(
                entry.name, config=config, dtype=torch.float32
            )
        elif entry.weights is not None:
            path = Path(entry.weights)
            path = path / FINAL if (path / FINAL).is_dir() else path
            path = path / "model.safetensors" if path.is_dir() else path
            try:
                self.net.load_state_dict(load_file(path))
            except (OSError, RuntimeError, SafetensorError) as error:
                reason = " ".join(str(error).split())[:160]
                raise UserError(
                    f"backbone {entry.name or entry.config['model_type']}: {path} does not fit "
                    f"({reason}); expected model.safetensors of the same network and sizes"
                ) from error
        # from_pretrained returns a new module in evaluation mode; bring it to this module's mode.
        self.train(self.training)

    def read(self, *args: Any, **kwargs: Any) -> Tensor:
        """Tokens (B, N, D) of the network's input."""
        # A frozen network keeps no activations; the projection after it still gets gradients.
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            if isinstance(self.net, Recognizer):
                tokens = self.net.forward_features(*args)
            else:
                tokens = self.net(**kwargs).last_hidden_state
        projected: Tensor = self.project(tokens)
        return projected


def _vision_net(entry: Backbone) -> Any:
    config = AutoConfig.for_model(**entry.config)
    # Not the dtype of the published weights: that of the model around it. AutoModel by its full
    # name, because modeling_deft, which registers with its module, imports this one.
    return transformers.AutoModel.from_config(config, dtype=torch.get_default_dtype())


class ImageBackbone(ExpertBackbone):
    """An image model on the onset frame; its patch tokens are pooled to a square grid of N."""

    def __init__(self, entry: Backbone, config: DeftConfig) -> None:
        net = _vision_net(entry)
        super().__init__(net, entry, net.config.hidden_size, config.expert_dim)
        self.side = int(net.config.image_size)
        self.grid = self.side // int(net.config.patch_size)
        self.pool = nn.AdaptiveAvgPool2d(math.isqrt(config.structure_tokens))

    def forward(self, structure: Tensor) -> Tensor:
        """Onset image (B, 3, S, S) in [-1, 1] -> tokens (B, N, D)."""
        image = F.interpolate(
            # To 0..1, the range that the published mean and SD refer to. float32, because a CPU
            # interpolates in no smaller dtype.
            (structure.float() + 1) / 2,
            (self.side,) * 2,
            mode="bilinear",
            antialias=True,
        )
        mean, std = (image.new_tensor(v).view(3, 1, 1) for v in (self.entry.mean, self.entry.std))
        tokens = self.read(pixel_values=((image - mean) / std).to(structure.dtype))
        # Class and register tokens come before the patches, so take the last ones.
        patches = tokens[:, -(self.grid**2) :].transpose(1, 2).unflatten(2, (self.grid, self.grid))
        pooled: Tensor = self.pool(patches).flatten(2).transpose(1, 2)
        return pooled


class VideoBackbone(ExpertBackbone):
    """VideoMAE on the differences to the onset; pools its tokens over space, then over time."""

    def __init__(self, entry: Backbone, config: DeftConfig) -> None:
        net = _vision_net(entry)
        super().__init__(net, entry, net.config.hidden_size, config.expert_dim)
        self.size = (net.config.num_frames, net.config.image_size, net.config.image_size)
        self.channels = net.config.num_channels
        self.slots = net.config.num_frames // net.config.tubelet_size
        self.pool = nn.AdaptiveAvgPool1d(config.texture_tokens)

    def forward(self, texture: Tensor) -> Tensor:
        """Differences to the onset (B, T, S, S) -> tokens (B, N, D)."""
        video = F.interpolate(texture.unsqueeze(1), self.size, mode="trilinear").transpose(1, 2)
        tokens = self.read(pixel_values=video.expand(-1, -1, self.channels, -1, -1))
        # VideoMAE orders its tokens by time, then by place: (slots, patches).
        slots = tokens.unflatten(1, (self.slots, -1)).mean(2).transpose(1, 2)
        pooled: Tensor = self.pool(slots).transpose(1, 2)
        return pooled


class FramesBackbone(ExpertBackbone):
    """A recognizer that reads ``frames`` or ``sub_clips``, on the differences to the onset."""

    def __init__(self, entry: Backbone, config: DeftConfig) -> None:
        net = _recognizer("texture", entry)
        super().__init__(net, entry, net.feature_dim, config.expert_dim)
        self.pool = nn.AdaptiveAvgPool1d(config.texture_tokens)

    def forward(self, texture: Tensor) -> Tensor:
        """Differences to the onset (B, T, S, S) -> tokens (B, N, D)."""
        # Recognizers expect images in 0..1; no change becomes mid-grey.
        grey = (0.5 + texture / 2).clamp(0, 1)
        assert isinstance(self.net, Recognizer)
        if self.net.side not in (None, grey.shape[-1]):
            grey = F.interpolate(grey, (self.net.side,) * 2, mode="bilinear")
        frames = grey.unsqueeze(2).expand(-1, -1, 3, -1, -1)
        tokens = self.read({"frames": frames, "sub_clips": grey.unsqueeze(1)})
        pooled: Tensor = self.pool(tokens.transpose(1, 2)).transpose(1, 2)
        return pooled


class FlowBackbone(ExpertBackbone):
    """A recognizer that reads flow; its tokens replace the cells of the flow map.

    Attributes:
        cells: Number N of its tokens.
    """

    def __init__(self, entry: Backbone, config: DeftConfig) -> None:
        net = _recognizer("motion", entry)
        super().__init__(net, entry, net.feature_dim, config.expert_dim)
        self.side = net.side or config.map_size
        # The number of tokens is known only from a forward pass.
        empty = torch.zeros(1, 2, 3, config.map_size, config.map_size)
        try:
            with torch.no_grad():
                tokens = net.eval().forward_features(self._inputs(empty))
            self.cells = tokens.shape[1]
        # A recognizer of one's own fails in its own way, and is not the language model's fault.
        except (ArithmeticError, IndexError, RuntimeError, TypeError, ValueError) as error:
            reason = " ".join(str(error).split())[:160]
            raise UserError(
                f"motion backbone {entry.name!r} cannot read flow of {self.side} px ({reason}); "
                "expected forward_features to give tokens (B, N, D), and the class to state its "
                "side if it takes no other"
            ) from error
        self.train()

    def _inputs(self, flow: Tensor) -> dict[str, Tensor]:
        if flow.shape[-1] != self.side:
            shape = flow.shape[:3]
            # No rescaling of the values: encoded flow is relative to its SD, not in pixels.
            resized = F.interpolate(flow.flatten(0, 1), (self.side,) * 2, mode="area")
            flow = resized.view(*shape, self.side, self.side)
        # Channels before time, as recognizers read volumes: (B, 2, L - 1, S, S).
        onset_phase = flow[:, 0, :2, None].expand(-1, -1, LENGTH - 1, -1, -1)
        # Differences are the texture's, so their channels stay empty.
        empty = (0, 0) * 3 + (0, VOLUME - 2)
        volume = F.pad(onset_phase, empty)
        return {"flow_uvs": flow[:, 0], "flow_dual": flow, "flow_diff_volume": volume}

    def forward(self, flow: Tensor) -> Tensor:
        """Flow of both phases (B, 2, 3, S, S) -> tokens (B, N, D)."""
        return self.read(self._inputs(flow))


def make_backbone(expert: str, config: DeftConfig) -> Any:
    """The configured backbone of an expert; None if the expert uses its own network."""
    if expert not in config.backbones:
        return None
    entry = Backbone.model_validate(config.backbones[expert])
    if expert == "structure":
        return ImageBackbone(entry, config)
    if expert == "motion":
        return FlowBackbone(entry, config)
    return VideoBackbone(entry, config) if entry.config else FramesBackbone(entry, config)
