"""A small network that finds 68 landmarks in a crop and predicts the error of each.

A one-level hourglass with residual blocks. Each landmark is the centre of mass of a heatmap
(integral regression, Sun et al., ECCV 2018). Its error is the scale of a Laplace distribution,
read from the features under the heatmap (our own choice, as are all sizes). The network sees grey
levels twice: normalised by the mean and spread of the whole crop, and by those of the
neighbourhood, which removes light and skin tone.

B crops, S side in px, C channels, N = 68.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from deft_llm.config import Settings

POINTS = 68
_LOG_SCALE = (-5.0, 1.0)  # bounds of the log of the Laplace scale


class LandmarkConfig(Settings):
    """Sizes of the network.

    Attributes:
        side: Side of the crops, px; a multiple of 16.
        width: Channels at a quarter of the side; twice and four times as many below.
        blocks: Residual blocks on each level.
    """

    side: int = Field(default=96, ge=32, multiple_of=16)
    width: int = Field(default=24, ge=4, multiple_of=4)
    blocks: int = Field(default=2, ge=1)


class Placed(NamedTuple):
    """Output of the network.

    Attributes:
        points: (B, N, 2), px of the crop, x before y.
        log_scale: (B, N), log of the Laplace scale b of either coordinate, in sixteenths of the
            crop's side; the expected RMS error of a point is 2 b.
    """

    points: Tensor
    log_scale: Tensor


class LandmarkNet(nn.Module):
    """The network; see the module's docstring.

    Args:
        config: Sizes of the network.
    """

    def __init__(self, config: LandmarkConfig) -> None:
        super().__init__()
        self.config = config
        w = config.width
        self.stem = nn.Sequential(
            nn.Conv2d(2, w // 2, 5, 2, 2, bias=False), nn.BatchNorm2d(w // 2), nn.ReLU(),
            nn.Conv2d(w // 2, w, 3, 2, 1, bias=False), nn.BatchNorm2d(w), nn.ReLU(),
        )  # fmt: skip
        self.fine = _blocks(w, w, 1, 1)
        self.middle = _blocks(w, 2 * w, 2, config.blocks)
        self.coarse = _blocks(2 * w, 4 * w, 2, config.blocks)
        self.from_coarse = nn.Conv2d(4 * w, 2 * w, 1)
        self.merge = _blocks(2 * w, 2 * w, 1, 1)
        self.from_middle = nn.Conv2d(2 * w, 2 * w, 1)
        self.from_fine = nn.Conv2d(w, 2 * w, 1)
        self.mix = nn.Sequential(
            nn.Conv2d(2 * w, 2 * w, 3, 1, 1, bias=False), nn.BatchNorm2d(2 * w), nn.ReLU()
        )
        self.heat = nn.Conv2d(2 * w, POINTS, 1)
        # Zero weights: at the start every crop gets the same error, that of the bias.
        self.sureness = nn.Parameter(torch.zeros(POINTS, 2 * w))
        self.sureness_bias = nn.Parameter(torch.full((POINTS,), -1.0))

    def forward(self, crops: Tensor) -> Placed:
        """Find the landmarks.

        Args:
            crops: (B, 1, S, S), grey levels 0..255, any floating or uint8 type.
        """
        fine = self.fine(self.stem(_views(crops.float())))
        middle = self.middle(fine)
        coarse = F.interpolate(self.from_coarse(self.coarse(middle)), scale_factor=2.0)
        middle = self.merge(middle + coarse)
        lifted = F.interpolate(
            self.from_middle(middle), scale_factor=2.0, mode="bilinear", align_corners=False
        )
        features = self.mix(lifted + self.from_fine(fine))
        heat = self.heat(features)
        # Not under autocast, which multiplies in bfloat16: places from 64 px on would be halves.
        with torch.autocast(crops.device.type, enabled=False):
            return self._placed(heat.float(), features.float(), crops.shape[-1])

    def _placed(self, heat: Tensor, features: Tensor, side: int) -> Placed:
        """Centres of mass of the heatmaps (B, N, h, h), and what the features say of the errors."""
        heat = heat.flatten(2).softmax(-1)  # (B, N, cells)
        cells = features.shape[-1]
        # Pixel coordinates of the cells' centres; pixel centres are integers.
        places = (torch.arange(cells, device=heat.device) + 0.5) * (side / cells) - 0.5
        grid = torch.stack(torch.meshgrid(places, places, indexing="xy"), -1).view(-1, 2)
        under = torch.einsum("bnk,bck->bnc", heat, features.flatten(2))
        # The variance is 2 b^2 in each of two coordinates, hence an RMS error of 2 b for a point.
        log_scale = (under * self.sureness).sum(-1) + self.sureness_bias
        return Placed(heat @ grid, log_scale.clamp(*_LOG_SCALE))


def _views(crops: Tensor) -> Tensor:
    """Grey levels normalised by global and by local mean and spread: (B, 2, S, S)."""
    mean = crops.mean((2, 3), keepdim=True)
    # 4 grey levels keep the noise of flat crops from being blown up.
    spread = crops.std((2, 3), keepdim=True) + 4.0
    detail = crops - _around(crops)
    local = detail / (_around(detail * detail).sqrt() + 4.0)
    return torch.cat([(crops - mean) / spread, local], 1)


def _around(x: Tensor) -> Tensor:
    """Mean over a neighbourhood of 3 x 3 blocks, each a sixteenth of the side, interpolated."""
    blocks = F.avg_pool2d(x, x.shape[-1] // 16)
    smooth = F.avg_pool2d(blocks, 3, 1, 1, count_include_pad=False)
    return F.interpolate(smooth, size=x.shape[-2:], mode="bilinear", align_corners=False)


class _Residual(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels, channels, 3, 1, 1, bias=False), nn.BatchNorm2d(channels), nn.ReLU(),
            nn.Conv2d(channels, channels, 3, 1, 1, bias=False), nn.BatchNorm2d(channels),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x + self.body(x))


def _blocks(before: int, after: int, stride: int, count: int) -> nn.Sequential:
    blocks: list[nn.Module] = []
    if before != after or stride != 1:
        blocks += [
            nn.Conv2d(before, after, 3, stride, 1, bias=False), nn.BatchNorm2d(after), nn.ReLU()
        ]  # fmt: skip
    return nn.Sequential(*blocks, *(_Residual(after) for _ in range(count)))


def laplace_loss(placed: Placed, points: Tensor, side: int) -> dict[str, Tensor]:
    """Negative log likelihood under Laplace errors, plus the plain distance for stability.

    Args:
        placed: Output of the network.
        points: (B, N, 2) true, px of the crop; points outside the crop are ignored.
        side: Side of the crop, px.

    Returns:
        "loss"; "distance", the mean error in px; "nll".
    """
    inside = ((points >= 0) & (points <= side - 1)).all(-1)
    error = (placed.points - points).abs() * (16 / side)
    # Two coordinates share one scale b: |e| / b + log b each; constants are left out.
    nll = error.sum(-1) * torch.exp(-placed.log_scale) + 2 * placed.log_scale
    plain = error.sum(-1)
    distance = (placed.points - points).norm(dim=-1)
    # A batch without any point inside must not divide by 0.
    count = inside.sum().clamp_min(1)
    nll, plain, distance = (((x * inside).sum() / count) for x in (nll, plain, distance))
    return {"loss": nll + plain, "distance": distance.detach(), "nll": nll.detach()}
