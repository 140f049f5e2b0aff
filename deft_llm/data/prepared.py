"""Measure every clip of a corpus once: read, align, measure, keep the packet.

Each clip is one safetensors file in the cache, named by a hash of the content of its frames, its
interval and the settings, and put in place when it is whole: an interrupted run loses the clip in
hand, and the same clip is never measured twice, whatever it is called. A clip that cannot be
measured leaves its reason there instead. ``<corpus>.jsonl`` lists all clips of the last run.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file
from tqdm import tqdm

from deft_llm.clip import Annotation, Interval
from deft_llm.config import Settings
from deft_llm.corpora.reading import Entry, Reading
from deft_llm.data.features import Packet, PacketSizes, pack
from deft_llm.errors import UserError
from deft_llm.media.face import FaceFinder, HaarFinder, YuNetFinder, align, track_faces
from deft_llm.media.frames import list_frames
from deft_llm.media.video import FOLDER_FPS, read_clip
from deft_llm.motion.measure import MotionSettings, measure
from deft_llm.parallel import for_a_while_on_one_core, one_core

logger = logging.getLogger(__name__)
#: Raised whenever reading, aligning or measuring changes what a packet holds.
VERSION = 1


class PrepareSettings(Settings):
    """How clips are measured; each is part of the cache's key.

    Attributes:
        flow: A name of ``motion.flow.FLOW_METHODS``.
        lead: Frames before the onset that are read too: rest, for the noise floor.
        tail: Frames after the offset.
        longest: Frames of one clip at most; an offset beyond is cut, with a remark.
        max_side: Longer frames are scaled down to this many pixels.
        yunet: YuNet's ONNX file for finding faces; OpenCV's cascades without one.
    """

    flow: str = "lk"
    lead: int = 12
    tail: int = 5
    longest: int = 200
    max_side: int = 1280
    yunet: Path | None = None


@dataclass(frozen=True)
class Job:
    """One clip to measure: its frames, and onset, apex and offset among them."""

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
        key: Name of its file in the cache, without ending.
        remark: "" or what was cut or could not be seen.
        problem: "" or why it could not be measured.
        cached: Whether the cache had it.
    """

    annotation: Annotation
    key: str
    remark: str = ""
    problem: str = ""
    cached: bool = False


def plan(entry: Entry, settings: PrepareSettings) -> Job:
    """Which frames of a clip's folder are read."""
    interval = entry.annotation.interval
    assert interval is not None and entry.folder is not None, entry
    start = max(0, interval.onset - settings.lead)
    stop = min(entry.frames, interval.offset + 1 + settings.tail)
    last, remark = interval.offset, ""
    if stop - start > settings.longest:
        stop = start + settings.longest
        last = min(last, stop - 1)
        remark = f"{settings.longest} frames are read; the offset is {interval.offset - last} later"
    apex = min(interval.apex, last)
    moved = Interval(interval.onset - start, apex - start, last - start)
    return Job(entry, start, stop, moved, remark)


def content_key(job: Job, settings: PrepareSettings) -> str:
    """SHA-256 over the bytes of the frames, their rate, the interval and the settings."""
    assert job.entry.folder is not None
    facts = [
        *(VERSION, settings.model_dump(mode="json"), asdict(job.interval)),
        *(asdict(PacketSizes()), job.entry.annotation.fps),
    ]
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode())
    for file in list_frames(job.entry.folder)[job.start : job.stop]:
        digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()


