"""Where a face lies: unit, orientation and pose do not change what is seen."""

from __future__ import annotations

import numpy as np
import pytest

from deft_llm.data.scan_views import views
from deft_llm.errors import UserError
from deft_llm.scans.holes import boundary_loops, close_holes
from deft_llm.scans.normalise import normalise
from deft_llm.scans.placing import TEMPLATE, find_pose, follow_pose
from deft_llm.scans.scan import Scan, checked
from deft_llm.simulator.own_head.head import OwnHead
from deft_llm.simulator.scans import Scanner, Sitter, template


@pytest.fixture(scope="module")
def scan() -> Scan:
    return Sitter.of(OwnHead(), 7).scan({"12": 1.0}, Scanner(pitch=1.6, turn=(6.0, -4.0, 3.0)))


@pytest.fixture(scope="module")
def shown(scan: Scan) -> np.ndarray:
    return views(normalise(scan, "scan"), side=112)


def moved(scan: Scan, rotation: np.ndarray, unit: float = 1.0) -> Scan:
    placed = (scan.vertices.astype(np.float64) @ rotation.T) * unit
    return Scan(placed.astype(np.float32), scan.triangles, scan.colours)


@pytest.mark.parametrize(("unit", "word"), [(0.001, "in m:"), (0.1, "in cm"), (1000.0, "microm")])
def test_units_give_equal_views(scan: Scan, shown: np.ndarray, unit: float, word: str) -> None:
    face = normalise(moved(scan, np.eye(3), unit), "scan")
    assert any(word in note for note in face.notes)
    assert np.abs(views(face, side=112) - shown).mean() < 1e-3


def test_upside_down_gives_equal_views(scan: Scan, shown: np.ndarray) -> None:
    face = normalise(moved(scan, np.diag([-1.0, -1.0, 1.0])), "scan")
    assert any("upside down" in note for note in face.notes)
    assert np.abs(views(face, side=112) - shown).mean() < 1e-3


def test_a_face_that_looks_elsewhere_is_turned(scan: Scan, shown: np.ndarray) -> None:
    angle = np.radians(35)
    turn = np.array(
        [[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]]
    )
    lying = np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    face = normalise(moved(scan, lying @ turn), "scan")
    assert np.abs(views(face, side=112) - shown).mean() < 0.02


def test_parts_of_a_face_are_told(scan: Scan) -> None:
    """Half a face fits best when it is turned, and more of one with a part missing."""
    x = scan.vertices[:, 0]
    half, most = (normalise(scan.keep(x > least), "scan") for least in (0, -15))
    assert any("it may be a part of one" in note for note in half.notes)
    assert any("of a face are missing" in note for note in most.notes)
    whole = normalise(scan, "scan").notes
    assert not any("part of one" in note or "missing" in note for note in whole)


def test_the_pose_follows_a_head(scan: Scan) -> None:
    before = find_pose(scan.vertices, "scan")
    after = follow_pose(scan.vertices + np.array([2.0, -1.0, 1.5], np.float32), before)
    assert np.allclose(after.shift - before.shift, -before.rotation @ [2.0, -1.0, 1.5], atol=0.3)


def test_what_is_no_face_is_said(scan: Scan) -> None:
    points = np.random.default_rng(0).normal(size=(4000, 3))
    ball = 100 * points / np.linalg.norm(points, axis=1, keepdims=True)
    with pytest.raises(UserError, match="no face found"):
        find_pose(ball, "ball")
    with pytest.raises(UserError, match="one place"):
        find_pose(np.zeros((500, 3)), "dot")


def test_bad_vertices_and_clouds_are_mended(scan: Scan, shown: np.ndarray) -> None:
    vertices = scan.vertices.copy()
    vertices[::400] = np.nan
    face = normalise(Scan(vertices, scan.triangles), "scan")
    assert any("no numbers" in note for note in face.notes)
    cloud = normalise(Scan(scan.vertices, np.zeros((0, 3), np.int32)), "scan")
    assert any("no faces" in note for note in cloud.notes)
    assert np.abs(views(cloud, side=112) - shown).mean() < 0.03
    with pytest.raises(UserError, match="damaged"):
        normalise(Scan(scan.vertices, scan.triangles + np.int32(10**6)), "scan")


@pytest.mark.parametrize("wrong", [-1, 300])
def test_a_triangle_without_a_vertex_is_named(wrong: int) -> None:
    triangles = np.array([[0, 1, 2], [3, wrong, 299]], np.int32)
    with pytest.raises(UserError, match=rf"names vertex {wrong} of 300"):
        checked(Scan(np.zeros((300, 3), np.float32), triangles), "scan")


def test_a_surface_that_is_nowhere_near_a_face_is_said_without_a_number() -> None:
    # Two far points give the size of a face, and hardly a point is left between them.
    points = np.zeros((250, 3))
    points[:25, 0] = 200.0
    with pytest.raises(UserError, match="no face found") as raised:
        find_pose(points, "rod")
    assert "inf" not in str(raised.value) and "too few points" in str(raised.value)


def test_a_hole_is_closed(scan: Scan, shown: np.ndarray) -> None:
    whole = normalise(scan, "scan")
    cheek = np.array([35.0, -5.0])
    gone = np.linalg.norm(whole.vertices[:, :2] - cheek, axis=1) < 12
    holed = whole.keep(~gone)
    loops = len(boundary_loops(holed.triangles, len(holed.vertices)))
    closed = close_holes(holed)
    assert len(boundary_loops(closed.triangles, len(closed.vertices))) == loops - 1
    assert any("a hole closed" in note for note in closed.notes)
    filled = views(closed, side=112)
    assert np.abs(filled - shown).mean() < 0.7 * np.abs(views(holed, side=112) - shown).mean()


def test_the_mean_face_is_what_its_function_writes() -> None:
    from safetensors.numpy import load_file

    stored, made = load_file(TEMPLATE), template()
    assert all(np.allclose(stored[name], made[name], atol=0.02) for name in ("points", "normals"))
