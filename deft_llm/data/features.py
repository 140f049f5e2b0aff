"""Features: a measured clip in compact form, stored in the cache and the source of network inputs.

The features of a clip are a dictionary of small arrays, written to safetensors, so that a corpus is
decoded, aligned and measured once. Dimensions: P phases (onset→apex, apex→offset), R regions, F
columns.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from deft_llm import facs
from deft_llm.data.raw_frames import RAW_IMAGES, RAW_SIDE, key_frames, landmarks, sub_clips
from deft_llm.motion.measure import Measurement
from deft_llm.motion.regions import ACTIVE_PX, ACTIVE_Z, RegionTable
from deft_llm.motion.strain import optical_strain

Features = dict[str, NDArray]
REGION_COLUMNS: tuple[str, ...] = (
    *("u", "v", "magnitude", "peak", "coherence", "noise", "z", "active"),
)
_REGION_NAMES = list(facs.REGIONS)
#: Rows of the mirrored clip's region table.
MIRRORED_REGIONS = [_REGION_NAMES.index(facs.mirror_region(name)) for name in _REGION_NAMES]


@dataclass(frozen=True)
class FeatureSizes:
    """Sides in pixels and number of difference images.

    Attributes:
        structure: Side of the onset frame.
        texture: Side of the difference images to the onset frame.
        texture_frames: Number of difference images.
        flow: Side of the flow maps.
        frames: Side of the onset frame and the frames of the differences, stored as such; 0 omits
            them, because they need more space than everything else.
        raw: Side of the sub-clips and key frames (``data/raw_frames.py``); 0 omits them.
    """

    structure: int = 64
    texture: int = 48
    texture_frames: int = 8
    flow: int = 56
    frames: int = 0
    raw: int = 0

    def facts(self) -> dict[str, Any]:
        """What caches are keyed by; ``raw`` only if it is stored.

        Clips that were measured before there were raw frames are found again.
        """
        return {name: side for name, side in asdict(self).items() if name != "raw" or side}


DEFAULT_SIZES = FeatureSizes()


def texture_indices(onset: int, apex: int, offset: int, count: int) -> list[int]:
    """Frames whose difference to the onset is stored: half up to the apex, half after it."""
    # [1:] drops the onset, whose difference to itself is zero, and the second apex. Phases shorter
    # than their count repeat frames.
    onset_phase = np.linspace(onset, apex, count // 2 + 1)[1:]
    offset_phase = np.linspace(apex, offset, count - count // 2 + 1)[1:]
    return [round(float(i)) for i in (*onset_phase, *offset_phase)]


def pack(measurement: Measurement, sizes: FeatureSizes = DEFAULT_SIZES) -> Features:
    """Compress a measurement.

    Args:
        measurement: Aligned frames, interval, flow and region tables of one clip.
        sizes: Sides of the maps.

    Returns:
        ``onset`` uint8 (S, S, 3) RGB; ``texture`` float16 (T, S, S) grey levels;
        ``flow`` float16 (P, 3, S, S): u, v in canonical px and strain; ``regions`` float16
        (P, R, F) with the columns ``REGION_COLUMNS``; if requested, ``frames`` uint8
        (T + 1, S, S), the onset first, and ``sub_clips``, ``key_frames``, ``landmarks``.

    Raises:
        UserError: If sub-clips and key frames are requested of a clip without 8 frames, or without
            an apex after the onset.
    """
    # Evened light where it changed: the texture of a clip is the change of its skin.
    aligned = measurement.evened or measurement.aligned
    frames, interval = aligned.frames, measurement.interval
    indices = texture_indices(interval.onset, interval.apex, interval.offset, sizes.texture_frames)
    side = (sizes.texture, sizes.texture)
    # float32 before resizing: rounding to grey levels would hide differences below one level.
    grey = {
        i: cv2.resize(
            cv2.cvtColor(frames[i], cv2.COLOR_RGB2GRAY).astype(np.float32),
            side,
            interpolation=cv2.INTER_AREA,
        )
        for i in {interval.onset, *indices}
    }
    flows = (measurement.flow_apex, measurement.flow_offset)
    shown: Features = {}
    if sizes.frames:
        shown["frames"] = _grey_frames(frames[[interval.onset, *indices]], sizes.frames)
    if sizes.raw:
        shown["sub_clips"] = sub_clips(aligned, interval.onset, sizes.raw)
        shown["key_frames"] = key_frames(aligned, interval, sizes.raw)
        shown["landmarks"] = landmarks(aligned)
    return {
        "onset": cv2.resize(
            frames[interval.onset], (sizes.structure,) * 2, interpolation=cv2.INTER_AREA
        ),
        "texture": np.stack([grey[i] - grey[interval.onset] for i in indices]).astype(np.float16),
        "flow": np.stack([flow_map(flow, sizes.flow) for flow in flows]).astype(np.float16),
        "regions": np.stack(
            [_table_array(table) for table in (measurement.table_apex, measurement.table_offset)]
        ).astype(np.float16),
        **shown,
    }


def _grey_frames(frames: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """(T, H, W, 3) RGB -> (T, side, side) grey."""
    grey = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in frames]
    return np.stack([cv2.resize(g, (side, side), interpolation=cv2.INTER_AREA) for g in grey])


def flow_map(flow: NDArray[np.float32], side: int) -> NDArray[np.float32]:
    """(2, H, W) flow in px -> (3, side, side): u, v in px of the full face, strain."""
    # Strain is a derivative, so it is computed at full resolution. INTER_AREA averages, which keeps
    # the mean motion and the unit (px of the full face).
    channels = np.concatenate([flow, optical_strain(flow)[None]])
    return np.stack([cv2.resize(c, (side, side), interpolation=cv2.INTER_AREA) for c in channels])


def _table_array(table: RegionTable) -> NDArray[np.float32]:
    columns = [np.asarray(getattr(table, name), np.float32) for name in REGION_COLUMNS]
    # float16 overflows above 65504, which z can reach where the noise floor is almost zero.
    return np.clip(np.stack(columns, axis=1), -1e4, 1e4)


def region_table_of(regions: NDArray[Any]) -> RegionTable:
    """The region table of one phase of some features.

    Args:
        regions: (R, F), a row of the feature ``regions``. A region without any motion counts as not
            placed, which is how such a region is stored.
    """
    columns = dict(zip(REGION_COLUMNS, np.asarray(regions, np.float32).T, strict=True))
    # Not the stored column: a table is stored as float16, and is judged as it is read.
    active = (columns["z"] >= ACTIVE_Z) & (columns["magnitude"] >= ACTIVE_PX)
    return RegionTable(**{**columns, "active": active, "placed": columns["magnitude"] > 0})


def mirror_features(features: Features) -> Features:
    """The features of the clip mirrored left to right."""
    flow = features["flow"][..., ::-1].copy()
    # u points right and changes sign; v and strain do not.
    flow[:, 0] *= -1
    # Left and right regions swap places as well.
    regions = features["regions"][:, MIRRORED_REGIONS].copy()
    regions[..., REGION_COLUMNS.index("u")] *= -1
    names = ("texture", "frames", *RAW_IMAGES)
    images = {name: features[name][..., ::-1] for name in names if name in features}
    points = {}
    if "landmarks" in features:
        mirrored = features["landmarks"][list(facs.MIRROR_68)].copy()
        # Pixel centres run from 0 to side - 1.
        mirrored[:, 0] = RAW_SIDE - 1 - mirrored[:, 0]
        points["landmarks"] = mirrored
    return {
        **points,
        "onset": features["onset"][:, ::-1].copy(),
        **{name: image.copy() for name, image in images.items()},
        "flow": flow,
        "regions": regions,
    }