def prepare(
    reading: Reading, cache: Path, settings: PrepareSettings | None = None, workers: int = 1
) -> list[Prepared]:
    """Measure the clips that the cache does not have.

    Args:
        reading: A corpus that was read with its frames.
        cache: Folder of the cache; may serve several corpora.
        settings: How to measure; None for the defaults.
        workers: Processes, one core each.

    Returns:
        One row per clip, in the order of the corpus; also in ``<corpus>.jsonl`` in the cache.

    Raises:
        UserError: If the corpus was read without frames, or the cache cannot be written.
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
    jobs = [plan(entry, settings) for entry in reading.entries]
    done: dict[int, Prepared] = {}
    with tqdm(total=len(jobs), desc=f"prepare {reading.name}", unit="clip") as progress:
        for index, row in _run(jobs, cache, settings, workers):
            done[index] = row
            progress.update()
    rows = [done[i] for i in range(len(jobs))]
    lines = "".join(json.dumps(asdict(row)) + "\n" for row in rows)
    listing = cache / f"{reading.name}.jsonl"
    partial = cache / f".{reading.name}.jsonl.partial"
    partial.write_text(lines, encoding="utf-8")
    os.replace(partial, listing)
    bad = sum(bool(row.problem) for row in rows)
    logger.info("%d clips, %d cannot be measured", len(rows), bad)
    return rows


def _run(
    jobs: Sequence[Job], cache: Path, settings: PrepareSettings, workers: int
) -> Iterator[tuple[int, Prepared]]:
    """Rows as they are finished."""
    if workers <= 1:
        with for_a_while_on_one_core():
            yield from ((i, prepare_one(job, cache, settings)) for i, job in enumerate(jobs))
        return
    context = get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context, initializer=one_core) as pool:
        waiting: dict[Future[Prepared], int] = {}
        todo = iter(enumerate(jobs))
        try:
            while True:
                for index, job in todo:
                    waiting[pool.submit(prepare_one, job, cache, settings)] = index
                    if len(waiting) >= 2 * workers:
                        break
                if not waiting:
                    return
                for future in wait(waiting, return_when=FIRST_COMPLETED).done:
                    yield waiting.pop(future), future.result()
        finally:
            pool.shutdown(cancel_futures=True)


def prepare_one(job: Job, cache: Path, settings: PrepareSettings) -> Prepared:
    """Measure one clip, or find it in the cache."""
    annotation = job.entry.annotation
    key = content_key(job, settings)
    file, failed = cache / f"{key}.safetensors", cache / f"{key}.failed.json"
    if file.is_file():
        return Prepared(annotation, key, job.remark, cached=True)
    if failed.is_file():
        problem = str(json.loads(failed.read_text(encoding="utf-8"))["problem"])
        return Prepared(annotation, key, job.remark, problem, cached=True)
    partial = cache / f".{key}-{os.getpid()}.partial"
    try:
        packet, status = _measure(job, settings)
    except UserError as error:
        partial.write_text(json.dumps({"problem": str(error)}), encoding="utf-8")
        os.replace(partial, failed)
        return Prepared(annotation, key, job.remark, str(error))
    save_file(packet, partial, {"clip": annotation.clip, "status": status})
    partial.chmod(0o644)  # save_file made it private
    os.replace(partial, file)
    remark = "; ".join(part for part in (job.remark, "" if status == "ok" else status) if part)
    return Prepared(annotation, key, remark)


def _measure(job: Job, settings: PrepareSettings) -> tuple[Packet, str]:
    """The packet of a clip, and what could not be seen."""
    entry = job.entry
    assert entry.folder is not None
    fps = entry.annotation.fps or FOLDER_FPS
    clip = read_clip(
        entry.folder, start=job.start, stop=job.stop, max_side=settings.max_side, fps=fps
    )
    track = track_faces(clip, _finder(settings), step=max(1, len(clip) // 4))
    motion = MotionSettings(flow=settings.flow, curve=False)
    measurement = measure(align(clip, track), job.interval, motion)
    packet = pack(measurement)
    return {k: np.ascontiguousarray(v) for k, v in packet.items()}, measurement.status


def _finder(settings: PrepareSettings) -> FaceFinder:
    return YuNetFinder(settings.yunet) if settings.yunet else HaarFinder()


class PreparedCorpus:
    """The clips of a prepared corpus that could be measured, read from the cache when asked for."""

    def __init__(self, cache: Path, name: str) -> None:
        """Read ``<name>.jsonl``.

        Raises:
            UserError: If the corpus was not prepared, or files are missing from the cache.
        """
        listing = cache / f"{name}.jsonl"
        if not listing.is_file():
            raise UserError(f"{listing}: no such file; run: deft-llm corpora prepare")
        rows = [json.loads(line) for line in listing.read_text(encoding="utf-8").splitlines()]
        self.cache = cache
        self.keys = {r["annotation"]["clip"]: r["key"] for r in rows if not r["problem"]}
        self.annotations = tuple(_annotation(r["annotation"]) for r in rows if not r["problem"])
        for clip, key in self.keys.items():
            if not (cache / f"{key}.safetensors").is_file():
                raise UserError(f"{cache}: clip {clip} is missing from the cache; prepare again")

    def __len__(self) -> int:
        return len(self.annotations)

    def __getitem__(self, clip: str) -> Packet:
        """The packet of one clip; see ``data.features.pack``."""
        return self._open(clip, None)

    def stack(self, name: str) -> np.ndarray:
        """One array of all clips, for example "flow" (N, P, 3, S, S), in their order."""
        return np.stack([self._open(a.clip, name)[name] for a in self.annotations])

    def _open(self, clip: str, name: str | None) -> Packet:
        """Arrays from the file's memory map: one of them reads no other."""
        path = self.cache / f"{self.keys[clip]}.safetensors"
        try:
            with safe_open(path, framework="numpy") as file:
                return {n: file.get_tensor(n) for n in ([name] if name else file.keys())}
        except SafetensorError as error:
            raise UserError(f"{path}: damaged ({error}); delete it and prepare again") from error


def _annotation(values: dict) -> Annotation:
    interval = Interval(**values["interval"]) if values["interval"] else None
    return Annotation(**{**values, "interval": interval, "aus": tuple(values["aus"])})
