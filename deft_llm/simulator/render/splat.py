"""Splatting of Gaussians bound to a triangle mesh: the image, its exact flow and its mask.

The binding is that of GaussianAvatars (Qian et al., CVPR 2024, arXiv 2312.02069): a Gaussian
lives in the local frame of a triangle and moves with it. We differ in one point: the frame is
the triangle's two edge vectors instead of a rotation and one mean scale. The centre is a fixed
barycentric point of the mesh, so a splat also follows stretch and shear. Projection and
front-to-back compositing are those of 3D Gaussian splatting (Kerbl et al., SIGGRAPH 2023); flow
and mask follow "splatting rasterization" (SRFlow, arXiv 2601.06479).

Letters: N Gaussians, V vertices, F triangles, C channels, H x W pixels. Pixel (x, y) has its
centre at the integer coordinates (x, y). Head axes in cm: +x image right, +y up, +z to the camera.
"""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from deft_llm.simulator.render import splat_kernels as kernels
from deft_llm.simulator.render.camera import View

Floats = NDArray[np.float32]

LOW_PASS = 0.3  # px^2 added to every projected covariance, as in 3D Gaussian splatting
_SPREAD = 1.85  # splat size over that of its piece of triangle; closes the gaps between pieces


@dataclass(frozen=True)
class Gaussians:
    """Gaussians in the frames of the triangles they are bound to.

    Attributes:
        corners: (N, 3) int32, vertex indices of the triangle of each Gaussian.
        weights: (N, 3) barycentric coordinates of the centres.
        scale: (N,) size in units of the triangle's edges.
        opacity: (N,) peak alpha in 0..1.
        triangle: (N,) int32, index of the triangle of each Gaussian.
    """

    corners: NDArray[np.int32]
    weights: Floats
    scale: Floats
    opacity: Floats
    triangle: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.corners)

    def interpolate(self, per_vertex: Floats) -> Floats:
        """Vertex values (V, C) at the Gaussians' centres, (N, C)."""
        values: Floats = np.einsum("nkc,nk->nc", per_vertex[self.corners], self.weights)
        return values


@dataclass(frozen=True)
class Splats:
    """The Gaussians of one mesh state, projected into one view.

    Attributes:
        mean: (N, 2) centres in pixels.
        frame: (N, 4) the 2x2 matrices B (row-major) with projected covariance B B^T; its columns
            are axes that stay attached to the mesh.
        depth: (N,) distance from the camera, cm.
        facing: (N,) bool, True where the triangle shows its front side.
        normal: (N, 3) unit normals, head axes, smooth across triangles.
        slope: (N, 2) depth gradient to the right and down, cm / px.
        layer: (N,) drawing order, front first; None draws by depth.
    """

    mean: Floats
    frame: Floats
    depth: Floats
    facing: NDArray[np.bool_]
    normal: Floats
    slope: Floats
    layer: Floats | None = None


@dataclass(frozen=True)
class Raster:
    """Result of one compositing pass; depth, normal and flow are 0 off the mask, surface is -1.

    Attributes:
        colour: (H, W, C) weighted sum of the colours.
        clear: (H, W) transmittance left for the background.
        mask: (H, W) bool, the weights sum to more than one half.
        depth: (H, W) weighted mean distance from the camera, cm.
        normal: (H, W, 3) weighted mean normal of unit length, head axes.
        surface: (H, W) int32, the Gaussian at which the summed weights pass one half.
        flow: (2, H, W) pixels, by carried splats (flow B of the specification); None without a
            second state.
        centre_flow: (2, H, W) pixels, by the motion of centres (flow A); None likewise.
    """

    colour: Floats
    clear: Floats
    mask: NDArray[np.bool_]
    depth: Floats
    normal: Floats
    surface: NDArray[np.int32]
    flow: Floats | None
    centre_flow: Floats | None


