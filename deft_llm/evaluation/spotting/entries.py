"""What a benchmark of spotting compares, and how each searches the test videos."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Literal

from pydantic import model_validator
from tqdm import tqdm

from deft_llm import resources
from deft_llm.clip import Expression, Interval
from deft_llm.config import Settings, load
from deft_llm.data.long_videos import CodedVideo, LongVideoData, video_specs
from deft_llm.data.simulated import VIDEO_CRF
from deft_llm.errors import NoFaceError, UserError, did_you_mean
from deft_llm.files import digest, write_text
from deft_llm.media.options import WHOLE, ReadOptions
from deft_llm.parallel import parallel_map
from deft_llm.simulator.head import Head, load_head
from deft_llm.simulator.ict_head.files import head_file
from deft_llm.simulator.long_videos import film_video
from deft_llm.simulator.scene.video_spec import VideoSpec
from deft_llm.spotters.mdmd import fit_share, mdmd
from deft_llm.spotters.priors import half_length
from deft_llm.spotters.registry import LoadedSpotter
from deft_llm.spotters.returning import ReturningFinder
from deft_llm.spotters.softnet import Name as WindowMethod
from deft_llm.spotters.softnet import Pictures, train_on_windows
from deft_llm.spotters.spot import spot
from deft_llm.spotters.task import SpotterRecipe

Method = Literal["mdmd", "returning", "softnet", "mean"]
Found = list[tuple[Expression, ...]]
"""What was found in each video."""


class SpottingEntry(Settings):
    """One row: a trained spotter, or a method without weights.

    Attributes:
        spotter: Folder of a trained spotter.
        method: "mdmd" (``spotters.mdmd``), "softnet" or "mean" (``spotters.softnet``), or
            "returning", the project's own search.
        recipe: The recipe that a spotter was trained with, or whose training videos a method
            learns from: MDMD its half length and threshold, SOFTNet and MEAN all they know; its
            subjects must not be tested.
        note: Note for the table.
    """

    spotter: Path | None = None
    method: Method | None = None
    recipe: Path | None = None
    note: str = ""

    @model_validator(mode="after")
    def _one_of_two(self) -> SpottingEntry:
        if (self.spotter is None) == (self.method is None):
            raise ValueError("give one of spotter and method")
        if self.recipe is None and self.method != "returning":
            raise ValueError("give the recipe that it was trained with")
        return self

    def training(self) -> SpotterRecipe | None:
        """The recipe; None for what learns nothing.

        Raises:
            UserError: If it cannot be read.
        """
        if self.recipe is None:
            return None
        file = resources.recipe(self.recipe)
        return load(_RecipeFile, file)


class _RecipeFile(SpotterRecipe):
    """A recipe with the key that names its task."""

    task: Literal["spotting"]


def require_entries(
    entries: Mapping[str, object], models: Sequence[str], gains: Iterable[tuple[str, str]]
) -> None:
    """Refuse names of entries that are not in the file."""
    named = [("models", name) for name in models]
    named += [("gains", name) for pair in gains for name in pair]
    for key, name in named:
        if name not in entries:
            near = did_you_mean(name, entries) or f"; expected some of {', '.join(entries)}"
            raise UserError(f"{key}: no entry {name!r}{near}")


def found_by_network(
    spotter: LoadedSpotter, videos: Sequence[CodedVideo], decoders: Sequence[str]
) -> dict[str, Found]:
    """What a network finds in each video, by decoder."""
    read = [spotter.read(video.curves(spotter.rois)) for video in videos]
    return {name: [tuple(spotter.decode(curves, name)) for curves in read] for name in decoders}


def found_by_mdmd(train: Sequence[CodedVideo], videos: Sequence[CodedVideo]) -> Found:
    """What MDMD finds in each video; half length and threshold are those of the training videos."""
    half = half_length(each for video in train for each in video.coded)
    share = fit_share(((video.curves(18), video.coded) for video in train), half)
    return [tuple(map(Expression, mdmd(video.curves(18), half, share))) for video in videos]


def found_on_windows(
    method: WindowMethod,
    train: Sequence[CodedVideo],
    of_train: Pictures,
    videos: Sequence[CodedVideo],
    of_videos: Pictures,
) -> Found:
    """What SOFTNet or MEAN finds in each video.

    Args:
        method: Which.
        train: Videos of the training subjects.
        of_train: Their flow windows.
        videos: The videos to search.
        of_videos: Theirs.
    """
    spotter = train_on_windows(method, train, of_train)
    return [spotter.find(video, of_videos(video)) for video in videos]


def found_by_returning(data: LongVideoData, folder: Path) -> Found:
    """What the project's own search finds in the pictures of each simulated video.

    Args:
        data: The videos, which are rendered again: their pictures are not kept.
        folder: Where results are kept, one file a video; a stopped call goes on with the rest.
    """
    # Without the number of videos: a longer set goes on where a shorter one ended.
    settings = data.model_dump_json(exclude={"workers", "head_file", "videos"})
    own = folder / f"returning-{digest(settings, ReturningFinder.key)[:12]}"
    specs = {own / f"video-{k:05d}.json": spec for k, spec in enumerate(video_specs(data))}
    missing = [file for file in specs if not file.is_file()]
    own.mkdir(parents=True, exist_ok=True)
    if missing:
        head = load_head(data.head, head_file(data.head, data.head_file))
        work = partial(_search_rendered, head=head)
        results = parallel_map(work, [specs[file] for file in missing], data.workers)
        bar = tqdm(results, total=len(missing), desc="returning", unit="video")
        for file, found in zip(missing, bar, strict=True):
            write_found(file, found)
    return [read_found(file) for file in specs]


def _search_rendered(spec: VideoSpec, head: Head) -> tuple[Expression, ...]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "video.mp4"
        film_video(spec, head, path, VIDEO_CRF)
        return search_returning(path)


def search_returning(source: Path, options: ReadOptions = WHOLE) -> tuple[Expression, ...]:
    """What the project's own search finds in one video; nothing where no face is seen."""
    try:
        return tuple(each.expression for each in spot(source, options, ReturningFinder()))
    except NoFaceError:
        return ()


def write_found(file: Path, found: Iterable[Expression]) -> None:
    """Write expressions as JSON, whole or not at all."""
    write_text(file, json.dumps([asdict(each) for each in found]) + "\n")


def read_found(file: Path) -> tuple[Expression, ...]:
    """Read what ``write_found`` wrote."""
    rows = json.loads(file.read_text(encoding="utf-8"))
    return tuple(
        Expression(Interval(**row["interval"]), row["emotion"], row["score"]) for row in rows
    )
