"""Magnified and interpolated flow and difference volumes, the input of MPFNet.

After Ma et al., "MPFNet" (arXiv 2506.09735): the apex is magnified against the onset, frames are
interpolated between the two, 11 in all, and each of the 10 pairs of neighbours gives flow and the
absolute difference of red, green and blue. The paper's magnifier and interpolation are networks; a
warp by multiples of the flow does both here, and another magnifier can take its place. Flow is not
rounded to grey levels, as it is in the public code.

Letters: L frames, S side in pixels.
"""

from __future__ import annotations

import itertools
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from deft_llm.errors import UserError
from deft_llm.media.canonical import CANONICAL_SIZE
from deft_llm.motion.flow import FlowEstimator, flow_estimator, to_grey
from deft_llm.motion.pixels import FloatArray, grid, origins
from deft_llm.motion.warping import carried

LENGTH = 11  # L
GREY_UNIT = 8.0  # grey levels: makes differences about as large as flow in pixels
Reference = Literal["onset", "previous"]
_ONSET, _PREVIOUS, _APEX = range(3)  # key frames (``data/raw_frames.py``)


class Magnifier(Protocol):
    """Exaggerates the motion from one frame to another."""

    def __call__(self, reference: FloatArray, frame: FloatArray, factor: float) -> FloatArray:
        """The frame as if all had moved ``factor`` times as far from the reference.

        Args:
            reference: float32 RGB (S, S, 3), 0..255.
            frame: The same size.
            factor: 1 changes nothing.
        """
        ...


class FlowWarp:
    """Magnification by a warp along the flow (Liu et al., SIGGRAPH 2005, without their layers).

    Args:
        flow: Estimates the motion; None for the default.
    """

    def __init__(self, flow: FlowEstimator | None = None) -> None:
        self.flow = flow or flow_estimator()

    def __call__(self, reference: FloatArray, frame: FloatArray, factor: float) -> FloatArray:
        """See ``Magnifier``."""
        flow = self.flow(to_grey(reference), to_grey(frame))
        # What comes to a pixel by the magnified motion is carried on from where the frame has it,
        # so that wrinkles of the frame stay, and a factor of 1 moves nothing.
        return carried(frame, (1 - factor) * _at_origins(flow, factor))


def interpolated(first: FloatArray, last: FloatArray, length: int, flow: FloatArray) -> FloatArray:
    """Frames on the way from one to the other, both ends unchanged.

    Args:
        first: float32 RGB (S, S, 3).
        last: The same size.
        length: L, at least 2.
        flow: (2, S, S) from the first to the last, px.

    Returns:
        (L, S, S, 3).
    """
    frames = []
    for t in np.linspace(0, 1, length, dtype=np.float32):
        moved = _at_origins(flow, t)
        # Both ends are carried to the same moment, so that mixing them doubles no edge.
        begun, ended = carried(first, -t * moved), carried(last, (1 - t) * moved)
        frames.append((1 - t) * begun + t * ended)
    return np.stack(frames)


def shows_motion(key_frames: NDArray[Any]) -> bool:
    """Whether onset and apex of some key frames (3, 3, S, S) are different pictures."""
    return not np.array_equal(key_frames[_ONSET], key_frames[_APEX])


def flow_diff_volume(
    key_frames: NDArray[Any],
    factor: float = 1.0,
    reference: Reference = "onset",
    length: int = LENGTH,
    flow: FlowEstimator | None = None,
    magnifier: Magnifier | None = None,
) -> FloatArray:
    """Flow and differences of neighbouring frames from the onset to the magnified apex.

    Args:
        key_frames: (3, 3, S, S) RGB in 0..255: onset, the frame before the apex, apex.
        factor: Magnification; 1 for none.
        reference: Frame against which the apex is magnified. "previous", the frame before it, is
            what the public code does: then little is magnified.
        length: L.
        flow: Estimates motion; None for the default.
        magnifier: None for ``FlowWarp``.

    Returns:
        float32 (5, L - 1, S, S), as rates over the whole phase: u and v in canonical pixels, and
        the absolute change of R, G and B in units of 8 grey levels.

    Raises:
        UserError: If onset and apex are the same picture, or L or the factor is too small.
    """
    if length < 2 or factor <= 0:
        raise UserError(
            f"flow_diff_volume: length {length}, factor {factor:g}; expected at least 2 frames "
            "and a factor above 0"
        )
    estimate = flow or flow_estimator()
    frames = np.asarray(key_frames, np.float32).transpose(0, 2, 3, 1)
    onset, apex = frames[_ONSET], frames[_APEX]
    if not shows_motion(key_frames):
        raise UserError(
            "onset and apex are the same picture: there is no motion to magnify; correct the "
            "interval of the clip"
        )
    if factor != 1:
        before = onset if reference == "onset" else frames[_PREVIOUS]
        apex = (magnifier or FlowWarp(estimate))(before, apex, factor)
    way = interpolated(onset, apex, length, estimate(to_grey(onset), to_grey(apex)))
    grey = [to_grey(frame) for frame in way]
    flows = np.stack([estimate(a, b) for a, b in itertools.pairwise(grey)])
    unit = CANONICAL_SIZE / onset.shape[0]  # canonical pixels in one pixel here
    changes = np.abs(np.diff(way, axis=0)).transpose(0, 3, 1, 2) / GREY_UNIT
    # Rates over the whole phase: each of the L - 1 steps holds one part of it.
    volume = (length - 1) * np.concatenate([unit * flows, changes], 1)
    return np.ascontiguousarray(volume.transpose(1, 0, 2, 3), np.float32)


def _at_origins(flow: FloatArray, share: float) -> FloatArray:
    """The flow (2, S, S) of what ``share`` of it has brought to each pixel."""
    x, y = origins(np.float32(share) * flow)
    own_x, own_y = grid(*flow.shape[1:])
    moved = carried(flow.transpose(1, 2, 0), np.stack([x - own_x, y - own_y]))
    return moved.transpose(2, 0, 1)
