"""The rasterizer against formulas and against a z-buffer of the same mesh."""

from typing import Literal

import cv2
import numpy as np
import pytest
from numpy.typing import ArrayLike

from deft_llm.simulator.head import Head, HeadMesh
from deft_llm.simulator.render import splat
from deft_llm.simulator.render.camera import View
from deft_llm.simulator.render.splat_kernels import CUTOFF

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
        slope=np.zeros((n, 2), np.float32),
    )


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


def test_in_plane_rotation_is_exact_when_pixels_are_carried(scene: Scene) -> None:
    # Many of the splats near the silhouette are seen edge-on.
    _, mesh, gaussians, view = scene
    flat = View(view.focal, view.distance, view.centre, orthographic=True)
    angle = np.radians(2.0)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    turned = mesh.vertices.copy()
    turned[:, :2] = mesh.vertices[:, :2] @ turn.T
    before = splat.place(gaussians, mesh.vertices, mesh.triangles, flat)
    after = splat.place(gaussians, turned, mesh.triangles, flat)
    y, x = np.mgrid[: SIZE[0], : SIZE[1]] - np.array(view.centre)[::-1, None, None]
    # y points down: the turn is the other way round in the image
    exact = np.stack([turn[0, 0] * x - turn[0, 1] * y - x, turn[1, 1] * y - turn[1, 0] * x - y])
    errors = {}
    modes: tuple[Literal["carried", "centre"], ...] = ("carried", "centre")
    for mode in modes:
        flow, mask = splat.flow(before, after, gaussians.opacity, SIZE, mode)
        errors[mode] = np.abs(flow - exact)[:, mask].max()
    assert mask.sum() > 5000 and np.abs(exact[:, mask]).max() > 2
    assert errors["carried"] < 2e-3
    assert 2e-2 < errors["centre"] < 0.3, "blended centres are an approximation, and no more"


def test_permuting_the_gaussians_leaves_the_flow_unchanged(scene: Scene) -> None:
    head, mesh, gaussians, view = scene
    # Uneven, because Gaussians of exactly the same depth keep their order.
    rng = np.random.default_rng(3)
    rest = mesh.vertices + rng.normal(0, 1e-3, mesh.vertices.shape).astype(np.float32)
    moved = rest + head.deform(mesh, {"1": 0.2, "12": 0.3}) - mesh.vertices
    shuffle = rng.permutation(len(gaussians))
    other = splat.Gaussians(
        gaussians.corners[shuffle],
        gaussians.weights[shuffle],
        gaussians.scale[shuffle],
        gaussians.opacity[shuffle],
        gaussians.triangle[shuffle],
    )
    flows = []
    for each in (gaussians, other):
        before = splat.place(each, rest, mesh.triangles, view)
        after = splat.place(each, moved, mesh.triangles, view)
        flows.append(splat.flow(before, after, each.opacity, SIZE)[0])
    np.testing.assert_allclose(flows[0], flows[1], atol=1e-5)
    assert np.abs(flows[0]).max() > 0.5


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
        slope=np.zeros((1, 2), np.float32),
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
