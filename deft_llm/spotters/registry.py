"""The spotters by name, and a trained one on disk: ``model.safetensors`` and ``config.json``.

``config.json`` holds all that a result depends on besides the weights: sizes, the thresholds that
were calibrated on held-out training subjects, the length of a typical expression of the training
subjects, and the frame rate of their videos. T frames, C channels.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field

from deft_llm.clip import Expression
from deft_llm.config import Settings, validate_settings
from deft_llm.data.inputs import INPUTS
from deft_llm.errors import UserError, did_you_mean
from deft_llm.registry import resolve
from deft_llm.spotters.base import Spotter, SpotterConfig
from deft_llm.spotters.decoding import PUBLISHED
from deft_llm.spotters.hysteresis import Thresholds, decode, expressions
from deft_llm.spotters.me_tst import MeTstConfig
from deft_llm.spotters.priors import SPOTTING_MAINLY, ClassPrior, told_by_probability
from deft_llm.spotters.regression import regress
from deft_llm.weights import load_network, save_network

Floats = NDArray[np.float32]

SPOTTERS: dict[str, str] = {
    "me_tst": "deft_llm.spotters.me_tst:MeTst",
    "me_tst_plus": "deft_llm.spotters.me_tst_plus:MeTstPlus",
    "boosting_vrme": "deft_llm.spotters.boosting_vrme:BoostingVrme",
}
"""Name -> "module:Class"; each class takes its sizes."""
_CONFIGS: dict[str, type[SpotterConfig]] = {"me_tst": MeTstConfig}
OWN = "own"
DECODERS = (OWN, *PUBLISHED)
HALF = 8  # frames; of a spotter that has no training videos
FPS = 30.0  # of training videos, as of CAS(ME)3 and, nearly, SAMM Long Videos at every 7th frame


class SavedThresholds(Settings):
    """``hysteresis.Thresholds`` in a file."""

    enter: float = Field(default=Thresholds.enter, gt=0, lt=1)
    border: float = Field(default=Thresholds.border, gt=0, lt=1)


class SavedSpotter(Settings):
    """``config.json`` of a trained spotter.

    Attributes:
        spotter: A key of ``SPOTTERS``.
        model: Its sizes.
        thresholds: Thresholds of the decoder.
        half: Half the length of a typical expression, frames (``priors.half_length``); the
            published decoders need it.
        neutral: What a frame's class "neutral" does (``priors.ClassPrior``).
        negative_bias: Added to the logit of negative (``priors.ClassPrior``).
        minority: Share from which the other classes are voted on alone (``priors.ClassPrior``).
        fps: Frames per second of the training videos; videos to be searched are read at about
            this rate.
        window: Frames of the windows that it was trained on, as the papers do; None: videos are
            read whole.
        mirrored: Whether a video is read mirrored as well, and the mean taken.
    """

    spotter: str
    model: dict[str, Any]
    thresholds: SavedThresholds = SavedThresholds()
    half: int = Field(default=HALF, ge=1)
    neutral: Literal["drop", "keep", "zero"] = SPOTTING_MAINLY.neutral
    negative_bias: float = Field(default=SPOTTING_MAINLY.negative_bias, allow_inf_nan=False)
    minority: float = Field(default=SPOTTING_MAINLY.minority, ge=0, le=1)
    fps: float = Field(default=FPS, gt=0)
    window: int | None = Field(default=None, ge=2)
    mirrored: bool = False


@dataclass(frozen=True)
class Curves:
    """What a spotter says of every frame of a video.

    Attributes:
        score: How surely the frame lies inside a micro-expression (T,), 0 to 1.
        logits: Logits of ``priors.CLASSES`` (T, classes).
    """

    score: Floats
    logits: Floats


@dataclass(frozen=True)
class LoadedSpotter:
    """A trained spotter with all that it needs to search a video.

    Attributes:
        name: A key of ``SPOTTERS``.
        network: The network, in evaluation mode.
        thresholds: Thresholds of the decoder, from training subjects.
        half: Half the length of a typical expression of its training subjects, frames.
        prior: How the emotion of an interval is read.
        fps: Frames per second of its training videos.
        window: Frames of the windows in which it reads a video; None reads it whole.
        mirrored: Read a video mirrored as well, and take the mean of both.
    """

    name: str
    network: Spotter
    thresholds: Thresholds
    half: int = HALF
    prior: ClassPrior = SPOTTING_MAINLY
    fps: float = FPS
    window: int | None = None
    mirrored: bool = False

    @property
    def rois(self) -> int:
        """Number of regions whose motion it reads: 5 or 18, for ``data.roi_curves``."""
        return self.network.config.channels // 2

    @property
    def config(self) -> SavedSpotter:
        """What is written to ``config.json``."""
        return SavedSpotter(
            spotter=self.name,
            model=self.network.config.model_dump(),
            thresholds=SavedThresholds(**asdict(self.thresholds)),
            half=self.half,
            **asdict(self.prior),
            fps=self.fps,
            window=self.window,
            mirrored=self.mirrored,
        )

    def state_dict(self) -> dict[str, torch.Tensor]:
        """The weights by name."""
        return self.network.state_dict()

    def read(self, curves: Floats) -> Curves:
        """Score and logits of every frame of one video.

        Args:
            curves: Motion of the regions (C, T), px, C twice ``rois``: ``network_curves``.

        Raises:
            UserError: As ``regression.regress``.
        """
        # Contiguous: a cut or mirrored array may have strides that torch refuses.
        given = torch.from_numpy(np.ascontiguousarray(curves))
        score, logits = regress(self.network, given, self.window)
        if self.mirrored:
            # Nothing that a spotter tells has a side.
            other = regress(self.network, INPUTS["roi_curves"].mirror(given[None])[0], self.window)
            score, logits = (score + other.score) / 2, (logits + other.logits) / 2
        return Curves(score.float().cpu().numpy(), logits.float().cpu().numpy())

    def decode(self, curves: Curves, decoder: str = OWN) -> list[Expression]:
        """The micro-expressions in what ``read`` gave, in order of time, with their emotions.

        Args:
            curves: What ``read`` gave.
            decoder: One of ``DECODERS``: ours, which needs the thresholds, or a published one.

        Raises:
            UserError: If there is no such decoder.
        """
        if decoder not in DECODERS:
            raise UserError(
                f"decoder {decoder!r}: expected one of {', '.join(DECODERS)}"
                f"{did_you_mean(decoder, DECODERS)}"
            )
        if decoder == OWN:
            intervals = decode(curves.score, self.thresholds)
        else:
            intervals = PUBLISHED[decoder](curves.score, self.half)
        found = expressions(curves.score, intervals)
        return told_by_probability(found, curves.logits, curves.score, self.prior)

    def spot(self, curves: Floats) -> list[Expression]:
        """The micro-expressions of a video: ``read``, then ``decode``."""
        return self.decode(self.read(curves))


def make_spotter(name: str, sizes: dict[str, Any], where: str = "") -> Spotter:
    """A new network.

    Args:
        name: A key of ``SPOTTERS``.
        sizes: Its sizes; those left out are as published.
        where: The file that holds them, for messages.

    Raises:
        UserError: If the name or a size is wrong.
    """
    kind = resolve(SPOTTERS, name, "spotter", where)
    place = f"{where}: model" if where else f"sizes of {name}"
    made: Spotter = kind(validate_settings(_CONFIGS.get(name, SpotterConfig), sizes, place))
    return made


def save_spotter(spotter: LoadedSpotter, folder: Path, dtype: torch.dtype = torch.float32) -> None:
    """Write a spotter into an existing folder."""
    save_network(spotter, folder, dtype)


def load_spotter(folder: Path) -> LoadedSpotter:
    """Load a trained spotter.

    Args:
        folder: A folder with ``config.json`` and ``model.safetensors``.

    Raises:
        UserError: If a file is missing or unreadable, or weights and sizes do not match.
    """
    read: list[SavedSpotter] = []

    def build(saved: SavedSpotter) -> Spotter:
        read.append(saved)
        return make_spotter(saved.spotter, saved.model, str(folder / "config.json"))

    maker = "train.py train_configs/spotters/me_tst_plus.yaml"
    network = load_network(folder, SavedSpotter, build, "spotting", maker)
    saved = read[0]
    return LoadedSpotter(
        saved.spotter,
        network,
        Thresholds(**saved.thresholds.model_dump()),
        saved.half,
        ClassPrior(saved.neutral, saved.negative_bias, saved.minority),
        saved.fps,
        saved.window,
        saved.mirrored,
    )
