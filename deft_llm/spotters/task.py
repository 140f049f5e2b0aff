"""Train a spotter on long videos; the thresholds of its decoder come from held-out subjects.

Some of the training subjects are held out: the network does not learn from them, and what it says
of their videos calibrates the thresholds (``hysteresis.calibrate``), which are stored with the
weights. Videos of other subjects, named as ``test``, take part in neither.
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import torch
from accelerate.utils import set_seed
from pydantic import Field, model_validator
from torch import Tensor

from deft_llm.config import Settings, read_recipe
from deft_llm.corpora.megc_spotting import write_spotting
from deft_llm.data.long_videos import CodedVideo
from deft_llm.data.video_sources import VideoSource
from deft_llm.errors import UserError
from deft_llm.files import write_text
from deft_llm.machine import first_process_first, processes, use_all_cores
from deft_llm.metrics.spot_then_recognize import score_videos
from deft_llm.metrics.spotting import SpottedVideo
from deft_llm.protocols import hold_out
from deft_llm.simulator.scene.sets import shared_numbers
from deft_llm.spotters.base import Regression, Spotter
from deft_llm.spotters.hysteresis import Thresholds, TrainingCurve, calibrate
from deft_llm.spotters.priors import half_length
from deft_llm.spotters.registry import LoadedSpotter, load_spotter, make_spotter, save_spotter
from deft_llm.spotters.segments import Sampling, Segments, class_weights, spotting_loss
from deft_llm.training.loop import Batch, fit
from deft_llm.training.run_folder import claimed_folder
from deft_llm.training.schedule import Schedule

logger = logging.getLogger(__name__)
_SHOWN = ("f1", "false_alarms_a_minute", "strs_4")  # of ``score_videos``, in the log
_ROIS = (5, 18)


class SpotterSettings(Settings):
    """How a spotter is trained, whatever the videos.

    Attributes:
        seed: Seed of initial weights, held-out subjects and segments.
        spotter: A key of ``SPOTTERS``.
        model: Its sizes; those left out are as published.
        held_out: Share of the subjects that the thresholds are calibrated on.
        most_alarms: Most false alarms a minute in their videos (``hysteresis.calibrate``).
        mirrored: Read a video mirrored as well, and take the mean of both: the same face, measured
            once more. Our choice; it doubles the time of the network.
        frames: Length of a segment that it learns from.
        windowed: Motion since the first frame of a segment, as in the papers. Videos are then
            searched in windows of ``frames`` as well; otherwise whole, against the face at rest.
        positives: Share of segments that hold a micro-expression.
        scale: Range of a factor on a whole segment.
        flips: Mirror half of the segments.
        tempo: Range of the speed at which a segment is shown, as a factor.
        overlaid: Share of segments with the motion and the labels of another one on top.
        batch_size: Segments per batch.
        schedule: Training length and learning rate.
        save_dtype: Type of the saved weights.
    """

    seed: int = 0
    spotter: str = "me_tst_plus"
    model: dict[str, Any] = Field(default_factory=dict)
    held_out: float = Field(default=0.25, gt=0, lt=1)
    most_alarms: float = Field(default=0.2, ge=0)  # our choice
    mirrored: bool = False
    frames: int = Field(default=256, ge=8)
    windowed: bool = False
    positives: float = Field(default=0.5, ge=0, le=1)
    scale: tuple[float, float] = (0.9, 1.1)
    flips: bool = True
    tempo: tuple[float, float] = (1.0, 1.0)
    overlaid: float = Field(default=0.0, ge=0, le=1)
    batch_size: int = Field(default=16, ge=2)
    schedule: Schedule
    save_dtype: Literal["float32", "float16"] = "float32"

    @model_validator(mode="after")
    def _usable(self) -> SpotterSettings:
        if self.windowed and self.frames % 2:
            raise ValueError(f"windows of {self.frames} frames; expected an even number")
        for name, (low, high) in (("scale", self.scale), ("tempo", self.tempo)):
            if not 0 < low <= high:
                raise ValueError(f"{name} {[low, high]}; expected two factors above 0, in order")
        return self

    def network(self, where: str = "") -> Spotter:
        """A new network.

        Raises:
            UserError: If its name or a size is wrong.
        """
        made = make_spotter(self.spotter, self.model, where)
        if made.config.channels not in (2 * rois for rois in _ROIS):
            raise UserError(
                f"{where or self.spotter}: model.channels: {made.config.channels}; expected "
                f"{2 * _ROIS[0]} or {2 * _ROIS[1]}, two for each region"
            )
        return made


class SpotterRecipe(SpotterSettings):
    """A file of ``train_configs/spotters`` with ``task: spotting``.

    Attributes:
        output: Folder of the run.
        data: Videos of the training subjects.
        test: Videos of other subjects to score the finished spotter on; None for none.
        cache: Folder for measured videos; recipes may share it.
    """

    output: Path
    data: VideoSource
    test: VideoSource | None = None
    cache: Path = Path("runs/videos")


class SpottingTask:
    """A spotter, its loss and its videos.

    Args:
        network: The network.
        settings: How it is trained.
        videos: Videos of the training subjects, which are split here.

    Raises:
        UserError: If there are fewer than two subjects, or nothing is coded in what remains.
    """

    def __init__(
        self, network: Spotter, settings: SpotterSettings, videos: Sequence[CodedVideo]
    ) -> None:
        self.model: torch.nn.Module = network.train()
        self.settings = settings
        split = hold_out([v.subject for v in videos], settings.held_out, seed=settings.seed)[0]
        self.held = [videos[i] for i in split.test]
        s = settings
        sampling = Sampling(
            s.frames, s.windowed, s.positives, s.scale, s.flips, s.tempo, s.overlaid
        )
        self.segments = Segments(
            [videos[i] for i in split.train], network.config.channels // 2, sampling
        )
        self.weights = class_weights(self.segments.labels)
        self.thresholds = Thresholds()
        self.half = half_length(each for video in videos for each in video.coded)

    @property
    def spotter(self) -> LoadedSpotter:
        """The network as it is now, with the thresholds of the last evaluation."""
        return LoadedSpotter(
            self.settings.spotter,
            cast(Spotter, self.model),
            self.thresholds,
            self.half,
            window=self.settings.frames if self.settings.windowed else None,
            mirrored=self.settings.mirrored,
        )

    def batch(self, index: int) -> dict[str, Tensor]:
        """Segments drawn anew; depends only on the seed and the index."""
        # By index, so that a resumed run draws the batches that it would have drawn.
        rng = np.random.default_rng([self.settings.seed, 7, index])  # 7: a stream of its own
        return self.segments.batch(rng, self.settings.batch_size)

    def training_step(self, batch: Batch) -> dict[str, Tensor]:
        """Forward pass and loss."""
        return spotting_loss(self.model(batch["curves"]), batch["labels"], self.weights)

    @torch.no_grad()
    def predict(self, batch: Batch) -> Regression:
        """Score and logits of every frame."""
        self.model.eval()
        found: Regression = self.model(batch["curves"])
        return found

    def evaluate(self) -> dict[str, float]:
        """Calibrate on the held-out subjects; scores with the thresholds that fit them best."""
        spotter = self.spotter
        read = [spotter.read(video.curves(spotter.rois)) for video in self.held]
        pairs = list(zip(self.held, read, strict=True))
        if any(video.coded for video in self.held):
            curves = [TrainingCurve(r.score, v.coded, v.seconds) for v, r in pairs]
            self.thresholds = calibrate(curves, self.settings.most_alarms)
        else:
            logger.warning("the held-out subjects show nothing: thresholds are not calibrated")
        # Asked for again: now it has the new thresholds.
        spotter = self.spotter
        found = [video.spotted(spotter.decode(curves)) for video, curves in pairs]
        scores = score_videos(found, ("4",))
        return {name: scores[name] for name in _SHOWN if not math.isnan(scores[name])}

    def save(self, folder: Path) -> None:
        """Write weights, sizes and thresholds."""
        save_spotter(self.spotter, folder, getattr(torch, self.settings.save_dtype))


def train(values: dict[str, Any], where: str) -> None:
    """Train a spotter from a recipe and score it; ``training/tasks.py`` calls this.

    The folder ``final`` gets the spotter (``registry.load_spotter``) and, with ``test`` videos,
    ``found.csv`` (MEGC's table of intervals) and ``scores.json``.

    Args:
        values: The recipe as read from YAML.
        where: Its file, for messages.

    Raises:
        UserError: If the recipe is wrong, a folder belongs to another recipe, or data and test
            share a subject or the seeds of their expressions.
    """
    recipe = read_recipe(SpotterRecipe, values, where)
    # All that can be wrong is looked at before any video is rendered or measured.
    recipe.network(where)
    if recipe.test and (both := recipe.data.subjects() & recipe.test.subjects()):
        raise UserError(
            f"{where}: data and test share subject {min(both)} and {len(both) - 1} more; use "
            "videos of other subjects"
        )
    one, other = recipe.data.simulated, recipe.test.simulated if recipe.test else None
    if one and other and (seeds := shared_numbers(one, other, "seed", "videos")):
        raise UserError(
            f"{where}: data and test draw {len(seeds)} videos from the same seeds, from "
            f"{seeds.start} on, which show the same expressions; give another seed"
        )
    with claimed_folder(recipe.output, recipe):
        with first_process_first():  # one process measures; the others then find the videos
            videos = recipe.data.open(recipe.cache)
            tested = recipe.test.open(recipe.cache) if recipe.test else []
        final = _fit(recipe, videos)
        if tested:
            _score(final, tested)


def _fit(recipe: SpotterRecipe, videos: Sequence[CodedVideo]) -> Path:
    """Train, or resume a stopped run; returns the folder of the spotter."""
    use_all_cores()
    # After rendering, so that the initial weights do not depend on what was rendered in this run.
    set_seed(recipe.seed)
    task = SpottingTask(recipe.network(), recipe, videos)
    logger.info(
        "%s · %d videos, %d to calibrate on · %.2f M parameters · %s · %d segments of %d frames "
        "a step · %d steps",
        recipe.spotter,
        len(task.segments),
        len(task.held),
        sum(p.numel() for p in task.model.parameters()) / 1e6,
        torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU",
        recipe.batch_size * recipe.schedule.accumulate * processes(),
        recipe.frames,
        recipe.schedule.steps,
    )
    final = fit(task, recipe.schedule, recipe.output)
    logger.info("finished: %s", final)
    return final


def _score(final: Path, videos: Sequence[CodedVideo]) -> None:
    """Write what is found in the test videos, and the scores."""
    found = spot_videos(load_spotter(final), videos)
    pairs = zip(videos, found, strict=True)
    table = {(v.subject, v.video): v.in_frames(f.found) for v, f in pairs}
    write_spotting(final / "found.csv", table)
    scores = score_videos(found)
    # JSON knows no NaN, which a score is without a hit.
    known = {name: None if math.isnan(score) else score for name, score in scores.items()}
    write_text(final / "scores.json", json.dumps(known, indent=1) + "\n")
    shown = ", ".join(f"{name} {scores[name]:.3f}" for name in _SHOWN)
    logger.info("test: %d videos, %s", len(videos), shown)


def spot_videos(spotter: LoadedSpotter, videos: Sequence[CodedVideo]) -> list[SpottedVideo]:
    """Search measured videos."""
    return [video.spotted(spotter.spot(video.curves(spotter.rois))) for video in videos]
