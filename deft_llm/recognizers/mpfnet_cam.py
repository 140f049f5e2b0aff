"""Where and when MPFNet looked: Grad-CAM over time and space.

Selvaraju et al., "Grad-CAM" (ICCV 2017), on the last map of the encoder that is compared last: each
channel is weighted by the mean gradient of the class score, and the positive part of the sum is
shown. The paper of MPFNet shows one picture a clip; over time as well is our own choice.

Letters: T pairs of frames, S side.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from deft_llm.recognizers.mpfnet import MPFNet


def grad_cam(network: MPFNet, volume: Tensor, label: int | None = None) -> Tensor:
    """What spoke for a class.

    Args:
        network: Trained; in evaluation mode afterwards, without gradients.
        volume: (5, T, S, S).
        label: Index of the class; None for the one that is most probable.

    Returns:
        (T, S, S) in 0..1; 0 everywhere if nothing spoke for the class.
    """
    encoder = network.afe if network.afe is not None else network.gfe
    assert encoder is not None
    kept: list[Tensor] = []

    def keep(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        kept.append(output)

    network.eval()
    hook = encoder.register_forward_hook(keep)
    try:
        with torch.enable_grad():
            logits = network({"flow_diff_volume": volume[None]})[0]
            score = logits.max() if label is None else logits[label]
            (slope,) = torch.autograd.grad(score, kept)
    finally:
        hook.remove()
    weights = slope.mean((2, 3, 4), keepdim=True)
    seen = F.relu((weights * kept[0].detach()).sum(1, keepdim=True))
    shown = F.interpolate(seen, volume.shape[1:], mode="trilinear")[0, 0]
    # Where nothing spoke, 0 / tiny is 0 and not NaN.
    return shown / shown.max().clamp_min(torch.finfo(shown.dtype).tiny)
