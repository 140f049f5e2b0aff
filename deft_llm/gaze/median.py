"""Motion-aware median filtering (M2F) of a trace, as EyeLoRiN describes it (Bandara et al., 2025).

The local variance of the trace sets the length of a centred median, sample by sample. The paper
smooths more where the eye moves; ``direction="inverse"`` smooths less there, and is relative to
what the trace usually does, as a tracker's noise would be taken for motion otherwise.
The release knows the covariance without its cross term only, and even windows, which lag by half a
sample: ``released`` gives both. Lengths here are odd by default.

T samples. Variances are in the unit of the trace, squared for "covariance" and "frequency";
the paper's numbers are meant for pixels of a 640 x 480 sensor.
"""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from deft_llm.errors import UserError, did_you_mean
from deft_llm.gaze import median_kernels as kernels

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Mode = Literal["raw", "velocity", "acceleration", "covariance", "frequency"]
Direction = Literal["paper", "inverse"]
MODES: tuple[Mode, ...] = get_args(Mode)
DIRECTIONS: tuple[Direction, ...] = get_args(Direction)
LOCAL, SHORTEST, LONGEST, PERCENTILE = 5, 5, 20, 75.0
_NEAR = 5  # samples over which lengths are evened


def local_variance(
    xy: Floats, mode: Mode = "covariance", window: int = LOCAL, released: bool = False
) -> Floats:
    """How much a trace varies over the last ``window`` samples.

    Args:
        xy: (T, 2).
        mode: "raw" is the mean step from sample to sample; "velocity" the mean length of the
            central difference, per sample; "acceleration" that of the second difference;
            "covariance" the Frobenius norm of the covariance; "frequency" the root of the sum over
            x and y of the variance over frequencies of the power.
        window: Samples, the present one included.
        released: Leave the cross term of the covariance out.

    Returns:
        (T,); NaN where there are not enough samples yet.

    Raises:
        UserError: If the mode is unknown.
    """
    if mode not in MODES:
        raise UserError(
            f"variance mode {mode!r}: expected one of {', '.join(MODES)}{did_you_mean(mode, MODES)}"
        )
    found = np.full(len(xy), np.nan)
    if mode == "covariance":
        kernels.covariances(np.asarray(xy, np.float64), window, 0.0 if released else 2.0, found)
        return found
    if mode == "frequency":
        if len(xy) >= window:
            parts = sliding_window_view(xy, window, axis=0)  # (T - w + 1, 2, w)
            found[window - 1 :] = _spectral(parts)
        return found
    if len(xy) > window:
        steps = np.diff(xy, axis=0)
        moved = {
            "raw": lambda: steps,
            "velocity": lambda: np.gradient(xy, axis=0)[1:],
            "acceleration": lambda: np.gradient(np.gradient(xy, axis=0), axis=0)[1:],
        }[mode]()
        length = np.hypot(moved[:, 0], moved[:, 1])
        found[window:] = sliding_window_view(length, window).mean(axis=-1)
    return found


def _spectral(parts: Floats) -> Floats:
    centred = parts - parts.mean(axis=-1, keepdims=True)
    power = np.abs(np.fft.rfft(centred, axis=-1)) ** 2
    return np.sqrt(power.var(axis=-1).sum(axis=-1))


def window_lengths(
    variance: Floats,
    shortest: int = SHORTEST,
    longest: int = LONGEST,
    percentile: float = PERCENTILE,
    direction: Direction = "paper",
    odd: bool = True,
) -> Ints:
    """Length of the median at each sample.

    Args:
        variance: (T,) from :func:`local_variance`.
        shortest: Least length.
        longest: Largest length; one more if that is even and ``odd``.
        percentile: Of the lengths of the five samples around each.
        direction: "paper": the variance itself is the length, in samples. "inverse": the longest,
            divided by how many times its median the variance is.
        odd: Even lengths grow by one; without it they cover one sample more of the past.
    """
    if direction == "paper":
        wanted = variance
    else:
        usual = np.nanmedian(variance) if np.isfinite(variance).any() else 0.0
        wanted = longest / np.maximum(variance / max(float(usual), 1e-9), 1.0)
    # Where the variance is not known yet, the shortest.
    lengths = np.clip(np.nan_to_num(wanted, nan=shortest, posinf=longest), shortest, longest)
    found = kernels.near_percentiles(np.floor(lengths), percentile, _NEAR // 2)
    found = np.clip(np.floor(found).astype(np.int64), shortest, longest)
    return found + (found + 1) % 2 if odd else found


def motion_aware_median(
    xy: Floats,
    mode: Mode = "covariance",
    direction: Direction = "paper",
    window: int = LOCAL,
    shortest: int = SHORTEST,
    longest: int = LONGEST,
    percentile: float = PERCENTILE,
    odd: bool = True,
    released: bool = False,
    causal: bool = False,
) -> Floats:
    """M2F: a centred median of variable length.

    Args:
        xy: (T, 2); NaN counts for nothing.
        mode: See :func:`local_variance`.
        direction: See :func:`window_lengths`, likewise for the lengths.
        window: Samples of the local variance.
        shortest: Least length, samples.
        longest: Largest length, samples.
        percentile: See :func:`window_lengths`.
        odd: See there.
        released: See :func:`local_variance`.
        causal: End each median at its sample; a moving eye is then seen late, by half of a length.

    Returns:
        (T, 2).
    """
    variance = local_variance(xy, mode, window, released)
    lengths = window_lengths(variance, shortest, longest, percentile, direction, odd)
    return moving_median(xy, lengths, causal)


def moving_median(xy: Floats, lengths: Ints, causal: bool = False) -> Floats:
    """Median over windows that are cut off at the ends of the trace.

    Args:
        xy: (T, C); NaN counts for nothing.
        lengths: (T,) samples; an even length k covers k/2 samples before and k/2 - 1 after.
        causal: End each window at its sample.
    """
    at = np.arange(len(xy))
    after = np.zeros_like(lengths) if causal else (lengths - 1) // 2
    low = np.maximum(at - (lengths - 1 - after), 0)
    high = np.minimum(at + after, len(xy) - 1)
    columns = [kernels.window_medians(np.ascontiguousarray(c, np.float64), low, high) for c in xy.T]
    return np.stack(columns, axis=1)
