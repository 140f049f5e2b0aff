"""MOL's flow head: a FlowNetC with batch normalisation on two frames and their features.

After Dosovitskiy et al., "FlowNet" (ICCV 2015), as the public code of MOL uses it: a full encoder
and decoder, of which only the finest flow is kept. The release searches 20 cells of 8 pixels to
each side, further than its image is wide; the default looks 4 cells around, at a quarter of the
width, and starts from zero flow.

Letters: B pairs, C channels, S = 128 side of a frame in pixels, 16 side of the features.
"""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor, nn
from torch.nn import functional as F

_SLOPE = 0.1  # of the leaky ReLU


@lru_cache(maxsize=8)
def _cells(side: int, patch: int, dilation: int) -> Tensor:
    """(patch², side²): index of the displaced cell; side², one past the last, where it is outside.

    The displacements run row by row.
    """
    steps = (torch.arange(patch) - (patch - 1) // 2) * dilation
    y, x = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    rows = y.flatten() + steps[:, None]
    columns = x.flatten() + steps[:, None]
    rows, columns = rows[:, None].expand(-1, patch, -1), columns[None].expand(patch, -1, -1)
    inside = (rows >= 0) & (rows < side) & (columns >= 0) & (columns < side)
    return torch.where(inside, rows * side + columns, side * side).flatten(0, 1)


def correlation(first: Tensor, second: Tensor, patch: int, dilation: int) -> Tensor:
    """Mean product of each feature with the displaced features of the other image.

    Args:
        first: (B, C, S, S).
        second: (B, C, S, S).
        patch: Displacements along an axis; odd.
        dilation: Cells from one displacement to the next.

    Returns:
        (B, patch², S, S); 0 where the displaced cell lies outside.
    """
    side = first.shape[-1]
    # All pairs of cells in one product; at this size it is cheaper than the displaced copies.
    pairs = first.flatten(2).transpose(1, 2) @ second.flatten(2) / first.shape[1]
    index = _cells(side, patch, dilation).to(first.device).T.expand(len(first), -1, -1)
    # A column of zeros more: the cell that stands for all outside.
    found = F.pad(pairs, (0, 1)).gather(2, index)
    return found.transpose(1, 2).unflatten(2, (side, side))


def _conv(before: int, after: int, kernel: int = 3, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(before, after, kernel, stride, (kernel - 1) // 2, bias=False),
        nn.BatchNorm2d(after),
        nn.LeakyReLU(_SLOPE),
    )


def _flow_of(channels: int) -> nn.Conv2d:
    return nn.Conv2d(channels, 2, 3, padding=1, bias=False)


class _Finer(nn.Module):
    """One level of the decoder: coarse features and their flow to twice the side."""

    def __init__(self, coarse: int, after: int) -> None:
        super().__init__()
        self.flow = _flow_of(coarse)
        self.lift_flow = nn.ConvTranspose2d(2, 2, 4, 2, 1, bias=False)
        self.lift = nn.ConvTranspose2d(coarse, after, 4, 2, 1, bias=False)

    def forward(self, coarse: Tensor, skip: Tensor) -> Tensor:
        lifted = F.leaky_relu(self.lift(coarse), _SLOPE)
        return torch.cat([skip, lifted, self.lift_flow(self.flow(coarse))], 1)


class FlowHead(nn.Module):
    """Flow between two frames; 39,730,282 parameters with the release's settings.

    Args:
        features: Channels of the features of both frames together.
        width: Multiplies the number of channels.
        patch: Displacements of the correlation along an axis.
        dilation: Cells of 8 pixels from one displacement to the next.
        from_zero: Start with zero flow.
    """

    def __init__(
        self,
        features: int,
        width: float = 0.25,
        patch: int = 9,
        dilation: int = 1,
        from_zero: bool = True,
    ) -> None:
        super().__init__()
        self.patch, self.dilation = patch, dilation
        # The channels of FlowNetC.
        c1, c2, c3, redir, c5, c6 = (round(width * c) for c in (64, 128, 256, 32, 512, 1024))
        self.conv1, self.conv2, self.conv3 = (
            _conv(1, c1, 6, 2),
            _conv(c1, c2, 4, 2),
            _conv(c2, c3, 2, 2),
        )
        self.redirect = _conv(c3, redir, 1)
        self.joined = _conv(redir + patch * patch + features, c3)
        self.conv4 = nn.Sequential(_conv(c3, c5, stride=2), _conv(c5, c5))
        self.conv5 = nn.Sequential(_conv(c5, c5, stride=2), _conv(c5, c5))
        self.conv6 = nn.Sequential(_conv(c5, c6, stride=2), _conv(c6, c6))
        lifted = (c5, c3, c2, c2, c1, redir)  # channels of the lifted features, coarse to fine
        skips = (c5, c5, c3, c2, c1, 1)
        # Skip, lifted features and the lifted flow (2) are joined at every level.
        coarse = (c6, *(s + u + 2 for s, u in zip(skips, lifted, strict=True)))
        self.levels = nn.ModuleList(map(_Finer, coarse, lifted))
        self.finest = _flow_of(coarse[-1])
        self._draw(from_zero)

    def _draw(self, from_zero: bool) -> None:
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
                nn.init.kaiming_normal_(layer.weight, _SLOPE)
        if from_zero:
            # The first answer is no motion, which between neighbours is nearly right.
            nn.init.zeros_(self.finest.weight)

    def forward(self, first: Tensor, second: Tensor, features: Tensor) -> Tensor:
        """Flow (B, 2, 128, 128) in pixels.

        Args:
            first: (B, 1, 128, 128).
            second: (B, 1, 128, 128).
            features: (B, features, 16, 16) of both.
        """
        half = self.conv1(first)
        quarter = self.conv2(half)
        eighth = self.conv3(quarter)
        # By the same convolutions, so that the features of both frames can be compared.
        other = self.conv3(self.conv2(self.conv1(second)))
        alike = F.leaky_relu(correlation(eighth, other, self.patch, self.dilation), _SLOPE)
        x3 = self.joined(torch.cat([self.redirect(eighth), alike, features], 1))
        x4 = self.conv4(x3)
        x5 = self.conv5(x4)
        x = self.conv6(x5)
        for level, skip in zip(self.levels, (x5, x4, x3, quarter, half, first), strict=True):
            x = level(x, skip)
        flow: Tensor = self.finest(x)
        return flow
