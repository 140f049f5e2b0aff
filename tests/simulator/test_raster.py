"""One pass: its layers against separate passes, a z-buffer of the mesh, and known geometry."""

from dataclasses import fields
from itertools import islice
from typing import cast

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from deft_llm.simulator.flow.pairs import camera_matrix, draw_pair
from deft_llm.simulator.head import Head, load_head
from deft_llm.simulator.render import splat
from deft_llm.simulator.render.camera import View
from deft_llm.simulator.render.occlusion import occluded
from deft_llm.simulator.scene.scene import Scene

SIZE = (256, 256)


@pytest.fixture(scope="module", params=["own", "ict"])
def scenes(request: pytest.FixtureRequest) -> list[Scene]:
    """Two pairs with motion of up to 2 px: expressions, head motion, blinks, gaze shifts."""
    head: Head = load_head("own") if request.param == "own" else request.getfixturevalue("ict")

    def small(seed: int) -> Scene | None:
        spec = draw_pair(np.random.default_rng([5, seed]), seed, head.name, SIZE[0])
        scene = Scene(spec, head)
        before, after = scene.splats(0, 0), scene.splats(1, 1)
        flow, _ = splat.flow(before, after, scene.gaussians.opacity, SIZE)
        return scene if 0.5 < np.hypot(*flow).max() < 2.0 else None

    return list(islice((s for s in map(small, range(50)) if s is not None), 2))


def _raster(scene: Scene, threads: int = 1) -> splat.Raster:
    before, after = scene.splats(0, 0), scene.splats(1, 1)
    return splat.rasterize(
        before, scene.gaussians.opacity, scene.albedo, SIZE, after, threads=threads
    )