def bind(vertices: Floats, triangles: NDArray[np.int32], spacing: Floats | float) -> Gaussians:
    """Cover a mesh with Gaussians.

    Each triangle is cut into m^2 congruent pieces, and each piece carries one Gaussian.

    Args:
        vertices: (V, 3) the mesh at rest, cm.
        triangles: (F, 3) corners, counter-clockwise seen from outside.
        spacing: Target distance between neighbours, cm, for all or for each triangle (F,).
            A smaller triangle carries one Gaussian, one with infinite spacing none.

    Returns:
        The Gaussians, ordered by triangle.
    """
    corners = vertices[triangles]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    area = 0.5 * np.linalg.norm(normals, axis=1)
    # A triangular lattice with this spacing has one point per sqrt(3)/2 spacing^2.
    cuts = np.maximum(1, np.rint(np.sqrt(area / math.sqrt(0.75)) / spacing)).astype(int)
    cuts[np.isinf(np.broadcast_to(spacing, cuts.shape))] = 0
    index, weights, scale = [], [], []
    for m in np.unique(cuts[cuts > 0]):
        chosen = np.flatnonzero(cuts == m)
        pieces = _piece_centres(int(m))
        index.append(np.repeat(chosen, len(pieces)))
        weights.append(np.tile(pieces, (len(chosen), 1)))
        scale.append(np.full(len(chosen) * len(pieces), _SPREAD / m))
    triangle = np.concatenate(index)
    by_triangle = np.argsort(triangle, kind="stable")
    triangle = triangle[by_triangle]
    return Gaussians(
        corners=np.ascontiguousarray(triangles[triangle], np.int32),
        weights=np.concatenate(weights)[by_triangle].astype(np.float32),
        scale=np.concatenate(scale)[by_triangle].astype(np.float32),
        opacity=np.full(len(triangle), 0.95, np.float32),
        triangle=triangle.astype(np.int32),
    )


def _piece_centres(m: int) -> NDArray[np.float64]:
    """Barycentric centres (m*m, 3) of the congruent pieces of a triangle cut m times a side."""
    # Centroids, in units of a piece, of the pieces that point like the triangle and of those
    # that are upside down.
    upright = [(i + 1 / 3, j + 1 / 3) for i in range(m) for j in range(m - i)]
    flipped = [(i + 2 / 3, j + 2 / 3) for i in range(m) for j in range(m - i - 1)]
    second, third = np.array(upright + flipped).T / m
    return np.stack([1 - second - third, second, third], axis=1)


def vertex_normals(vertices: Floats, triangles: NDArray[np.int32]) -> Floats:
    """Area-weighted normals of the vertices, (V, 3), not normalised."""
    normals: Floats = kernels.vertex_normals(vertices, triangles)
    return normals


def place(
    gaussians: Gaussians, vertices: Floats, triangles: NDArray[np.int32], view: View
) -> Splats:
    """Project the Gaussians for one state of the mesh.

    Args:
        gaussians: Bound by :func:`bind` to the same topology.
        vertices: (V, 3) deformed and posed, head axes, cm.
        triangles: (F, 3) of the mesh, for the normals.
        view: The camera.

    Returns:
        The projected Gaussians, in the same order.
    """
    vertices = np.ascontiguousarray(vertices, np.float32)
    return Splats(
        *kernels.place(
            gaussians.corners,
            gaussians.weights,
            gaussians.scale,
            vertices,
            kernels.vertex_normals(vertices, triangles),
            np.float32(view.focal),
            np.float32(view.distance),
            np.float32(view.centre[0]),
            np.float32(view.centre[1]),
            view.orthographic,
        )
    )


def rasterize(
    splats: Splats,
    opacity: Floats,
    colours: Floats,
    size: tuple[int, int],
    after: Splats | None = None,
    *,
    low_pass: float = LOW_PASS,
    threads: int = 1,
) -> Raster:
    """Image, flow, mask, depth, normals and surface from one compositing pass.

    Pixel weights are w_i = a_i prod_{j<i} (1 - a_j) with
    a_i = min(0.99, opacity_i exp(-0.5 (x - m_i)^T S_i^-1 (x - m_i))). A pixel's flow is the
    weighted mean of m'_i - m_i (A), or of m'_i + C_i (x - m_i) - x, where the matrix C_i maps the
    splat's axes from the first state to the second (B).

    Args:
        splats: From :func:`place`; their weights are used for all layers.
        opacity: (N,) peak alphas.
        colours: (N, C) shaded colours.
        size: (H, W).
        after: The same Gaussians in a second state, for the flow.
        low_pass: px^2 added to the covariances; includes the camera's blur.
        threads: Number of drawing threads; the result does not depend on it.

    Returns:
        The layers.
    """
    features, values, slopes = [colours, splats.normal], [splats.depth[:, None]], [splats.slope]
    if after is not None:
        # Flow A blends this as a plain feature; flow B blends the same values with slopes.
        moved = after.mean - splats.mean
        features.append(moved)
        values.append(moved)
        slopes.append(kernels.carry(splats.frame, after.frame))
    surface = np.full(size, -1, np.int32)
    slanted = np.concatenate(values, axis=1), np.concatenate(slopes, axis=1)
    summed, clear, planes = _draw(
        splats,
        opacity,
        np.concatenate(features, axis=1, dtype=np.float32),
        size,
        low_pass,
        slanted=slanted,
        surface=surface,
        threads=threads,
    )
    colour, mask, depth, normal, carried, centre = kernels.finish(
        summed, planes, clear, colours.shape[1]
    )
    motion = (None, None) if after is None else (carried, centre)
    return Raster(colour, clear, mask, depth, normal, surface, *motion)


