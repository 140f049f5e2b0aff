"""Long videos as spotters read them: measured curves, and all that is coded.

Simulated videos are rendered, encoded as H.264 and measured like a user's (``roi_tracking``). Each
is kept by itself as soon as it is measured, with its exact codings: after an interruption, the same
call goes on with the first that is missing.
"""

from __future__ import annotations

import json
import logging
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field, model_validator

from deft_llm.clip import Expression, Interval
from deft_llm.config import Settings
from deft_llm.data.roi_curves import Floats, network_curves
from deft_llm.data.roi_tracking import RoiTrack, roi_track
from deft_llm.data.shards import Arrays, Shards, claim_set, open_shards
from deft_llm.data.simulated import VIDEO_CRF
from deft_llm.errors import NoFaceError
from deft_llm.media.options import WHOLE, ReadOptions
from deft_llm.metrics.spotting import SpottedVideo
from deft_llm.motion.rois import ROIS
from deft_llm.parallel import parallel_map
from deft_llm.simulator.head import Head, load_head
from deft_llm.simulator.ict_head.files import head_file
from deft_llm.simulator.long_videos import film_video
from deft_llm.simulator.scene.video_drawing import USUAL, Rates, draw_video
from deft_llm.simulator.scene.video_spec import MACRO, MICRO, ShownExpression, VideoSpec

logger = logging.getLogger(__name__)
WITHOUT = 1 / 3  # share of videos without a micro-expression


