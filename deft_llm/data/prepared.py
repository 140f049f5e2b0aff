"""Measure every clip of a corpus once: read, align, measure, store the features.

Each clip is one safetensors file in the cache, named by a hash of its frames, its interval and the
settings, and renamed into place when complete. An interrupted run loses only the clips in progress,
and the same clip is never measured twice, whatever its name. For a clip that cannot be measured the
cache stores the reason. ``<corpus>.jsonl`` lists all clips of the last run, and
``simulated_<corpus>.jsonl`` those of a simulated corpus.
"""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field, field_validator, model_validator
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file
from tqdm import tqdm

from deft_llm.clip import Annotation, Interval, status_line
from deft_llm.config import Settings
from deft_llm.corpora.base import people_of
from deft_llm.corpora.reading import Entry, Reading
from deft_llm.data.clip_dataset import ClipDataset, ClipPlace
from deft_llm.data.clip_shards import LeftOut
from deft_llm.data.feature_files import ClipFile
from deft_llm.data.features import Features, FeatureSizes, pack
from deft_llm.data.measuring import measure_coded
from deft_llm.data.records import ClipRecord
from deft_llm.errors import NoFaceError, UserError
from deft_llm.files import file_digest, read_lines, replacing, write_lines, write_text
from deft_llm.media.face import FaceFinder, HaarFinder, YuNetFinder
from deft_llm.media.frames import list_frames
from deft_llm.media.landmarks import DEFAULT_FINDER, LANDMARK_FINDERS, landmark_finder
from deft_llm.media.video import FOLDER_FPS, read_clip
from deft_llm.motion.meter import MotionSettings
from deft_llm.pace import duration
from deft_llm.parallel import for_a_while_on_one_core, parallel_map

logger = logging.getLogger(__name__)
# Part of the cache key: increase it when a change to reading, aligning or measuring changes the
# features.
VERSION = 2
_STATUS = "status"  # key of the remarks in a clip's file
_ALONE_S = 5.0  # clips that the cache has are looked up for so long before processes are started


class PrepareSettings(Settings):
    """How clips are measured; every setting is part of the cache key.

    Attributes:
        flow: How motion is measured (``motion.measure.MotionSettings``): as in use, unless another
            way is compared.
        lead: Frames read before the onset: the face at rest, for the noise floor.
        tail: Frames read after the offset.
        longest: Most frames read per clip; a later offset is moved to the last one, with a remark.
        max_side: Frames with a longer side are scaled down to this many pixels.
        yunet: YuNet's ONNX file for finding faces; None uses OpenCV's cascades.
        landmarks: What places the landmarks, a name of ``media.landmarks.LANDMARK_FINDERS``.
        frames: Side of the frames stored for networks that read frames, px; 0 stores none.
        raw: Side of the sub-clips and key frames stored for MOL and MPFNet, px; 0 stores none.
    """

    flow: str = MotionSettings().flow
    lead: int = Field(default=12, ge=0)
    tail: int = Field(default=5, ge=0)
    longest: int = Field(default=200, ge=2)
    max_side: int = Field(default=1280, ge=64)
    yunet: Path | None = None
    landmarks: str = DEFAULT_FINDER
    frames: int = Field(default=0, ge=0)
    raw: int = Field(default=0, ge=0)

    @field_validator("landmarks")
    @classmethod
    def _known_finder(cls, name: str) -> str:
        if name not in LANDMARK_FINDERS:
            raise ValueError(f"expected one of {', '.join(LANDMARK_FINDERS)}")
        return name

    @model_validator(mode="after")
    def _room_for_motion(self) -> PrepareSettings:
        if self.longest < self.lead + 2:
            raise ValueError(
                f"longest {self.longest}: expected two frames more than lead ({self.lead}), so "
                "that some of the movement is read"
            )
        return self

    def sizes(self) -> FeatureSizes:
        """Sizes of the features."""
        return FeatureSizes(frames=self.frames, raw=self.raw)


@dataclass(frozen=True)
class MeasuringJob:
    """One clip to measure: the frames to read, and the interval counted from the first of them."""

    entry: Entry
    start: int
    stop: int
    interval: Interval
    remark: str = ""


