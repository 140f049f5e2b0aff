"""FMANet: both phases of an expression, gated by motion, fused and attended (arXiv 2510.07810).

Nguyen et al., "FMANet: A Novel Dual-Phase Optical Flow Approach with Fusion Motion Attention
Network for Robust Micro-expression Recognition". Only the abstract and summaries are public. They
describe two streams over the flows onset to apex and apex to offset, a learnt magnitude modulation
(MM-COF has a fixed one), adaptive fusion of the phases, attention to regions that move, and a
classifier trained with cross-entropy. The ResNet-18 layout, the inside of every block, the sizes
and the ablations are our own choice; weights start at random.

B clips, C channels, (h, w) a feature map. The flow is encoded (``flow_dual``, signed square
roots of u, v, strain; the strain is not used)::

    both phases (B, 2, S, S) -> stem -> (B, C, h, w) -> x (1 + gate of |flow|)   each phase
    -> weighted sum of the phases, weights per clip and channel -> x (1 + attention)
    -> trunk -> mean -> dropout -> class logits
"""

from __future__ import annotations

from typing import ClassVar, Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from deft_llm.errors import UserError
from deft_llm.motion.mm_cof import length, mm_cof, unit_range
from deft_llm.recognizers.base import Inputs, Recognizer
from deft_llm.recognizers.layers import SeededDropout

Phases = Literal["dual", "first", "second", "sum", "cof", "mm_cof"]
PHASES: tuple[str, ...] = get_args(Phases)


class BasicBlock(nn.Module):
    """Two 3x3 convolutions around a shortcut (He et al., CVPR 2016), as in ResNet-18."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(before, after, 3, stride, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(after)
        self.conv2 = nn.Conv2d(after, after, 3, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(after)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or before != after:
            projection = nn.Conv2d(before, after, 1, stride, bias=False)
            self.shortcut = nn.Sequential(projection, nn.BatchNorm2d(after))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, h, w) to (B, C', h / stride, w / stride)."""
        y = self.norm2(self.conv2(F.relu(self.norm1(self.conv1(x)))))
        return F.relu(y + self.shortcut(x))


def layer(before: int, after: int, stride: int) -> nn.Sequential:
    """A ResNet-18 layer."""
    return nn.Sequential(BasicBlock(before, after, stride), BasicBlock(after, after, 1))