def composite(
    splats: Splats,
    opacity: Floats,
    features: Floats,
    size: tuple[int, int],
    low_pass: float = LOW_PASS,
) -> tuple[Floats, Floats]:
    """Blend per-Gaussian features front to back, with the weights of :func:`rasterize`.

    Args:
        splats: From :func:`place`.
        opacity: (N,) peak alphas.
        features: (N, C), for example shaded colours.
        size: (H, W).
        low_pass: px^2 added to the covariances; includes the camera's blur.

    Returns:
        The weighted sum (H, W, C) and the transmittance (H, W) left for the background.
    """
    summed, clear, _ = _draw(splats, opacity, features, size, low_pass)
    return summed, clear


def flow(
    before: Splats,
    after: Splats,
    opacity: Floats,
    size: tuple[int, int],
    mode: Literal["carried", "centre"] = "carried",
) -> tuple[Floats, NDArray[np.bool_]]:
    """The exact flow between two states, with the weights of the first.

    Args:
        before: State of the first frame; the blending weights come from it.
        after: State of the second frame, the same Gaussians.
        opacity: (N,) peak alphas.
        size: (H, W).
        mode: "centre" blends the motion of centres (flow A of the specification); "carried"
            moves each pixel along with the splat's axes (flow B), exact under rotation and
            stretch as well.

    Returns:
        Flow (2, H, W) in pixels, u right and v down, 0 outside the mask; and the mask (H, W),
        True where the blending weights sum to more than one half.
    """
    turned = kernels.carry(before.frame, after.frame)
    if mode == "centre":
        # Without the linear term every pixel of a splat moves as its centre does.
        turned[:] = 0
    nothing = np.empty((len(opacity), 0), np.float32)
    slanted = after.mean - before.mean, turned
    _, clear, summed = _draw(before, opacity, nothing, size, LOW_PASS, slanted=slanted)
    assert summed is not None
    weight = 1 - clear
    mask = weight > 0.5
    # The mask has weight > 0.5, so the clamp only avoids dividing by 0 off the mask.
    share = (mask / np.maximum(weight, 0.5)).astype(np.float32)
    return summed * share, mask


def _draw(
    splats: Splats,
    opacity: Floats,
    features: Floats,
    size: tuple[int, int],
    low_pass: float,
    *,
    slanted: tuple[Floats, Floats] | None = None,
    surface: NDArray[np.int32] | None = None,
    threads: int = 1,
) -> tuple[Floats, Floats, Floats | None]:
    """Sums of features (H, W, C), transmittance (H, W), sums of slanted values (K, H, W).

    Slanted values vary linearly within a splat: values (N, K) at the centre, and slopes (N, 2 K)
    to the right and down.
    """
    features = np.ascontiguousarray(features, np.float32)
    summed = np.zeros((*size, features.shape[1]), np.float32)
    clear = np.ones(size, np.float32)
    order = _front_to_back(splats)
    conic, rows = kernels.outline(order, splats.mean, splats.frame, np.float32(low_pass), size[0])
    starts, listed = kernels.bands(rows, size[0])
    values, slopes = (None, None) if slanted is None else slanted
    planes = None if values is None else np.zeros((values.shape[1], *size), np.float32)
    drawn = (starts, listed, order, conic, rows, splats.mean, opacity)
    layers = (features, values, slopes, summed, planes, surface, clear)
    last = len(starts) - 1
    if threads <= 1:
        kernels.composite(0, last, *drawn, *layers)
    else:
        # Plain Python threads around a kernel that releases the GIL: numba's own threads do not
        # survive a fork, and a training data loader may fork.
        with ThreadPoolExecutor(threads) as pool:
            # A band is a set of rows that only one task writes, so the threads need no lock.
            for done in [
                pool.submit(kernels.composite, band, band + 1, *drawn, *layers)
                for band in range(last)
            ]:
                # result() re-raises a thread's error; otherwise a failed band would stay blank.
                done.result()
    return summed, clear, planes


def _front_to_back(splats: Splats) -> NDArray[np.int64]:
    """Indices of the front-facing Gaussians, sorted by layer.

    The bit patterns of positive floats sort like the floats themselves. Two passes over 16-bit
    keys, which numpy sorts by radix, take a third of the time of one sort of floats.
    """
    seen = np.flatnonzero(splats.facing)
    layer = (splats.depth if splats.layer is None else splats.layer)[seen]
    # Negative floats would sort in reverse, and after all positive ones.
    bits = np.maximum(layer, np.float32(0)).view(np.uint32)
    order = np.argsort(bits.astype(np.uint16), kind="stable")
    return seen[order[np.argsort((bits[order] >> 16).astype(np.uint16), kind="stable")]]
