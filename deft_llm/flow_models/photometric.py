"""Motion from brightness alone: one similarity for the whole image, then local steps.

The linearised brightness constancy equation measures sub-pixel motion directly. The head's motion
is estimated first, as one similarity transform; a network (`first_flow.py`) then learns where to
trust Lucas-Kanade steps for the remaining motion. This module has no learnt parameters.

Flow has u to the right and v down.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

WINDOW_FEATURES = 5  # per window: u, v, two measures of the texture, one of the residual
_LUMA = (0.299, 0.587, 0.114)
_SMOOTH = (1 / 16, 4 / 16, 6 / 16, 4 / 16, 1 / 16)  # binomial, about SD 1 px
_LIGHT = 3.0  # SD, cells: brightness changes common to such a window count as changes of light
_DAMPING = 4.0  # added to the structure tensor, squared grey levels per px
_LONGEST = 4.0  # largest step per component, px
_ALIGNMENT = ((8, 4), (4, 3), (2, 2))  # (pixels averaged per side, steps), coarse to fine
_OUTLIER = 5.0  # squared difference in grey levels that halves a pixel's weight


def smooth_grey(images: Tensor) -> Tensor:
    """Luma of (B, 3, H, W) images in 0..255, lightly smoothed: (B, 1, H, W)."""
    luma = images.new_tensor(_LUMA).reshape(1, 3, 1, 1)
    return _separable((images * luma).sum(1, keepdim=True), images.new_tensor(_SMOOTH))


def similarity_flow(grey1: Tensor, grey2: Tensor, stride: int) -> Tensor:
    """The best-fitting shift, rotation and zoom of the image plane: mostly the head's motion.

    Gauss-Newton steps from coarse to fine (Lucas and Kanade 1981) with Cauchy's weights, so that
    facial motion and a still background have little influence.

    Args:
        grey1: (B, 1, H, W) from :func:`smooth_grey`.
        grey2: The same shape and source.
        stride: Pixels per cell.

    Returns:
        Flow (B, 2, H / stride, W / stride), px of the images.
    """
    motion = grey1.new_zeros(len(grey1), 4)
    size = grey1.shape[2:]
    for pixels, steps in _ALIGNMENT:
        small1, small2 = (F.avg_pool2d(grey, pixels) for grey in (grey1, grey2))
        fields = _similarities(size, pixels, grey1)
        for _ in range(steps):
            # motion and fields are in px of the full image; convert to px of this level.
            flow = torch.einsum("bp,pchw->bchw", motion, fields) / pixels
            carried = carry(small2, flow)
            difference = small1 - carried
            # Without the mean, a change of brightness between the frames is not taken for motion.
            difference = difference - difference.mean((2, 3), keepdim=True)
            weight = _OUTLIER / (_OUTLIER + difference**2)
            # The gradient of the mean image makes the linearisation symmetric in the two images.
            dx, dy = _gradients((small1 + carried) / 2)
            along = (dx * fields[:, 0] + dy * fields[:, 1]).flatten(2) / pixels
            weighted = (weight.flatten(2) * along) @ along.transpose(1, 2)
            wanted = (weight * difference).flatten(2) @ along.transpose(1, 2)
            # Damping keeps the system solvable on images without texture.
            damping = _DAMPING * torch.eye(4, device=motion.device, dtype=motion.dtype)
            step = torch.linalg.solve(weighted + damping, wanted.transpose(1, 2))
            motion = motion + step[..., 0]
    return torch.einsum("bp,pchw->bchw", motion, _similarities(size, stride, grey1))


def _similarities(size: Sequence[int], pixels: int, like: Tensor) -> Tensor:
    """Basis flows (4, 2, h, w) in px: shift right, shift down, zoom and turn about the centre."""
    height, width = (n // pixels for n in size)
    # Zoom and turn are scaled to 1 px at half the longer side, to be comparable to the shifts.
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
    """Lucas-Kanade steps to add to a flow, at several window sizes.

    Args:
        grey1: (B, 1, H, W) from :func:`smooth_grey`, sides multiples of ``stride``.
        grey2: The same shape and source.
        flow: Current flow (B, 2, h, w), px of the images; h = H / stride.
        stride: Pixels per cell.
        windows: K standard deviations of Gaussian windows, px.

    Returns:
        Steps (B, K, 2, h, w) in px, and features (B, 5 K, h, w): the steps, and the logarithms of
        the structure tensor's trace, of its smaller eigenvalue (both bounded below by the damping)
        and of the remaining squared difference.
    """
    height, width = grey1.shape[2:]
    dense = F.interpolate(flow, size=(height, width), mode="bilinear", align_corners=False)
    carried = carry(grey2, dense)
    difference = grey1 - carried
    # Removes smooth changes of brightness, as from shading, that constancy would read as motion.
    light = _gaussian(F.avg_pool2d(difference, stride), _LIGHT)
    difference = difference - F.interpolate(light, size=(height, width), mode="bilinear")
    dx, dy = _gradients((grey1 + carried) / 2)
    products = [dx * dx, dx * dy, dy * dy, dx * difference, dy * difference, difference**2]
    pooled = F.avg_pool2d(torch.cat(products, dim=1), stride)
    steps, features = [], []
    for window in windows:
        xx, xy, yy, bx, by, rest = _gaussian(pooled, window / stride).chunk(6, dim=1)
        # Damping shrinks steps where there is little texture, and keeps the determinant positive.
        xx, yy = xx + _DAMPING, yy + _DAMPING
        # Cramer's rule. grey1 - carried is what the step explains, so its sign is that of the flow.
        determinant, trace = xx * yy - xy * xy, xx + yy
        step = torch.cat([yy * bx - xy * by, xx * by - xy * bx], dim=1) / determinant
        step = step.clamp(-_LONGEST, _LONGEST)
        # determinant / trace is about the smaller eigenvalue, without a square root.
        measures = torch.cat([trace, determinant / trace, rest + 0.1], dim=1)
        steps.append(step)
        # Divided by 4 to bring the logarithms to the range of the steps.
        features += [step, measures.log() / 4]
    return torch.stack(steps, dim=1), torch.cat(features, dim=1)


def carry(image: Tensor, flow: Tensor) -> Tensor:
    """Warp an image backwards along a flow: ``image(x + flow(x))``, bilinear, edges repeated.

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
    # Pixel centres in grid_sample's coordinates for align_corners=False.
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
    # 2.5 SD hold about 99 % of the weight.
    reach = max(1, math.ceil(2.5 * sigma))
    at = torch.arange(-reach, reach + 1, device=image.device, dtype=image.dtype)
    kernel = torch.exp(-0.5 * (at / sigma) ** 2)
    return _separable(image, kernel / kernel.sum())


def _separable(image: Tensor, kernel: Tensor) -> Tensor:
    """Filter both axes with one kernel of odd length, edges repeated."""
    channels, reach = image.shape[1], len(kernel) // 2
    row = kernel.reshape(1, 1, 1, -1).expand(channels, 1, 1, -1)
    image = F.pad(image, (reach, reach, reach, reach), mode="replicate")
    image = F.conv2d(image, row, groups=channels)
    return F.conv2d(image, row.transpose(2, 3), groups=channels)
