"""Reading scans: what is written is what is read, and a wrong file is one line."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from deft_llm.errors import UserError
from deft_llm.scans.frame_files import scan_files
from deft_llm.scans.range_images import Camera, grid_surface, read_bnt, write_bnt
from deft_llm.scans.reading import (
    is_sequence,
    kind_of,
    read_scan,
    read_sequence,
    write_scan,
)
from deft_llm.scans.scan import Scan
from deft_llm.scans.vrml import read_vrml


@pytest.fixture(scope="module")
def grid() -> np.ndarray:
    """Points (H, W, 3) of a dome, a corner of it not measured."""
    x, y = np.meshgrid(np.linspace(-40, 40, 25), np.linspace(50, -50, 31))
    points = np.stack([x, y, 30 - x**2 / 90 - y**2 / 110], axis=-1).astype(np.float32)
    points[:4, :5] = np.nan
    return points


@pytest.fixture(scope="module")
def scan(grid: np.ndarray) -> Scan:
    colours = np.random.default_rng(0).integers(0, 256, (*grid.shape[:2], 3)) / 255.0
    return grid_surface(grid, colours.astype(np.float32))


def corners(scan: Scan) -> set[frozenset[tuple[float, ...]]]:
    """The triangles as sets of places, so that the order of vertices does not count."""
    at = scan.vertices[scan.triangles].tolist()
    return {frozenset(tuple(place) for place in triangle) for triangle in at}


@pytest.mark.parametrize("ending", [".obj", ".ply", ".stl", ".wrl", ".npz"])
def test_write_read(tmp_path: Path, scan: Scan, ending: str) -> None:
    if ending in (".obj", ".ply", ".stl"):
        pytest.importorskip("trimesh")
    path = tmp_path / f"face{ending}"
    write_scan(path, scan)
    assert kind_of(path) == ending[1:]
    back = read_scan(path)
    assert back.notes == ()
    if ending == ".stl":
        assert corners(back) == corners(scan)
        return
    # An OBJ is text, written and read by trimesh: equal but for the last bit.
    assert np.allclose(back.vertices, scan.vertices, rtol=1e-6, atol=1e-6 * (ending == ".obj"))
    assert ending == ".obj" or np.array_equal(back.vertices, scan.vertices)
    assert np.array_equal(back.triangles, scan.triangles)
    assert back.colours is not None and scan.colours is not None
    assert np.allclose(
        back.colours, scan.colours, atol=1e-6 if ending in (".wrl", ".npz") else 3e-3
    )


@pytest.mark.parametrize("ending", [".ply", ".wrl", ".npz"])
def test_a_point_cloud_stays_one(tmp_path: Path, scan: Scan, ending: str) -> None:
    if ending == ".ply":
        pytest.importorskip("trimesh")
    path = tmp_path / f"cloud{ending}"
    write_scan(path, Scan(scan.vertices, np.zeros((0, 3), np.int32)))
    back = read_scan(path)
    assert len(back.triangles) == 0 and np.array_equal(back.vertices, scan.vertices)


def test_bnt_write_read(tmp_path: Path, grid: np.ndarray, scan: Scan) -> None:
    write_bnt(tmp_path / "bs000_N_N_0.bnt", grid)
    back = read_bnt(tmp_path / "bs000_N_N_0.bnt")
    assert kind_of(tmp_path / "bs000_N_N_0.bnt") == "bnt"
    assert np.array_equal(back.vertices, scan.vertices)
    assert np.array_equal(back.triangles, scan.triangles)


def test_bnt_takes_colours_from_its_photograph(tmp_path: Path, grid: np.ndarray) -> None:
    rows, columns = grid.shape[:2]
    picture = np.zeros((rows, columns, 3), np.uint8)
    picture[..., 2] = np.arange(columns)  # red to the right
    cv2.imwrite(str(tmp_path / "face.png"), picture)
    write_bnt(tmp_path / "face.bnt", grid, "face.png")
    colours = read_bnt(tmp_path / "face.bnt").colours
    assert colours is not None
    there = np.isfinite(grid).all(axis=-1)
    wanted = np.broadcast_to(np.arange(columns) / 255.0, there.shape)[there]
    assert np.allclose(colours[:, 0], wanted, atol=1e-6)
    (tmp_path / "face.png").unlink()
    assert any("face.png is missing" in note for note in read_bnt(tmp_path / "face.bnt").notes)


def test_a_cut_bnt_says_what_is_missing(tmp_path: Path, grid: np.ndarray) -> None:
    path = tmp_path / "cut.bnt"
    write_bnt(path, grid)
    path.write_bytes(path.read_bytes()[:-800])
    with pytest.raises(UserError, match=r"need 3875 numbers, .* holds 3775"):
        read_scan(path)


def test_depth_maps(tmp_path: Path, grid: np.ndarray, scan: Scan) -> None:
    distance = np.where(np.isfinite(grid[..., 2]), 600 - grid[..., 2], 0)
    np.savez(tmp_path / "d.npz", depth=distance, pitch=80 / 24)
    back = read_scan(tmp_path / "d.npz")
    assert np.allclose(back.vertices[:, :2], scan.vertices[:, :2], atol=1e-4)
    cv2.imwrite(str(tmp_path / "d.png"), distance.round().astype(np.uint16))
    assert len(read_scan(tmp_path / "d.png", Camera(focal=500)).triangles) == len(scan.triangles)
    with pytest.raises(UserError, match="give the pitch"):
        read_scan(tmp_path / "d.png")
    cv2.imwrite(str(tmp_path / "photo.png"), np.zeros((9, 9, 3), np.uint8))
    with pytest.raises(UserError, match="expected a depth map"):
        read_scan(tmp_path / "photo.png")


BU = """#VRML V2.0 utf8
# a comment { with a brace
Shape { appearance Appearance { texture ImageTexture { url "F0001#1.bmp" } }
 geometry IndexedFaceSet { coord Coordinate { point [ 0 0 0, 1 0 0, 1 1 0, 0 1 0 ] }
  texCoord TextureCoordinate { point [ 0 0, 1 0, 1 1, 0 1 ] }
  coordIndex [ 0, 1, 2, 3, -1 ] texCoordIndex [ 0, 1, 2, 3, -1 ] } }
