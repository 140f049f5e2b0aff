"""The inner loops of the rasterizer, compiled by numba.

Letters: N Gaussians, V vertices, F triangles, C channels, H x W pixels; float32 throughout. The
functions of `splat.py` call these kernels and document their arguments.
"""

# mypy: disable-error-code=no-untyped-def

from __future__ import annotations

import math

import numpy as np

from deft_llm.compiled import compiled

CUTOFF = 2.5  # a splat ends at this many standard deviations
MAX_ALPHA = 0.99
BAND = 16  # rows of an image that one thread draws at a time
_MIN_AXIS = 0.15  # px; the inverse of a thinner splat is too unstable to carry pixels


@compiled(fastmath=True, nogil=True)
def vertex_normals(vertices, triangles):
    """Area-weighted sums of face normals at the vertices, (V, 3)."""
    normals = np.zeros_like(vertices)
    for f in range(triangles.shape[0]):
        i, j, k = triangles[f, 0], triangles[f, 1], triangles[f, 2]
        ax, ay, az = (
            vertices[j, 0] - vertices[i, 0],
            vertices[j, 1] - vertices[i, 1],
            vertices[j, 2] - vertices[i, 2],
        )
        bx, by, bz = (
            vertices[k, 0] - vertices[i, 0],
            vertices[k, 1] - vertices[i, 1],
            vertices[k, 2] - vertices[i, 2],
        )
        nx, ny, nz = ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx
        for v in (i, j, k):
            normals[v, 0] += nx
            normals[v, 1] += ny
            normals[v, 2] += nz
    return normals


# Cholesky factor of a uniform triangle's covariance in the basis of two of its edges:
# variances 1/18, covariance -1/36.
_L00 = np.float32(math.sqrt(1 / 18))
_L10 = np.float32(-1 / 36 / math.sqrt(1 / 18))
_L11 = np.float32(math.sqrt(1 / 18 - 1 / 72))


@compiled(fastmath=True, inline="always")
def _norm(frame, g):
    """Frobenius norm of a splat's B; |det B| over it bounds the smallest axis from below."""
    a, b, c, d = frame[g, 0], frame[g, 1], frame[g, 2], frame[g, 3]
    return math.sqrt(a * a + b * b + c * c + d * d)


@compiled(fastmath=True, nogil=True)
def place(corners, weights, scale, vertices, vertex_normal, focal, distance, cx, cy, orthographic):
    """Centres (N, 2), axes (N, 4), depth, facing, unit normals (N, 3), slope (N, 2) in one view."""
    n = corners.shape[0]
    mean = np.empty((n, 2), np.float32)
    frame = np.empty((n, 4), np.float32)
    depth = np.empty(n, np.float32)
    facing = np.empty(n, np.bool_)
    normal = np.empty((n, 3), np.float32)
    slope = np.zeros((n, 2), np.float32)
    p = np.empty(3, np.float32)
    e1 = np.empty(3, np.float32)
    e2 = np.empty(3, np.float32)
    for g in range(n):
        i, j, k = corners[g, 0], corners[g, 1], corners[g, 2]
        wi, wj, wk = weights[g, 0], weights[g, 1], weights[g, 2]
        for c in range(3):
            a, b, d = vertices[i, c], vertices[j, c], vertices[k, c]
            p[c] = wi * a + wj * b + wk * d
            e1[c] = (b - a) * scale[g]
            e2[c] = (d - a) * scale[g]
            normal[g, c] = (
                wi * vertex_normal[i, c] + wj * vertex_normal[j, c] + wk * vertex_normal[k, c]
            )
        length = math.sqrt(normal[g, 0] ** 2 + normal[g, 1] ** 2 + normal[g, 2] ** 2)
        for c in range(3):
            normal[g, c] /= length + np.float32(1e-12)
        # Distance along the viewing axis, not along the ray.
        depth[g] = distance - p[2]
        reach = distance if orthographic else depth[g]
        s = focal / reach
        mean[g, 0] = cx + s * p[0]
        mean[g, 1] = cy - s * p[1]
        # Projected edges: the Jacobian of the projection applied to e1 and e2.
        tilt = np.float32(0) if orthographic else s / reach
        u1, v1 = s * e1[0] + tilt * p[0] * e1[2], -s * e1[1] - tilt * p[1] * e1[2]
        u2, v2 = s * e2[0] + tilt * p[0] * e2[2], -s * e2[1] - tilt * p[1] * e2[2]
        frame[g, 0] = u1 * _L00 + u2 * _L10
        frame[g, 1] = u2 * _L11
        frame[g, 2] = v1 * _L00 + v2 * _L10
        frame[g, 3] = v2 * _L11
        det = u1 * v2 - u2 * v1
        # Corners run counter-clockwise with y up; v points down, so a front side has det < 0.
        facing[g] = det < 0
        if abs(det) * np.float32(_L00 * _L11) >= np.float32(_MIN_AXIS) * _norm(frame, g):
            # Depth falls as z grows: solve slope . (u, v) = -e[2] for both edges. Edge-on splats
            # keep slope 0.
            slope[g, 0] = (e2[2] * v1 - e1[2] * v2) / det
            slope[g, 1] = (e1[2] * u2 - e2[2] * u1) / det
    return mean, frame, depth, facing, normal, slope


