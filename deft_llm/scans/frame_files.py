"""Which files of a folder are the frames of a sequence, by the numbers in their names."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path

SUFFIXES = (".obj", ".ply", ".stl", ".wrl", ".vrml", ".npz", ".bnt", ".png", ".tif", ".tiff")
_PICTURES = (".png", ".tif", ".tiff")


def scan_files(folder: Path) -> tuple[list[tuple[int, Path]], list[str]]:
    """The scans in a folder in the order of their numbers; see `numbered_files`.

    Pictures count only where there is nothing else: beside a mesh they are its texture.
    """
    found = [p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES and p.name[0] != "."]
    return numbered_files([p for p in found if p.suffix.lower() not in _PICTURES] or found)


def numbered_files(found: Iterable[Path]) -> tuple[list[tuple[int, Path]], list[str]]:
    """Files in the order of the numbers in their names; one file a number.

    Returns:
        Number and file of each frame, and notes on numbers that are missing and files that are
        left out.
    """
    found = sorted(found, key=lambda path: path.name)
    files: dict[int, Path] = {}
    second: list[tuple[Path, str]] = []
    numbers = _numbers([path.stem for path in found])
    for path, number in zip(found, numbers, strict=True):
        if number is None:
            second.append((path, "no number in its name"))
        elif files.setdefault(number, path) != path:
            second.append((path, f"frame {number} is {files[number].name}"))
    return sorted(files.items()), [*_missing(sorted(files)), *_left_out(second)]


def _numbers(names: Sequence[str]) -> list[int | None]:
    """The number of each frame; by their order if no name has one."""
    found = [[int(digits) for digits in re.findall(r"\d+", name)] for name in names]
    if not any(found):
        return list(range(len(names)))
    alike: dict[int, list[list[int]]] = defaultdict(list)
    for numbers in found:
        alike[len(numbers)].append(numbers)
    place = {count: _counting(rows) for count, rows in alike.items() if count}
    return [numbers[place[len(numbers)]] if numbers else None for numbers in found]


def _counting(rows: list[list[int]]) -> int:
    """Which number of names (N, K) counts the frames: the one that takes the most values."""
    # 000_F3D.wrl ends with the number of its format, F001_T1_0001.obj begins with others.
    values = [len(set(column)) for column in zip(*rows, strict=True)]
    return max(reversed(range(len(values))), key=values.__getitem__)  # the last of equals


def _missing(numbers: list[int]) -> list[str]:
    if not numbers:
        return []
    gone = sorted(set(range(numbers[0], numbers[-1] + 1)) - set(numbers))
    # Every second number is a way of counting and no gap.
    step = min((b - a for a, b in pairwise(numbers)), default=1)
    gone = [n for n in gone if (n - numbers[0]) % step == 0]
    if not gone:
        return []
    shown = ", ".join(map(str, gone[:5])) + (" ..." if len(gone) > 5 else "")
    return [f"frame{'s' if len(gone) > 1 else ''} {shown} missing: the others are used"]


def _left_out(files: list[tuple[Path, str]]) -> list[str]:
    if not files:
        return []
    (path, why), more = files[0], len(files) - 1
    are = f"and {more} more files are" if more else "is"
    return [f"{path.name} {are} left out: {why}"]
