"""The light of a simulated eye and the events that it makes, compiled by numba.

H x W pixels of the sensor. An event camera's pixel remembers the log of the light at its last
event, and fires when the light has changed by its threshold (Lichtsteiner et al. 2008).
"""

# mypy: disable-error-code=no-untyped-def

from __future__ import annotations

import math

import numpy as np

from deft_llm.compiled import compiled

_SOFT = 1.2  # px, half of the width of an edge
MOST = 6  # events of one pixel in one step


@compiled(fastmath=True, inline="always")
def _step(distance):
    """0 to 1 across an edge."""
    if distance <= -_SOFT:
        return np.float32(0.0)
    if distance >= _SOFT:
        return np.float32(1.0)
    s = (distance / _SOFT + 1.0) * 0.5
    return np.float32(s * s * (3.0 - 2.0 * s))


@compiled(fastmath=True)
def light(out, box, eye, lids, levels, iris, lashes, skin, glints):
    """Log of the light in a part of the picture.

    Args:
        out: (h, w) float32, filled.
        box: First column and first row of the part.
        eye: Centre of the pupil x and y, its radii across and down, radius of the iris.
        lids: Centre x, y of the opening, half of its width, heights above and below the centre,
            closure 0 to 1.
        levels: Light of skin, sclera, iris, pupil, lash.
        iris: (S, S) texture of the iris, about its centre, factors.
        lashes: (L, C) share of the light that passes, by rows below the lid's edge and columns.
        skin: (H, W) texture of the skin, factors.
        glints: (G, 4) x, y, radius, light.
    """
    height, width = out.shape
    half = iris.shape[0] // 2
    across = lashes.shape[1] // 2
    for col in range(width):
        x = np.float32(box[0] + col)
        dx = (x - lids[0]) / lids[2]
        arch = np.float32(1.0) - dx * dx
        low = lids[1] + lids[4] * arch
        high = lids[1] - lids[3] * arch
        shut = high + lids[5] * (low - high)
        ex = (x - eye[0]) / eye[2]
        gx = int(x - eye[0]) + half
        lash_col = int(x - lids[0]) + across
        for row in range(height):
            y = np.float32(box[1] + row)
            value = levels[0] * skin[int(y), int(x)]
            # How far inside the opening, px; the lids meet at the corners.
            inside = min(y - shut, low - y)
            if arch > 0 and inside > -_SOFT:
                dy = y - eye[1]
                ey = dy / eye[3]
                # Distances from the edges of pupil and iris, px.
                r2 = ex * ex + ey * ey
                to_pupil = (math.sqrt(r2) - np.float32(1.0)) * eye[3]
                rx = x - eye[0]
                from_iris = math.sqrt(rx * rx + dy * dy) - eye[4]
                gy = int(dy) + half
                shade = levels[2]
                if 0 <= gx < iris.shape[1] and 0 <= gy < iris.shape[0]:
                    shade = levels[2] * iris[gy, gx]
                seen = levels[1] + _step(-from_iris) * (shade - levels[1])
                seen = seen + _step(-to_pupil) * (levels[3] - seen)
                for g in range(glints.shape[0]):
                    qx, qy = x - glints[g, 0], y - glints[g, 1]
                    away = qx * qx + qy * qy
                    reach = glints[g, 2] + _SOFT
                    if away < reach * reach:
                        seen += _step(glints[g, 2] - math.sqrt(away)) * (glints[g, 3] - seen)
                # The upper lid casts a shadow on the ball.
                seen *= np.float32(0.65) + np.float32(0.35) * min(
                    np.float32(1.0), max(np.float32(0.0), (y - shut) / np.float32(22.0))
                )
                value += _step(inside) * (seen - value)
            under = int(y - shut)
            if 0 <= under < lashes.shape[0] and 0 <= lash_col < lashes.shape[1] and arch > 0:
                passed = lashes[under, lash_col]
                value = passed * value + (np.float32(1.0) - passed) * levels[4]
            out[row, col] = math.log(value)


@compiled(fastmath=True)
def fire(before, now, memory, rise, fall, box, start, stop, t, x, y, p):
    """Events of one step.

    Args:
        before: (h, w) log of the light at ``start``.
        now: (h, w) at ``stop``.
        memory: (H, W) log of the light that each pixel remembers, changed.
        rise: (H, W) thresholds for more light.
        fall: (H, W) thresholds for less.
        box: First column and first row of the part.
        start: µs.
        stop: µs.
        t: Columns of events, filled from the beginning; likewise x, y and p.
        x: px.
        y: px.
        p: Polarity.

    Returns:
        How many there are; they may be more than fit, and those are lost.
    """
    height, width = now.shape
    count = 0
    for row in range(height):
        sy = box[1] + row
        for col in range(width):
            sx = box[0] + col
            value, last = now[row, col], memory[sy, sx]
            change = value - last
            if -fall[sy, sx] < change < rise[sy, sx]:
                continue
            up = change > 0
            step = rise[sy, sx] if up else -fall[sy, sx]
            slope = value - before[row, col]
            for _ in range(MOST):
                if abs(value - last) < abs(step):
                    break
                last += step
                share = 1.0
                # The light may have passed the threshold anywhere in the step.
                if abs(slope) > 1e-6:
                    share = min(1.0, max(0.0, (last - before[row, col]) / slope))
                if count < t.shape[0]:
                    t[count] = start + int(share * (stop - start))
                    x[count], y[count], p[count] = sx, sy, 1 if up else 0
                count += 1
            if abs(value - last) >= abs(step):
                last = value  # the pixel was too slow to follow
            memory[sy, sx] = last
    return count
