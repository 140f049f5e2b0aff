"""Accuracy of gaze as the 3ET+ challenge scores it, and smoothness (jitter metric).

The jitter metric follows EyeLoRiN (Bandara et al., 2025), whose equations are reproduced; its
spectral term divides by an entropy that crosses zero for motion near 1 Hz, so that a perfectly
usable trace can score 50,000. :func:`stable_jitter` is our own variant, which does not.

T predictions. Positions are cells of the 80 x 60 grid, 8 pixels of the sensor each.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from deft_llm.errors import UserError

Floats = NDArray[np.float64]
TOLERANCES = (1, 3, 5, 10)  # cells; those of the challenge
_EPS = 1e-6
MOST_BINS = 256
_LEAST_ENTROPY = 0.1  # of the stable variant's denominator


def gaze_errors(
    predicted: ArrayLike,
    true: ArrayLike,
    closed: ArrayLike | None = None,
    tolerances: Sequence[float] = TOLERANCES,
) -> dict[str, float]:
    """Scores of predicted places.

    Args:
        predicted: (T, 2).
        true: (T, 2).
        closed: (T,) frames to leave out, such as those with a closed eye; None keeps all.
        tolerances: The k of p-k, the share of predictions nearer than k, strictly.

    Returns:
        "l2", the mean Euclidean distance; "l1", the mean of |dx| + |dy|; "p1" and so on. NaN if no
        frame is left.

    Raises:
        UserError: If the shapes differ.
    """
    places, truth = np.asarray(predicted, np.float64), np.asarray(true, np.float64)
    if places.shape != truth.shape or places.ndim != 2 or places.shape[1] != 2:
        raise UserError(
            f"predictions of shape {places.shape}, truth of {truth.shape}; expected (T, 2) twice"
        )
    apart = places - truth
    if closed is not None:
        apart = apart[~np.asarray(closed, bool)]
    names = [f"p{k:g}" for k in tolerances]
    if not len(apart):
        return dict.fromkeys(("l2", "l1", *names), float("nan"))
    far = np.hypot(apart[:, 0], apart[:, 1])
    shares = {n: float((far < k).mean()) for n, k in zip(names, tolerances, strict=True)}
    return {"l2": float(far.mean()), "l1": float(np.abs(apart).sum(axis=1).mean()), **shares}


def jitter(predicted: ArrayLike, true: ArrayLike, dt: float = 0.01, share: float = 0.75) -> float:
    """The published jitter metric; lower is smoother.

    Blind to a constant offset and nearly so to gain: always report it beside l2.

    Args:
        predicted: (T,) one coordinate, or (T, 2): the mean over both.
        true: The same.
        dt: Seconds between two samples.
        share: Weight of the spectral term, lambda.

    Raises:
        UserError: If the shapes differ, or there are fewer than three samples.
    """
    return _over_axes(predicted, true, lambda p, g: _jitter(p, g, dt, share, stable=False))


def stable_jitter(
    predicted: ArrayLike, true: ArrayLike, dt: float = 0.01, share: float = 0.75
) -> float:
    """Our variant of :func:`jitter`: its spectral term has no zero to cross.

    Frequencies are relative to half of the sampling rate, so that no logarithm is positive and no
    unit matters, and the denominator is 0.1 at least. Arguments and errors as there.
    """
    return _over_axes(predicted, true, lambda p, g: _jitter(p, g, dt, share, stable=True))


def _over_axes(predicted, true, score) -> float:  # type: ignore[no-untyped-def]
    places, truth = np.asarray(predicted, np.float64), np.asarray(true, np.float64)
    if places.shape != truth.shape or places.ndim not in (1, 2) or len(places) < 3:
        raise UserError(
            f"traces of shapes {places.shape} and {truth.shape}; expected the same, (T,) or "
            "(T, 2) with T of 3 at least"
        )
    columns = places.reshape(len(places), -1).T, truth.reshape(len(truth), -1).T
    return float(np.mean([score(p, g) for p, g in zip(*columns, strict=True)]))


def _jitter(predicted: Floats, true: Floats, dt: float, share: float, stable: bool) -> float:
    unit = 0.5 / dt if stable else 1.0  # half of the sampling rate; 1 Hz as published
    least = _LEAST_ENTROPY if stable else 0.0
    ours, theirs = (spectral_entropy(trace, dt, unit) for trace in (predicted, true))
    spectral = abs(ours - theirs) / max(abs(theirs) + _EPS, least)
    return share * spectral + (1 - share) * float(np.log1p(_divergence(predicted, true, dt)))


def spectral_entropy(trace: Floats, dt: float, unit: float = 1.0) -> float:
    """The metric's "spectral entropy" of the velocity: minus the mean logarithm of its frequency.

    Args:
        trace: (T,).
        dt: Seconds between two samples.
        unit: Hz that the frequencies are divided by.
    """
    spectrum = np.abs(np.fft.rfft(np.gradient(trace, dt)))
    frequencies = np.fft.rfftfreq(len(trace), dt) / unit
    shares = spectrum / (spectrum.sum() + _EPS)
    # Without frequency 0, whose logarithm is infinite. A logarithm of the frequency, not of the
    # share, as published: no entropy in the usual sense, whence its zero at 1 Hz.
    return -float((np.log(frequencies[1:] + _EPS) * shares[1:]).sum())


def _divergence(predicted: Floats, true: Floats, dt: float) -> float:
    """KL divergence of the histograms of velocity, in shared bins of Freedman and Diaconis."""
    ours, theirs = np.gradient(predicted, dt), np.gradient(true, dt)
    both = np.concatenate([ours, theirs])
    if both.max() <= both.min():  # constant and equal velocities
        return 0.0
    spread = np.subtract(*np.percentile(both, [75, 25]))
    width = 2 * spread / len(both) ** (1 / 3)
    # A trace that mostly stands still has next to no spread, and would get a million bins.
    many = width * MOST_BINS <= np.ptp(both)
    edges = np.histogram_bin_edges(both, MOST_BINS if many else "fd")
    # _EPS: an empty bin of q would make the divergence infinite.
    p, q = (np.histogram(v, edges, density=True)[0] + _EPS for v in (ours, theirs))
    p, q = p / p.sum(), q / q.sum()
    return float((p * np.log(p / q)).sum())
