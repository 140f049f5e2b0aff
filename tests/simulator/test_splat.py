"""The rasterizer against formulas and against a z-buffer of the same mesh."""

from typing import Literal

import cv2
import numpy as np
import pytest
from numpy.typing import ArrayLike, NDArray

from deft_llm.simulator import splat
from deft_llm.simulator.camera import View
from deft_llm.simulator.head import Head, HeadMesh
from deft_llm.simulator.splat_kernels import CUTOFF

SIZE = (160, 160)


Scene = tuple[Head, HeadMesh, splat.Gaussians, View]


@pytest.fixture(scope="module")
def scene(ellipsoid: Head) -> Scene:
    mesh = ellipsoid.identity(0)
    gaussians = splat.bind(mesh.vertices, mesh.triangles, 0.3)
    view = View(focal=40 * 80 / 6.4, distance=80.0, centre=(80.3, 62.7))
    return ellipsoid, mesh, gaussians, view


def _round_splats(mean: ArrayLike, sigma: float, depth: ArrayLike | None = None) -> splat.Splats:
    """Upright splats with axes along the image's."""
    centres = np.asarray(mean, np.float32)
    n = len(centres)
    return splat.Splats(
        mean=centres,
        frame=np.tile(np.array([sigma, 0, 0, sigma], np.float32), (n, 1)),
        depth=np.asarray(np.arange(n) if depth is None else depth, np.float32),
        facing=np.ones(n, bool),
        normal=np.tile(np.array([0, 0, 1], np.float32), (n, 1)),
    )


