"""Which number of a file's name counts the frames, and what is told of files that are not read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from deft_llm.scans.reading import read_sequence, write_scan
from deft_llm.scans.scan import Scan


def sequence_of(folder: Path, names: list[str]) -> tuple[list[tuple[int, str]], str]:
    """Number and file of each frame that is read, and the notes."""
    for place, name in enumerate(sorted(names)):
        points = np.full((3, 3), place, np.float32)
        write_scan(folder / name, Scan(points, np.zeros((0, 3), np.int32)))
    read = read_sequence(folder)
    # The coordinates say from which file a frame is.
    files = [sorted(names)[int(scan.vertices[0, 0])] for scan in read.scans]
    return list(zip(read.numbers, files, strict=True)), " ".join(read.notes)


@pytest.mark.parametrize(
    ("pattern", "numbers"),
    [
        ("{:03d}.wrl", (0, 1, 2, 3)),
        ("{:03d}_F3D.wrl", (0, 1, 2, 3)),  # the last number is that of the format
        ("F001_T1_{:04d}.wrl", (7, 8, 9, 10)),
        ("F001_T1_{:04d}_v2_F3D.wrl", (7, 8, 9, 10)),
        ("{}.wrl", (8, 9, 10, 11)),  # by number and not by letter
    ],
)
def test_the_number_that_differs_counts(
    tmp_path: Path, pattern: str, numbers: tuple[int, ...]
) -> None:
    found, notes = sequence_of(tmp_path, [pattern.format(n) for n in numbers])
    assert found == [(n, pattern.format(n)) for n in numbers] and not notes


def test_names_may_differ_behind_the_number(tmp_path: Path) -> None:
    found, notes = sequence_of(tmp_path, ["000.wrl", "001_F3D.wrl", "002_F3D.wrl"])
    assert [number for number, _ in found] == [0, 1, 2] and not notes


def test_names_without_numbers_count_in_their_order(tmp_path: Path) -> None:
    found, notes = sequence_of(tmp_path, ["onset.wrl", "apex.wrl", "end.wrl"])
    assert [name for _, name in found] == ["apex.wrl", "end.wrl", "onset.wrl"] and not notes


def test_a_second_file_of_a_frame_is_told(tmp_path: Path) -> None:
    found, notes = sequence_of(tmp_path, ["000.wrl", "001.npz", "001.wrl", "002.wrl"])
    assert [number for number, _ in found] == [0, 1, 2] and found[1][1] == "001.npz"
    assert "001.wrl is left out" in notes and "001.npz" in notes


def test_a_file_without_a_number_is_no_frame_among_numbered_ones(tmp_path: Path) -> None:
    found, notes = sequence_of(tmp_path, ["000.wrl", "001.wrl", "002.wrl", "mean.wrl"])
    assert [number for number, _ in found] == [0, 1, 2]
    assert "mean.wrl is left out" in notes and "no number" in notes
