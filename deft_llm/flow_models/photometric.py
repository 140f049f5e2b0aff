"""What brightness alone says of the motion that is left: Lucas-Kanade steps as a network's input.

The linearised brightness constancy measures motion of a fraction of a pixel directly; a network
(`first_flow.py`) then learns where to trust it. Nothing in here is learnt.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

FEATURES = 5  # of each window: u, v, two measures of the texture, one of what does not fit
_LUMA = (0.299, 0.587, 0.114)
_SMOOTH = (1 / 16, 4 / 16, 6 / 16, 4 / 16, 1 / 16)  # binomial, about SD 1 px
_LIGHT = 3.0  # SD of the window over which a change of brightness is light, cells
_DAMPING = 4.0  # added to the structure tensor, squared grey levels per px
_LONGEST = 4.0  # px a step may have


def smooth_grey(images: Tensor) -> Tensor:
    """Luma of (B, 3, H, W) images in 0..255, lightly smoothed: (B, 1, H, W)."""
    luma = images.new_tensor(_LUMA).reshape(1, 3, 1, 1)
    return _separable((images * luma).sum(1, keepdim=True), images.new_tensor(_SMOOTH))


def lucas_kanade_steps(
    grey1: Tensor, grey2: Tensor, flow: Tensor, stride: int, windows: Sequence[float]
) -> tuple[Tensor, Tensor]:
    """Steps that would carry on from a flow, at several window sizes.

    Args:
        grey1: (B, 1, H, W) of :func:`smooth_grey`, sides multiples of ``stride``.
        grey2: Like it.
        flow: (B, 2, h, w) so far, px of the images; h = H / stride.
        stride: Pixels of a cell.
        windows: K standard deviations of Gaussian windows, px.

    Returns:
        Steps (B, K, 2, h, w) in px, and features (B, 5 K, h, w): the steps; logarithms of the
        structure tensor's trace and of its smaller eigenvalue, bounded from below by the damping;
        and of the squared difference that remains.
    """
    height, width = grey1.shape[2:]
    dense = F.interpolate(flow, size=(height, width), mode="bilinear", align_corners=False)
    carried = carry(grey2, dense)
    difference = grey1 - carried
    light = _gaussian(F.avg_pool2d(difference, stride), _LIGHT)
    difference = difference - F.interpolate(light, size=(height, width), mode="bilinear")
    dx, dy = _gradients((grey1 + carried) / 2)
    products = [dx * dx, dx * dy, dy * dy, dx * difference, dy * difference, difference**2]
    pooled = F.avg_pool2d(torch.cat(products, dim=1), stride)
    steps, features = [], []
    for window in windows:
        xx, xy, yy, bx, by, rest = _gaussian(pooled, window / stride).chunk(6, dim=1)
        xx, yy = xx + _DAMPING, yy + _DAMPING
        determinant, trace = xx * yy - xy * xy, xx + yy
        step = torch.cat([yy * bx - xy * by, xx * by - xy * bx], dim=1) / determinant
        step = step.clamp(-_LONGEST, _LONGEST)
        measures = torch.cat([trace, determinant / trace, rest + 0.1], dim=1)
        steps.append(step)
        features += [step, measures.log() / 4]
    return torch.stack(steps, dim=1), torch.cat(features, dim=1)


def carry(image: Tensor, flow: Tensor) -> Tensor:
    """The image seen along the flow, ``image(x + flow(x))``, bilinear, edges repeated.

    Args:
        image: (B, C, H, W).
        flow: (B, 2, H, W), px.
    """
    height, width = image.shape[2:]
    y, x = torch.meshgrid(
        torch.arange(height, device=flow.device, dtype=flow.dtype),
        torch.arange(width, device=flow.device, dtype=flow.dtype),
        indexing="ij",
    )
    across = (2 * (x + flow[:, 0]) + 1) / width - 1
    down = (2 * (y + flow[:, 1]) + 1) / height - 1
    grid = torch.stack([across, down], dim=-1)
    return F.grid_sample(image, grid, padding_mode="border", align_corners=False)


def _gradients(image: Tensor) -> tuple[Tensor, Tensor]:
    """Central differences (Bx1xHxW each), edges repeated."""
    padded = F.pad(image, (1, 1, 1, 1), mode="replicate")
    dx = (padded[..., 1:-1, 2:] - padded[..., 1:-1, :-2]) / 2
    dy = (padded[..., 2:, 1:-1] - padded[..., :-2, 1:-1]) / 2
    return dx, dy


def _gaussian(image: Tensor, sigma: float) -> Tensor:
    reach = max(1, math.ceil(2.5 * sigma))
    at = torch.arange(-reach, reach + 1, device=image.device, dtype=image.dtype)
    kernel = torch.exp(-0.5 * (at / sigma) ** 2)
    return _separable(image, kernel / kernel.sum())


def _separable(image: Tensor, kernel: Tensor) -> Tensor:
    """Both axes by one odd kernel, edges repeated."""
    channels, reach = image.shape[1], len(kernel) // 2
    row = kernel.reshape(1, 1, 1, -1).expand(channels, 1, 1, -1)
    image = F.pad(image, (reach, reach, reach, reach), mode="replicate")
    image = F.conv2d(image, row, groups=channels)
    return F.conv2d(image, row.transpose(2, 3), groups=channels)
