"""Folders of frames: one image per frame, in natural order (2 before 10).

Where the names are numbered, the numbers also say which frames are missing, and which pictures are
no frames.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from deft_llm.errors import UserError
from deft_llm.media.depth import Depth, to_rgb8, used_depth
from deft_llm.media.pictures import is_still, kind_of, read_values
from deft_llm.media.selection import Frame, Notes, Selection, shrink
from deft_llm.media.suffixes import VIDEO_SUFFIXES
from deft_llm.media.tiff import open_stack

SUFFIXES = (
    *(".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".bmp", ".tif", ".tiff"),
    *(".webp", ".jp2", ".pgm", ".ppm", ".pnm"),
)

UNTIMED = "pictures carry no times"


@dataclass(frozen=True)
class FrameFiles:
    """The pictures of a folder.

    Attributes:
        frames: One per frame, in natural order.
        numbers: The number in the name of each frame, increasing; empty if they are not numbered.
        strays: Pictures named unlike the frames, such as an overview, which are no frames.
    """

    frames: tuple[Path, ...]
    numbers: tuple[int, ...] = ()
    strays: tuple[Path, ...] = ()

    @property
    def places(self) -> list[int]:
        """Place of each frame in time, counted in frames: behind missing ones, more than its index.

        Every second number is a way of counting and no gap. Numbers without a common step, such as
        times, tell of no gaps.
        """
        step = min((b - a for a, b in pairwise(self.numbers)), default=0)
        away = [number - self.numbers[0] for number in self.numbers]
        if not step or any(number % step for number in away):
            return list(range(len(self.frames)))
        return [number // step for number in away]

    @property
    def missing(self) -> int:
        """Frames that are missing between the others; none where a range leaves no frame."""
        return self.places[-1] + 1 - len(self.frames) if self.frames else 0

    def part(self, start: int, stop: int | None, stride: int = 1) -> FrameFiles:
        """A selection of the frames."""
        chosen = slice(start, stop, stride)
        return FrameFiles(self.frames[chosen], self.numbers[chosen])

    @property
    def remarks(self) -> list[str]:
        """What the user should know: which pictures are left out, and which frames are missing."""
        told = []
        if self.strays:
            names = ", ".join(file.name for file in self.strays[:3])
            which = f"{names}{' ...' if len(self.strays) > 3 else ''}"
            told.append(f"{which}: left out, not named like the frames")
        if missing := self.missing:
            behind = next(i for i, place in enumerate(self.places) if place > i)
            many = f"{missing} frames are missing" if missing > 1 else "a frame is missing"
            told.append(
                f"{many} by the numbers in the names, the first before "
                f"{self.frames[behind].name}; times leave room for them"
            )
        return told


def natural_key(path: Path) -> tuple[list[tuple[int, int | str]], str]:
    """Sort key under which ``img9`` comes before ``img10``."""
    parts = re.split(r"(\d+)", path.name.lower())
    # The leading 0 or 1 keeps a number from being compared with text, which Python refuses.
    # "²" is a digit to ``isdigit``, and no number.
    numbered: list[tuple[int, int | str]] = [
        (0, int(p)) if p.isdecimal() else (1, p) for p in parts if p
    ]
    # The name itself decides between 1.png and 01.png.
    return numbered, path.name


def is_picture(path: Path) -> bool:
    """Whether a file is one picture: by its suffix, and a GIF by its content, since most move."""
    suffix = path.suffix.lower()
    # A pipe would block for ever.
    return suffix in SUFFIXES or (suffix == ".gif" and path.is_file() and is_still(path))


def videos_and_pictures(files: Sequence[Path]) -> tuple[list[Path], list[Path]]:
    """The files of a folder that are clips by themselves, and those that may be frames of one."""
    pictures = [file for file in files if is_picture(file)]
    still = set(pictures)
    videos = [f for f in files if f.suffix.lower() in VIDEO_SUFFIXES and f not in still]
    return videos, pictures


def list_frames(folder: Path) -> FrameFiles:
    """The images of a folder, without hidden files.

    Raises:
        UserError: If there is no image, or the folder cannot be read.
    """
    try:
        inside = [p for p in folder.iterdir() if not p.name.startswith(".")]
    except OSError as error:
        raise UserError(f"{folder}: cannot be read ({error.strerror}); check the folder") from error
    files = sorted((p for p in inside if not p.is_dir() and is_picture(p)), key=natural_key)
    for file in files:
        # A pipe would block for ever, and a frame behind a broken link would be missed in silence.
        if not file.is_file():
            raise UserError(f"{file}: no regular file; put the picture there, or remove it")
    for a, b in pairwise(sorted(files, key=lambda p: p.stem)):
        if a.stem == b.stem:
            raise UserError(
                f"{folder}: {a.name} and {b.name} are one frame twice; keep one of the formats"
            )
    if not files:
        raise UserError(
            f"{folder}: no images in this folder; expected the frames of one clip as "
            f"{', '.join(s[1:] for s in SUFFIXES)}{_hint(inside)}"
        )
    return _series(files)


def _series(files: list[Path]) -> FrameFiles:
    """The frames among the pictures of a folder: those named alike but for their number."""
    kinds: dict[str, list[Path]] = defaultdict(list)
    for file in files:
        kinds[re.sub(r"\d+", "#", file.stem.casefold())].append(file)
    frames, *others = sorted(kinds.values(), key=len, reverse=True)
    numbers = _numbers([file.stem for file in frames])
    # Strays are rare: names of many kinds tell nothing of what is a frame.
    if others and (not numbers or 2 * (len(files) - len(frames)) > len(frames)):
        return FrameFiles(tuple(files))
    strays = [file for kind in others for file in kind]
    return FrameFiles(tuple(frames), numbers, tuple(sorted(strays, key=natural_key)))


def _numbers(stems: Sequence[str]) -> tuple[int, ...]:
    """Frame numbers: the last group of digits that increases ("reg_img46_224x224" -> 46)."""
    groups = [[int(digits) for digits in re.findall(r"\d+", stem)] for stem in stems]
    for column in reversed(list(zip(*groups, strict=True))):
        if all(a < b for a, b in pairwise(column)):
            return column
    return ()


def _hint(inside: list[Path]) -> str:
    """Ending of the message about a folder without images: what it holds instead."""
    names = sorted((p for p in inside if p.is_dir()), key=natural_key)
    if names:
        return f"; it holds folders, give one of them ({names[0].name})"
    if inside:
        return f"; it holds other files ({min(p.name for p in inside)})"
    return "; it is empty"


def read_folder(
    folder: Path, listed: FrameFiles, selection: Selection, notes: Notes
) -> Iterator[Frame]:
    """Read a folder of frames.

    Args:
        folder: The folder, for messages.
        listed: Its images, those of the frames of one size.
        selection: Which frames to read; the others are not opened.
        notes: Receives what the user should know.

    Raises:
        UserError: If an image cannot be read, or the sizes differ.
    """
    files = listed.frames
    notes.available, notes.untimed = len(files), UNTIMED
    notes.places, notes.remarks = listed.places, [*notes.remarks, *listed.remarks]
    notes.codec, notes.seconds = files[0].suffix[1:].lower(), [float("nan")] * len(files)
    if kind_of(files[0]) == "stack" and len(pages := open_stack(files[0]).pages) > 1:
        raise UserError(
            f"{folder}: {files[0].name} holds {len(pages)} pictures; expected one for each frame; "
            "give the stack itself"
        )
    depth, first = None, None
    for index in range(len(files))[selection.start : selection.stop : selection.stride]:
        values = read_values(files[index])
        if values.dtype != np.uint8 and depth is None:
            depth = _depth_of(files, values, notes)
        image = to_rgb8(values, str(files[index]), depth or Depth(255))
        if first is None:
            first, notes.original = files[index], (image.shape[0], image.shape[1])
        if image.shape[:2] != notes.original:
            (h, w), (h0, w0) = image.shape[:2], notes.original
            raise UserError(
                f"{folder}: frames of different sizes: {files[index].name} is {w}x{h}, "
                f"{first.name} is {w0}x{h0}; expected one size, put each clip in its own folder"
            )
        yield Frame(index, shrink(image, selection), float("nan"))


def _depth_of(files: Sequence[Path], values: NDArray[np.generic], notes: Notes) -> Depth:
    """The depth that all pictures of a folder use, even those that are not selected."""
    others = (read_values(file) for file in files)
    depth = used_depth((v for v in others if v.dtype == values.dtype), "pictures")
    if depth.remark:
        notes.remarks.append(depth.remark)
    return depth