@dataclass(frozen=True)
class Prepared:
    """One clip after a run.

    Attributes:
        annotation: Its coding.
        key: Name of its file in the cache, without suffix.
        remark: What was cut or not visible, or "".
        problem: Why measuring failed, or "".
        cached: Whether the result came from the cache.
        no_face: Whether measuring failed because no face is seen.
        content: Equal for copies of the same frames (``content_key``), for the leak audit.
    """

    annotation: Annotation
    key: str
    remark: str = ""
    problem: str = ""
    cached: bool = False
    no_face: bool = False
    content: str = ""


def measuring_job(entry: Entry, settings: PrepareSettings) -> MeasuringJob:
    """The frames of a clip's folder to read, and the interval among them."""
    interval = entry.annotation.interval
    assert interval is not None and entry.folder is not None, entry
    start = max(0, interval.onset - settings.lead)
    # The offset is inclusive, stop is not.
    stop = min(entry.frames, interval.offset + 1 + settings.tail)
    last, remark = interval.offset, ""
    if stop - start > settings.longest:
        stop = start + settings.longest
        last = min(last, stop - 1)
        remark = f"{settings.longest} frames are read; the offset is {interval.offset - last} later"
    # In a clip that was cut, the apex may lie after the last frame read.
    apex = min(interval.apex, last)
    moved = Interval(interval.onset - start, apex - start, last - start)
    return MeasuringJob(entry, start, stop, moved, remark)


def content_key(job: MeasuringJob, settings: PrepareSettings) -> tuple[str, str]:
    """What a clip is known by.

    Returns:
        SHA-256 over the bytes of the frames, their rate, the interval and the settings: the name of
        its file in the cache. And the content for the leak audit: the smallest hash of a frame.
        Copies of a clip that were cut or coded differently share nearly all of their frames, and
        so, but for a few in a hundred, the smallest hash.

    Raises:
        UserError: If a frame cannot be read.
    """
    assert job.entry.folder is not None
    # The rate is in the key because frames are averaged over seconds before flow; the sizes are in
    # it because their defaults are in code, not in the settings.
    measuring = settings.model_dump(mode="json", exclude={"raw"})  # the sizes have it
    if settings.yunet:
        # The network and not its path: the same file may lie elsewhere, another in its place.
        measuring["yunet"] = file_digest(settings.yunet)
    if settings.landmarks == DEFAULT_FINDER:
        del measuring["landmarks"]  # clips that were measured before there was a choice stay known
    facts = [
        *(VERSION, measuring, asdict(job.interval)),
        *(settings.sizes().facts(), job.entry.annotation.fps),
    ]
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode())
    # Hash each file by itself, so that the boundaries between files count.
    read = list_frames(job.entry.folder).part(job.start, job.stop)
    frames = [_frame_hash(file) for file in read.frames]
    digest.update(b"".join(frames))
    if read.missing:
        # The same frames at other times move otherwise.
        digest.update(json.dumps(read.places).encode())
    return digest.hexdigest(), min(frames).hex()


def _frame_hash(file: Path) -> bytes:
    try:
        return hashlib.sha256(file.read_bytes()).digest()
    except OSError as error:
        raise UserError(f"{file}: cannot be read ({error.strerror}); copy it again") from None


def prepare(
    reading: Reading, cache: Path, settings: PrepareSettings | None = None, workers: int = 1
) -> list[Prepared]:
    """Measure the clips that the cache does not have.

    Args:
        reading: A corpus that was read with its frames.
        cache: Folder of the cache; several corpora may share it.
        settings: How to measure; None for the defaults.
        workers: Processes, one core each.

    Returns:
        One row per clip, in corpus order; also written to ``reading.listing`` in the cache.

    Raises:
        UserError: If the corpus was read without frames, the cache cannot be written, or the file
            of YuNet or of what places the landmarks cannot be used.
    """
    if any(entry.folder is None for entry in reading.entries):
        raise UserError(f"{reading.name}: read without frames; expected read(frames=True)")
    try:
        cache.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"{cache}: cannot be made ({error.strerror}); give another folder"
        ) from None
    settings = settings or PrepareSettings()
    # Otherwise every clip would fail for want of them, and stay failed.
    _finder(settings)
    if settings.landmarks != DEFAULT_FINDER:  # which comes along, and takes seconds to load
        landmark_finder(settings.landmarks)
    jobs = [measuring_job(entry, settings) for entry in reading.entries]
    done = dict(enumerate(_first_ones(reading.name, jobs, cache, settings, workers)))
    left = list(enumerate(jobs))[len(done) :]
    bar = {"total": len(jobs), "initial": len(done), "unit": "clip"}
    with tqdm(desc=f"prepare {reading.name}", **bar) as progress:
        for index, row in _run(left, cache, settings, workers):
            done[index] = row
            progress.update()
    # Jobs finish in any order; the listing keeps the order of the corpus.
    rows = [done[i] for i in range(len(jobs))]
    write_lines(cache / reading.listing, (json.dumps(asdict(row)) for row in rows))
    bad = sum(bool(row.problem) for row in rows)
    logger.info("%d clips, %d cannot be measured", len(rows), bad)
    return rows


