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
from deft_llm.media.video import FACE_MAX_SIDE, existing, read_clip
from deft_llm.simulator.scene.clip_spec import draw_spec
from deft_llm.simulator.scene.clips import render_clip
from deft_llm.simulator.warped.portrait import Portrait, portrait

logger = logging.getLogger(__name__)
# Frames of a resting clip that one face gets; a shorter clip is played to and fro.
_RESTING_FRAMES = 36


def files_in(source: Path) -> list[Path]:
    """The files of a folder at any depth, in natural order, without hidden ones; or the one file.

    Raises:
        UserError: If there is none.
    """
    source = existing(source)
    if source.is_file():
        return [source]
    inside = (path.relative_to(source) for path in source.rglob("*") if path.is_file())
    shown = [path for path in inside if not any(part.startswith(".") for part in path.parts)]
    if not shown:
        raise UserError(
            f"{source}: no file in this folder; expected photos or clips that show one face each"
        )
    return [source / path for path in sorted(shown, key=lambda p: [natural_key(Path(n)) for n in p.parts])]


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
    pictures = math.ceil(wanted / 2)
    each = math.ceil(pictures / len(files))
    found: list[list[Portrait]] = []
    problem: UserError | None = None
    for path in files:
        try:
            found.append(list(_faces_of(path, each, resting)))
        except UserError as error:
            logger.warning("left out: %s", error)
            problem = problem or error
    # By turns, so that fewer faces are still those of all files.
    turns = [part[i] for i in range(each) for part in found if i < len(part)]
    if not turns:
        raise UserError(
            f"no face in any of {len(files)} files; expected photos or clips that show one face "
            f"from the front, at least 15 % of the picture high; the first: {problem}"
        )
    if len(turns) < pictures:
        logger.warning("%d faces instead of %d: add photos or clips", 2 * len(turns), wanted)
    return [face for one in turns for face in (one, one.mirrored())][:wanted]


def _faces_of(path: Path, most: int, resting: bool) -> Iterator[Portrait]:
    if path.suffix.lower() in SUFFIXES:
        picture = shrink(read_image(path), Selection(max_side=FACE_MAX_SIDE))
        yield portrait(Clip(path.name, picture[None], np.zeros(1)))
        return
    clip = replace(read_clip(path), name=path.name)
    if resting:
        count = min(most, max(1, len(clip) // _RESTING_FRAMES))
        ends = np.linspace(0, len(clip), count + 1).astype(int)
        parts = [clip.part(int(a), int(b)) for a, b in zip(ends[:-1], ends[1:], strict=True)]
    else:
        # Middles of equal stretches: the very first and last frames are often damaged.
        middles = (np.arange(most) + 0.5) / most * len(clip)
        parts = [clip.part(int(t), int(t) + 1) for t in np.unique(middles.astype(int))]
    problem, seen = None, False
    for part in parts:
        try:
            face = portrait(part, resting)
        except UserError as error:
            problem = problem or error
            continue
        seen = True
        yield replace(face, name=f"{path.name} {part.timestamps[0]:.2f} s")
    if problem and not seen:
        raise problem


def rendered_faces(first_identity: int, seed: int, wanted: int) -> Iterator[Portrait]:
    """Rendered faces at rest, one picture each."""
    for i in range(wanted):
        spec = draw_spec(seed + i, first_identity + i, emotion=None, aus=(), blink=None)
        clip = render_clip(spec).clip
        try:
            yield portrait(clip.part(0, 1))
        except UserError as error:
            logger.warning("left out: %s", error)
