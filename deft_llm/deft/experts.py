"""The three expert encoders: structure, dynamic texture, motion semantics; and an optional fourth.

The experts have disjoint inputs, which separates identity from motion: structure reads the onset
frame alone, dynamic texture the differences to the onset, motion semantics the head-compensated
flow and the region motion table. The paper (arXiv 2511.10948) names the experts but no
architecture; these small networks are our own choice. ``deft/backbones.py`` has the networks that
can replace them. The fourth takes FACET-VLM's tokens of a 3D scan of the same face, where one
comes with the clip.

Dimensions: B clips, D expert width, K AU queries, R regions, T texture frames, S map side.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from deft_llm import facs
from deft_llm.deft.backbones import FlowBackbone, make_backbone
from deft_llm.deft.configuration_deft import SCAN, DeftConfig


def dtype_of(module: nn.Module) -> torch.dtype:
    """The dtype of a module's floating-point weights, to which its inputs are cast."""
    return next(p.dtype for p in module.parameters() if p.is_floating_point())


def _conv(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    # Group norm, because batch statistics would depend on the clips drawn together.
    groups = max(1, outputs // 16)
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False),
        nn.GroupNorm(groups, outputs),
        nn.GELU(),
    )


class StructureExpert(nn.Module):
    """Appearance of the face at rest: a small CNN on the onset frame."""

    def __init__(self, config: DeftConfig) -> None:
        super().__init__()
        side = round(config.structure_tokens**0.5)
        self.net = nn.Sequential(
            _conv(3, 32, stride=2),
            _conv(32, 48, stride=2),
            _conv(48, 64, stride=2),
            _conv(64, config.expert_dim),
            nn.AdaptiveAvgPool2d(side),
        )

    def forward(self, structure: Tensor) -> Tensor:
        """Onset image (B, 3, S, S) in [-1, 1] -> tokens (B, N, D)."""
        return self.net(structure).flatten(2).transpose(1, 2)


class TextureExpert(nn.Module):
    """Change of appearance over time: a CNN per difference image, then convolutions over time."""

    def __init__(self, config: DeftConfig) -> None:
        super().__init__()
        width = config.expert_dim
        self.frame_net = nn.Sequential(
            _conv(1, 16, stride=2), _conv(16, 32, stride=2), _conv(32, 48), _conv(48, 48, stride=2)
        )
        # Three of the four convolutions have stride 2.
        self.cells = (config.texture_size // 8) ** 2
        self.frame_proj = nn.Linear(48 * self.cells, width)
        self.time_net = nn.Sequential(
            nn.Conv1d(width, width, 3, padding=1),
            nn.GELU(),
            nn.Conv1d(width, width, 3, padding=1),
            nn.AdaptiveAvgPool1d(config.texture_tokens),
        )

    def forward(self, texture: Tensor) -> Tensor:
        """Differences to the onset (B, T, S, S) -> tokens (B, N, D)."""
        batch, frames = texture.shape[:2]
        maps = self.frame_net(texture.flatten(0, 1).unsqueeze(1))
        # Flatten rather than pool: where the skin changed matters.
        tokens = self.frame_proj(maps.flatten(1)).view(batch, frames, -1)
        return self.time_net(tokens.transpose(1, 2)).transpose(1, 2)


class _QueryBlock(nn.Module):
    """Attention of the queries to each other and to the flow map, then a feed-forward layer."""

    def __init__(self, width: int, heads: int = 4) -> None:
        super().__init__()
        self.norm_queries = nn.LayerNorm(width)
        self.norm_maps = nn.LayerNorm(width)
        self.attention = nn.MultiheadAttention(width, heads, batch_first=True)
        self.feed_forward = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width)
        )

    def forward(self, queries: Tensor, maps: Tensor) -> Tensor:
        asking = self.norm_queries(queries)
        context = torch.cat([asking, self.norm_maps(maps)], dim=1)
        queries = queries + self.attention(asking, context, context, need_weights=False)[0]
        return queries + self.feed_forward(queries)