def _first_ones(
    name: str, jobs: Sequence[MeasuringJob], cache: Path, settings: PrepareSettings, workers: int
) -> list[Prepared]:
    """The clips up to the second that has to be measured, and a word on how long others will take.

    A small corpus that the cache has whole is found here: starting processes would take longer.
    """
    rows, seconds, measured = list[Prepared](), 0.0, 0
    began = time.perf_counter()
    for job in jobs:
        started = time.perf_counter()
        rows.append(prepare_one(job, cache, settings))
        seconds = time.perf_counter() - started
        measured += not rows[-1].cached
        # The second tells: the first also loads what measuring needs.
        if measured == 2 or (not measured and time.perf_counter() - began > _ALONE_S):
            break
    if len(rows) > measured:
        logger.info("%s: %d clips are in the cache already", name, len(rows) - measured)
    left = len(jobs) - len(rows)
    if left and measured:
        about = duration(seconds * left / max(1, workers))
        logger.info("%s: %d clips left, %.1f s each: about %s", name, left, seconds, about)
    return rows


def _run(
    jobs: Sequence[tuple[int, MeasuringJob]],
    cache: Path,
    settings: PrepareSettings,
    workers: int,
) -> Iterator[tuple[int, Prepared]]:
    """(index, row) in the order in which jobs finish."""
    work = partial(_numbered, cache=cache, settings=settings)
    if workers <= 1 or len(jobs) <= 1:
        with for_a_while_on_one_core():
            yield from map(work, jobs)
        return
    with closing(parallel_map(work, jobs, workers, ordered=False)) as found:
        yield from found


def _numbered(
    job: tuple[int, MeasuringJob], cache: Path, settings: PrepareSettings
) -> tuple[int, Prepared]:
    """A row with its place in the corpus: other processes finish in any order."""
    return job[0], prepare_one(job[1], cache, settings)


def prepare_one(job: MeasuringJob, cache: Path, settings: PrepareSettings) -> Prepared:
    """Measure one clip, or take its result from the cache."""
    annotation = job.entry.annotation
    try:
        key, content = content_key(job, settings)
    except UserError as error:
        # Not cached: a disk that comes back has the frames again.
        return Prepared(annotation, "", job.remark, problem=str(error))
    row = Prepared(annotation, key, job.remark, content=content)
    file, failed = cache / f"{key}.safetensors", cache / f"{key}.failed.json"
    if file.is_file() and (status := _status(file)) is not None:
        said = (job.remark, status if status != status_line(()) else "")
        return replace(row, remark="; ".join(filter(None, said)), cached=True)
    # Failures are cached too: a clip without a face would be searched again on every run.
    if failed.is_file():
        return replace(row, **json.loads(failed.read_text(encoding="utf-8")), cached=True)
    try:
        features, remarks = _measure(job, settings)
    except UserError as error:
        row = replace(row, problem=str(error), no_face=isinstance(error, NoFaceError))
        write_text(failed, json.dumps({"problem": row.problem, "no_face": row.no_face}))
        return row
    with replacing(file) as half:
        save_file(features, half, {"clip": annotation.clip, _STATUS: status_line(remarks)})
    return replace(row, remark="; ".join(filter(None, (job.remark, *remarks))))


