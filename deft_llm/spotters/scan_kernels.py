"""The inner loops of the selective scan, compiled by numba; ``selective_scan.py`` calls them.

Letters: B samples, D channels, T steps, N states of a channel; float32 throughout. A call works on
a range of samples and a range of channels, each given as (first, last + 1); calls on different
ranges share no output.
"""

# mypy: disable-error-code=no-untyped-def

from __future__ import annotations

import numpy as np

from deft_llm.compiled import compiled

CHUNK = 64
"""Steps between two saved states; what the backward repeats of them, 32 kB, stays in the cache."""

# The exponential: exp(x) = 2^k exp(f), |f| <= ln(2) / 2, and a polynomial for exp(f). The
# coefficients are those of Cephes' expf. A plain 0.5 would be float64 in numba.
_LOG2_E = np.float32(1.4426950408889634)
_LN2_HIGH = np.float32(0.693359375)
_LN2_LOW = np.float32(-2.12194440e-4)
_P0 = np.float32(1.9875691500e-4)
_P1 = np.float32(1.3981999507e-3)
_P2 = np.float32(8.3334519073e-3)
_P3 = np.float32(4.1665795894e-2)
_P4 = np.float32(1.6666665459e-1)
_P5 = np.float32(5.0000001201e-1)
_ONE = np.float32(1)
_ZERO = np.float32(0)
# 1.5 * 2^23: adding it rounds to an integer, which then stands in the lowest bits.
_ROUNDER = np.float32(12582912)
# Beyond these, 2^k is no normal float32. exp(-87) is 2e-38: nothing of a state is left either way.
_LOWEST, _HIGHEST = np.float32(-87), np.float32(88)
_EXPONENT = np.int32(23)  # bits of the mantissa

# Sums over the states may be taken in any order, or they would not be vectorized.
_SUMS = {"contract", "reassoc", "nsz"}


# "reassoc" would cancel the rounder, so this function must not have it.
@compiled(nogil=True, fastmath={"contract"}, forceinline=True)
def exp(x):
    """The exponential to 1e-7 of its value. math.exp is a call, which stops vectorization."""
    x = min(max(x, _LOWEST), _HIGHEST)
    shifted = x * _LOG2_E + _ROUNDER
    k = shifted - _ROUNDER
    f = (x - k * _LN2_HIGH) - k * _LN2_LOW
    p = ((((_P0 * f + _P1) * f + _P2) * f + _P3) * f + _P4) * f + _P5
    value = p * (f * f) + f + _ONE
    # Adding k to the exponent's bits multiplies by 2^k.
    power = np.float32(shifted).view(np.int32) << _EXPONENT
    bits = np.int32(np.float32(value).view(np.int32) + power)
    return np.int32(bits).view(np.float32)


@compiled(nogil=True)
def forward(x, dt, a, b, c, y, saved, samples, channels):
    """Scan some channels of some samples.

    Args:
        x: Input (B, D, T).
        dt: Step sizes (B, D, T).
        a: (D, N).
        b: (B, T, N).
        c: (B, T, N).
        y: Output (B, D, T), to be filled.
        saved: State before each chunk (B, D, chunks, N), to be filled; (B, D, 0, N) saves nothing.
        samples: Range of samples.
        channels: Range of channels.
    """
    for s in range(samples[0], samples[1]):
        _forward(x[s], dt[s], a, b[s], c[s], y[s], saved[s], channels[0], channels[1])


