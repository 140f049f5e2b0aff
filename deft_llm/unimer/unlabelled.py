"""A folder of one's own clips that nobody coded, measured for what needs no label."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

from deft_llm.data.clip_dataset import MeasuredClip
from deft_llm.data.clip_lines import CLIPS
from deft_llm.data.clip_shards import claim_recipe, left_out, records, write_shards
from deft_llm.data.features import pack
from deft_llm.data.measuring import measure_video
from deft_llm.data.records import ClipRecord
from deft_llm.errors import NoFaceError, UserError
from deft_llm.files import digest, file_digest, sampled_digest, write_lines
from deft_llm.media.frames import list_frames, natural_key, videos_and_pictures
from deft_llm.parallel import parallel_map
from deft_llm.unimer.coded import content_hash

DATASET = "own"


def clips_in(folder: Path) -> list[Path]:
    """The clips of a folder and its subfolders, in natural order: videos, and folders of frames.

    Raises:
        UserError: If the folder is missing or holds none.
    """
    found: list[Path] = []
    for place, inside, names in os.walk(folder):
        inside[:] = sorted(name for name in inside if not name.startswith("."))
        files = [Path(place) / name for name in names if not name.startswith(".")]
        videos, pictures = videos_and_pictures(files)
        # Pictures beside videos are covers.
        found += videos or ([Path(place)] if len(pictures) > 1 else [])
    if not found:
        raise UserError(
            f"{folder}: no clips; expected instruction data (clips.jsonl), videos, or folders of "
            "frames"
        )
    return sorted(found, key=lambda path: [natural_key(Path(part)) for part in path.parts])


def measure_folder(folder: Path, out: Path, workers: int | None = None) -> None:
    """Measure the strongest movement of every clip; after an interruption, call again to resume.

    Once all are measured, a further call does nothing.

    Args:
        folder: Videos and folders of frames, at any depth. Clips of one subfolder count as one
            person's, those of ``folder`` itself each as another's.
        out: Gets ``clips.jsonl`` and shards of features, without labels (``data/records.py``).
        workers: Number of processes; None takes one for each core.

    Raises:
        UserError: If no clip can be measured; says why for the first one. If ``out`` was begun from
            other clips, whatever they are called.
    """
    clips = clips_in(folder)
    names = [path.relative_to(folder).as_posix() for path in clips]
    # By their bytes, too: clips of two corpora may have the same names.
    content = digest(*names, *map(_content, clips))[:16]
    claim_recipe(out, {"clips": len(clips), "content": content})
    if (out / CLIPS).is_file():
        return

    def measured(some: Iterable[Path]) -> Iterator[MeasuredClip]:
        look = partial(_measured, folder)
        return parallel_map(look, some, min(workers or os.cpu_count() or 1, len(clips)))

    parts = write_shards("features", clips, measured, out)
    found = list(records(out, parts))
    if not found:
        why = next(left_out(out, parts))
        raise UserError(
            f"{folder}: none of {len(clips)} clips can be measured, for example {why.clip}: "
            f"{why.problem}"
        )
    # Last: without it, the folder does not open as a dataset.
    write_lines(out / CLIPS, (record.to_json() for record in found))


def _content(path: Path) -> str:
    """A hash of a video, or of all frames in a folder; "" if it cannot be read."""
    try:
        if path.is_dir():
            return digest(*map(file_digest, list_frames(path).frames))
        return sampled_digest(path)
    except (OSError, UserError):  # told when it is measured
        return ""


def _measured(folder: Path, path: Path) -> MeasuredClip:
    name = path.relative_to(folder).as_posix()
    inside = path.relative_to(folder).parent.as_posix()
    record = ClipRecord(
        clip=name,
        subject=name if inside == "." else inside,
        emotion=None,
        emotion_known=False,
        aus=(),
        dataset=DATASET,
    )
    try:
        clip, measurement = measure_video(path)
    except UserError as error:
        return MeasuredClip(record, None, str(error), no_face=isinstance(error, NoFaceError))
    features = pack(measurement)
    known = replace(
        record,
        interval=measurement.interval,
        fps=clip.fps,
        content=content_hash(features),
    )
    return MeasuredClip(known, features)
