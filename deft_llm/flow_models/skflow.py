"""SRFlowNet's network: SKFlow, in its published size and in a small one for sub-pixel motion.

SRFlow (arXiv 2601.06479) trains SKFlow (arXiv 2205.14623) with face losses; the losses are in
``regularizers.py``. The defaults build the published network, 6,273,149 parameters. The width
multiplier, the finer grid (``stride=4``) and the first flow (``first_flow.py``) are our own
choice: with the first flow, the network starts as a damped Lucas-Kanade and learns corrections.

Letters: B batch, C channels, H x W pixels, h x w positions of the feature grid.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from deft_llm.config import Settings
from deft_llm.errors import UserError
from deft_llm.flow_models.blocks import Aggregate, Attention, Encoder, SuperKernelBlock, pooled
from deft_llm.flow_models.first_flow import FirstFlow, FirstFlowConfig

_COARSE = 8  # px per cell of the correlation


class SKFlowConfig(Settings):
    """Sizes of the network.

    Attributes:
        width: Multiplies every number of channels.
        stride: Pixels per cell of the updated grid; correlation stays at 8.
        attention_pool: Side, in cells, of the squares that attention averages; 1 for no pooling.
        levels: Levels of the correlation pyramid.
        radius: Lookup radius around the current match in cells, on each level.
        encoder_kernels: Depthwise kernels of the motion encoder and of the flow head.
        update_kernels: Depthwise kernels of the state update.
        attention: What the attention compares.
        positions: Largest grid side with learnt relative positions; 0 for none.
        first: Network for the flow that the updates start from; None starts from zero flow.
        iterations: Default number of updates.
    """

    width: float = Field(default=1.0, gt=0)
    stride: Literal[4, 8] = 8
    attention_pool: int = Field(default=1, ge=1)
    levels: int = Field(default=4, ge=1)
    radius: int = Field(default=4, ge=1)
    encoder_kernels: tuple[int, ...] = (1, 15)
    update_kernels: tuple[int, ...] = (1, 7)
    attention: Literal["content", "position", "both"] = "content"
    positions: int = Field(default=160, ge=0)
    first: FirstFlowConfig | None = None
    iterations: int = Field(default=12, ge=1)

    def channels(self, full: int) -> int:
        """Channels at this width, a multiple of 4."""
        return max(4, 4 * round(full * self.width / 4))


class SKFlow(nn.Module):
    """Dense flow by iterated updates on a grid of features.

    Args:
        config: Sizes; the published ones if None.
    """

    def __init__(self, config: SKFlowConfig | None = None) -> None:
        super().__init__()
        self.config = c = SKFlowConfig() if config is None else config
        if c.attention != "content" and (not c.positions or c.attention_pool > 1):
            raise UserError(
                f"skflow: attention {c.attention!r} with positions {c.positions} and "
                f"attention_pool {c.attention_pool}; expected positions > 0 and a pool of 1"
            )
        widths = [c.channels(n) for n in (64, 96, 128)]
        self.hidden = c.channels(128)
        self.features = Encoder(widths, c.channels(256), "instance", _COARSE)
        self.context = Encoder(widths, 2 * self.hidden, "batch", c.stride)
        self.attention = Attention(self.hidden, c.positions, c.attention, c.attention_pool)
        self.update = _Update(c, self.hidden)
        self.first = None if c.first is None else FirstFlow(c.first)

    def ends(self) -> list[nn.Module]:
        """First and last layers: those that read pixels or write the output."""
        found: list[nn.Module] = [self.features.stem, self.context.stem]
        found += [self.update.head.after[-1], self.update.mask[-1]]
        return found if self.first is None else [*found, self.first.image[0], self.first.leave]

    def forward(
        self, images1: Tensor, images2: Tensor, iterations: int | None = None
    ) -> list[Tensor]:
        """Flow after each pass of the first network, if there is one, and after each update.

        Args:
            images1: (B, 3, H, W) in 0..255; any size, edges are repeated up to whole cells.
            images2: The same shape and range.
            iterations: Number of updates; the config's if None.

        Returns:
            Flows (B, 2, H, W) in px; the last is the best.

        Raises:
            UserError: If the shapes differ, or the inputs are not batches of RGB images.
        """
        if images1.shape != images2.shape or images1.dim() != 4 or images1.shape[1] != 3:
            raise UserError(
                f"skflow: images of shapes {tuple(images1.shape)} and {tuple(images2.shape)}; "
                "expected two equal shapes (B, 3, H, W)"
            )
        height, width = images1.shape[2:]
        # Whole cells, and at least two: instance norm cannot normalise a single value.
        pad = [max(2 * _COARSE, n + -n % _COARSE) - n for n in (width, height)]
        edges = (pad[0] // 2, pad[0] - pad[0] // 2, pad[1] // 2, pad[1] - pad[1] // 2)
        images1, images2 = (F.pad(im, edges, mode="replicate") for im in (images1, images2))
        inside = (
            ...,
            slice(edges[2], edges[2] + height),
            slice(edges[0], edges[0] + width),
        )
        flows = self._iterate(images1, images2, iterations or self.config.iterations)
        return [flow[inside] for flow in flows]

    def _iterate(self, images1: Tensor, images2: Tensor, iterations: int) -> list[Tensor]:
        c = self.config
        scaled1, scaled2 = (2 * images / 255 - 1 for images in (images1, images2))
        # One call for both images; instance norm keeps their statistics apart.
        both = self.features(torch.cat([scaled1, scaled2]))
        features1, features2 = both.chunk(2)
        pyramid = correlation_pyramid(features1, features2, c.levels)
        state, context = self.context(scaled1).split(self.hidden, dim=1)
        state, context = torch.tanh(state), torch.relu(context)
        attention = self.attention(context)
        # In cells, u right, v down; float32 even under autocast, where the state is bfloat16: that
        # has three decimal digits, and a flow of hundredths of a pixel is added to positions.
        flow = images1.new_zeros(len(state), 2, *state.shape[2:])
        flows = []
        if self.first is not None:
            size, grid = images1.shape[2:], state.shape[2:]
            guesses = self.first(images1, images2)
            flows = [_resized(guess, size) for guess in guesses]
            flow = _resized(guesses[-1], grid) / c.stride
        for _ in range(iterations):
            # As in RAFT, gradients do not flow through the flow of earlier updates.
            flow = flow.detach()
            # Average to the grid of the correlation, and convert the values to its 8 px cells.
            coarse = pooled(flow, _COARSE // c.stride) * (c.stride / _COARSE)
            looked_up = look_up(pyramid, coarse, c.radius)
            state, change, mask = self.update(state, context, attention, looked_up, flow)
            flow = flow + change
            flows.append(upsample_convex(flow * c.stride, mask, c.stride))
        return flows


class _Update(nn.Module):
    """Motion encoder, aggregation, state update and heads."""

    def __init__(self, config: SKFlowConfig, hidden: int) -> None:
        super().__init__()
        c, big, small = config, config.encoder_kernels, config.update_kernels
        self.stride = c.stride
        looked_up = c.levels * (2 * c.radius + 1) ** 2
        wide, half = c.channels(256), c.channels(64)
        correlation = c.channels(192)
        self.correlation = nn.Sequential(
            SuperKernelBlock(looked_up, wide, big),
            nn.GELU(),
            SuperKernelBlock(wide, correlation, big),
        )
        self.flow = nn.Sequential(nn.Conv2d(2, hidden, 1), SuperKernelBlock(hidden, half, big))
        # Two channels fewer: forward appends the flow itself.
        self.motion = SuperKernelBlock(correlation + half, hidden - 2, big)
        self.aggregate = Aggregate(hidden, c.attention_pool)
        self.state = SuperKernelBlock(4 * hidden, hidden, small)
        self.head = SuperKernelBlock(hidden, 2, big)
        self.mask = nn.Sequential(
            nn.Conv2d(hidden, wide, 3, padding=1), nn.ReLU(), nn.Conv2d(wide, 9 * c.stride**2, 1)
        )
        if c.first is not None:  # zero updates at first, so that they do not spoil the first flow
            last = self.head.after[-1]
            assert isinstance(last, nn.Conv2d) and last.bias is not None
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)

    def forward(
        self,
        state: Tensor,
        context: Tensor,
        attention: Tensor,
        looked_up: Tensor,
        flow: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """One update: new state, change of flow (cells) and upsampling mask."""
        correlation = self.correlation(looked_up)
        if self.stride != _COARSE:
            size = state.shape[2:]
            correlation = F.interpolate(correlation, size=size, mode="bilinear")
        seen = torch.cat([correlation, self.flow(flow)], dim=1)
        motion = torch.cat([self.motion(seen), flow], dim=1)
        gathered = self.aggregate(attention, motion)
        state = self.state(torch.cat([state, context, motion, gathered], dim=1))
        # RAFT's factor, which balances the gradients of the mask.
        return state, self.head(state), 0.25 * self.mask(state)


def _resized(flow: Tensor, size: Sequence[int]) -> Tensor:
    """Resample a flow field to another grid; its values stay in their units."""
    return F.interpolate(flow, size=tuple(size), mode="bilinear", align_corners=False)


def correlation_pyramid(features1: Tensor, features2: Tensor, levels: int) -> list[Tensor]:
    """All-pairs dot products divided by the square root of C, averaged 2 x 2 per level.

    A level with an odd side has half as many cells, rounded down, which share cells of that level
    where they meet; ``look_up`` takes them to lie as those of an even side do.

    Returns:
        For each level (B h w, 1, h / 2^l, w / 2^l).
    """
    batch, channels, height, width = features1.shape
    product = features1.flatten(2).transpose(1, 2) @ features2.flatten(2) / channels**0.5
    pyramid = [product.reshape(batch * height * width, 1, height, width)]
    while len(pyramid) < levels:
        # Small images: a side of one cell cannot be halved any more.
        rows, columns = (max(1, n // 2) for n in pyramid[-1].shape[2:])
        pyramid.append(F.adaptive_avg_pool2d(pyramid[-1], (rows, columns)))
    return pyramid


def look_up(pyramid: list[Tensor], flow: Tensor, radius: int) -> Tensor:
    """Correlation around the current match on every level, (B, levels (2 radius + 1)^2, h, w)."""
    batch, _, height, width = flow.shape
    y, x = torch.meshgrid(
        torch.arange(height, device=flow.device, dtype=flow.dtype),
        torch.arange(width, device=flow.device, dtype=flow.dtype),
        indexing="ij",
    )
    match = (flow + torch.stack([x, y])).permute(0, 2, 3, 1).reshape(-1, 1, 1, 2)
    side = torch.arange(-radius, radius + 1, device=flow.device, dtype=flow.dtype)
    around = torch.stack(torch.meshgrid(side, side, indexing="xy"), dim=-1)
    rows = []
    for level, correlation in enumerate(pyramid):
        # (width, height): grid_sample expects x first.
        size = flow.new_tensor(correlation.shape[:1:-1])
        # Averaging puts cell i of level l at (i + 0.5) 2^l - 0.5 on the finest grid; invert that.
        centre = (match + 0.5) / 2**level - 0.5
        grid = (2 * (centre + around) + 1) / size - 1
        found = F.grid_sample(correlation, grid, align_corners=False)
        rows.append(found.reshape(batch, height, width, -1))
    return torch.cat(rows, dim=-1).permute(0, 3, 1, 2)


def upsample_convex(flow: Tensor, mask: Tensor, stride: int) -> Tensor:
    """Upsample: each pixel is a convex combination of the 3 x 3 cells around it.

    Args:
        flow: (B, 2, h, w), px.
        mask: (B, 9 stride^2, h, w), logits of the weights.
        stride: Pixels per cell.

    Returns:
        (B, 2, stride h, stride w), px.
    """
    batch, _, height, width = flow.shape
    weights = torch.softmax(mask.reshape(batch, 1, 9, stride, stride, height, width), dim=2)
    # RAFT pads with zeros here, which would pull the flow at the image border towards zero.
    around = F.unfold(F.pad(flow, (1, 1, 1, 1), mode="replicate"), 3)
    around = around.reshape(batch, 2, 9, 1, 1, height, width)
    dense = (weights * around).sum(2).permute(0, 1, 4, 2, 5, 3)
    return dense.reshape(batch, 2, stride * height, stride * width)
