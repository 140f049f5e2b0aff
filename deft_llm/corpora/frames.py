"""The frames of a coding: the folder, and the file of each frame number.

Sheets use the frame numbers in the file names, so a file is found by the number in its name. An
annotation has the file's index in the sorted folder instead, from 0.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from deft_llm.clip import Interval
from deft_llm.corpora.coding import RowPlace
from deft_llm.errors import UserError
from deft_llm.media.frames import list_frames

#: A frame number at most this far outside a folder is mapped to its first or last frame.
_SLACK = 2


@dataclass(frozen=True)
class FrameFolder:
    """A folder of frames.

    Attributes:
        path: The folder.
        numbers: The number in each file's name, in reading order.
    """

    path: Path
    numbers: tuple[int, ...]


def number_of(name: str) -> int | None:
    """The frame number in a file's stem: the last group of digits ("006_05562" -> 5562)."""
    digits = re.findall(r"\d+", name)
    return int(digits[-1]) if digits else None


def open_folder(path: Path) -> FrameFolder:
    """List a folder of frames.

    Raises:
        UserError: If it holds no image, or images without increasing numbers.
    """
    files = list_frames(path)
    numbers = [number_of(file.stem) for file in files]
    known = [n for n in numbers if n is not None]
    if len(known) < len(files) or any(b <= a for a, b in pairwise(known)):
        raise UserError(f"{path}: file names without increasing frame numbers; expected one each")
    return FrameFolder(path, tuple(known))


def find_folder(bases: Iterable[Path], places: Iterable[str]) -> Path | None:
    """The first of `places` (globs relative to a base) that is a folder."""
    for base in bases:
        for place in places:
            # Test plain paths directly; globbing is slow in large corpora.
            if not any(char in place for char in "*?["):
                if (base / place).is_dir():
                    return base / place
                continue
            for found in sorted(base.glob(place)):
                if found.is_dir():
                    return found
    return None


def locate_interval(
    interval: Interval, folder: FrameFolder, first_frame: int, place: RowPlace
) -> Interval | None:
    """The interval as indices into the sorted folder, from 0.

    Args:
        interval: In the sheet's frame numbers.
        folder: The frames.
        first_frame: The corpus's number of the first frame of a video, 0 or 1.
        place: Row that remarks refer to.

    Returns:
        The interval, or None if a frame is missing.
    """
    numbers = folder.numbers
    # Two known inconsistencies: a folder counted from 0 where the sheet counts from 1, and a folder
    # with exactly the coded frames, renumbered.
    shift = 0
    if first_frame == 1 and numbers[0] == 0:
        shift = -1
        place.say(f"{folder.path.name} starts at frame 0", "frames counted from 0 there", "mended")
    elif (
        interval.onset > numbers[-1] or interval.offset < numbers[0]
    ) and interval.offset - interval.onset + 1 == len(numbers):
        shift = numbers[0] - interval.onset
        place.say(
            f"frames {numbers[0]} to {numbers[-1]} in {folder.path.name}",
            f"the same {len(numbers)} frames as {interval.onset} to {interval.offset}, renumbered",
            "mended",
        )
    found = []
    for name in ("onset", "apex", "offset"):
        number = getattr(interval, name) + shift
        index = _index(number, numbers)
        if index is None:
            place.say(
                f"{name} {number}",
                f"{folder.path.name} holds frames {numbers[0]} to {numbers[-1]}",
                "dropped",
            )
            return None
        if numbers[index] != number:
            place.say(f"no file for {name} {number}", f"frame {numbers[index]}", "mended")
        found.append(index)
    return Interval(*found)


def _index(number: int, numbers: tuple[int, ...]) -> int | None:
    """Index of a frame number, or of the next existing one; None if it is far outside."""
    if not numbers[0] - _SLACK <= number <= numbers[-1] + _SLACK:
        return None
    # bisect gives len(numbers) for a number just after the last frame.
    return min(bisect_left(numbers, number), len(numbers) - 1)
