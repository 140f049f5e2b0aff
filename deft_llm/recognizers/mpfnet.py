"""MPFNet: two encoders with different priors, compared with prototypes of the classes.

Ma et al., "MPFNet: A Multi-Prior Fusion Network with a Progressive Training Strategy for
Micro-Expression Recognition" (arXiv 2506.09735). GFE, an encoder trained by triplets, and AFE, one
trained on magnified, balanced clips (``mpfnet_stages.py``), both CA-I3D (``ca_i3d.py``). A clip is
compared by cosine with the mean map of each class:

- MPFNet-P, parallel: cos of GFE + gamma cos of AFE.
- MPFNet-C, cascaded: AFE reads the clip and, added to it, what GFE saw.

Reproduced: both wirings and the classification by prototypes. Our own choice: cosines times a
learnt temperature as logits (the paper negates a similarity), cosines about the mean of the
prototypes, as all maps are much alike (``centred=False`` is the paper's), prototypes as parameters,
so that the network can also be trained without stages, maps pooled to 4 x 4 cells, and the
projection in the cascade, which starts at zero: there the network is AFE alone.

Letters: B clips, C classes, T pairs of frames, S side, w width, D = 128 w values of a pooled map,
E encoders that are compared (2 for P, else 1).
"""

from __future__ import annotations

from typing import ClassVar, Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from deft_llm.errors import UserError
from deft_llm.recognizers.base import Inputs, Recognizer
from deft_llm.recognizers.ca_i3d import CAI3D, FULL_WIDTH, VOLUME, pool, pooled_size

Variant = Literal["p", "c", "gfe", "afe"]
Join = Literal["add", "concat"]
Channels = Literal["both", "flow", "difference"]
_LEFT_OUT = {"both": slice(0), "flow": slice(2, None), "difference": slice(2)}
_TEMPERATURE = 10.0  # our choice; cosines, -1 to 1, are flat in a softmax
_WIDTHS = 8  # the blocks share their channels out in eighths
_JOINED = 16  # channels that a concatenation adds to the volume


