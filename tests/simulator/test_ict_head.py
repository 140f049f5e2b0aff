"""The ICT-FaceKit head: both file layouts, and the same promises as the own head."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

from deft_llm.errors import UserError
from deft_llm.facs import ACTION_UNITS, MIRROR_68, REGIONS, direction_vector
from deft_llm.simulator.head import MATERIALS, Head, load_head
from deft_llm.simulator.ict_head.files import read_ict

DATA = os.environ.get("DEFT_DATA")
needs_data = pytest.mark.skipif(DATA is None, reason="set DEFT_DATA to the folder of ict_facekit")
# Shapes whose direction is FACS's own, not our blend of several.
CLEAR_AUS = ("1", "2", "4", "5", "6", "9", "10", "12", "15", "16", "17", "20", "26", "28")


@pytest.fixture(scope="module")
def ict() -> Head:
    assert DATA is not None
    return load_head("ict", Path(DATA) / "ict_facekit")


def write_obj(path: Path, points: np.ndarray) -> None:
    """A face of 9 x 9 quads (M_Face) with two eye quads, in the layout of the official files."""
    lines = [f"v {x:.6f} {y:.6f} {z:.6f}" for x, y, z in points]
    lines += [f"vt {(x + 8) / 16:.6f} {(y + 8) / 16:.6f}" for x, y, _ in points]
    lines.append("usemtl M_Face")
    for row in range(9):
        for column in range(9):
            a = row * 10 + column + 1
            corners = (a, a + 10, a + 11, a + 1)
            lines.append("f " + " ".join(f"{c}/{c}/{c}" for c in corners))
    for name, start in (("M_ScleraLeft", 101), ("M_ScleraRight", 105), ("M_EyeOcclusion", 109)):
        lines += [f"usemtl {name}", "f " + " ".join(f"{start + i}/{start + i}" for i in range(4))]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


@pytest.fixture
def obj_folder(tmp_path: Path) -> Path:
    """A folder like FaceXModel, with a face of 112 vertices."""
    x, y = np.meshgrid(np.linspace(-8, 8, 10), np.linspace(8, -8, 10))
    face = np.stack([x.ravel(), y.ravel(), 10 - 0.05 * x.ravel() ** 2], axis=1)
    eye = np.array([(-1, 1, 8.5), (-1, -1, 8.5), (1, -1, 8.5), (1, 1, 8.5)], dtype=float)
    eyes = [eye + np.array(shift) for shift in ((3, 3, 0), (-3, 3, 0), (0, 0, 1))]
    points = np.concatenate([face, *eyes])
    rng = np.random.default_rng(0)
    write_obj(tmp_path / "generic_neutral_mesh.obj", points)
    for i in range(2):
        write_obj(tmp_path / f"identity{i:03d}.obj", points + rng.normal(0, 0.1, points.shape))
    shapes = {"browInnerUp_L": (points[:, :1] > 0), "browInnerUp_R": (points[:, :1] < 0)}
    shapes["jawOpen"] = points[:, 1:2] < -4
    for name, where in shapes.items():
        direction = [0, -1, 0] if name == "jawOpen" else [0, 1, 0]
        write_obj(tmp_path / f"{name}.obj", points + where * np.array(direction))
    config = {"expressions": sorted(shapes), "idx_to_landmark_verts": list(range(68))}
    (tmp_path / "vertex_indices.json").write_text(json.dumps(config), encoding="utf-8")
    return tmp_path


def test_reads_the_official_folder(obj_folder: Path) -> None:
    head = load_head("ict", obj_folder)
    mesh = head.identity(0)
    assert len(mesh.vertices) == 108  # what the eye occlusion alone uses is dropped
    assert len(mesh.triangles) == 2 * (81 + 2)
    assert mesh.landmarks.tolist() == list(range(68))
    assert set(head.aus) >= {"1", "26", "27"} and "12" not in head.aus
    assert mesh.uvs.min() >= 0 and mesh.uvs.max() <= 1 and np.ptp(mesh.uvs[:100, 0]) > 0.9
    moved = head.deform(mesh, {"L1": 1.0}) - mesh.vertices
    left = np.arange(100) % 10 >= 5
    np.testing.assert_allclose(moved[:100][left, 1], 1.0, atol=1e-4)
    assert np.abs(moved[:100][~left]).max() < 1e-6


def test_a_shape_without_sides_gets_two_halves(obj_folder: Path) -> None:
    head = load_head("ict", obj_folder)
    mesh = head.identity(1)
    halves = [head.deform(mesh, {code: 1.0}) - mesh.vertices for code in ("L26", "R26", "26")]
    np.testing.assert_allclose(halves[0] + halves[1], halves[2], atol=1e-5)
    assert np.abs(halves[0][mesh.vertices[:, 0] < -1.5]).max() < 1e-6
    assert np.abs(halves[0]).max() > 0.3


@needs_data
def test_identities_are_their_seeds(ict: Head) -> None:
    one, again, other = ict.identity(3), ict.identity(3), ict.identity(4)
    for name in ("vertices", "triangles", "uvs", "material", "colors", "landmarks"):
        assert getattr(one, name).tobytes() == getattr(again, name).tobytes()
    assert np.abs(one.vertices - other.vertices).max() > 0.1
    used = {MATERIALS[i] for i in np.unique(one.material)}
    assert used >= {"skin", "brow", "lip", "eye_white", "iris", "pupil", "hair", "teeth", "mouth"}


@needs_data
@pytest.mark.parametrize("au", CLEAR_AUS)
def test_au_moves_its_regions_in_their_directions(ict: Head, au: str) -> None:
    """Guards the map from AUs to shapes, and that left is left."""
    mesh = ict.identity(0)
    skin = np.zeros(len(mesh.vertices), dtype=bool)
    visible = [MATERIALS.index(name) for name in ("skin", "brow")]
    skin[mesh.triangles[np.isin(mesh.material, visible)]] = True
    for side in ("left", "right"):
        moved = ict.deform(mesh, {side[0].upper() + au: 1.0})
        movement = ACTION_UNITS[int(au)].movements[0]
        region = REGIONS.get(f"{side} {movement.region}", REGIONS.get(movement.region))
        assert region is not None
        points = mesh.vertices[mesh.landmarks][:, :2] * [1.0, -1.0]
        unit = np.linalg.norm(points[36:42].mean(axis=0) - points[42:48].mean(axis=0))
        centre = points[list(region.anchors)].mean(axis=0) + np.array(region.offset) * unit
        image = mesh.vertices[:, :2] * [1.0, -1.0]
        near = np.abs(image - centre) < np.array(region.half_size) * unit
        near = near.all(axis=1) & skin
        motion = ((moved - mesh.vertices)[near, :2] * [1.0, -1.0]).mean(axis=0)
        expected = np.array([direction_vector(d, region.side) for d in movement.directions])
        assert (expected @ motion).max() > 0.7 * np.linalg.norm(motion) > 0.05, region.name


@needs_data
def test_sides_mirror(ict: Head) -> None:
    neutral = read_ict(Path(str(DATA)) / "ict_facekit")
    points = neutral.neutral[neutral.landmarks]
    np.testing.assert_allclose(points[list(MIRROR_68)] * [-1, 1, 1], points, atol=0.15)
    mesh = ict.identity(0)
    for au in ict.aus:
        fields = [ict.deform(mesh, {side + au: 1.0}) - mesh.vertices for side in ("L", "R", "")]
        np.testing.assert_allclose(fields[0] + fields[1], fields[2], atol=1e-4)
        left = np.linalg.norm(fields[0], axis=1)
        assert left[mesh.vertices[:, 0] < -3].max() < 0.15 * left.max(), au


@needs_data
def test_blink_and_gaze(ict: Head) -> None:
    mesh = ict.identity(0)
    lids = mesh.landmarks[[37, 41, 43, 47]]
    shut = ict.deform(mesh, {}, blink=(1.0, 0.0))[lids, 1]
    rest = mesh.vertices[lids, 1]
    assert abs(shut[0] - shut[1]) < 0.35 * (rest[0] - rest[1])
    np.testing.assert_allclose(shut[2:], rest[2:], atol=0.02)
    pupil = np.unique(mesh.triangles[mesh.material == MATERIALS.index("pupil")])
    shift = (ict.deform(mesh, {}, gaze=(0.3, 0.2)) - mesh.vertices)[pupil].mean(axis=0)
    assert shift[0] > 0.2 and shift[1] > 0.15


def test_the_file_of_the_environment_is_taken(
    obj_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pairs with flow asked for a path, and for DEFT_ICT to be set, whether it was or not."""
    monkeypatch.setenv("DEFT_ICT", str(obj_folder))
    assert load_head("ict").aus == load_head("ict", obj_folder).aus


@pytest.mark.usefixtures("no_ict")
def test_wrong_files_are_named(tmp_path: Path, obj_folder: Path) -> None:
    with pytest.raises(UserError, match="needs a path, got none; set DEFT_ICT to it"):
        load_head("ict")
    with pytest.raises(UserError, match="no ICT-FaceKit model"):
        load_head("ict", tmp_path / "absent")
    text = tmp_path / "text.safetensors"
    text.write_text("not a tensor", encoding="utf-8")
    with pytest.raises(UserError, match="no readable safetensors"):
        load_head("ict", text)
    empty = tmp_path / "empty folder"
    empty.mkdir()
    with pytest.raises(UserError, match=r"vertex_indices\.json"):
        load_head("ict", empty)
    (obj_folder / "jawOpen.obj").write_text("v 0 0 0\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"jawOpen\.obj has 1 vertices, expected 112"):
        load_head("ict", obj_folder)
    (obj_folder / "jawOpen.obj").unlink()
    with pytest.raises(UserError, match=r"jawOpen\.obj"):
        load_head("ict", obj_folder)
