"""Flow files: round trips, bytes written by hand, and damaged ones."""

from __future__ import annotations

import struct
from pathlib import Path

import cv2
import numpy as np
import pytest

from deft_llm.errors import UserError
from deft_llm.motion.flow_files import read_flow, write_flow


@pytest.fixture
def flow() -> np.ndarray:
    return np.random.default_rng(0).normal(0, 3, (2, 5, 7)).astype(np.float32)


@pytest.mark.parametrize(("ending", "step"), [(".flo", 0.0), (".pfm", 0.0), (".png", 1 / 128)])
def test_round_trip(tmp_path: Path, flow: np.ndarray, ending: str, step: float) -> None:
    path = tmp_path / f"f{ending}"
    write_flow(path, flow)
    found, known = read_flow(path)
    assert found.dtype == np.float32 and known.all()
    np.testing.assert_allclose(found, flow, atol=step, rtol=0)
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_flo_bytes(tmp_path: Path) -> None:
    """The header and the interleaving of u and v, as the format says."""
    flow = np.array([[[1.0, 2, 3]], [[-1.0, -2, -3]]], np.float32)
    write_flow(tmp_path / "f.flo", flow)
    expected = struct.pack("<fii6f", 202021.25, 3, 1, 1, -1, 2, -2, 3, -3)
    assert (tmp_path / "f.flo").read_bytes() == expected


def test_unknown_flow_of_middlebury(tmp_path: Path) -> None:
    values = [1.0, 2, 1e10, 1e10, 3, np.nan]
    (tmp_path / "f.flo").write_bytes(struct.pack("<fii6f", 202021.25, 3, 1, *values))
    flow, known = read_flow(tmp_path / "f.flo")
    assert known.tolist() == [[True, False, False]]
    assert flow[:, 0, 0].tolist() == [1, 2] and not flow[:, 0, 1:].any()


def test_pfm_from_the_other_end(tmp_path: Path) -> None:
    """Big-endian, bottom row first."""
    rows = np.array([[[5, 6, 0]], [[1, 2, 0]]], ">f4")
    (tmp_path / "f.pfm").write_bytes(b"PF\n1 2\n1.0\n" + rows.tobytes())
    flow, _ = read_flow(tmp_path / "f.pfm")
    assert flow[:, :, 0].T.tolist() == [[1, 2], [5, 6]]


def test_kitti_values(tmp_path: Path) -> None:
    picture = np.zeros((1, 2, 3), np.uint16)
    picture[0, 0] = (1, 32768 - 128, 32768 + 64)  # blue: known, green: v, red: u
    cv2.imwrite(str(tmp_path / "f.png"), picture)
    flow, known = read_flow(tmp_path / "f.png")
    assert known.tolist() == [[True, False]]
    assert flow[:, 0].tolist() == [[1.0, 0.0], [-2.0, 0.0]]


def test_kitti_keeps_what_is_known(tmp_path: Path, flow: np.ndarray) -> None:
    known = np.arange(35).reshape(5, 7) % 3 > 0
    broken = np.where(known, flow, np.nan).astype(np.float32)
    write_flow(tmp_path / "f.png", broken, known)
    found, seen = read_flow(tmp_path / "f.png")
    np.testing.assert_array_equal(seen, known)
    assert not found[:, ~known].any()


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("a.flo", b"NOPE" + bytes(20), "begins with b'NOPE'"),
        ("a.flo", b"PIEH" + bytes(3), "ends inside its header"),
        ("a.flo", b"PIEH" + struct.pack("<ii", 4, 4) + bytes(100), "100 bytes of flow, 128"),
        ("a.flo", b"PIEH" + struct.pack("<ii", -4, 4), "-4x4"),
        ("a.pfm", b"Pf\n1 1\n-1\n" + bytes(4), "expected 'PF'"),
        ("a.pfm", b"PF\n2 2\n-1.0\n" + bytes(40), "40 bytes of flow, 48"),
        ("a.pfm", b"PF\nx y\n-1.0\n" + bytes(40), "no readable size"),
        ("a.png", b"not a picture", "no readable picture"),
        ("a.png", b"", "no readable picture"),
        ("a.txt", b"", "'.txt'"),
    ],
)
def test_damaged_files_are_named(tmp_path: Path, name: str, data: bytes, words: str) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(UserError, match=words.replace("'", "."), check=lambda e: name in str(e)):
        read_flow(tmp_path / name)


def test_truncated_after_writing(tmp_path: Path, flow: np.ndarray) -> None:
    path = tmp_path / "f.flo"
    write_flow(path, flow)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(UserError, match="truncated"):
        read_flow(path)


def test_what_cannot_be_written(tmp_path: Path, flow: np.ndarray) -> None:
    broken = flow.copy()
    broken[0, 0, 0] = np.nan
    for path, values, words in (
        (tmp_path / "f.flo", broken, "NaN"),
        (tmp_path / "f.flo", flow[0], "expected"),
        (tmp_path / "f.png", flow * 1000, "512 px"),
        (tmp_path / "no" / "f.flo", flow, "does not exist"),
        (tmp_path / "f.jpg", flow, "'.jpg'"),
    ):
        with pytest.raises(UserError, match=words):
            write_flow(path, values)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(UserError, match="no such file"):
        read_flow(tmp_path / "f.flo")
