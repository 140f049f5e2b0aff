"""The own head: a face that is where it should be, and AUs that move what FACS says."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from deft_llm.errors import UserError
from deft_llm.facs import ACTION_UNITS, MIRROR_68, REGIONS, direction_vector
from deft_llm.media.face import CANONICAL_LANDMARKS
from deft_llm.simulator.head import MATERIALS, Head, HeadMesh, load_head, vertex_normals
from deft_llm.simulator.render import splat
from deft_llm.simulator.render.camera import View

HEAD = load_head("own")
MESH = HEAD.identity(4)
FLIP = np.array([-1.0, 1.0, 1.0])
UPPER_FACE = ("inner brow", "outer brow", "glabella")
LOWER_FACE = ("upper lip", "lower lip", "mouth corner", "chin")


def region_motion(head: Head, mesh: HeadMesh, moved: np.ndarray) -> dict[str, np.ndarray]:
    """Mean motion (right, down) in cm of the frontal skin inside each region."""
    facing = vertex_normals(mesh.vertices, mesh.triangles)[:, 2] > 0.1
    skin = np.isin(mesh.material, [MATERIALS.index(m) for m in ("skin", "brow", "lip", "lash")])
    chosen = np.unique(mesh.triangles[skin])
    chosen = chosen[facing[chosen] & (mesh.vertices[chosen, 2] > 3.0)]
    image = mesh.vertices[:, :2] * [1.0, -1.0]
    points = image[mesh.landmarks]
    unit = np.linalg.norm(points[36:42].mean(axis=0) - points[42:48].mean(axis=0))
    motion = (moved - mesh.vertices)[:, :2] * [1.0, -1.0]
    means = {}
    for name, region in REGIONS.items():
        centre = points[list(region.anchors)].mean(axis=0) + np.array(region.offset) * unit
        inside = np.abs(image[chosen] - centre) < np.array(region.half_size) * unit
        means[name] = motion[chosen[inside.all(axis=1)]].mean(axis=0)
    return means


def angle(motion: np.ndarray, names: tuple[str, ...], region: str) -> float:
    """Degrees between a motion and the nearest of the named directions."""
    expected = np.array([direction_vector(name, REGIONS[region].side) for name in names])
    cosine = expected @ motion / np.linalg.norm(motion)
    return float(np.degrees(np.arccos(np.clip(cosine.max(), -1.0, 1.0))))


def untouched(au: str) -> list[str]:
    """Regions of the half of the face in which FACS says nothing of this AU."""
    listed = {movement.region for movement in ACTION_UNITS[int(au)].movements}
    return [end for half in (UPPER_FACE, LOWER_FACE) if not listed & set(half) for end in half]


def test_identities_are_their_seeds() -> None:
    again, other = HEAD.identity(4), HEAD.identity(5)
    for name in ("vertices", "triangles", "uvs", "material", "colors", "landmarks"):
        assert getattr(MESH, name).tobytes() == getattr(again, name).tobytes()
    assert np.abs(MESH.vertices - other.vertices).max() > 0.1
    assert np.abs(MESH.colors - other.colors).max() > 0.05


def test_mesh_is_well_formed() -> None:
    assert MESH.vertices.dtype == np.float32 and 1500 < len(MESH.vertices) < 8000
    assert MESH.triangles.dtype == np.int32 and MESH.triangles.max() < len(MESH.vertices)
    assert MESH.uvs.min() >= 0 and MESH.uvs.max() <= 1
    assert MESH.material.shape == (len(MESH.triangles),) and MESH.material.max() < len(MATERIALS)
    assert MESH.colors.min() >= 0 and MESH.colors.max() <= 1
    assert MESH.landmarks.shape == (68,) and len(set(MESH.landmarks.tolist())) == 68
    edges = np.sort(MESH.triangles[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2), axis=1)
    assert np.unique(edges, axis=0, return_counts=True)[1].max() == 2  # no edge with three sides


def test_triangles_are_wound_outwards() -> None:
    """The splatter culls what faces away."""
    corners = MESH.vertices[MESH.triangles].astype(np.float64)
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    outward = (normal * (corners.mean(axis=1) - [0.0, -1.5, 0.0])).sum(axis=1) > 0
    skin = MESH.material == MATERIALS.index("skin")
    assert outward[skin].mean() > 0.97
    for name in ("eye_white", "iris", "pupil", "lip", "brow", "mouth", "teeth"):
        facing = normal[MESH.material == MATERIALS.index(name), 2] > 0
        assert facing.mean() > 0.9, name


def test_landmarks_lie_on_the_canonical_face() -> None:
    """Placing landmarks by the face's box works only if the mean faces agree."""
    points = np.mean([m.vertices[m.landmarks] for m in map(HEAD.identity, range(15))], axis=0)
    eyes = points[36:42].mean(axis=0), points[42:48].mean(axis=0)
    scale = 80.0 / np.linalg.norm(eyes[0] - eyes[1])
    middle = 0.5 * (eyes[0] + eyes[1])
    target = CANONICAL_LANDMARKS[36:48].mean(axis=0)
    placed = (points - middle)[:, :2] * [scale, -scale] + target
    error = np.linalg.norm(placed - CANONICAL_LANDMARKS, axis=1)
    assert error[17:].max() < 6.0, error[17:]
    assert error[:17].max() < 10.0, error[:17]


