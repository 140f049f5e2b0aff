"""What MOL reads of each frame by default: its grey levels, and how far it is from the mean frame.

A movement below a pixel changes grey levels less than two faces differ, and a network that reads
grey levels alone learns the training faces by heart: on simulated faces that it had not seen it
stayed at chance, however it was regularised. So the frames of a sub-clip are given with their
motion as Lucas and Kanade find it, in closed form and by a few means over windows: no estimator, no
key frame, and gradients flow through. The choice is ours; the release reads grey levels.

Letters: B sub-clips, T frames, S side in pixels.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

CHANNELS = 3  # grey level, motion to the right, motion down
_WINDOW = 7  # px
# Added to the squared gradient: where grey levels change by less than a hundredth of their range
# from pixel to pixel, less than half of the motion is seen, and noise makes none.
_FAINT = 1e-4
_MOST = 4.0  # px; what goes further is not followed in one step
_SCALE = 2.0  # so that half a pixel is of the size of a grey level's deviation


def seen(frames: Tensor) -> Tensor:
    """The channels of each frame: (B, T, S, S), grey 0..1, to (B, T, 3, S, S)."""
    grey = frames - frames.mean((1, 2, 3), keepdim=True)
    return torch.cat([grey[:, :, None], _SCALE * local_motion(frames)], 2)


def local_motion(frames: Tensor) -> Tensor:
    """Motion of each frame away from the mean of all, (B, T, 2, S, S) px, to the right and down.

    Args:
        frames: (B, T, S, S), grey 0..1.
    """
    mean = frames.mean(1, keepdim=True)
    across, down = _gradient(_mean_over(mean, 3))
    change = _mean_over(frames - mean, 3)
    # Per window, the least squares of change = -(across u + down v).
    a, b, c = (
        _mean_over(product, _WINDOW) for product in (across * across, across * down, down * down)
    )
    a, c = a + _FAINT, c + _FAINT
    p, q = (-_mean_over(slope * change, _WINDOW) for slope in (across, down))
    determinant = a * c - b * b
    u, v = (c * p - b * q) / determinant, (a * q - b * p) / determinant
    return torch.stack([u, v], 2).clamp(-_MOST, _MOST)


def _gradient(image: Tensor) -> tuple[Tensor, Tensor]:
    """Central differences, zero at the border."""
    across = F.pad((image[..., 2:] - image[..., :-2]) / 2, (1, 1))
    down = F.pad((image[..., 2:, :] - image[..., :-2, :]) / 2, (0, 0, 1, 1))
    return across, down


def _mean_over(maps: Tensor, window: int) -> Tensor:
    """Means over square windows; at the border, over what lies inside."""
    return F.avg_pool2d(maps, window, 1, window // 2, count_include_pad=False)
