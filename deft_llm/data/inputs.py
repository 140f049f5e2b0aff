"""Network inputs: how each is made from measured clips, resized and mirrored.

A recognizer declares its inputs by name (``recognizers/base.py``) and gets them by these names in
training, in benchmarks, in the federation and as an expert of DEFT-LLM. To add an input, add a row
to ``INPUTS``; nothing else changes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from deft_llm import facs
from deft_llm.data.au_graph import (
    GRAPH_AUS,
    PATCH,
    POINTS,
    coded_aus,
    flow_patches,
    mirror_patches,
)
from deft_llm.data.features import MIRRORED_REGIONS, REGION_COLUMNS
from deft_llm.data.raw_frames import RAW_SIDE, SUB_CLIP, SUB_CLIPS
from deft_llm.data.records import ClipRecord
from deft_llm.errors import UserError
from deft_llm.motion.encoding import encode_flow, medsqrt
from deft_llm.motion.flow_diff import LENGTH, Reference, flow_diff_volume, shows_motion
from deft_llm.motion.rois import FIVE, MIRRORED

Floats = NDArray[np.float32]
_MIRRORED_FIVE = [FIVE.index(MIRRORED[region]) for region in FIVE]
_FRAMES = 9  # the onset, and as many more as there are difference images (``data/features.py``)
MakeInput = Callable[[NDArray[Any], int | None], Floats]


@dataclass(frozen=True)
class Input:
    """One named input.

    Attributes:
        sources: Feature of a measured clip (``data/features.py``) -> function that makes the input
            from that feature of N clips and a side in pixels (None keeps the feature's side); the
            preferred feature first.
        mirror: Turns the input of clips into that of the left-right flipped clips.
        shape: Of one clip, None for the side of the maps; empty if its length is free.
        coded: Makes the input of one clip from its coding, which only a training can read; then
            there are no sources.
    """

    sources: Mapping[str, MakeInput]
    mirror: Callable[[Tensor], Tensor]
    shape: tuple[int | None, ...] = ()
    coded: Callable[[ClipRecord], Floats] | None = None


def _resized(maps: NDArray[Any], side: int | None) -> Floats:
    """Maps (..., S, S) at another side; averaged over pixels, so that no motion is lost."""
    maps = np.asarray(maps, np.float32)
    if side is None or maps.shape[-1] == side:
        return maps
    # interpolate takes (N, C, H, W), so all leading axes are folded into one.
    flat = torch.from_numpy(np.ascontiguousarray(maps.reshape(-1, 1, *maps.shape[-2:])))
    small = F.interpolate(flat, (side, side), mode="area")
    return np.asarray(small.numpy().reshape(*maps.shape[:-2], side, side), np.float32)


def _flow_uvs(flow: NDArray[Any], side: int | None) -> Floats:
    # Phase 0 is onset to apex. The second result, the amplitude, is dropped because published flow
    # images have lost it.
    return encode_flow(_resized(flow[:, 0], side))[0]


def _flow_dual(flow: NDArray[Any], side: int | None) -> Floats:
    return encode_flow(_resized(flow, side))[0]


def _published(images: NDArray[Any], side: int | None) -> Floats:
    # Images are (N, S, S, 3); _resized wants the maps last.
    if side not in (None, images.shape[1]):
        images = _resized(images.transpose(0, 3, 1, 2), side).transpose(0, 2, 3, 1)
    return medsqrt(images)


def _frames(frames: NDArray[Any], side: int | None) -> Floats:
    grey = _resized(frames, side)[:, :, None] / np.float32(255)
    # Networks expect three channels. A view costs no memory.
    return np.broadcast_to(grey, (*grey.shape[:2], 3, *grey.shape[3:]))


def _sub_clips(frames: NDArray[Any], side: int | None) -> Floats:
    made = _resized(frames, side)
    made /= 255  # in place: the sub-clips of a corpus are a gigabyte
    return made


def magnified_volume(
    key_frames: NDArray[Any],
    side: int | None,
    factor: float = 1.0,
    length: int = LENGTH,
    reference: Reference = "onset",
) -> Floats:
    """``flow_diff_volume`` (5, 10, S, S) of one clip's key frames, with magnified motion.

    Args:
        key_frames: (3, 3, S, S).
        side: Side of the volume, px; None keeps that of the frames.
        factor: Magnification; 1 for none.
        length: Frames; one more than pairs.
        reference: Frame against which the apex is magnified.

    Raises:
        UserError: If onset and apex are the same picture.
    """
    # At full size, and then averaged: flow of smaller frames would lose motion below a pixel.
    return _resized(flow_diff_volume(key_frames, factor, reference, length), side)


def _flow_diff_volumes(key_frames: NDArray[Any], side: int | None) -> Floats:
    """Volumes of a corpus; zeros for a clip coded with one frame as onset and apex.

    Such a clip shows no motion, and a table must not lose all other clips for it.
    """
    still = np.zeros((5, LENGTH - 1, *[side or key_frames.shape[-1]] * 2), np.float32)
    return np.stack(
        [magnified_volume(clip, side) if shows_motion(clip) else still for clip in key_frames]
    )


def _mirror_volume(volume: Tensor) -> Tensor:
    flipped = volume.flip(-1)
    flipped[..., 0, :, :, :] *= -1  # as in _mirror_flow; time stands between channel and rows
    return flipped


def _landmarks(points: NDArray[Any], side: int | None) -> Floats:
    # Shares of the frame, from edge to edge, whatever side it is resized to. The feature is in px
    # of a frame of RAW_SIDE, whose pixel centres are whole numbers: its edge is half a pixel out.
    return ((np.asarray(points, np.float32) + 0.5) / RAW_SIDE).astype(np.float32)


def _mirror_landmarks(points: Tensor) -> Tensor:
    flipped = points[..., list(facs.MIRROR_68), :]
    flipped[..., 0] = 1 - flipped[..., 0]
    return flipped


def _curves(curves: NDArray[Any], side: int | None) -> Floats:
    return np.asarray(curves, np.float32)


def _five_curves(curves: NDArray[Any], side: int | None) -> Floats:
    return np.asarray(curves[:, _channels_of(FIVE)], np.float32)


def _channels_of(regions: Iterable[int]) -> list[int]:
    return [2 * region + axis for region in regions for axis in (0, 1)]


def _mirror_curves(curves: Tensor) -> Tensor:
    # The five regions are mirrored among themselves.
    order = MIRRORED if curves.shape[-2] == 2 * len(MIRRORED) else _MIRRORED_FIVE
    flipped = curves[..., _channels_of(order), :]
    flipped[..., 0::2, :] *= -1  # u, as for flow
    return flipped


def _flipped(frames: Tensor) -> Tensor:
    return frames.flip(-1)


def _mirror_flow(flow: Tensor) -> Tensor:
    flipped = flow.flip(-1)
    flipped[..., 0, :, :] *= -1  # u points to the image's right, so it changes sign
    return flipped


def _as_measured(values: NDArray[Any], side: int | None) -> Floats:
    return np.asarray(values, np.float32)


def _mirror_regions(table: Tensor) -> Tensor:
    flipped = table[..., MIRRORED_REGIONS, :]
    flipped[..., REGION_COLUMNS.index("u")] *= -1
    return flipped


_MAP = (None, None)
INPUTS: dict[str, Input] = {
    # Published images are stretched flow; the encoding ignores the gain and offset of the stretch.
    "flow_uvs": Input({"flow": _flow_uvs, "flow_image": _published}, _mirror_flow, (3, *_MAP)),
    "flow_dual": Input({"flow": _flow_dual}, _mirror_flow, (2, 3, *_MAP)),
    "frames": Input({"frames": _frames}, lambda x: x.flip(-1), (_FRAMES, 3, *_MAP)),
    "sub_clips": Input(
        {"sub_clips": _sub_clips}, lambda x: x.flip(-1), (SUB_CLIPS, SUB_CLIP, *_MAP)
    ),
    "flow_diff_volume": Input(
        {"key_frames": _flow_diff_volumes}, _mirror_volume, (5, LENGTH - 1, *_MAP)
    ),
    "key_frames": Input({"key_frames": _resized}, _flipped, (3, 3, *_MAP)),
    "landmarks": Input({"landmarks": _landmarks}, _mirror_landmarks, (len(facs.MIRROR_68), 2)),
    "patches": Input({"flow": flow_patches}, mirror_patches, (len(POINTS), 3, PATCH, PATCH)),
    # An AU of the graph has no side.
    "aus": Input({}, lambda aus: aus, (len(GRAPH_AUS),), coded_aus),
    "roi_curves": Input({"roi_curves": _curves}, _mirror_curves),
    "roi_five": Input({"roi_curves": _five_curves}, _mirror_curves),
    # What DEFT-LLM's experts see, in the features' own units.
    "onset": Input({"onset": _as_measured}, lambda onset: onset.flip(-2)),
    "texture": Input({"texture": _as_measured}, lambda texture: texture.flip(-1)),
    "flow": Input({"flow": _as_measured}, _mirror_flow),
    "regions": Input({"regions": _as_measured}, _mirror_regions),
}


def is_coded(name: str) -> bool:
    """Whether an input is made from the coding of a clip, not from its features."""
    return name in INPUTS and INPUTS[name].coded is not None


def coded_input(name: str, records: Iterable[ClipRecord]) -> Floats:
    """An input (N, ...) that is made from the coding of N clips."""
    make = INPUTS[name].coded
    assert make is not None, f"{name} is made from features"
    return np.stack([make(record) for record in records])


def source_of(name: str, features: Iterable[str], where: str) -> tuple[str, MakeInput]:
    """The feature that an input is made from, and the function that makes it.

    Args:
        name: Name of the input.
        features: Features that the clips have.
        where: Name of the clips in messages.

    Raises:
        UserError: If the input is unknown, or the clips lack the features it is made from.
    """
    if name not in INPUTS:
        raise UserError(
            f"input {name!r} is made by nothing; a network may declare {', '.join(INPUTS)}"
        )
    there = list(features)
    for feature, make in INPUTS[name].sources.items():
        if feature in there:
            return feature, make
    wanted = " or ".join(INPUTS[name].sources)
    possible = [n for n, made in INPUTS.items() if set(made.sources) & set(there)]
    raise UserError(
        f"{where}: input {name!r} is made of {wanted}, and the clips were measured for "
        f"{', '.join(there)}; measure them again with {wanted}, or take a model that reads "
        f"{', '.join(possible) or 'these'}"
    )


def mirror_inputs(inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Named inputs (B, ...) of the left-right flipped clips."""
    return {name: INPUTS[name].mirror(x) for name, x in inputs.items()}
