"""A first flow for SRFlowNet: a U-Net on photometric evidence (``photometric.py``).

Feature correlations resolve motion of a tenth of a pixel only after very long training. A few
passes of this network combine Lucas-Kanade steps at several window sizes. From the texture and the
surrounding face, it learns which steps to trust and what to predict where there is no texture.
SKFlow's updates continue from this flow. This is our own addition, for the small network.

Letters: B batch, C channels, H x W pixels, h x w cells of ``STRIDE`` pixels.
"""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from deft_llm.config import Settings
from deft_llm.flow_models.photometric import (
    WINDOW_FEATURES,
    lucas_kanade_steps,
    similarity_flow,
    smooth_grey,
)

STRIDE = 4
_GATE = 0.75  # sum of the windows' gates before training; below 1 damps the steps
_IMAGE = 32  # channels of the face's own features


class FirstFlowConfig(Settings):
    """Sizes of the first flow's network.

    Attributes:
        widths: Channels of the levels of the U-Net, fine to coarse.
        windows: Standard deviations, px, of the windows of the Lucas-Kanade steps.
        passes: Number of refinement passes, with shared weights.
        aligned: At inference, start from the similarity that fits the whole image. Training still
            starts from zero flow, because learning from the larger motion gives the better network
            (on held-out faces 0.047 px; 0.054 px if trained further with it; 0.052 px without it).
    """

    widths: tuple[int, ...] = Field(default=(48, 72, 96, 128), min_length=1)
    windows: tuple[float, ...] = Field(default=(2.5, 5.0, 10.0, 20.0, 40.0), min_length=1)
    passes: int = Field(default=2, ge=1)
    aligned: bool = False


class FirstFlow(nn.Module):
    """Flow on the grid of cells from two images; starts as a damped Lucas-Kanade.

    Args:
        config: Sizes.
    """

    def __init__(self, config: FirstFlowConfig) -> None:
        super().__init__()
        self.config = config
        widths, count = config.widths, len(config.windows)
        self.image = nn.Sequential(
            nn.Conv2d(3, _IMAGE, STRIDE, STRIDE),
            nn.GELU(),
            nn.Conv2d(_IMAGE, _IMAGE, 3, padding=1),
            nn.GELU(),
        )
        self.enter = nn.Conv2d(WINDOW_FEATURES * count + 2 + _IMAGE, widths[0], 3, padding=1)
        self.falling = nn.ModuleList(_Block(width) for width in widths)
        levels = list(pairwise(widths))
        self.coarser = nn.ModuleList(nn.Conv2d(a, b, 3, 2, padding=1) for a, b in levels)
        self.bottom = _Block(widths[-1])
        self.finer = nn.ModuleList(nn.Conv2d(b, a, 1) for a, b in reversed(levels))
        self.rising = nn.ModuleList(_Block(a) for a, _ in reversed(levels))
        # Two channels change the flow, the others gate the windows' steps.
        self.leave = nn.Conv2d(widths[0], 2 + count, 3, padding=1)
        assert self.leave.bias is not None
        nn.init.zeros_(self.leave.weight)
        nn.init.zeros_(self.leave.bias)
        nn.init.constant_(self.leave.bias[2:], _GATE / count)

    def forward(self, images1: Tensor, images2: Tensor) -> list[Tensor]:
        """Flow after each pass.

        Args:
            images1: (B, 3, H, W) in 0..255, sides multiples of ``STRIDE``.
            images2: The same shape and range.

        Returns:
            Flows (B, 2, h, w) in px of the images; the last is the best.
        """
        face = self.image(images1 / 128 - 1)
        # Not under autocast: in bfloat16 a light grey is known to one level, and a motion of a
        # tenth of a pixel changes it by less.
        exactly = torch.autocast(images1.device.type, enabled=False)
        with exactly:
            grey1, grey2 = smooth_grey(images1), smooth_grey(images2)
        if self.config.aligned and not self.training:
            with torch.no_grad(), exactly:
                flow = similarity_flow(grey1, grey2, STRIDE)
        else:
            # Of the images, as the features may be bfloat16.
            flow = images1.new_zeros(len(face), 2, *face.shape[2:])
        flows = []
        for _ in range(self.config.passes):
            # No gradient through warping and Lucas-Kanade: each pass learns from its own output.
            flow = flow.detach()
            with torch.no_grad(), exactly:
                steps, evidence = lucas_kanade_steps(
                    grey1, grey2, flow, STRIDE, self.config.windows
                )
            change = self._judge(torch.cat([evidence, flow, face], dim=1))
            gates = change[:, 2:, None]
            flow = flow + change[:, :2] + (gates * steps).sum(1)
            flows.append(flow)
        return flows

    def _judge(self, x: Tensor) -> Tensor:
        """Run the U-Net: a change of the flow and a gate for each window's step."""
        x = self.enter(x)
        kept = []
        for block, coarser in zip(self.falling[:-1], self.coarser, strict=True):
            kept.append(block(x))
            x = coarser(kept[-1])
        x = self.bottom(self.falling[-1](x))
        for block, finer, seen in zip(self.rising, self.finer, kept[::-1], strict=True):
            # With an odd number of cells, the finer level is not exactly twice as large.
            x = F.interpolate(finer(x), size=seen.shape[2:], mode="bilinear", align_corners=False)
            x = block(x + seen)
        out: Tensor = self.leave(x)
        return out


class _Block(nn.Module):
    """Two 3x3 convolutions with a skip connection, normalised over the channels of each cell.

    Statistics over the image would depend on the crop and on the share of it that is face.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, h, w) -> the same."""
        y = self.norm(x.movedim(1, -1)).movedim(-1, 1)
        out: Tensor = x + self.second(F.gelu(self.first(y)))
        return out
