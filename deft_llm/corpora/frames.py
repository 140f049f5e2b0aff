"""The frames of a coding: the folder, and the file of each frame number.

Sheets use the frame numbers in the file names, so a file is found by the number in its name. An
annotation has the index among the folder's frames instead, from 0.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from pathlib import Path

from deft_llm.clip import Interval
from deft_llm.corpora.coding import RowPlace
from deft_llm.errors import UserError
from deft_llm.media.frames import list_frames

#: A frame number at most this far from a file's is taken for it. Our own choice: coders and exports
#: differ by one or two at the ends; at 200 frames per second that is 10 ms, less than any phase.
_SLACK = 2


@dataclass(frozen=True)
class FrameFolder:
    """A folder of frames.

    Attributes:
        path: The folder.
        numbers: The number in each frame's name, in reading order.
        strays: Images that are no frames, such as an overview.
    """

    path: Path
    numbers: tuple[int, ...]
    strays: tuple[str, ...] = ()


def open_folder(path: Path) -> FrameFolder:
    """List a folder of frames.

    Raises:
        UserError: If it holds no image, images without increasing numbers, or images of two kinds.
    """
    listed = list_frames(path)
    if not listed.numbers:
        raise UserError(
            f"{path}: images of two kinds, or names without increasing frame numbers "
            f"({listed.frames[0].name} ... {listed.frames[-1].name}); expected one clip"
        )
    return FrameFolder(path, listed.numbers, tuple(file.name for file in listed.strays))


def locate_interval(
    interval: Interval, folder: FrameFolder, first_frame: int, place: RowPlace
) -> Interval | None:
    """The interval as indices into the folder's frames, from 0.

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
    # Two known inconsistencies: a folder counted from 0 where the sheet counts from 1 (frames that
    # OpenCV wrote), and a folder with exactly the coded frames, renumbered (crops of CASME II, the
    # clips of CAS(ME)3). Other folders are believed: a number that is there is that frame.
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
            what = f"holds frames {numbers[0]} to {numbers[-1]}"
            if numbers[0] < number < numbers[-1]:
                what += ", and none near it"
            place.say(f"{name} {number}", f"{folder.path.name} {what}", "dropped")
            return None
        if numbers[index] != number:
            place.say(f"no file for {name} {number}", f"frame {numbers[index]}", "mended")
        found.append(index)
    # Of a clip that is dropped nothing is read.
    _say_gaps(range(interval.onset + shift, interval.offset + shift + 1), folder, place)
    return Interval(*found)


def _say_gaps(coded: range, folder: FrameFolder, place: RowPlace) -> None:
    """Note frames that are missing inside an interval, so that it seems shorter than it is."""
    first, last = (bisect_left(folder.numbers, number) for number in (coded.start, coded.stop))
    missing = len(coded) - (last - first)
    if missing > _SLACK:
        what = f"{missing} of {len(coded)} frames from onset to offset have no file"
        place.say(what, "the others are read, and their times leave room for them", "noted")


def _index(number: int, numbers: tuple[int, ...]) -> int | None:
    """Index of a frame number, or of the next existing one; None if none is near."""
    # bisect gives len(numbers) for a number just after the last frame.
    index = min(bisect_left(numbers, number), len(numbers) - 1)
    return index if abs(numbers[index] - number) <= _SLACK else None