class MotionExpert(nn.Module):
    """Motion encoder: one query per AU and per region reads the flow maps and the region table."""

    def __init__(self, config: DeftConfig, backbone: FlowBackbone | None = None) -> None:
        super().__init__()
        width = config.expert_dim
        regions = len(facs.REGIONS)
        self.withheld = config.amplitude_dropout
        self.map_net: nn.Module = backbone or nn.Sequential(
            _conv(6, 32, stride=2), _conv(32, 64), _conv(64, 96, stride=2), _conv(96, width)
        )
        cells = backbone.cells if backbone else (config.map_size // 4) ** 2
        # 0.02: the usual initial SD of transformer embeddings.
        self.map_position = nn.Parameter(torch.randn(cells, width) * 0.02)
        # 8: two phases, each with the log amplitude of u, v, strain and the availability flag.
        self.amplitude = nn.Linear(8, width)
        self.region_net = nn.Sequential(
            nn.Linear(2 * config.region_features, width), nn.GELU(), nn.Linear(width, width)
        )
        self.region_position = nn.Parameter(torch.randn(regions, width) * 0.02)
        self.queries = nn.Parameter(torch.randn(len(config.aus), width) * 0.02)
        self.blocks = nn.ModuleList(_QueryBlock(width) for _ in range(config.motion_layers))

    def forward(self, flow: Tensor, flow_scale: Tensor, regions: Tensor) -> Tensor:
        """Encode the motion of both phases.

        Args:
            flow: (B, 2, 3, S, S): phase, (u, v, strain) normalised to ``flow_uvs``.
            flow_scale: (B, 2, 4): log amplitude of u, v, strain and the availability flag.
            regions: (B, 2, R, F): region motion table per phase, scaled.

        Returns:
            Tokens (B, K + R, D): the AU queries, then the regions.
        """
        # Drawn separately, so that the network also learns from clips that lack only one of them.
        flow_scale, regions = self._withhold(flow_scale), self._withhold(regions)
        if isinstance(self.map_net, FlowBackbone):
            maps = self.map_net(flow)
        else:
            # Both phases as 6 channels of one map, so that a cell sees the motion and its return.
            maps = self.map_net(flow.flatten(1, 2)).flatten(2).transpose(1, 2)
        # One amplitude for the whole map, so it is added to every cell.
        maps = maps + self.map_position + self.amplitude(flow_scale.flatten(1)).unsqueeze(1)
        # (B, 2, R, F) -> (B, R, 2F): both phases of a region side by side.
        table = self.region_net(regions.transpose(1, 2).flatten(2)) + self.region_position
        tokens = torch.cat([self.queries.expand(len(flow), -1, -1), table], dim=1)
        for block in self.blocks:
            tokens = block(tokens, maps)
        return tokens

    def _withhold(self, values: Tensor) -> Tensor:
        """In training, set an input to zero for some samples, including its availability flag."""
        if not self.training or self.withheld <= 0:
            return values
        # (B, 1, ..., 1): one draw for each clip.
        shape = (len(values), *(1,) * (values.dim() - 1))
        return values * (torch.rand(shape, device=values.device) >= self.withheld)


class ScanExpert(nn.Sequential):
    """FACET-VLM's tokens of a scan (B, N, W), taken to the experts' width."""

    def __init__(self, config: DeftConfig) -> None:
        super().__init__(
            nn.LayerNorm(config.scan_width), nn.Linear(config.scan_width, config.expert_dim)
        )


class DeftExperts(nn.Module):
    """The experts, each with a learned blank token for expert dropout and ablation."""

    def __init__(self, config: DeftConfig) -> None:
        super().__init__()
        self.expert_dropout, self.counts = config.expert_dropout, config.token_counts()
        self.dropout = nn.Dropout(config.dropout)
        self.structure: nn.Module = make_backbone("structure", config) or StructureExpert(config)
        self.texture: nn.Module = make_backbone("texture", config) or TextureExpert(config)
        self.motion = MotionExpert(config, make_backbone("motion", config))
        if config.scan_width:
            self.scan = ScanExpert(config)
        self.blank = nn.ParameterDict(
            {name: nn.Parameter(torch.zeros(config.expert_dim)) for name in config.token_counts()}
        )

    def train(self, mode: bool = True) -> DeftExperts:
        """Keep frozen encoders in evaluation mode; expert dropout still applies in training."""
        super().train(mode)
        if not any(parameter.requires_grad for parameter in self.parameters()):
            for child in self.children():
                child.eval()
        return self

    def forward(
        self,
        structure: Tensor,
        texture: Tensor,
        flow: Tensor,
        flow_scale: Tensor,
        regions: Tensor,
        scan: Tensor | None = None,
        ablate: tuple[str, ...] = (),
    ) -> dict[str, Tensor]:
        """Tokens of each expert.

        Args:
            structure: (B, 3, S, S).
            texture: (B, T, S, S).
            flow: (B, 2, 3, S, S).
            flow_scale: (B, 2, 4).
            regions: (B, 2, R, F).
            scan: (B, N, W) tokens of scans, all 0 for a clip without one; None where none has.
            ablate: Experts to replace by their blank token in all samples.

        Returns:
            Expert name -> (B, N, D).
        """
        tokens = {
            "structure": self._read("structure", ablate, structure),
            "texture": self._read("texture", ablate, texture),
            "motion": self._read("motion", ablate, flow, flow_scale, regions),
        }
        if SCAN in self.counts:
            tokens[SCAN] = self._of_scans(scan, ablate, len(structure))
        return self.dropped(tokens)

    def _of_scans(self, scan: Tensor | None, ablate: tuple[str, ...], clips: int) -> Tensor:
        """Tokens of the scans; the blank token for clips without one."""
        blank = self._blanks(SCAN, clips)
        if scan is None or SCAN in ablate:
            return blank
        there = scan.abs().amax(dim=(1, 2), keepdim=True) > 0
        return torch.where(there, self._read(SCAN, ablate, scan), blank)

    def _read(self, name: str, ablate: tuple[str, ...], *inputs: Tensor) -> Tensor:
        """Tokens of one expert; an ablated one does not read its input."""
        if name in ablate:
            return self._blanks(name, len(inputs[0]))
        expert = getattr(self, name)
        # Inputs are float32 as the feature extractor gives them, weights of any dtype.
        tokens: Tensor = self.dropout(expert(*(values.to(dtype_of(expert)) for values in inputs)))
        return tokens

    def _blanks(self, name: str, clips: int) -> Tensor:
        return self.blank[name].expand(clips, self.counts[name], -1)

    def ablated(self, tokens: dict[str, Tensor], ablate: tuple[str, ...]) -> dict[str, Tensor]:
        """Precomputed tokens with those of some experts replaced by their blank token."""
        return {
            name: self._blanks(name, len(values)) if name in ablate else values
            for name, values in tokens.items()
        }

    def dropped(self, tokens: dict[str, Tensor]) -> dict[str, Tensor]:
        """Expert dropout: in training, replace whole experts of some samples by their blank token.

        Args:
            tokens: Expert name -> (B, N, D); precomputed tokens are allowed.
        """
        kept = {}
        for name, values in tokens.items():
            off = torch.zeros(len(values), 1, 1, dtype=torch.bool, device=values.device)
            if self.training and self.expert_dropout > 0:
                off = torch.rand(off.shape, device=values.device) < self.expert_dropout
            kept[name] = torch.where(off, self.blank[name].to(values.dtype), values)
        return kept
