"""The interface of the spotters: a curve of motion in, a score and class logits per frame out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple

from pydantic import Field
from torch import Tensor, nn

from deft_llm.config import Settings
from deft_llm.errors import UserError
from deft_llm.spotters.layers import convolution
from deft_llm.spotters.priors import CLASSES


class Regression(NamedTuple):
    """What a spotter says of every frame.

    Attributes:
        score: How surely the frame lies inside a micro-expression (B, T), 0 to 1.
        logits: Logits of ``CLASSES`` (B, T, classes).
    """

    score: Tensor
    logits: Tensor


class SpotterConfig(Settings):
    """Sizes that every spotter has.

    Attributes:
        channels: Channels of the input, two for each region.
        width: Width C of the stem and the fast path.
        depth: Blocks of a path, or of each of its stages.
        states: States of each inner channel of S6.
        classes: Number of classes, "neutral" included.
        drop_path: The rate towards which stochastic depth rises.
        both_ways: Every second block reads the frames from the last to the first, at no more cost:
            a frame is judged by what follows, too, as the length of its movement. Our choice; as
            published (False), a frame is judged by those before it.
    """

    channels: int = Field(default=36, ge=1)
    width: int = Field(default=128, ge=1)
    depth: int = Field(default=4, ge=1)
    states: int = Field(default=64, ge=1)
    classes: int = Field(default=len(CLASSES), ge=2)
    drop_path: float = Field(default=0.2, ge=0, lt=1)
    both_ways: bool = False


class Spotter(nn.Module, ABC):
    """Stem, whatever lies between, and the two heads.

    Any number of frames will do. In evaluation mode a video's result does not depend on the
    others of its batch. Videos of different lengths do not go into one batch: what they would be
    padded with would leak into their last frames.

    Args:
        config: Sizes.
        features: Width of what the heads read.
    """

    def __init__(self, config: SpotterConfig, features: int) -> None:
        super().__init__()
        width = config.width
        self.config = config
        self.Stem = nn.Sequential(*convolution(config.channels, width), *convolution(width, width))
        self.fc_spot = nn.Linear(features, 1)
        self.fc_recog = nn.Linear(features, config.classes)
        for head in (self.fc_spot, self.fc_recog):
            nn.init.trunc_normal_(head.weight, std=0.02)  # as published
            nn.init.zeros_(head.bias)

    @abstractmethod
    def paths(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """From the stem (B, C, T) to what each head reads, (B, T, features) twice."""

    def forward(self, curves: Tensor) -> Regression:
        """Score and logits of every frame.

        Args:
            curves: Motion of the regions, head motion removed (B, channels, T).

        Raises:
            UserError: If the input has another shape.
        """
        expected = self.config.channels
        if curves.dim() != 3 or curves.shape[1] != expected or curves.shape[2] == 0:
            raise UserError(
                f"spotter: curves of shape {tuple(curves.shape)}; "
                f"expected (videos, {expected} channels, frames)"
            )
        spot, recognize = self.paths(self.Stem(curves))
        return Regression(self.fc_spot(spot).squeeze(-1).sigmoid(), self.fc_recog(recognize))
