"""What faces look like: tones, texture, wrinkles, lids, and glasses that stay with the head."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from deft_llm.simulator.appearance.accessories import wear_glasses
from deft_llm.simulator.appearance.skin import MELANIN, Look, draw_look, reflectance
from deft_llm.simulator.appearance.texture import paint_triangles, part_of
from deft_llm.simulator.head import MATERIALS, Head, HeadMesh, load_head
from deft_llm.simulator.render.camera import Light
from deft_llm.simulator.scene.clips import draw_spec
from deft_llm.simulator.scene.performance import Curve
from deft_llm.simulator.scene.scene import Scene

HEAD = load_head("own")
STILL = Curve(3, 0, 1, 2, 1.0, 1.0)
DATA = os.environ.get("DEFT_DATA")


def typology_angle(linear: np.ndarray) -> float:
    """Individual typology angle of a linear RGB colour: degrees from CIELAB's L* and b*."""
    xyz = np.array([[0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]) @ linear
    root = np.cbrt(xyz / [1.0, 1.089])
    return float(np.degrees(np.arctan2(116 * root[0] - 66, 200 * (root[0] - root[1]))))


def test_skin_tones_cover_the_fitzpatrick_range() -> None:
    """Six classes by typology angle (A. Chardon et al., Int. J. Cosmet. Sci. 13, 1991)."""
    angles = [typology_angle(draw_look(np.random.default_rng(s)).skin) for s in range(400)]
    shares = np.histogram(angles, [-90, -30, 10, 28, 41, 55, 90])[0] / len(angles)
    assert shares.min() > 0.05, shares


def test_melanin_darkens_and_blood_reddens() -> None:
    pale, dark = (reflectance(m, 0.003) for m in MELANIN)
    flushed = reflectance(MELANIN[0], 0.006)
    assert (dark < 0.5 * pale).all() and dark[2] / pale[2] < dark[0] / pale[0]
    assert flushed[1] / pale[1] < 0.9 < flushed[0] / pale[0] < 1
    assert (np.diff(pale) < 0).all(), "red, then green, then blue"


@pytest.fixture(scope="module")
def face() -> Scene:
    """An old face without glasses."""
    spec = draw_spec(1, 0, aus=("1",), emotion=None, curve=STILL, blink=None)
    scene = Scene(spec, HEAD)
    assert scene.mesh.skin is not None and not scene.mesh.skin.look.glasses
    return scene


AREAS = {
    "1": (0.0, 3.5, 3.0, 6.0),  # least and largest |x|, least and largest y on the atlas, cm
    "4": (0.0, 1.7, -1.2, 3.5),
    "6": (1.4, 6.8, -7.3, 1.4),
    "9": (0.0, 4.0, -7.3, 3.5),
    "17": (0.0, 2.2, -10.9, -7.8),
}


@pytest.mark.parametrize("au", AREAS)
def test_wrinkles_deepen_with_their_muscle_and_only_there(face: Scene, au: str) -> None:
    assert face.wrinkles is not None and face.mesh.skin is not None

    def light(level: float) -> np.ndarray:
        normals = np.tile(np.array([0, 0, 1], np.float32), (len(face.gaussians), 1))
        assert face.wrinkles is not None
        left = face.wrinkles.carve(normals, {au: level})
        np.testing.assert_allclose(np.linalg.norm(normals, axis=1), 1, atol=1e-5)
        return left

    lost = [light(0.0) - light(level) for level in (0.1, 0.4, 0.8)]
    deepest = [x.max() for x in lost]
    assert 0.005 < deepest[0] < 0.6 * deepest[1] < 0.6 * deepest[2]
    x, y = face.gaussians.interpolate(face.mesh.skin.atlas)[lost[2] > 0.25 * deepest[2]].T
    low_x, high_x, low_y, high_y = AREAS[au]
    assert len(x) > 30 and low_x <= np.abs(x).min() and np.abs(x).max() <= high_x
    assert low_y <= y.min() and y.max() <= high_y


def test_wrinkles_of_one_side_stay_there(face: Scene) -> None:
    assert face.wrinkles is not None and face.mesh.skin is not None
    still, normals = (np.tile(np.array([0, 0, 1], np.float32), (len(face.gaussians), 1)),) * 2
    rest = face.wrinkles.carve(still.copy(), {})
    left = face.wrinkles.carve(normals.copy(), {"L12": 0.5})
    touched = face.gaussians.interpolate(face.mesh.skin.atlas)[left < rest - 1e-4, 0]
    assert len(touched) > 50 and touched.min() > -0.3


def test_lids_cover_the_iris_in_a_blink() -> None:
    """By the picture: how much of it the iris and pupil fill."""
    shares = []
    for closure in (0.0, 1.0):
        spec = draw_spec(1, 0, emotion=None, curve=STILL, blink=None)
        scene = Scene(spec, HEAD)
        scene.blink = np.full((3, 2), closure, np.float32)
        scene.albedo[:] = 0.0
        eye = np.isin(scene.mesh.material, [MATERIALS.index(n) for n in ("iris", "pupil")])
        scene.albedo[eye[scene.gaussians.triangle]] = 1.0
        scene.gloss[:] = 0.0
        spec = replace(spec, sensor=replace(spec.sensor, background=0.0, read_noise=0.0))
        scene.spec = spec
        grey = scene.film()[0][1].astype(float).mean(axis=2)
        x, y = np.rint(scene.film()[1][1][36:48].mean(axis=0)).astype(int)
        shares.append((grey[y - 25 : y + 25, x - 60 : x + 60] > 100).mean())
    assert shares[0] > 0.04 and shares[1] < 0.02 * shares[0]


def test_texture_has_its_parts_and_differs_between_identities() -> None:
    meshes = [HEAD.identity(seed) for seed in range(4)]
    for mesh in meshes:
        used = {MATERIALS[i] for i in np.unique(mesh.material)}
        assert used >= {"skin", "brow", "lip", "lash", "eye_white", "iris", "pupil", "hair"}
    seeds = {mesh.skin.look.seed for mesh in meshes if mesh.skin}
    assert len(seeds) == 4


def _painted(mesh: HeadMesh, **changes: object) -> tuple[np.ndarray, np.ndarray]:
    assert mesh.skin is not None
    look = replace(mesh.skin.look, **changes)  # type: ignore[arg-type]
    skin = replace(mesh.skin, look=look)
    albedo = paint_triangles(skin, mesh.triangles, part_of(mesh.material)).albedo
    return albedo, mesh.skin.atlas[mesh.triangles].mean(axis=1)


def test_stubble_darkens_the_lower_face_and_freckles_spot_the_cheeks() -> None:
    mesh = HEAD.identity(0)
    skin = mesh.material == MATERIALS.index("skin")
    clean, at = _painted(mesh, stubble=0.0, freckles=0.0)
    bearded, _ = _painted(mesh, stubble=0.45, freckles=0.0)
    spotted, _ = _painted(mesh, stubble=0.0, freckles=1.0)
    chin = skin & (np.abs(at[:, 0]) < 2) & (at[:, 1] < -9)
    cheek = skin & (np.abs(np.abs(at[:, 0]) - 4) < 1) & (np.abs(at[:, 1] + 2.5) < 1)
    assert bearded[chin].mean() < 0.85 * clean[chin].mean()
    np.testing.assert_array_equal(bearded[cheek], clean[cheek])
    assert 0.05 < (spotted[cheek, 0] < 0.9 * clean[cheek, 0]).mean() < 0.4


def test_gloss_adds_a_highlight_that_moves_with_the_normals() -> None:
    light = Light((0.0, 0.6, 0.8), 0.4, 1.0, (1, 1, 1), 0.0, 1.0, 0.0)
    angle = np.linspace(-0.5, 1.0, 61)
    normals = np.stack([0 * angle, np.sin(angle), np.cos(angle)], 1).astype(np.float32)
    albedo, one = np.full((61, 1), 0.3, np.float32), np.ones(61, np.float32)
    matt = light.shade(albedo, normals, 0.0, one, 0 * one)[:, 0]
    shiny = light.shade(albedo, normals, 0.0, one, 0.1 * one)[:, 0]
    halfway = 0.5 * np.arctan2(0.6, 0.8)
    assert abs(angle[(shiny**2.2 - matt**2.2).argmax()] - halfway) < 0.03
    np.testing.assert_allclose((shiny**2.2 - matt**2.2).max(), 0.06, rtol=0.01)
    shaded = light.shade(albedo, normals, 0.0, 0.5 * one, 0 * one)[:, 0]
    np.testing.assert_allclose(shaded**2.2, 0.5 * matt**2.2, rtol=1e-3)


@pytest.fixture(scope="module")
def glasses() -> Scene:
    spec = draw_spec(3, 1, aus=("1", "6", "9", "12"), emotion=None, peak_px=3.0, curve=STILL)
    return Scene(spec, HEAD)


def test_glasses_stand_before_the_eyes_and_follow_the_head_alone(glasses: Scene) -> None:
    count = len(glasses.face.vertices)
    worn = np.flatnonzero(glasses.mesh.material == MATERIALS.index("glasses"))
    assert (glasses.mesh.triangles[worn] >= count).all()
    np.testing.assert_array_equal(glasses.vertices(0)[count:], glasses.vertices(1)[count:])
    assert np.abs(glasses.vertices(1)[:count] - glasses.vertices(0)[:count]).max() > 0.05
    assert np.abs(glasses.posed(2, 2)[count:] - glasses.posed(0, 0)[count:]).max() > 0
    marks = glasses.mesh.vertices[glasses.mesh.landmarks]
    rims = glasses.mesh.vertices[count:]
    for eye in (marks[36:42], marks[42:48]):
        near = rims[np.linalg.norm((rims - eye.mean(axis=0))[:, :2], axis=1) < 3.0]
        assert near[:, 0].min() < eye[:, 0].min() and near[:, 0].max() > eye[:, 0].max()
        assert near[:, 1].min() < eye[:, 1].min() and near[:, 1].max() > eye[:, 1].max()
        assert near[:, 2].min() > eye[:, 2].max()


def test_flow_on_glasses_is_the_heads(glasses: Scene) -> None:
    worn = glasses.mesh.material[glasses.gaussians.triangle] == MATERIALS.index("glasses")
    before, after = glasses.splats(0, 0), glasses.splats(1, 0)
    np.testing.assert_allclose(after.mean[worn], before.mean[worn], atol=1e-4)
    assert np.abs(after.mean - before.mean).max() > 0.5


def test_some_identities_wear_glasses() -> None:
    looks = [draw_look(np.random.default_rng(seed)) for seed in range(600)]
    assert np.mean([look.glasses for look in looks]) == pytest.approx(0.15, abs=0.04)
    plain = next(HEAD.identity(seed) for seed in range(3) if not _look(HEAD, seed).glasses)
    assert wear_glasses(plain) is plain


def _look(head: Head, seed: int) -> Look:
    skin = head.identity(seed).skin
    assert skin is not None
    return skin.look


@pytest.mark.skipif(DATA is None, reason="set DEFT_DATA to the folder of ict_facekit")
def test_the_ict_head_wears_the_same_texture_in_the_right_places() -> None:
    """The atlas puts brows, lips and irises of the one head where the other one has them."""
    head = load_head("ict", Path(str(DATA)) / "ict_facekit")
    mesh = head.identity(0)
    marks = mesh.vertices[mesh.landmarks]
    centre = mesh.vertices[mesh.triangles].mean(axis=1)

    def middle(name: str, left: bool) -> np.ndarray:
        chosen = (mesh.material == MATERIALS.index(name)) & ((centre[:, 0] > 0) == left)
        mean: np.ndarray = centre[chosen].mean(axis=0)
        return mean

    for left, brow, eye in (
        (True, marks[22:27], marks[42:48]),
        (False, marks[17:22], marks[36:42]),
    ):
        assert np.linalg.norm((middle("brow", left) - brow.mean(axis=0))[:2]) < 0.5
        assert np.linalg.norm((middle("pupil", left) - eye.mean(axis=0))[:2]) < 0.4
    lips = centre[mesh.material == MATERIALS.index("lip")]
    assert np.linalg.norm((lips.mean(axis=0) - marks[48:60].mean(axis=0))[:2]) < 0.4