"""


def test_vrml_with_a_texture(tmp_path: Path) -> None:
    path = tmp_path / "F0001_HA04WH_F3D.wrl"
    path.write_text(BU)
    scan = read_vrml(path)
    assert scan.triangles.tolist() == [[0, 1, 2], [0, 2, 3]]
    assert scan.colours is None and "F0001#1.bmp" in scan.notes[0]
    picture = np.zeros((8, 8, 3), np.uint8)
    picture[:4, :, 2] = 255  # the upper half is red
    cv2.imwrite(str(tmp_path / "F0001#1.bmp"), picture)
    colours = read_vrml(path).colours
    assert colours is not None and colours[:, 0].round().tolist() == [0, 0, 1, 1]


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("a.wrl", "#VRML V1.0 ascii\n", "expected '#VRML V2.0'"),
        ("a.wrl", "#VRML V2.0 utf8\nShape { geometry IndexedFaceSet { coord", "cut short"),
        ("a.wrl", "#VRML V2.0 utf8\nGroup { }", "no IndexedFaceSet"),
        ("a.npz", "PK\x03\x04 nonsense", "not readable as NPZ"),
        ("a.txt", "hello", "not a scan"),
        ("a.bnt", "x", "too short for a .bnt"),
    ],
)
def test_damaged_files_are_one_line(tmp_path: Path, name: str, content: str, told: str) -> None:
    path = tmp_path / name
    path.write_text(content)
    with pytest.raises(UserError, match=told) as raised:
        read_scan(path)
    assert "\n" not in str(raised.value)


def test_arrays_that_are_damaged_anywhere_are_one_line(tmp_path: Path) -> None:
    """Where the damage is decides which of several libraries complains."""
    path = tmp_path / "a.npz"
    np.savez_compressed(path, points=np.random.default_rng(0).normal(size=(60, 3)))
    whole = path.read_bytes()
    told = set()
    for place in range(40, len(whole), 7):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :])
        try:
            read_scan(path)
        except UserError as error:
            told.add(type(error.__cause__).__name__)
    assert {"BadZipFile", "error"} <= told, "of zipfile, and of zlib"


def test_the_content_counts_and_not_the_ending(tmp_path: Path, scan: Scan) -> None:
    write_scan(tmp_path / "a.wrl", scan)
    (tmp_path / "a.wrl").rename(tmp_path / "a.obj")
    back = read_scan(tmp_path / "a.obj")
    assert np.array_equal(back.vertices, scan.vertices)
    assert "named .obj but holds WRL" in back.notes[0]


def test_sequences(tmp_path: Path, scan: Scan) -> None:
    folder = tmp_path / "Happy"
    folder.mkdir()
    for number in (0, 1, 2, 4, 5):
        write_scan(folder / f"{number:03d}.wrl", scan)
    (folder / "005.wrl").write_text("#VRML V2.0 utf8\nGroup { }")
    cv2.imwrite(str(folder / "000.png"), np.zeros((9, 9, 3), np.uint8))
    assert is_sequence(folder)
    read = read_sequence(folder)
    assert read.numbers == (0, 1, 2, 4) and len(read.scans) == 4
    assert "frame 3 missing" in read.notes[0] and "frame 5 is left out" in read.notes[1]
    assert [number for number, _ in scan_files(folder)[0]] == [0, 1, 2, 4, 5]
    np.savez(tmp_path / "s.npz", points=np.stack([scan.vertices] * 3), triangles=scan.triangles)
    assert is_sequence(tmp_path / "s.npz") and len(read_sequence(tmp_path / "s.npz").scans) == 3
    with pytest.raises(UserError, match="no scan in it"):
        (tmp_path / "empty").mkdir()
        read_sequence(tmp_path / "empty")
