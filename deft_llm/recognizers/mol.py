"""MOL: emotion, flow between neighbouring frames and 68 landmarks from shared features.

Shao et al., "MOL: Joint Estimation of Micro-Expression, Optical Flow, and Landmark via
Transformer-Graph-Style Convolution" (IEEE TPAMI 2025, arXiv 2506.14511). Eight grey frames, without
onset or apex; a stack of convolutions and F5C (``f5c.py``) on each frame; three heads. Reproduced:
layout and sizes, as in the public code.

``release=True`` is that code's network, 44,104,865 parameters for three classes, 1,056,143 of them
on the path to the emotion. The default mends it: each frame is seen with its motion away from the
mean of the eight (``mol_motion.py``), batch normalisation and ReLU between the convolutions (the
release is affine up to F5C), one F5C for all frames, so that each is encoded once and stands once
in the emotion's head, a graph of channels (``f5c.py``), landmarks relative to the crop, and a flow
head of a quarter of the width (``mol_flow.py``).

Letters: N clips, K sub-clips of a clip, B = N K, T = 8 frames of a sub-clip, S = 128 pixels.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from deft_llm.data.raw_frames import SUB_CLIP
from deft_llm.errors import UserError
from deft_llm.recognizers import mol_motion
from deft_llm.recognizers.base import Inputs, Recognizer
from deft_llm.recognizers.f5c import CHANNELS, F5C, NEIGHBOURS, SIDE
from deft_llm.recognizers.layers import SeededDropout
from deft_llm.recognizers.mol_flow import FlowHead

FRAME = 128  # S
POINTS = 68
_TIME_KERNEL = 5
_RELEASE_FLOW: dict[str, Any] = {"width": 1.0, "patch": 21, "dilation": 2, "from_zero": False}


class Joint(NamedTuple):
    """Answers of the three heads.

    Attributes:
        logits: (B, classes).
        flow: (B, T - 1, 2, S, S) pixels, from each frame to the next; None without the head.
        landmarks: (B, T, 68, 2) pixels, x before y; None without the head. In the release
            (B, T - 1, 68, 2), without the first frame.
    """

    logits: Tensor
    flow: Tensor | None
    landmarks: Tensor | None


def conv_stack(release: bool) -> nn.Sequential:
    """The convolutions of one frame: (B, 3, 128, 128) to (B, 128, 16, 16); in the release, of 1."""
    layers: list[nn.Module] = []
    first = 1 if release else mol_motion.CHANNELS
    for before, after, kernel, pad in ((first, 8, 4, 0), (8, 32, 3, 0), (32, 64, 2, 1)):
        # A norm follows in the default, and would take a bias out.
        layers.append(nn.Conv2d(before, after, kernel, 2, pad, bias=release))
        layers += [] if release else [nn.BatchNorm2d(after), nn.ReLU()]
    return nn.Sequential(*layers, nn.Conv2d(64, CHANNELS, 1))


class EmotionHead(nn.Module):
    """3D convolution and pooling over the features of all frames, then two linear layers.

    Args:
        classes: Number of classes.
        slots: Features along time: T, or twice the pairs in the release.
        dropout: Rate before each linear layer.
    """

    def __init__(self, classes: int, slots: int, dropout: float) -> None:
        super().__init__()
        self.conv = nn.Conv3d(CHANNELS, 32, (_TIME_KERNEL, 2, 2), (1, 2, 2))
        # Along time the convolution takes 4 slots off; it halves the sides, and pooling halves all.
        after = 32 * ((slots - _TIME_KERNEL + 1) // 2) * (SIDE // 4) ** 2
        self.classifier = nn.Sequential(
            nn.MaxPool3d(2),
            nn.Flatten(),
            SeededDropout(dropout),
            nn.Linear(after, 256),
            nn.ReLU(),
            SeededDropout(dropout),
            nn.Linear(256, classes),
        )

    def forward(self, features: Tensor) -> Tensor:
        """(B, slots, 128, 16, 16) to logits (B, classes)."""
        logits: Tensor = self.classifier(self.conv(features.transpose(1, 2)))
        return logits


class LandmarkHead(nn.Module):
    """68 points from the features of one frame.

    Args:
        relative: Give the points relative to the crop: zero is its middle, 1 its side.
    """

    def __init__(self, relative: bool) -> None:
        super().__init__()
        self.relative = relative
        self.net = nn.Sequential(
            nn.Conv2d(CHANNELS, 32, 3),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(32 * (SIDE - 2) ** 2, 512),
            nn.ReLU(),
            nn.Linear(512, 2 * POINTS),
        )

    def forward(self, features: Tensor) -> Tensor:
        """(B, 128, 16, 16) to (B, 68, 2) pixels."""
        points: Tensor = self.net(features).unflatten(1, (POINTS, 2))
        # Relative answers begin near the middle of the crop, pixels at its corner.
        return FRAME * (points + 0.5) if self.relative else points


class MOL(Recognizer):
    """The network.

    Args:
        classes: Number of classes.
        flow: Build the flow head; only joint training needs it.
        landmarks: Build the landmark head; likewise.
        release: The layout of the public code.
        flow_width: Width of the flow head, at most half of the release's.
        neighbours: Neighbours of a node in F5C.
        dropout: Rate in the emotion's head.

    Raises:
        UserError: If the flow head would be wider than half of the release's.
    """

    inputs: ClassVar[tuple[str, ...]] = ("sub_clips",)
    side = FRAME
    feature_dim = CHANNELS

    def __init__(
        self,
        classes: int,
        flow: bool = True,
        landmarks: bool = True,
        release: bool = False,
        flow_width: float = 0.25,
        neighbours: int = NEIGHBOURS,
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        if not 0 < flow_width <= 0.5:
            raise UserError(
                f"mol: flow_width {flow_width:g}; expected above 0 and at most 0.5 "
                "(release: true has the published width, 1)"
            )
        self.release = release
        self.stack = conv_stack(release)
        # Index -1 is the F5C of the second frame of a pair: in the default that of the first too.
        blocks = 2 if release else 1
        self.f5c = nn.ModuleList(F5C(neighbours=neighbours, release=release) for _ in range(blocks))
        slots = 2 * (SUB_CLIP - 1) if release else SUB_CLIP
        self.emotion = EmotionHead(classes, slots, dropout)
        options = _RELEASE_FLOW if release else {"width": flow_width}
        self.flow = FlowHead(2 * CHANNELS, **options) if flow else None
        self.landmarks = LandmarkHead(relative=not release) if landmarks else None

    def forward(self, inputs: Inputs) -> Tensor:
        """Log of the class probabilities (N, classes): of the mean over the sub-clips."""
        clips = inputs["sub_clips"]
        logits = self.emotion(self._slots(*self.pairs(clips.flatten(0, 1))))
        return mean_answer(logits.unflatten(0, clips.shape[:2]))

    def forward_features(self, inputs: Inputs) -> Tensor:
        """Tokens (N, 256, 128): places of the map, averaged over frames and sub-clips."""
        clips = inputs["sub_clips"]
        slots = self._slots(*self.pairs(clips.flatten(0, 1)))
        maps = slots.unflatten(0, clips.shape[:2]).mean((1, 2))
        return maps.flatten(2).transpose(1, 2)

    def joint(self, frames: Tensor) -> Joint:
        """All heads on sub-clips (B, T, S, S), grey, 0..1."""
        first, second = self.pairs(frames)
        flow = landmarks = None
        if self.flow is not None:
            ends = (x[:, :, None].flatten(0, 1) for x in (frames[:, :-1], frames[:, 1:]))
            both = torch.cat([first, second], 2).flatten(0, 1)
            flow = self.flow(*ends, both).unflatten(0, first.shape[:2])
        if self.landmarks is not None:
            # As in the public code: the second frame of each pair, so all but the first.
            seen = second if self.release else self._slots(first, second)
            landmarks = self.landmarks(seen.flatten(0, 1)).unflatten(0, seen.shape[:2])
        return Joint(self.emotion(self._slots(first, second)), flow, landmarks)

    def pairs(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        """Features of the first and of the second frame of each pair, (B, T - 1, 128, 16, 16).

        Args:
            frames: (B, T, S, S).

        Raises:
            UserError: If T is not 8.
        """
        if frames.shape[1] != SUB_CLIP:
            raise UserError(
                f"mol: {frames.shape[1]} frames; expected {SUB_CLIP}; cut the clip into sub-clips "
                "with data.raw_frames.sub_clip_indices"
            )
        if not self.release:
            maps = self.f5c[0](self.stack(mol_motion.seen(frames).flatten(0, 1)))
            maps = maps.unflatten(0, frames.shape[:2])
            return maps[:, :-1], maps[:, 1:]
        # Every frame is a grey picture of its own.
        maps = self.stack(frames.flatten(0, 1)[:, None]).unflatten(0, frames.shape[:2])
        ends = zip(self.f5c, (maps[:, :-1], maps[:, 1:]), strict=True)
        first, second = (f5c(x.flatten(0, 1)).unflatten(0, x.shape[:2]) for f5c, x in ends)
        return first, second

    def _slots(self, first: Tensor, second: Tensor) -> Tensor:
        """What the emotion's head sees along time: frames, or in the release pairs in turn."""
        if self.release:
            return torch.stack([first, second], 2).flatten(1, 2)
        return torch.cat([first, second[:, -1:]], 1)


def mean_answer(logits: Tensor) -> Tensor:
    """Log of the mean over K of the class probabilities: (N, K, classes) to (N, classes)."""
    # The mean of probabilities by logarithms, where small ones do not become 0.
    return logits.log_softmax(-1).logsumexp(1) - math.log(logits.shape[1])
