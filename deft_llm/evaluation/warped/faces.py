"""Faces to warp: real ones from photos and clips, and rendered ones."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from deft_llm.clip import Clip
from deft_llm.errors import UserError
from deft_llm.media.frames import SUFFIXES, natural_key
from deft_llm.media.pictures import read_image
from deft_llm.media.selection import Selection, shrink
from deft_llm.media.tracking import track_faces
from deft_llm.media.video import FACE_MAX_SIDE, existing, probe, read_clip
from deft_llm.simulator.scene.clip_spec import draw_spec
from deft_llm.simulator.scene.clips import render_clip
from deft_llm.simulator.warped.portrait import Portrait, portrait

logger = logging.getLogger(__name__)
# Frames of a resting clip that one face gets; a shorter clip is played to and fro.
_RESTING_FRAMES = 36
_FRAMES_LOOKED_AT = 120  # of a clip, to choose single frames from


def files_in(source: Path) -> list[Path]:
    """The files of a folder at any depth, in natural order, without hidden ones; or the one file.

    Raises:
        UserError: If there is none.
    """
    if not source.exists():
        raise UserError(f"source {source}: no such file or folder; expected photos or clips")
    if existing(source).is_file():
        return [source]
    inside = (path.relative_to(source) for path in source.rglob("*") if path.is_file())
    shown = [path for path in inside if not any(part.startswith(".") for part in path.parts)]
    if not shown:
        raise UserError(
            f"{source}: no file in this folder; expected photos or clips that show one face each"
        )
    return [source / path for path in sorted(shown, key=_place)]


def _place(path: Path) -> list[object]:
    return [natural_key(Path(name)) for name in path.parts]


def real_faces(files: Iterable[Path], wanted: int, resting: bool = False) -> list[Portrait]:
    """Faces of photos and clips, each also mirrored, at most ``wanted``.

    Of a clip, single frames are taken, spread over it. Files without a face are left out, with a
    warning.

    Args:
        files: Photos, and clips of one person each.
        wanted: Number of faces.
        resting: The clips show faces at rest: take frames in a row instead.

    Raises:
        UserError: If no file shows a face.
    """
    files = list(files)
    # Every picture gives two faces, as it is and mirrored.
    pictures = math.ceil(wanted / 2)
    each = math.ceil(pictures / len(files))
    found: list[list[Portrait]] = []
    for path in files:
        try:
            found.append(list(_faces_of(path, each, resting)))
        except UserError as error:
            logger.warning("left out: %s", error)
    # By turns, so that fewer faces are still those of all files.
    turns = [part[i] for i in range(each) for part in found if i < len(part)]
    if not turns:
        raise UserError(
            f"no face in any of {len(files)} files; expected photos or clips that show one face "
            "from the front, at least 15 % of the picture high"
        )
    if len(turns) < pictures:
        logger.warning("%d faces instead of %d: add photos or clips", 2 * len(turns), wanted)
    return [face for one in turns for face in (one, one.mirrored())][:wanted]


def _faces_of(path: Path, most: int, resting: bool) -> Iterator[Portrait]:
    if path.suffix.lower() in SUFFIXES:
        picture = shrink(read_image(path), Selection(max_side=FACE_MAX_SIDE))
        parts: Iterable[Clip] = [Clip(str(path), picture[None], np.zeros(1))]
    else:
        parts = _rests(path, most) if resting else _moments(path, most)
    problem, seen = None, False
    for part in parts:
        try:
            face = portrait(part, resting)
        except UserError as error:
            problem = problem or error
            continue
        seen = True
        yield replace(face, name=str(path))
    if problem and not seen:
        raise problem


def _moments(path: Path, most: int) -> Iterator[Clip]:
    """Single frames with a face, spread over a clip."""
    # A long video does not fit in memory.
    stride = max(1, probe(path).frames // max(_FRAMES_LOOKED_AT, most))
    clip = read_clip(path, stride=stride)
    seen = np.flatnonzero(track_faces(clip).present)
    # Middles of equal stretches: at its ends a face comes in or leaves.
    middles = (np.arange(most) + 0.5) / most * len(seen)
    for t in seen[np.unique(middles.astype(int))]:
        yield clip.part(int(t), int(t) + 1)


def _rests(path: Path, most: int) -> Iterator[Clip]:
    """Parts of a clip, each of frames in a row."""
    frames = probe(path).frames
    count = min(most, max(1, frames // _RESTING_FRAMES))
    for start in np.linspace(0, max(frames - _RESTING_FRAMES, 0), count).astype(int):
        yield read_clip(path, start=int(start), stop=int(start) + _RESTING_FRAMES)


def rendered_faces(first_identity: int, seed: int, wanted: int) -> Iterator[Portrait]:
    """Rendered faces at rest, one picture each."""
    for i in range(wanted):
        spec = draw_spec(seed + i, first_identity + i, emotion=None, aus=(), blink=None)
        clip = render_clip(spec).clip
        try:
            yield portrait(clip.part(0, 1))
        except UserError as error:
            logger.warning("left out: %s", error)