class MPFNet(Recognizer):
    """The network.

    Args:
        classes: Number of classes.
        variant: "p", "c", or one encoder alone: "gfe", "afe".
        width: Width of the encoders; 64 is the paper's.
        side: Side of the volumes, px; 128 in the paper.
        gamma: Weight of AFE's cosine in "p"; the paper read 0.6 to 0.8 off its test scores.
        join: How AFE gets GFE's map in "c": added to the volume, or as further channels.
        channels: Which channels of the volumes are read; the others count as zero.
        centred: Compare differences to the mean of the prototypes, not the maps themselves.

    Raises:
        UserError: If the variant, the join or the channels are unknown, or the width does not fit.
    """

    inputs: ClassVar[tuple[str, ...]] = ("flow_diff_volume",)
    temperature: nn.Parameter
    prototypes: nn.Parameter

    def __init__(
        self,
        classes: int,
        variant: Variant = "c",
        width: int = FULL_WIDTH // 4,
        side: int = 64,
        gamma: float = 0.7,
        join: Join = "add",
        channels: Channels = "both",
        centred: bool = True,
    ) -> None:
        super().__init__()
        for name, value, known in (
            ("variant", variant, get_args(Variant)),
            ("join", join, get_args(Join)),
            ("channels", channels, get_args(Channels)),
        ):
            if value not in known:
                raise UserError(f"mpfnet: {name} {value!r}; expected one of {', '.join(known)}")
        if width < _WIDTHS or width % _WIDTHS:
            raise UserError(f"mpfnet: width {width}; expected a multiple of {_WIDTHS}")
        self.variant, self.side, self.gamma, self.join = variant, side, gamma, join
        self.channels, self.centred, self.feature_dim = channels, centred, 8 * width
        extra = _JOINED if variant == "c" and join == "concat" else 0
        self.gfe = CAI3D(width=width) if variant != "afe" else None
        self.afe = CAI3D(VOLUME + extra, width) if variant != "gfe" else None
        self.project = nn.Conv3d(8 * width, extra or VOLUME, 1) if variant == "c" else None
        if self.project is not None:
            nn.init.zeros_(self.project.weight)
            nn.init.zeros_(self.project.bias)  # type: ignore[arg-type]
        self.temperature = nn.Parameter(torch.tensor(_TEMPERATURE))
        encoders = 2 if variant == "p" else 1
        # Trained, or replaced by a support set (`remember`).
        self.prototypes = nn.Parameter(torch.randn(encoders, classes, pooled_size(width)))

    def visible(self, volumes: Tensor) -> Tensor:
        """Volumes (B, 5, T, S, S) with zeros in the channels that are not read."""
        if self.channels == "both":
            return volumes
        left = volumes.clone()
        left[:, _LEFT_OUT[self.channels]] = 0
        return left

    def maps(self, volumes: Tensor) -> list[Tensor]:
        """Pooled maps (B, 8 w, 4, 4), one for each encoder that is compared.

        Args:
            volumes: (B, 5, T, S, S).
        """
        volumes = self.visible(volumes)
        if self.afe is None:
            assert self.gfe is not None
            return [self.gfe.pooled(volumes)]
        if self.gfe is None:
            return [self.afe.pooled(volumes)]
        generic = self.gfe(volumes)
        if self.project is None:
            return [pool(generic), self.afe.pooled(volumes)]
        # GFE's map is smaller in time and space; back to the volume's size to be joined with it.
        seen = F.interpolate(self.project(generic), volumes.shape[2:], mode="trilinear")
        joined = volumes + seen if self.join == "add" else torch.cat([volumes, seen], 1)
        return [self.afe.pooled(joined)]

    def embed(self, volumes: Tensor) -> Tensor:
        """Maps as vectors (E, B, D)."""
        return torch.stack([found.flatten(1) for found in self.maps(volumes)])

    def scores(self, queries: Tensor, prototypes: Tensor) -> Tensor:
        """Logits (B, C) of vectors (E, B, D) against prototypes (E, C, D).

        Or (E, B, C, D), other prototypes for every vector.
        """
        if prototypes.ndim == queries.ndim:
            prototypes = prototypes[:, None]
        queries = queries[:, :, None]
        # All maps are much alike, and without this all cosines are near 1.
        if self.centred:
            centre = prototypes.mean(2, keepdim=True)
            queries, prototypes = queries - centre, prototypes - centre
        cosines = (F.normalize(queries, dim=-1) * F.normalize(prototypes, dim=-1)).sum(-1)
        total = cosines[0] if len(cosines) == 1 else cosines[0] + self.gamma * cosines[1]
        return self.temperature * total

    def forward(self, inputs: Inputs) -> Tensor:
        """Class logits (B, C)."""
        return self.scores(self.embed(inputs["flow_diff_volume"]), self.prototypes)

    def forward_features(self, inputs: Inputs) -> Tensor:
        """Tokens (B, 16 E, 8 w): the cells of the pooled maps."""
        found = torch.cat([m.flatten(2) for m in self.maps(inputs["flow_diff_volume"])], 2)
        return found.transpose(1, 2)

    @torch.no_grad()
    def remember(self, volumes: Tensor, labels: Tensor, batch_size: int = 32) -> None:
        """Replace the prototypes by the class means of a support set; nothing else is trained.

        Args:
            volumes: (N, 5, T, S, S).
            labels: (N,) class indices; the number of classes may differ from before.
            batch_size: Clips per forward pass.

        Raises:
            UserError: If a class has no clip.
        """
        was_training = self.training
        self.eval()
        parts = [self.embed(part) for part in volumes.split(batch_size)]
        # A new parameter: the number of classes may differ.
        self.prototypes = nn.Parameter(class_means(torch.cat(parts, 1), labels))
        self.train(was_training)


def class_means(vectors: Tensor, labels: Tensor) -> Tensor:
    """Means of the vectors (E, N, D) of each class, (E, C, D), in whatever order they come.

    Raises:
        UserError: If a class below the largest label has no clip.
    """
    chosen = F.one_hot(labels).to(vectors)  # (N, C)
    counts = chosen.sum(0)
    if (counts == 0).any():
        missing = int((counts == 0).nonzero()[0])
        raise UserError(
            f"support: class number {missing} of {len(counts)} has no clip; give at least one "
            "clip of each class (five are usual)"
        )
    return chosen.T @ vectors / counts[:, None]