@compiled(fastmath=True, nogil=True)
def outline(order, mean, frame, low_pass, height):
    """Ellipses in drawing order: inverses of B B^T + low_pass I, and the rows they cover.

    Returns:
        Inverses (M, 3) as (xx, xy, yy), and first and last row (M, 2); last < first for a splat
        outside the image.
    """
    conic = np.empty((len(order), 3), np.float32)
    rows = np.empty((len(order), 2), np.int32)
    for k in range(len(order)):
        g = order[k]
        a, b, c, d = frame[g, 0], frame[g, 1], frame[g, 2], frame[g, 3]
        xx, xy, yy = a * a + b * b + low_pass, a * c + b * d, c * c + d * d + low_pass
        inverse = np.float32(1) / (xx * yy - xy * xy)
        conic[k, 0], conic[k, 1], conic[k, 2] = yy * inverse, -xy * inverse, xx * inverse
        # yy is the variance along y, so this is the ellipse's exact vertical extent.
        half_height = np.float32(CUTOFF) * math.sqrt(yy)
        rows[k, 0] = max(0, math.ceil(mean[g, 1] - half_height))
        rows[k, 1] = min(height - 1, math.floor(mean[g, 1] + half_height))
    return conic, rows


@compiled(nogil=True)
def bands(rows, height):
    """Sort the splats into bands of ``BAND`` rows, each in drawing order.

    Returns:
        Start of each band in the list (bands + 1,), and the list itself: positions in drawing
        order.
    """
    count = (height + BAND - 1) // BAND
    starts = np.zeros(count + 1, np.int64)
    for k in range(len(rows)):
        if rows[k, 0] <= rows[k, 1]:
            for band in range(rows[k, 0] // BAND, rows[k, 1] // BAND + 1):
                starts[band + 1] += 1
    for band in range(count):
        starts[band + 1] += starts[band]
    # Counting sort: the first pass counted, this one fills; it keeps the drawing order.
    free = starts[:-1].copy()
    listed = np.empty(starts[-1], np.int32)
    for k in range(len(rows)):
        if rows[k, 0] <= rows[k, 1]:
            for band in range(rows[k, 0] // BAND, rows[k, 1] // BAND + 1):
                listed[free[band]] = k
                free[band] += 1
    return starts, listed


@compiled(fastmath=True, inline="always")
def _span(qxx, qxy, qyy, mx, dy, width):
    """First and last pixel of a row inside the cutoff ellipse; last < first for an empty row."""
    inside = qxy * qxy * dy * dy - qxx * (qyy * dy * dy - np.float32(CUTOFF * CUTOFF))
    if inside <= 0:
        return 0, -1
    half = math.sqrt(inside) / qxx
    middle = mx - qxy * dy / qxx
    return max(0, math.ceil(middle - half)), min(width - 1, math.floor(middle + half))


@compiled(fastmath=True, nogil=True)
def composite(
    first_band,
    last_band,
    starts,
    listed,
    order,
    conic,
    rows,
    mean,
    opacity,
    features,
    values,
    slopes,
    summed,
    planes,
    surface,
    clear,
):
    """Blend the bands ``first_band <= b < last_band`` front to back.

    Adds the weighted features (N, C) to ``summed`` (H, W, C) and lowers the transmittance
    ``clear`` (H, W). If ``planes`` (K, H, W) is given, adds the values that vary within a splat:
    ``values`` (N, K) plus ``slopes`` (N, 2 K) times the offset from its centre. If ``surface``
    (H, W) is given, stores there the Gaussian at which the weights pass one half. Each pixel sees
    its splats in drawing order whatever the bands, so any number of threads gives the same bits.
    """
    _, width, channels = summed.shape
    # A plain 0.5 is float64 in numba and would promote the comparison.
    half_way = np.float32(0.5)
    for band in range(first_band, last_band):
        for at in range(starts[band], starts[band + 1]):
            k = listed[at]
            g = order[k]
            qxx, qxy, qyy = conic[k, 0], conic[k, 1], conic[k, 2]
            mx, my = mean[g, 0], mean[g, 1]
            step = math.exp(-qxx)
            top, bottom = max(rows[k, 0], band * BAND), min(rows[k, 1], band * BAND + BAND - 1)
            for y in range(top, bottom + 1):
                dy = np.float32(y) - my
                left, right = _span(qxx, qxy, qyy, mx, dy, width)
                if right < left:
                    continue
                # Along a row alpha is exp of a quadratic: its ratio from pixel to pixel changes by
                # a constant factor, so two products replace an exp. Skipping pixels that are
                # already opaque was measured to be slower.
                dx = np.float32(left) - mx
                form = qxx * dx * dx + np.float32(2) * qxy * dx * dy + qyy * dy * dy
                alpha = opacity[g] * math.exp(np.float32(-0.5) * form)
                ratio = math.exp(-qxx * (dx + np.float32(0.5)) - qxy * dy)
                for x in range(left, right + 1):
                    through = clear[y, x]
                    weight = min(np.float32(MAX_ALPHA), alpha) * through
                    clear[y, x] = through - weight
                    for c in range(channels):
                        summed[y, x, c] += weight * features[g, c]
                    if planes is not None:
                        dx = np.float32(x) - mx
                        for c in range(planes.shape[0]):
                            slant = slopes[g, 2 * c] * dx + slopes[g, 2 * c + 1] * dy
                            planes[c, y, x] += weight * (values[g, c] + slant)
                    if surface is not None and through >= half_way and clear[y, x] < half_way:
                        surface[y, x] = g
                    alpha *= ratio
                    ratio *= step


@compiled(fastmath=True, nogil=True)
def finish(summed, planes, clear, channels):
    """Turn sums into means, for the fields of `splat.Raster`.

    The features are the colours, the normal and, with flow, the motion of the centre; ``planes``
    are the depth and, with flow, its two components.
    """
    height, width = clear.shape
    moving = len(planes) > 1
    colour = np.empty((height, width, channels), np.float32)
    mask = np.empty((height, width), np.bool_)
    depth = np.empty((height, width), np.float32)
    normal = np.empty((height, width, 3), np.float32)
    flow = np.empty((2, height, width), np.float32)
    centre = np.empty((2, height, width), np.float32)
    for y in range(height):
        for x in range(width):
            weight = np.float32(1) - clear[y, x]
            mask[y, x] = weight > np.float32(0.5)
            share = np.float32(1) / weight if mask[y, x] else np.float32(0)
            for c in range(channels):
                colour[y, x, c] = summed[y, x, c]
            depth[y, x] = share * planes[0, y, x]
            nx, ny, nz = (
                summed[y, x, channels],
                summed[y, x, channels + 1],
                summed[y, x, channels + 2],
            )
            length = math.sqrt(nx * nx + ny * ny + nz * nz)
            unit = np.float32(1) / length if mask[y, x] and length > 0 else np.float32(0)
            normal[y, x, 0], normal[y, x, 1], normal[y, x, 2] = unit * nx, unit * ny, unit * nz
            for c in range(2 if moving else 0):
                flow[c, y, x] = share * planes[1 + c, y, x]
                centre[c, y, x] = share * summed[y, x, channels + 3 + c]
    return colour, mask, depth, normal, flow, centre


@compiled()
def carry(before, after):
    """C - I for each Gaussian, row-major (N, 4), where C = B' B^-1 maps its axes to the new state.

    The inverse of a splat seen edge-on is unstable. There C is the similarity (rotation and
    scale) that maps its long axis.
    """
    turned = np.empty_like(before)
    for g in range(before.shape[0]):
        a, b, c, d = before[g, 0], before[g, 1], before[g, 2], before[g, 3]
        pa, pb = after[g, 0] - a, after[g, 1] - b
        pc, pd = after[g, 2] - c, after[g, 3] - d
        det = a * d - b * c
        if abs(det) >= np.float32(_MIN_AXIS) * _norm(before, g):
            turned[g, 0], turned[g, 1] = (pa * d - pb * c) / det, (pb * a - pa * b) / det
            turned[g, 2], turned[g, 3] = (pc * d - pd * c) / det, (pd * a - pc * b) / det
            continue
        # Direction of the largest eigenvector of B B^T.
        angle = 0.5 * math.atan2(2 * (a * c + b * d), a * a + b * b - c * c - d * d)
        x, y = math.cos(angle), math.sin(angle)  # the long axis
        p, q = a * x + c * y, b * x + d * y
        length2 = max(p * p + q * q, np.float32(1e-12))
        u, v = (pa * p + pb * q) / length2, (pc * p + pd * q) / length2  # its motion
        along, across = u * x + v * y, v * x - u * y
        turned[g, 0], turned[g, 1] = along, -across
        turned[g, 2], turned[g, 3] = across, along
    return turned