def _z_buffer(
    before: NDArray[np.float64],
    after: NDArray[np.float64],
    triangles: NDArray[np.int32],
    size: tuple[int, int],
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Flow and mask of a mesh by nearest-depth triangle rasterization; rows are (x, y, depth)."""
    height, width = size
    nearest = np.full(size, np.inf)
    flow = np.zeros((2, *size))
    for corner in triangles:
        (x0, y0, _), (x1, y1, _), (x2, y2, _) = before[corner]
        area = (x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0)
        if area >= 0:  # v points down: front faces wind the other way
            continue
        box = before[corner, :2]
        left, top = np.maximum(np.ceil(box.min(0)), 0).astype(int)
        right, bottom = np.minimum(np.floor(box.max(0)), [width - 1, height - 1]).astype(int)
        y, x = np.mgrid[top : bottom + 1, left : right + 1]
        b = ((x - x0) * (y2 - y0) - (x2 - x0) * (y - y0)) / area
        c = ((x1 - x0) * (y - y0) - (x - x0) * (y1 - y0)) / area
        weights = np.stack([1 - b - c, b, c]) / before[corner, 2][:, None, None]
        inside = (weights >= 0).all(0)
        depth = 1 / weights.sum(0)
        weights = weights * depth
        window = nearest[top : bottom + 1, left : right + 1]
        take = inside & (depth < window)
        window[take] = depth[take]
        moved = np.einsum("kc,kyx->cyx", (after - before)[corner, :2], weights)
        flow[:, top : bottom + 1, left : right + 1][:, take] = moved[:, take]
    return flow, np.isfinite(nearest)


def _screen(view: View, vertices: NDArray[np.float32]) -> NDArray[np.float64]:
    return np.column_stack([view.project(vertices), view.distance - vertices[:, 2]]).astype(float)


@pytest.mark.parametrize("mode", ["carried", "centre"])
def test_translation_gives_uniform_flow_under_an_orthographic_camera(
    scene: Scene, mode: Literal["carried", "centre"]
) -> None:
    _, mesh, gaussians, view = scene
    flat = View(view.focal, view.distance, view.centre, orthographic=True)
    shift = np.array([0.11, -0.07, 0.5], np.float32)
    before = splat.place(gaussians, mesh.vertices, mesh.triangles, flat)
    after = splat.place(gaussians, mesh.vertices + shift, mesh.triangles, flat)
    flow, mask = splat.flow(before, after, gaussians.opacity, SIZE, mode)
    scale = view.focal / view.distance
    assert mask.sum() > 5000
    assert np.abs(flow[0][mask] - 0.11 * scale).max() < 2e-4
    assert np.abs(flow[1][mask] - 0.07 * scale).max() < 2e-4


def test_in_plane_rotation_is_exact_when_pixels_are_carried() -> None:
    rng = np.random.default_rng(0)
    mean = rng.uniform(20, 140, (4000, 2))
    angle = np.radians(3.0)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    before = _round_splats(mean, 2.5)
    turned = (turn @ before.frame.reshape(-1, 2, 2)).reshape(-1, 4).astype(np.float32)
    after = splat.Splats(
        ((mean - 80) @ turn.T + 80).astype(np.float32),
        turned,
        before.depth,
        before.facing,
        before.normal,
    )
    opacity = np.full(len(mean), 0.95, np.float32)
    y, x = np.mgrid[: SIZE[0], : SIZE[1]] - 80.0
    exact = np.stack([turn[0, 0] * x + turn[0, 1] * y - x, turn[1, 0] * x + turn[1, 1] * y - y])
    errors = {}
    modes: tuple[Literal["carried", "centre"], ...] = ("carried", "centre")
    for mode in modes:
        flow, mask = splat.flow(before, after, opacity, SIZE, mode)
        errors[mode] = np.abs(flow - exact)[:, mask].max()
    assert errors["carried"] < 2e-3 < errors["centre"]


def test_order_of_the_gaussians_does_not_matter(scene: Scene) -> None:
    rng = np.random.default_rng(1)
    mean, depth = rng.uniform(10, 150, (300, 2)), rng.permutation(300)
    colours = rng.random((300, 3), np.float32)
    opacity = rng.uniform(0.3, 1, 300).astype(np.float32)
    shuffle = rng.permutation(300)
    one, _ = splat.composite(_round_splats(mean, 4, depth), opacity, colours, SIZE)
    two, _ = splat.composite(
        _round_splats(mean[shuffle], 4, depth[shuffle]), opacity[shuffle], colours[shuffle], SIZE
    )
    np.testing.assert_allclose(one, two, atol=1e-6)


def test_flow_agrees_with_a_z_buffer_of_the_mesh(scene: Scene) -> None:
    head, mesh, gaussians, view = scene
    moved = head.deform(mesh, {"1": 0.12, "12": 0.15, "4": -0.1})
    before = splat.place(gaussians, mesh.vertices, mesh.triangles, view)
    after = splat.place(gaussians, moved, mesh.triangles, view)
    flow, mask = splat.flow(before, after, gaussians.opacity, SIZE)
    exact, inside = _z_buffer(
        _screen(view, mesh.vertices), _screen(view, moved), mesh.triangles, SIZE
    )
    agree = (mask == inside).mean()
    inner = cv2.erode((mask & inside).astype(np.uint8), np.ones((7, 7), np.uint8)) > 0
    error = np.linalg.norm(flow - exact, axis=0)[inner]
    assert np.abs(exact).max() > 0.5
    assert agree > 0.98
    assert error.max() < 0.05
    assert error.mean() < 0.01


def test_flow_is_zero_where_no_head_is_seen(scene: Scene) -> None:
    _, mesh, gaussians, view = scene
    before = splat.place(gaussians, mesh.vertices, mesh.triangles, view)
    after = splat.place(gaussians, mesh.vertices + 1, mesh.triangles, view)
    flow, mask = splat.flow(before, after, gaussians.opacity, SIZE)
    _, clear = splat.composite(
        before, gaussians.opacity, np.ones((len(gaussians), 1), np.float32), SIZE
    )
    assert not mask[0, 0] and mask[62, 80]
    assert np.array_equal(mask, 1 - clear > 0.5)
    assert not flow[:, ~mask].any()


def test_one_gaussian_has_the_shape_of_its_formula() -> None:
    splats = splat.Splats(
        mean=np.array([[80.25, 79.5]], np.float32),
        frame=np.array([[6.0, 1.0, -2.0, 3.0]], np.float32),
        depth=np.array([1], np.float32),
        facing=np.array([True]),
        normal=np.array([[0, 0, 1]], np.float32),
    )
    image, clear = splat.composite(
        splats, np.array([0.8], np.float32), np.array([[0.5]], np.float32), SIZE
    )
    axes = splats.frame.reshape(2, 2).astype(float)
    inverse = np.linalg.inv(axes @ axes.T + splat.LOW_PASS * np.eye(2))
    y, x = np.mgrid[: SIZE[0], : SIZE[1]]
    d = np.stack([x - 80.25, y - 79.5])
    form = np.einsum("iyx,ij,jyx->yx", d, inverse, d)
    expected = np.where(form <= CUTOFF**2, 0.8 * np.exp(-0.5 * form), 0)
    np.testing.assert_allclose(1 - clear, expected, atol=1e-4)
    np.testing.assert_allclose(image[..., 0], 0.5 * expected, atol=1e-4)


def test_splats_leave_no_holes_in_a_surface(scene: Scene) -> None:
    _, mesh, gaussians, view = scene
    splats = splat.place(gaussians, mesh.vertices, mesh.triangles, view)
    _, clear = splat.composite(
        splats, gaussians.opacity, np.ones((len(gaussians), 1), np.float32), SIZE
    )
    inner = cv2.erode((clear < 0.5).astype(np.uint8), np.ones((9, 9), np.uint8)) > 0
    assert clear[inner].max() < 0.1


def test_slivers_seen_edge_on_keep_the_flow_finite() -> None:
    before = _round_splats(np.array([[40, 40], [60, 60]]), 2.0)
    before.frame[0] = [3.0, 0.0, 1e-6, 1e-6]
    after = _round_splats(np.array([[41, 40], [61, 60]]), 2.0)
    flow, _ = splat.flow(before, after, np.array([0.9, 0.9], np.float32), SIZE)
    assert np.isfinite(flow).all() and np.abs(flow).max() < 20