def stem(width: int) -> nn.Sequential:
    """ResNet-18 up to its second layer: (B, 3, S, S) to (B, 2 width, S / 8, S / 8)."""
    # Phases are fused after the second layer, where maps still have S / 8 cells along a side.
    return nn.Sequential(
        nn.Conv2d(3, width, 7, 2, 3, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(),
        nn.MaxPool2d(3, 2, 1),
        layer(width, width, 1),
        layer(width, 2 * width, 2),
    )


class MagnitudeGate(nn.Module):
    """Learnt magnitude modulation: a map in 0..1 from the normalised magnitude."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Conv2d(1, 16, 3, 1, 1), nn.ReLU(), nn.Conv2d(16, 1, 3, 1, 1))

    def forward(self, magnitude: Tensor) -> Tensor:
        """(B, 1, h, w) to (B, 1, h, w)."""
        gate: Tensor = torch.sigmoid(self.net(magnitude))
        return gate


class PhaseFusion(nn.Module):
    """Learnt weights of the two phases for each clip and channel, in place of MM-COF's theta."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        hidden = max(channels // 4, 8)
        self.net = nn.Sequential(
            nn.Linear(2 * channels, hidden), nn.ReLU(), nn.Linear(hidden, 2 * channels)
        )

    def forward(self, onset_phase: Tensor, offset_phase: Tensor) -> tuple[Tensor, Tensor]:
        """Weighted sum of two maps (B, C, h, w), and the weights (B, 2, C), which sum to 1."""
        means = torch.cat([onset_phase.mean((2, 3)), offset_phase.mean((2, 3))], dim=1)
        weights = self.net(means).unflatten(1, (2, -1)).softmax(dim=1)
        return torch.einsum(
            # b clip, p phase, c channel: the softmax runs over p, so each channel mixes the phases.
            "bpc,bpchw->bchw",
            weights,
            torch.stack([onset_phase, offset_phase], 1),
        ), weights


class MotionAttention(nn.Module):
    """Spatial attention from the features and the magnitude of motion: a map in 0..1."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 1, 7, 1, 3)

    def forward(self, x: Tensor, magnitude: Tensor) -> Tensor:
        """(B, C, h, w) and (B, 1, h, w) to (B, 1, h, w)."""
        seen = torch.cat([x.amax(1, keepdim=True), x.mean(1, keepdim=True), magnitude], dim=1)
        return torch.sigmoid(self.conv(seen))


class FMANet(Recognizer):
    """The network; options remove its parts for ablation.

    Attributes:
        feature_dim: Width of the tokens, ``8 * width``.
    """

    inputs: ClassVar[tuple[str, ...]] = ("flow_dual",)

    def __init__(
        self,
        classes: int,
        width: int = 64,
        phases: Phases = "dual",
        gate: bool = True,
        attention: bool = True,
        shared_stem: bool = True,
        dropout: float = 0.5,
    ) -> None:
        """Build the network; 11.2 million parameters by default.

        Args:
            classes: Number of classes.
            width: Channels of the first layer; 64 is ResNet-18's.
            phases: "dual" fuses both phases. The others use one stream without fusion, over the
                "first" or the "second" phase, their "sum" (flows added), or the fixed
                descriptors "cof" and "mm_cof".
            gate: Modulate features by magnitude.
            attention: Attend to moving regions.
            shared_stem: Use one stem for both phases; otherwise each has its own.
            dropout: Rate before the classifier.

        Raises:
            UserError: If ``phases`` is unknown.
        """
        super().__init__()
        if phases not in PHASES:
            raise UserError(f"fmanet: phases {phases!r}; expected one of {', '.join(PHASES)}")
        self.phases = phases
        self.feature_dim = 8 * width
        streams = 2 if phases == "dual" else 1
        self.stems = nn.ModuleList(stem(width) for _ in range(1 if shared_stem else streams))
        self.gate = MagnitudeGate() if gate else None
        self.fusion = PhaseFusion(2 * width) if streams == 2 else None
        self.attention = MotionAttention() if attention else None
        self.trunk = nn.Sequential(layer(2 * width, 4 * width, 2), layer(4 * width, 8 * width, 2))
        self.classifier = nn.Linear(8 * width, classes)
        # Last, as it draws from the stream of the initial weights.
        self.dropout = SeededDropout(dropout)

    def forward(self, inputs: Inputs) -> Tensor:
        """Class logits (B, classes) of ``flow_dual`` (B, 2, 3, S, S)."""
        logits: Tensor = self.classifier(self.dropout(self.forward_features(inputs).mean(1)))
        return logits

    def forward_features(self, inputs: Inputs) -> Tensor:
        """Tokens (B, N, D): the (S / 32)² cells of the last map, row by row."""
        tokens: Tensor = self.trunk(self._attended(inputs)[0]).flatten(2).transpose(1, 2)
        return tokens

    @torch.no_grad()
    def inspect(self, inputs: Inputs) -> dict[str, Tensor]:
        """Gates, fusion weights and attention, for plots.

        Returns:
            "gates" (B, phases, h, w), "weights" (B, 2, C) and "attention" (B, h, w), each in 0..1;
            without the parts that this network lacks.
        """
        return self._attended(inputs)[1]

    def _attended(self, inputs: Inputs) -> tuple[Tensor, dict[str, Tensor]]:
        """Input of the trunk (B, C, h, w), and the maps and weights that shaped it."""
        maps: list[Tensor] = []
        magnitudes: list[Tensor] = []
        gates: list[Tensor] = []
        seen: dict[str, Tensor] = {}
        for k, picture in enumerate(self._streams(inputs["flow_dual"])):
            # One stem for both phases, or each its own.
            x = self.stems[k % len(self.stems)](picture)
            # Undo the square root first: the third channel is the root of the magnitude.
            moved = unit_range(F.adaptive_avg_pool2d(picture[:, 2:].square(), x.shape[-2:]))
            if self.gate is not None:
                gates.append(self.gate(moved))
                x = x * (1 + gates[-1])  # 1 +: still regions keep their features, moving ones gain
            maps.append(x)
            magnitudes.append(moved)
        if gates:
            seen["gates"] = torch.cat(gates, 1)
        fused = maps[0]
        if self.fusion is not None:
            fused, seen["weights"] = self.fusion(*maps)
        if self.attention is not None:
            # Attends to where either phase moved.
            where = self.attention(fused, torch.stack(magnitudes).mean(0))
            # 1 + as in the gate: attention can raise cells but not remove them.
            fused, seen["attention"] = fused * (1 + where), where[:, 0]
        return fused, seen

    def _streams(self, encoded: Tensor) -> list[Tensor]:
        """Input images (B, 3, S, S) of the stems, one for each stream."""
        # Undo the signed square root: phases must be added and combined as linear flow.
        flow = encoded[:, :, :2] * encoded[:, :, :2].abs()
        onset_phase, offset_phase = flow.unbind(1)
        if self.phases in ("cof", "mm_cof"):
            how: Literal["none", "step"] = "none" if self.phases == "cof" else "step"
            return [_signed_sqrt(mm_cof(onset_phase, offset_phase, modulation=how))]
        chosen = {
            "dual": [onset_phase, offset_phase],
            "first": [onset_phase],
            "second": [offset_phase],
            "sum": [onset_phase + offset_phase],
        }
        return [
            _signed_sqrt(torch.cat([f, length(f)[:, None]], dim=1)) for f in chosen[self.phases]
        ]


def _signed_sqrt(x: Tensor) -> Tensor:
    return x.sign() * x.abs().sqrt()
