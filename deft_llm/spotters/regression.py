"""From the motion of a video to a score and class logits of every frame, by any spotter.

A video is read whole by default. In windows, as the papers do it, a frame's result comes from the
first window that holds it: the first window counts whole, every other with its new half.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor

from deft_llm.errors import UserError
from deft_llm.spotters.base import Regression, Spotter
from deft_llm.spotters.priors import CLASSES

BATCH = 64  # windows that go through the network at a time; changes memory only


@torch.no_grad()
def regress(network: Spotter, curves: Tensor, window: int | None = None) -> Regression:
    """Score and logits of every frame of one video, in evaluation mode.

    Args:
        network: The spotter; it is left in the mode that it had.
        curves: Motion of the regions since any one frame (channels, T), finite.
        window: Frames of a window; None reads the video whole. The papers have 50 for CAS(ME)^3
            and 30 for SAMM Long Videos. A video of fewer frames is one window.

    Returns:
        score (T,) and logits (T, classes), on the network's device.

    Raises:
        UserError: If curves have another shape or are not finite, or a window is odd or below 2.
    """
    if curves.dim() != 2 or curves.shape[1] == 0:
        raise UserError(
            f"spotter: curves of shape {tuple(curves.shape)}; expected (channels, frames)"
        )
    if len(lost := (~curves.isfinite()).any(0).nonzero()):
        # The state would carry it to every later frame.
        raise UserError(
            f"spotter: {len(lost)} frames without motion, the first is {int(lost[0])}; "
            "expected a finite value for every frame, for example the one before"
        )
    if window is not None and (window < 2 or window % 2):
        raise UserError(f"spotter: window of {window} frames; expected an even number, 2 or more")
    was_training = network.training
    network.eval()
    try:
        curves = curves.to(network.fc_spot.weight)  # its device and type
        if window is None or curves.shape[1] <= window:
            score, logits = network(curves[None])
            return Regression(score[0], logits[0])
        return _in_windows(network, curves, window)
    finally:
        network.train(was_training)


def cut(curves: Tensor, window: int) -> tuple[Tensor, list[int]]:
    """Windows (W, channels, window) that overlap by half, and their first frames.

    Motion in a window is since its first frame, by subtraction. The last window ends with the
    video and may overlap more; the published code drops what is left over there.
    """
    last = curves.shape[1] - window
    starts = [*range(0, last, window // 2), last]
    return torch.stack([curves[:, s : s + window] - curves[:, s : s + 1] for s in starts]), starts


def _in_windows(network: Spotter, curves: Tensor, window: int) -> Regression:
    windows, starts = cut(curves, window)
    parts = [network(batch) for batch in windows.split(BATCH)]
    scores = torch.cat([part.score for part in parts])
    logits = torch.cat([part.logits for part in parts])
    # Frames of each window that the one before does not hold. Counted over the video: counted
    # over the batch, as published, a video's curve begins with zeros where a batch has ended.
    new = [window, *(after - before for before, after in pairwise(starts))]
    return Regression(
        torch.cat([score[-n:] for score, n in zip(scores, new, strict=True)]),
        torch.cat([logit[-n:] for logit, n in zip(logits, new, strict=True)]),
    )


def frame_classes(logits: Tensor, neutral: bool) -> Tensor:
    """Class of every frame, an index into ``CLASSES``: synergy of the tasks on results.

    Args:
        logits: Logits (..., classes).
        neutral: Let a frame be "neutral", so that recognition can take back what was spotted
            (the papers' strategy 1). Otherwise spotting alone decides where an expression is, and
            each frame has an emotion (strategy 2, ME-TST+'s default).
    """
    return (logits if neutral else logits[..., : CLASSES.index("neutral")]).argmax(-1)
