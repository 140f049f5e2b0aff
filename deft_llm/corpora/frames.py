"""The frames of a coding: the folder, and the file of each frame number.

Sheets use the frame numbers in the file names, so a file is found by the number in its name. An
annotation has the file's index in the sorted folder instead, from 0.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Sequence
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
        numbers: The number in each frame's name, in reading order.
        first: Index of the first frame among the folder's images, which may begin with others.
        strays: Images that are no frames, such as an overview.
    """

    path: Path
    numbers: tuple[int, ...]
    first: int = 0
    strays: tuple[str, ...] = ()


def open_folder(path: Path) -> FrameFolder:
    """List a folder of frames.

    Raises:
        UserError: If it holds no image, images without increasing numbers, or images of two kinds.
    """
    files = list_frames(path)
    kinds: dict[str, list[int]] = defaultdict(list)
    for index, file in enumerate(files):
        kinds[re.sub(r"\d+", "#", file.stem.casefold())].append(index)
    # Frames are named alike but for their number; whatever else there is must be rare.
    frames, *others = sorted(kinds.values(), key=len, reverse=True)
    if others and 2 * len(others[0]) > len(frames):
        one, two = (files[kind[0]].name for kind in (frames, others[0]))
        raise UserError(f"{path}: images of two kinds, such as {one} and {two}; expected one clip")
    numbers = _numbers([files[index].stem for index in frames])
    if numbers is None:
        raise UserError(f"{path}: file names without increasing frame numbers; expected one each")
    strays = [index for kind in others for index in kind]
    for index in strays:
        # Frames are read by their place among the images, so they have to follow each other.
        if frames[0] < index < frames[-1]:
            raise UserError(f"{path}: {files[index].name} lies between the frames; remove it")
    names = tuple(files[index].name for index in sorted(strays))
    return FrameFolder(path, numbers, frames[0], names)


def _numbers(stems: Sequence[str]) -> tuple[int, ...] | None:
    """Frame numbers: the last group of digits that increases ("reg_img46_224x224" -> 46)."""
    groups = [[int(digits) for digits in re.findall(r"\d+", stem)] for stem in stems]
    for column in reversed(list(zip(*groups, strict=True))):
        if all(a < b for a, b in pairwise(column)):
            return column
    return None


def locate_interval(
    interval: Interval, folder: FrameFolder, first_frame: int, place: RowPlace
) -> Interval | None:
    """The interval as indices into the folder's sorted images, from 0.

    Args:
        interval: In the sheet's frame numbers.
        folder: The frames.
        first_frame: The corpus's number of the first frame of a video, 0 or 1.
        place: Row that remarks refer to.

    Returns:
        The interval, or None if a frame is missing.
    """
    numbers = folder.numbers
    for name in folder.strays:
        place.say(f"{name} in {folder.path.name}", "no frame: left aside", "noted")
    # Two known inconsistencies: a folder counted from 0 where the sheet counts from 1, and a folder
    # with exactly the coded frames, renumbered.
    shift = 0
    if first_frame == 1 and numbers[0] == 0:
        shift = -1
        place.say(f"{folder.path.name} starts at frame 0", "frames counted from 0 there", "mended")
    elif (
        interval.offset > numbers[-1] + _SLACK or interval.onset < numbers[0] - _SLACK
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
        found.append(folder.first + index)
    return Interval(*found)


def _index(number: int, numbers: tuple[int, ...]) -> int | None:
    """Index of a frame number, or of the next existing one; None if it is far outside."""
    if not numbers[0] - _SLACK <= number <= numbers[-1] + _SLACK:
        return None
    # bisect gives len(numbers) for a number just after the last frame.
    return min(bisect_left(numbers, number), len(numbers) - 1)
