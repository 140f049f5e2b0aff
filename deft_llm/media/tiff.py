"""The pages of a TIFF file, read from its directories without decoding a picture.

TIFF 6.0 (Adobe, 1992) and BigTIFF. Pillow knows fewer kinds of pixels than OpenCV, and OpenCV does
not tell pages from thumbnails, so the directories are read here.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from deft_llm.errors import UserError

_SUBFILE, _WIDTH, _HEIGHT, _DESCRIPTION = 254, 256, 257, 270
_IMAGEJ_INTERVAL = re.compile(rb"^finterval=([0-9.eE+-]+)\s*$", re.MULTILINE)
_IMAGEJ_RATE = re.compile(rb"^fps=([0-9.eE+-]+)\s*$", re.MULTILINE)


@dataclass(frozen=True)
class Stack:
    """The pages of a file that are frames of one video.

    Attributes:
        pages: Their numbers in the file: the pages of the first one's size, without thumbnails.
        interval: Seconds between frames, if the file states it as ImageJ does.
    """

    pages: list[int]
    interval: float | None


@dataclass(frozen=True)
class _Page:
    size: tuple[int, int]
    reduced: bool
    description: bytes


def open_stack(path: Path) -> Stack:
    """List the pages of a TIFF.

    Raises:
        UserError: If its directories are damaged.
    """
    try:
        with path.open("rb") as file:
            found = _pages(file)
    # The last three are what Python raises for places and counts beyond any memory.
    except (OSError, struct.error, MemoryError, OverflowError, ValueError) as error:
        words = str(error) or "a directory larger than the memory"
        raise UserError(f"{path}: not a readable image ({words}); replace it") from error
    if not found:
        raise UserError(f"{path}: a TIFF without a picture; replace it")
    whole = [i for i, page in enumerate(found) if not page.reduced] or [0]
    size = found[whole[0]].size
    text = found[whole[0]].description
    return Stack([i for i in whole if found[i].size == size], _interval(text))


def _interval(description: bytes) -> float | None:
    """Seconds between frames from ImageJ's description."""
    every, rate = _IMAGEJ_INTERVAL.search(description), _IMAGEJ_RATE.search(description)
    try:
        seconds = float(every[1]) if every else 1 / float(rate[1]) if rate else 0.0
    except (ValueError, ZeroDivisionError):
        return None
    return seconds if 0 < seconds < float("inf") else None


def _pages(file: BinaryIO) -> list[_Page]:
    """The directories of a file, in their order."""
    head = file.read(16)
    order = "<" if head[:2] == b"II" else ">"
    big = struct.unpack(order + "H", head[2:4])[0] == 43  # 42 is TIFF, 43 is BigTIFF
    at = struct.unpack(order + ("Q" if big else "I"), head[8:16] if big else head[4:8])[0]
    found: list[_Page] = []
    seen: set[int] = set()
    # A directory that points back to an earlier one would never end.
    while at and at not in seen:
        seen.add(at)
        file.seek(at)
        # BigTIFF has wider counts, and values of eight bytes inside an entry in place of four.
        (count,) = struct.unpack(order + ("Q" if big else "H"), file.read(8 if big else 2))
        width = 20 if big else 12
        entries = file.read(count * width)
        (at,) = struct.unpack(order + ("Q" if big else "I"), file.read(8 if big else 4))
        rows = [entries[i * width : (i + 1) * width] for i in range(count)]
        tags = {struct.unpack(order + "H", row[:2])[0]: row for row in rows}
        found.append(
            _Page(
                (_number(tags, _HEIGHT, order, big), _number(tags, _WIDTH, order, big)),
                bool(_number(tags, _SUBFILE, order, big) & 1),  # a thumbnail
                _text(file, tags, order, big) if not found else b"",
            )
        )
    return found


def _number(tags: dict[int, bytes], tag: int, order: str, big: bool) -> int:
    """The first value of a tag of whole numbers; 0 without the tag."""
    if tag not in tags:
        return 0
    kind = struct.unpack(order + "H", tags[tag][2:4])[0]
    form = {1: "B", 3: "H", 4: "I", 16: "Q"}.get(kind, "I")
    value = tags[tag][12 if big else 8 :]
    return int(struct.unpack(order + form, value[: struct.calcsize(form)])[0])


def _text(file: BinaryIO, tags: dict[int, bytes], order: str, big: bool) -> bytes:
    """The description of a page, which stands elsewhere in the file if it is long."""
    if _DESCRIPTION not in tags:
        return b""
    row, form = tags[_DESCRIPTION], "Q" if big else "I"
    width = struct.calcsize(form)
    count, value = struct.unpack(order + form, row[4 : 4 + width])[0], row[4 + width :]
    if count <= width:
        return value[:count]
    file.seek(struct.unpack(order + form, value)[0])
    return file.read(min(count, 1 << 16))  # a damaged count reads no more