def _inner(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The mask eroded by 3 px."""
    return cast(NDArray[np.bool_], cv2.erode(mask.astype(np.uint8), np.ones((7, 7))) > 0)


def test_flow_depth_and_normals_agree_with_a_z_buffer(scenes: list[Scene], z_buffer) -> None:  # type: ignore[no-untyped-def]
    # Measured over 27 pairs of each head: mean EPE 0.0014 and 0.0017 px, worst 0.0050.
    for scene in scenes:
        vertices, moved = scene.posed(0, 0), scene.posed(1, 1)
        exact = z_buffer(scene.view, vertices, moved, scene.mesh.triangles, SIZE)
        raster = _raster(scene)
        assert raster.flow is not None and raster.centre_flow is not None
        inner = _inner(raster.mask & exact.mask)
        error = np.linalg.norm(raster.flow - exact.flow, axis=0)[inner]
        assert error.mean() < 0.01
        assert np.quantile(error, 0.99) < 0.06
        coarse = np.linalg.norm(raster.centre_flow - exact.flow, axis=0)[inner]
        assert coarse.mean() < 0.05
        assert (raster.mask == exact.mask).mean() > 0.985
        # A pixel at a fold of depth blends what lies before and behind it: there is no one depth.
        step = cv2.dilate(exact.depth, np.ones((5, 5))) - cv2.erode(exact.depth, np.ones((5, 5)))
        depth = np.abs(raster.depth - exact.depth)[inner & (step < 0.5)]  # cm
        assert np.median(depth) < 0.02 and np.quantile(depth, 0.9) < 0.1
        corners = vertices[scene.mesh.triangles[exact.triangle[inner]]]
        normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        normals /= np.linalg.norm(normals, axis=1, keepdims=True)
        cosine = (raster.normal[inner] * normals).sum(axis=1)
        assert np.median(cosine) > 0.99 and np.quantile(cosine, 0.05) > 0.8


def test_one_pass_gives_what_separate_passes_give(scenes: list[Scene]) -> None:
    scene = scenes[0]
    raster = _raster(scene)
    before, after = scene.splats(0, 0), scene.splats(1, 1)
    opacity = scene.gaussians.opacity
    colour, clear = splat.composite(before, opacity, scene.albedo, SIZE)
    np.testing.assert_allclose(raster.colour, colour, atol=1e-6)
    np.testing.assert_allclose(raster.clear, clear, atol=1e-6)
    carried, mask = splat.flow(before, after, opacity, SIZE)
    centre, _ = splat.flow(before, after, opacity, SIZE, "centre")
    assert np.array_equal(raster.mask, mask)
    assert raster.flow is not None and raster.centre_flow is not None
    np.testing.assert_allclose(raster.flow, carried, atol=1e-5)
    np.testing.assert_allclose(raster.centre_flow, centre, atol=1e-5)
    for layer in (raster.flow, raster.centre_flow, raster.depth[None], raster.normal.T):
        assert layer is not None and not (layer * ~(mask.T if layer.shape[0] == 3 else mask)).any()
    assert np.array_equal(raster.surface >= 0, mask)


def test_any_number_of_threads_draws_the_same_bits(scenes: list[Scene]) -> None:
    one, three = _raster(scenes[0]), _raster(scenes[0], threads=3)
    for field in fields(splat.Raster):
        assert np.array_equal(getattr(one, field.name), getattr(three, field.name)), field.name


def test_the_camera_matrix_projects_like_the_scene(scenes: list[Scene]) -> None:
    scene = scenes[0]
    for frame in (0, 1):
        neutral = scene.mesh.vertices[::50]
        points = np.column_stack([neutral, np.ones(len(neutral))]) @ camera_matrix(scene, frame).T
        posed = neutral @ scene.rotations[frame].T + scene.shifts[frame]
        np.testing.assert_allclose(
            points[:, :2] / points[:, 2:], scene.view.project(posed), atol=1e-2
        )


def _sheet(left: float, right: float, z: float, first: int) -> tuple[np.ndarray, np.ndarray]:
    """A rectangle that faces the camera."""
    n = 24
    x, y = np.meshgrid(np.linspace(left, right, n), np.linspace(-4, 4, n))
    vertices = np.stack([x, y, np.full_like(x, z)], -1).reshape(-1, 3).astype(np.float32)
    index = first + np.arange(n * n, dtype=np.int32).reshape(n, n)
    a, b = index[:-1, :-1].ravel(), index[:-1, 1:].ravel()
    c, d = index[1:, 1:].ravel(), index[1:, :-1].ravel()
    return vertices, np.concatenate([np.stack([a, b, c], 1), np.stack([a, c, d], 1)])


def test_a_sheet_that_moves_over_another_hides_as_much_as_it_moves() -> None:
    back, behind = _sheet(-6, 6, 0, 0)
    front, before = _sheet(-2, 2, 1, len(back))
    still = np.concatenate([back, front])
    triangles = np.concatenate([behind, before])
    moved = still.copy()
    moved[len(back) :, 0] += 0.5  # cm: 5 px
    view = View(focal=100.0, distance=10.0, centre=(80.0, 80.0), orthographic=True)
    gaussians = splat.bind(still, triangles, 0.2)
    size = (160, 160)
    one, two = (splat.place(gaussians, v, triangles, view) for v in (still, moved))
    colours = np.empty((len(gaussians), 0), np.float32)
    there = splat.rasterize(one, gaussians.opacity, colours, size, two)
    back_again = splat.rasterize(two, gaussians.opacity, colours, size, one)
    assert there.flow is not None and back_again.flow is not None
    hidden = occluded(there.flow, back_again.flow, there.mask, back_again.mask)
    rows = slice(50, 110)
    assert hidden[rows, 101:106].all(), "the strip that the front sheet moves over"
    # Pixels that show some of both sheets come back to neither.
    assert hidden[rows].sum(axis=1).max() <= 9
    assert not hidden[rows, :58].any() and not hidden[rows, 108:].any()
    assert not hidden[rows, 62:99].any()


def test_a_still_face_hides_nothing(scenes: list[Scene]) -> None:
    scene = scenes[0]
    mask = _raster(scene).mask
    nothing = np.zeros((2, *SIZE), np.float32)
    assert not occluded(nothing, nothing, mask, mask).any()
    away = nothing + np.float32(300)
    assert np.array_equal(occluded(away, -away, mask, mask), mask), "it left the frame"