@compiled(nogil=True, fastmath=_SUMS)
def _forward(x, dt, a, b, c, y, saved, first, last):
    """``forward`` of one sample."""
    steps, states = b.shape
    h = np.zeros((last - first, states), np.float32)
    for start in range(0, steps, CHUNK):
        # Chunks outside, channels inside: b and c of a chunk stay in the cache for all channels.
        for d in range(first, last):
            j = d - first
            if saved.shape[1] > 0:
                saved[d, start // CHUNK] = h[j]
            for t in range(start, min(start + CHUNK, steps)):
                step = dt[d, t]
                push = step * x[d, t]
                total = _ZERO
                for n in range(states):
                    h[j, n] = exp(step * a[d, n]) * h[j, n] + push * b[t, n]
                    total += h[j, n] * c[t, n]
                y[d, t] = total


@compiled(nogil=True, fastmath=_SUMS)
def _replay(x, dt, rates, b, now, h, decay):
    """Repeat the S steps of a chunk from the state ``now`` (N,), which is moved to its end.

    Fills h (S + 1, N), the state before each step and after the last, and decay (S, N).
    """
    states = b.shape[1]
    for i in range(x.shape[0]):
        step = dt[i]
        push = step * x[i]
        # The state has an array of its own: a loop from h[i] to h[i + 1] is not vectorized,
        # because over all steps it reads what it writes.
        for n in range(states):
            h[i, n] = now[n]
        for n in range(states):
            decay[i, n] = exp(step * rates[n])
        for n in range(states):
            now[n] = decay[i, n] * now[n] + push * b[i, n]
    h[x.shape[0]] = now


@compiled(nogil=True)
def backward(x, dt, a, b, c, saved, gy, gx, gdt, ga, gb, gc, samples, channels):
    """Gradients of some channels of some samples.

    Args:
        x: As ``forward`` got it, like ``dt``, ``a``, ``b`` and ``c``.
        dt: (B, D, T).
        a: (D, N).
        b: (B, T, N).
        c: (B, T, N).
        saved: What ``forward`` saved.
        gy: Gradient of the output (B, D, T).
        gx: Gradient of x (B, D, T), to be filled.
        gdt: Gradient of dt (B, D, T), to be filled.
        ga: Gradient of a from each sample (B, D, N), to be added to.
        gb: Gradient of b from these channels (B, T, N), to be added to.
        gc: Gradient of c from these channels (B, T, N), to be added to.
        samples: Range of samples.
        channels: Range of channels.
    """
    for s in range(samples[0], samples[1]):
        given = (x[s], dt[s], a, b[s], c[s], saved[s], gy[s])
        _backward(*given, gx[s], gdt[s], ga[s], gb[s], gc[s], channels[0], channels[1])


@compiled(nogil=True, fastmath=_SUMS)
def _backward(x, dt, a, b, c, saved, gy, gx, gdt, ga, gb, gc, first, last):
    """``backward`` of one sample."""
    steps, states = b.shape
    # The steps of a chunk from the last. Read from memory, because the loops below are not
    # vectorized when the compiler knows that the step counts down.
    backwards = np.arange(CHUNK - 1, -1, -1)
    g = np.zeros((last - first, states), np.float32)
    now = np.empty(states, np.float32)
    h = np.empty((CHUNK + 1, states), np.float32)
    decay = np.empty((CHUNK, states), np.float32)
    for chunk in range(saved.shape[1] - 1, -1, -1):
        start = chunk * CHUNK
        stop = min(start + CHUNK, steps)
        for d in range(first, last):
            j = d - first
            now[:] = saved[d, chunk]
            _replay(x[d, start:stop], dt[d, start:stop], a[d], b[start:stop], now, h, decay)
            for s in range(CHUNK - (stop - start), CHUNK):
                i = backwards[s]
                t = start + i
                step, into = dt[d, t], gy[d, t]
                push = step * x[d, t]
                gpush, gstep = _ZERO, _ZERO
                # Several short loops: with too many arrays in one, the compiler cannot rule out
                # that they overlap, and does not vectorize.
                for n in range(states):
                    g[j, n] += into * c[t, n]
                for n in range(states):
                    gc[t, n] += into * h[i + 1, n]
                for n in range(states):
                    gb[t, n] += push * g[j, n]
                    gpush += g[j, n] * b[t, n]
                for n in range(states):
                    g[j, n] *= decay[i, n]
                for n in range(states):
                    moved = g[j, n] * h[i, n]
                    ga[d, n] += moved * step
                    gstep += moved * a[d, n]
                gx[d, t] = gpush * step
                gdt[d, t] = gstep + gpush * x[d, t]