def test_rest_is_the_mesh_itself() -> None:
    np.testing.assert_array_equal(HEAD.deform(MESH, {}), MESH.vertices)


@pytest.mark.parametrize("au", HEAD.aus)
def test_au_moves_its_regions_in_their_directions(au: str) -> None:
    motion = region_motion(HEAD, MESH, HEAD.deform(MESH, {au: 1.0}))
    for movement in ACTION_UNITS[int(au)].movements:
        for side in ("left ", "right ") if f"left {movement.region}" in REGIONS else ("",):
            region = side + movement.region
            assert np.linalg.norm(motion[region]) > 0.04, region
            assert angle(motion[region], movement.directions, region) < 45, region


@pytest.mark.parametrize("au", [au for au in HEAD.aus if untouched(au)])
def test_au_leaves_the_other_half_of_the_face_still(au: str) -> None:
    motion = region_motion(HEAD, MESH, HEAD.deform(MESH, {au: 1.0}))
    size = {name: float(np.linalg.norm(value)) for name, value in motion.items()}
    for name in size:
        if any(name.endswith(end) for end in untouched(au)):
            assert size[name] < max(size.values()) / 5, name


@pytest.mark.parametrize("au", HEAD.aus)
def test_sides_mirror_and_add_up(au: str) -> None:
    rest = MESH.vertices
    left, right, both = (HEAD.deform(MESH, {side + au: 1.0}) for side in ("L", "R", ""))
    np.testing.assert_allclose(left + right - rest, both, atol=2e-5)
    mirrored = left[MESH.landmarks[list(MIRROR_68)]] * FLIP
    np.testing.assert_allclose(mirrored, right[MESH.landmarks], atol=2e-5)
    assert np.linalg.norm(left - rest, axis=1)[rest[:, 0] < -1.5].max() < 1e-6


@pytest.mark.parametrize("au", HEAD.aus)
def test_activation_is_nearly_linear_and_macro_at_one(au: str) -> None:
    """Micro-expressions are scaled-down macro ones."""
    full, tenth = (HEAD.deform(MESH, {au: value}) - MESH.vertices for value in (1.0, 0.1))
    size = np.linalg.norm(full[:, :2], axis=1)
    assert 0.25 < size.max() < 2.5
    error = np.linalg.norm(10 * tenth[:, :2] - full[:, :2], axis=1)
    assert error.max() < 0.05 * size.max()


def test_fields_can_be_told_apart() -> None:
    """No AU is another one scaled (but 43 and 45 differ in time alone, 26 and 27 in size)."""
    aus = [au for au in HEAD.aus if au not in ("27", "45")]
    fields = np.stack([(HEAD.deform(MESH, {au: 0.2}) - MESH.vertices).ravel() for au in aus])
    fields /= np.linalg.norm(fields, axis=1, keepdims=True)
    alike = fields @ fields.T - np.eye(len(aus))
    worst = np.unravel_index(alike.argmax(), alike.shape)
    assert alike.max() < 0.97, (aus[worst[0]], aus[worst[1]])