@dataclass(frozen=True)
class CodedVideo:
    """One measured video.

    Attributes:
        subject: Subject id.
        video: Video id, unique for the subject.
        track: Motion of the regions.
        coded: Micro-expressions, in frames of the track.
        macros: Macro-expressions.
        peaks: Peak displacement of each micro-expression, px of the canonical face; NaN where it
            is not known.
        speaks: Whether it shows speech; False where that is not known.
        source: Its file or folder; None if the pictures were not kept.
        reading: How it was read; frames of the track are one in ``reading.stride``.
    """

    subject: str
    video: str
    track: RoiTrack
    coded: tuple[Expression, ...]
    macros: tuple[Expression, ...] = ()
    peaks: tuple[float, ...] = ()
    speaks: bool = False
    source: Path | None = None
    reading: ReadOptions = WHOLE

    @property
    def seconds(self) -> float:
        """Length of the video."""
        times = self.track.timestamps
        # The last frame is shown for a step as well.
        return float(times[-1] - times[0] + np.median(np.diff(times))) if len(times) > 1 else 0.0

    def curves(self, rois: int) -> Floats:
        """What a network of so many regions reads, (C, T)."""
        return network_curves(self.track, rois)

    def spotted(self, found: Iterable[Expression]) -> SpottedVideo:
        """The video with what was found in it, for the metrics."""
        return SpottedVideo(self.subject, self.video, self.coded, tuple(found), self.seconds)

    def in_frames(self, found: Iterable[Expression]) -> tuple[Expression, ...]:
        """Expressions in frames of the track -> in frames of the video at its full rate."""
        return tuple(_moved(each, lambda t: t * self.reading.stride) for each in found)

    def of_track(self, found: Iterable[Expression]) -> tuple[Expression, ...]:
        """Expressions in frames of the video -> in frames of the track, at most its last."""
        stride, last = self.reading.stride, len(self.track) - 1
        return tuple(_moved(each, lambda t: min(t // stride, last)) for each in found)


def _moved(each: Expression, move: Callable[[int], int]) -> Expression:
    moments = (each.interval.onset, each.interval.apex, each.interval.offset)
    return replace(each, interval=Interval(*map(move, moments)))


class LongVideoData(Settings):
    """Which long videos to simulate.

    Attributes:
        videos: Number of videos.
        identities: Number of faces.
        first_identity: Seed of the first face; sets with disjoint ranges share no subject.
        seed: Seed of the first video.
        seconds: Shortest and longest length.
        without: Share of videos without a micro-expression.
        micro: Micro-expressions a minute in the others.
        macro: Macro-expressions a minute.
        speech: Share of videos in which somebody speaks for some time.
        size: Side of the frames, px.
        head: Name of the head model.
        head_file: Its file, if it needs one ("ict").
        workers: Number of processes.
    """

    videos: int = Field(ge=1)
    identities: int = Field(ge=1)
    first_identity: int = 1_000
    seed: int = 6_000_000
    seconds: tuple[float, float] = (30.0, 60.0)
    without: float = Field(default=WITHOUT, ge=0, le=1)
    micro: float = Field(default=USUAL.micro, ge=0)
    macro: float = Field(default=USUAL.macro, ge=0)
    speech: float = Field(default=USUAL.speech, ge=0, le=1)
    size: int = Field(default=288, ge=96)
    head: str = "own"
    head_file: Path | None = None
    workers: int = Field(default=2, ge=1)

    @model_validator(mode="after")
    def _range_of_seconds(self) -> LongVideoData:
        if not 1 <= self.seconds[0] <= self.seconds[1]:
            raise ValueError(f"seconds {list(self.seconds)}; expected shortest and longest, from 1")
        return self


def video_specs(data: LongVideoData) -> Iterator[VideoSpec]:
    """The recipes of a set, in order."""
    rates = Rates(micro=data.micro, macro=data.macro, speech=data.speech)
    for number in range(data.videos):
        seed = data.seed + number
        # draw_video uses the streams [seed, 12, ...].
        rng = np.random.default_rng([seed, 97])
        yield draw_video(
            seed,
            data.first_identity + number % data.identities,
            float(rng.uniform(*data.seconds)),
            without=bool(rng.random() < data.without),
            rates=rates,
            size=data.size,
            head=data.head,
        )


def measure_video(spec: VideoSpec, head: Head) -> Arrays:
    """Render one video and measure it.

    Returns:
        ``motion`` (T, 18, 2), ``shots`` and ``timestamps`` (T,) of ``RoiTrack``, NaN throughout if
        no face was found, and ``coding``, the bytes of a JSON text.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "video.mp4"
        peaks = film_video(spec, head, path, VIDEO_CRF)
        try:
            track = roi_track(path)
        except NoFaceError:
            nothing = np.full((spec.frames, len(ROIS), 2), np.nan, np.float32)
            times = np.arange(spec.frames) / spec.rest.fps
            track = RoiTrack(0, nothing, np.zeros(spec.frames, np.int64), times)
    coding = {
        "subject": spec.subject,
        "video": spec.name,
        "speaks": spec.speaks,
        **{
            kind: [
                _coding(s, px)
                for s, px in zip(spec.expressions, peaks, strict=True)
                if s.kind == kind
            ]
            for kind in (MICRO, MACRO)
        },
    }
    # safetensors holds arrays alone, so the text goes in as bytes.
    text = np.frombuffer(json.dumps(coding).encode(), np.uint8)
    return {
        "motion": track.motion,
        "shots": track.shots,
        "timestamps": track.timestamps,
        "coding": text,
    }


def _coding(shown: ShownExpression, peak: float) -> dict[str, object]:
    i = shown.interval
    frames = [i.onset, i.apex, i.offset]
    return {"frames": frames, "emotion": shown.emotion, "aus": shown.aus, "px": peak}


def simulated_videos(data: LongVideoData, folder: Path) -> list[CodedVideo]:
    """Simulate and measure a set, once.

    Videos whose recipes are drawn otherwise by now are made again. Whether they would be rendered
    and measured as they were is not looked at: of a single video that takes minutes.

    Args:
        data: What to simulate.
        folder: Folder for these settings only, one file a video.

    Raises:
        UserError: If the folder holds videos of other settings, or a head cannot be loaded.
    """
    claim_set(folder, "videos", data)
    shards = Shards(folder, "video", data.videos, 1)
    specs = list(video_specs(data))
    for file, spec in zip(shards.files, specs, strict=True):
        if file.is_file() and _coding_in(*open_shards([file]))["video"] != spec.name:
            logger.warning("%s holds a video of another recipe: made again", file)
            file.unlink()
    if not shards.whole:
        head = load_head(data.head, head_file(data.head, data.head_file))

        def measured(specs: Sequence[VideoSpec]) -> Iterator[Arrays]:
            return parallel_map(partial(measure_video, head=head), specs, data.workers)

        shards.render(specs, measured, "long videos")
    return [
        _read({name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118
        for file in open_shards(shards.files)
    ]


def _coding_in(file: Any) -> dict[str, Any]:
    coding: dict[str, Any] = json.loads(file.get_tensor("coding").tobytes())
    return coding


def _read(arrays: Arrays) -> CodedVideo:
    coding = json.loads(arrays["coding"].tobytes())
    micro, macro = (
        tuple(Expression(Interval(*row["frames"]), row["emotion"]) for row in coding[kind])
        for kind in (MICRO, MACRO)
    )
    return CodedVideo(
        coding["subject"],
        coding["video"],
        RoiTrack(0, arrays["motion"], arrays["shots"], arrays["timestamps"]),
        micro,
        macro,
        tuple(float(row["px"]) for row in coding[MICRO]),
        bool(coding["speaks"]),
    )
