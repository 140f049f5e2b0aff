"""What brightness alone says of motion: of the whole image, and of what is left in each part of it.

The linearised brightness constancy measures motion of a fraction of a pixel directly. The head's
motion is found first, as one similarity; a network (`first_flow.py`) then learns where to trust
Lucas-Kanade steps for the rest. Nothing in here is learnt.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

WINDOW_FEATURES = 5  # of each window: u, v, two measures of the texture, one of what does not fit
_LUMA = (0.299, 0.587, 0.114)
_SMOOTH = (1 / 16, 4 / 16, 6 / 16, 4 / 16, 1 / 16)  # binomial, about SD 1 px
_LIGHT = 3.0  # SD of the window over which a change of brightness is light, cells
_DAMPING = 4.0  # added to the structure tensor, squared grey levels per px
_LONGEST = 4.0  # px a step may have
_ALIGNMENT = ((8, 4), (4, 3), (2, 2))  # pixels that are averaged, and steps on them
_OUTLIER = 5.0  # squared grey levels of difference that halve a pixel's weight


def smooth_grey(images: Tensor) -> Tensor:
    """Luma of (B, 3, H, W) images in 0..255, lightly smoothed: (B, 1, H, W)."""
    luma = images.new_tensor(_LUMA).reshape(1, 3, 1, 1)
    return _separable((images * luma).sum(1, keepdim=True), images.new_tensor(_SMOOTH))


def similarity_flow(grey1: Tensor, grey2: Tensor, stride: int) -> Tensor:
    """The shift, turn and zoom of the image plane that fits best: mostly the head's motion.

    Gauss-Newton steps from coarse to fine (Lucas and Kanade 1981) under Geman and McClure's
    weights, so that a face that is not still, or a background that is, counts little.

    Args:
        grey1: (B, 1, H, W) of :func:`smooth_grey`.
        grey2: Like it.
        stride: Pixels of a cell.

    Returns:
        Flow (B, 2, H / stride, W / stride), px of the images.
    """
    motion = grey1.new_zeros(len(grey1), 4)
    size = grey1.shape[2:]
    for pixels, steps in _ALIGNMENT:
        small1, small2 = (F.avg_pool2d(grey, pixels) for grey in (grey1, grey2))
        fields = _similarities(size, pixels, grey1)
        for _ in range(steps):
            flow = torch.einsum("bp,pchw->bchw", motion, fields) / pixels
            carried = carry(small2, flow)
            difference = small1 - carried
            difference = difference - difference.mean((2, 3), keepdim=True)
            weight = _OUTLIER / (_OUTLIER + difference**2)
            dx, dy = _gradients((small1 + carried) / 2)
            along = (dx * fields[:, 0] + dy * fields[:, 1]).flatten(2) / pixels
            weighted = (weight.flatten(2) * along) @ along.transpose(1, 2)
            wanted = (weight * difference).flatten(2) @ along.transpose(1, 2)
            damping = _DAMPING * torch.eye(4, device=motion.device, dtype=motion.dtype)
            step = torch.linalg.solve(weighted + damping, wanted.transpose(1, 2))
            motion = motion + step[..., 0]
    return torch.einsum("bp,pchw->bchw", motion, _similarities(size, stride, grey1))


def _similarities(size: Sequence[int], pixels: int, like: Tensor) -> Tensor:
    """Shift to the right and down, zoom and turn about the middle: flows (4, 2, h, w), px."""
    height, width = (n // pixels for n in size)
    scale = 2 / max(size)
    y, x = torch.meshgrid(
        *(
            scale * ((torch.arange(n, device=like.device, dtype=like.dtype) + 0.5) * pixels - m / 2)
            for n, m in ((height, size[0]), (width, size[1]))
        ),
        indexing="ij",
    )
    one, none = torch.ones_like(x), torch.zeros_like(x)
    pairs = ((one, none), (none, one), (x, y), (-y, x))
    return torch.stack([torch.stack(pair) for pair in pairs])


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