@pytest.mark.parametrize("seed", range(5))
def test_lids_meet_and_stay_on_the_eyeball(seed: int) -> None:
    mesh = HEAD.identity(seed)
    shut = HEAD.deform(mesh, {"7": 0.5}, blink=(1.0, 0.0), gaze=(0.2, -0.1))
    points, rest = shut[mesh.landmarks], mesh.vertices[mesh.landmarks]
    gap, before = points[[37, 38], 1] - points[[41, 40], 1], rest[[37, 38], 1] - rest[[41, 40], 1]
    assert (before > 0.4).all() and (np.abs(gap) < 0.05 * before).all()
    eye = np.unique(mesh.triangles[mesh.material == MATERIALS.index("eye_white")])
    eye = eye[mesh.vertices[eye, 0] < 0]
    radius = 1.22
    centre = np.linalg.lstsq(
        np.column_stack([2 * shut[eye], np.ones(len(eye))]), (shut[eye] ** 2).sum(1), rcond=None
    )[0][:3]
    distance = np.linalg.norm(shut[mesh.landmarks[36:42]] - centre, axis=1)
    assert distance.min() > radius


def test_gaze_turns_the_pupils_and_leaves_the_skin() -> None:
    pupil = np.unique(MESH.triangles[MESH.material == MATERIALS.index("pupil")])
    looking = HEAD.deform(MESH, {}, gaze=(0.3, 0.2))
    shift = (looking - MESH.vertices)[pupil].mean(axis=0)
    assert shift[0] > 0.2 and shift[1] > 0.15
    mouth = MESH.landmarks[48:]
    np.testing.assert_array_equal(looking[mouth], MESH.vertices[mouth])


def test_mouth_is_shut_at_rest_and_opens() -> None:
    inner = MESH.landmarks[[62, 66]]
    assert abs(float(np.diff(MESH.vertices[inner, 1])[0])) < 1e-4
    opened = HEAD.deform(MESH, {"25": 1.0, "26": 1.0})
    assert opened[inner[0], 1] - opened[inner[1], 1] > 0.6


def _picture(mesh: HeadMesh, size: int = 288) -> np.ndarray:
    gaussians = splat.bind(mesh.vertices, mesh.triangles, 0.25)
    view = View(focal=12.4 * 60.0, distance=68.5, centre=(size / 2, 0.38 * size))
    splats = splat.place(gaussians, mesh.vertices, mesh.triangles, view)
    light = 0.45 + 0.6 * np.clip(splats.normal @ np.array([0.2, 0.5, 0.84]), 0.0, 1.0)
    colours = (mesh.colors[gaussians.triangle] * light[:, None]).clip(0.0, 1.0) ** (1 / 2.2)
    image, clear = splat.composite(splats, gaussians.opacity, colours, (size, size))
    return (255 * (image + 0.5 * clear[..., None])).clip(0, 255).astype(np.uint8)


def test_a_face_finder_sees_faces() -> None:
    """All skin tones and shapes must pass for faces, or the simulator is no use."""
    cascade = cv2.CascadeClassifier(cv2.data.haarcascades + "haarcascade_frontalface_default.xml")
    found = 0
    for seed in range(20):
        grey = cv2.cvtColor(_picture(HEAD.identity(seed)), cv2.COLOR_RGB2GRAY)
        found += len(cascade.detectMultiScale(grey, 1.1, 4, minSize=(120, 120))) == 1
    assert found >= 19


def test_errors_say_what_to_do() -> None:
    with pytest.raises(UserError, match="did you mean 'own'"):
        load_head("owm")
    with pytest.raises(UserError, match="AU code 'L99'"):
        HEAD.deform(MESH, {"L99": 1.0})
    with pytest.raises(UserError, match="finite"):
        HEAD.deform(MESH, {"12": float("nan")})
    with pytest.raises(UserError, match="the head that made it"):
        short = HeadMesh(
            MESH.vertices[:-1],
            *[getattr(MESH, n) for n in ("triangles", "uvs", "material", "colors", "landmarks")],
        )
        HEAD.deform(short, {})
    with pytest.raises(UserError, match="seed"):
        HEAD.identity(-1)