def _status(file: Path) -> str | None:
    """The measurement's remarks in one line; None if the file is damaged."""
    try:
        with safe_open(file, framework="numpy") as kept:
            return str((kept.metadata() or {}).get(_STATUS, status_line(())))
    except SafetensorError:
        return None


def _measure(job: MeasuringJob, settings: PrepareSettings) -> tuple[Features, tuple[str, ...]]:
    """The features of a clip, and the measurement's remarks."""
    entry = job.entry
    assert entry.folder is not None
    fps = entry.annotation.fps or FOLDER_FPS
    clip = read_clip(
        entry.folder, start=job.start, stop=job.stop, max_side=settings.max_side, fps=fps
    )
    # The interval is coded, so the motion curve is not needed; it takes half the time.
    motion = MotionSettings(flow=settings.flow, curve=False)
    placer = landmark_finder(settings.landmarks)
    measurement = measure_coded(clip, job.interval, motion, _finder(settings), placer)
    found = pack(measurement, settings.sizes())
    # safetensors writes raw memory, so a strided view would be stored scrambled.
    return {k: np.ascontiguousarray(v) for k, v in found.items()}, measurement.remarks


def _finder(settings: PrepareSettings) -> FaceFinder:
    return YuNetFinder(settings.yunet) if settings.yunet else HaarFinder()


def open_prepared(listing: Path) -> ClipDataset:
    """The measured clips of a prepared corpus, in the order of the corpus, without :func:`copies`.

    Args:
        listing: ``<corpus>.jsonl`` in the cache, written by ``deft-llm corpora prepare``.

    Raises:
        UserError: If the corpus was not prepared, or files are missing from the cache.
    """
    if not listing.is_file():
        raise UserError(
            f"{listing}: no such listing; prepare the corpus first (deft-llm corpora prepare) "
            "and give the <corpus>.jsonl of its cache"
        )
    records, places = [], []
    lines = list(read_lines(listing))
    twice = copies(lines)
    for number, row in enumerate(lines):
        if row["problem"] or number in twice:
            continue
        coding = _annotation(row["annotation"])
        record = ClipRecord.of(coding)
        path = listing.parent / f"{row['key']}.safetensors"
        if not path.is_file():
            raise UserError(
                f"{listing.parent}: clip {coding.clip} is missing from the cache; prepare again"
            )
        # Two corpora may use the same names for subjects and clips, and one person may be in two.
        clip = f"{coding.dataset}/{coding.clip}"
        subject = f"{people_of(coding.dataset)}/{coding.subject}"
        content = row.get("content", "")  # a listing of an earlier version has none
        named = {"clip": clip, "subject": subject, "content": content, "shard": path.name}
        records.append(replace(record, **named))
        places.append(ClipPlace(ClipFile(path, "prepare again"), 0))
    return ClipDataset(records, places, name=listing.stem)


def copies(lines: Iterable[Mapping[str, Any]]) -> dict[int, str]:
    """Clips that show a person the same frames again, coded alike: they would count twice.

    Copies of different people are no such clips: one of the two subjects is wrong, which the leak
    audit says.

    Args:
        lines: Of a listing.

    Returns:
        Number of the line -> the clip that it repeats.
    """
    first: dict[tuple[str, ...], str] = {}
    found = {}
    for number, line in enumerate(lines):
        coding = line["annotation"]
        mark = (coding["dataset"], coding["subject"], line["key"])
        if not line["problem"] and first.setdefault(mark, coding["clip"]) != coding["clip"]:
            found[number] = first[mark]
    return found


def left_out(listing: Path) -> Iterator[LeftOut]:
    """The clips that could not be measured, and those that are copies."""
    lines = list(read_lines(listing))
    twice = copies(lines)
    for number, line in enumerate(lines):
        coding = line["annotation"]
        problem = f"the same frames as {twice[number]}" if number in twice else line["problem"]
        if problem:
            clip = f"{coding['dataset']}/{coding['clip']}"
            yield LeftOut(clip, problem, line.get("no_face", False))


def _annotation(values: dict) -> Annotation:
    interval = Interval(**values["interval"]) if values["interval"] else None
    return Annotation(**{**values, "interval": interval, "aus": tuple(values["aus"])})
