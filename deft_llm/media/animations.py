"""Videos in picture files: animated GIF, PNG and WebP with their durations, and TIFF stacks."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from deft_llm.errors import UserError
from deft_llm.media.depth import Depth, to_rgb8, used_depth
from deft_llm.media.frames import UNTIMED
from deft_llm.media.geometry import EXIF_ORIENTATIONS, UPRIGHT, orient
from deft_llm.media.pictures import EXIF_TAG, rgb_order
from deft_llm.media.selection import Frame, Notes, Selection, shrink
from deft_llm.media.tiff import open_stack

#: Seconds of a frame that states no duration: what browsers take.
NO_DURATION = 0.1
#: Pages of a stack that are decoded at once.
_PAGES = 8
#: What Pillow raises for a file that ends early or was damaged.
_BROKEN = (OSError, EOFError, SyntaxError, ValueError, MemoryError, Image.DecompressionBombError)


def read_animation(path: Path, selection: Selection, notes: Notes) -> Iterator[Frame]:
    """Read an animated GIF, PNG or WebP.

    Raises:
        UserError: If it cannot be decoded.
    """
    try:
        image: Any = Image.open(path)
    except _BROKEN as error:
        raise UserError(f"{path}: not a readable image ({error}); replace it") from error
    with image:
        matrix = EXIF_ORIENTATIONS.get(image.getexif().get(EXIF_TAG, 1), UPRIGHT)
        # The first picture of an animated PNG may be one for programs that show no animation.
        skipped = int(getattr(image, "default_image", False))
        total = getattr(image, "n_frames", 1) - skipped
        notes.available, notes.codec = total, str(image.format).lower()
        seconds, guessed = 0.0, False
        for index in range(total):
            if index >= selection.wanted.stop:
                break
            try:
                image.seek(index + skipped)
                image.load()
            except _BROKEN as error:
                notes.problems.append(f"frame {index} cannot be read ({error})")
                break
            notes.seconds.append(seconds)
            if index in selection.wanted:
                rgb = orient(np.asarray(image.convert("RGB"), np.uint8), matrix)
                notes.original = (rgb.shape[0], rgb.shape[1])
                yield Frame(index, shrink(rgb, selection), seconds)
            duration = float(image.info.get("duration") or 0) / 1000
            guessed = guessed or not duration
            seconds += duration or NO_DURATION
    if guessed and total > 1:
        notes.remarks.append(f"frames without a duration are shown for {NO_DURATION:g} s")


def read_stack(path: Path, selection: Selection, notes: Notes) -> Iterator[Frame]:
    """Read the pages of a TIFF as frames.

    Raises:
        UserError: If it cannot be decoded.
    """
    stack = open_stack(path)
    pages = stack.pages
    notes.available, notes.codec = len(pages), "tiff"
    notes.untimed = "" if stack.interval else UNTIMED
    every = stack.interval or float("nan")
    notes.seconds = [index * every for index in range(len(pages))]
    depth: Depth | None = None
    chosen = range(len(pages))[selection.start : selection.stop : selection.stride]
    for index, values in zip(chosen, _values(path, [pages[i] for i in chosen]), strict=True):
        if values.dtype != np.uint8 and depth is None:
            depth = used_depth(_values(path, pages), "pictures")
            notes.remarks += [depth.remark] if depth.remark else []
        image = to_rgb8(values, str(path), depth or Depth(255))
        notes.original = (image.shape[0], image.shape[1])
        yield Frame(index, shrink(image, selection), notes.seconds[index])


def _values(path: Path, pages: list[int]) -> Iterator[NDArray[np.generic]]:
    """The stored values of pages, a few at a time: a stack may be larger than the memory."""
    for at in range(0, len(pages), _PAGES):
        some = pages[at : at + _PAGES]
        try:
            done, mats = cv2.imreadmulti(
                str(path), some[0], some[-1] - some[0] + 1, flags=cv2.IMREAD_UNCHANGED
            )
        except (cv2.error, MemoryError) as error:
            words = getattr(error, "err", "") or "too large"
            raise UserError(f"{path}: cannot read this image ({words})") from error
        if not done or len(mats) != some[-1] - some[0] + 1:
            raise UserError(
                f"{path}: page {some[0] + len(mats)} of {pages[-1] + 1} is not readable; write the "
                "stack again, or give a folder of its pictures"
            )
        for page in some:
            yield rgb_order(np.asarray(mats[page - some[0]]))
