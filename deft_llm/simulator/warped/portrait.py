"""A face to be warped: one picture of it, or the frames of a clip in which it rests.

N frames; canonical pixels are those of `media/canonical.py`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from deft_llm import facs
from deft_llm.clip import Clip
from deft_llm.media.canonical import CANONICAL_SIZE, INTEROCULAR, compose, invert, transform
from deft_llm.media.face import align, track_faces

#: What is kept around the canonical square, in its pixels: hair, neck and some background.
_AROUND = 64
#: A face with its eyes farther apart than this many pixels is scaled down.
_MOST_INTEROCULAR = 110.0
_MIRROR = np.array(facs.MIRROR_68)


@dataclass(frozen=True)
class Portrait:
    """A face at rest.

    Attributes:
        name: Where it is from.
        frames: uint8 RGB (N, H, W, 3), one for a photo.
        transforms: (N, 2, 3) from frame pixels to canonical pixels.
        landmarks: float64 (68, 2), canonical pixels, iBUG order.
        fps: Frames per second of a resting clip; None for a photo.
        second: Time of the first frame in the video that it is from.
    """

    name: str
    frames: NDArray[np.uint8]
    transforms: NDArray[np.float64]
    landmarks: NDArray[np.float64]
    fps: float | None = None
    second: float = 0.0

    def mirrored(self) -> Portrait:
        """The face as a mirror shows it."""
        across = np.array([[-1.0, 0.0, self.frames.shape[2] - 1.0], [0.0, 1.0, 0.0]])
        back = np.array([[-1.0, 0.0, CANONICAL_SIZE - 1.0], [0.0, 1.0, 0.0]])
        return replace(
            self,
            frames=np.ascontiguousarray(self.frames[:, :, ::-1]),
            transforms=np.stack([compose(back, compose(m, across)) for m in self.transforms]),
            landmarks=transform(back, self.landmarks)[_MIRROR],
        )


def portrait(clip: Clip, resting: bool = False) -> Portrait:
    """Find the face of a clip and cut it out.

    Args:
        clip: A photo as a clip of one frame, or a clip of a face at rest.
        resting: Keep every frame of the clip; otherwise only the first.

    Raises:
        NoFaceError: If there is no face.
    """
    aligned = align(clip, track_faces(clip))
    shown = np.flatnonzero(aligned.present)[: None if resting else 1]
    place = invert(aligned.transforms[shown[0]])
    low, high = _box(place, clip.frames.shape[1:3])
    scale = min(1.0, _MOST_INTEROCULAR / (INTEROCULAR * float(np.hypot(*place[:, 0]))))
    cut = clip.frames[shown, low[1] : high[1], low[0] : high[0]]
    if scale < 1:
        cut = np.stack([_shrunk(frame, scale) for frame in cut])
    # Pixel centres stay: x in the picture is (x + 0.5) / scale - 0.5 from the corner of the cut.
    to_full = np.column_stack([np.eye(2) / scale, low + 0.5 / scale - 0.5])
    return Portrait(
        clip.name,
        np.ascontiguousarray(cut),
        np.stack([compose(aligned.transforms[t], to_full) for t in shown]),
        aligned.landmarks.astype(np.float64),
        clip.fps if len(shown) > 1 else None,
        float(clip.timestamps[shown[0]]),
    )


def _box(place: NDArray[np.float64], size: tuple[int, ...]) -> tuple[NDArray[np.intp], ...]:
    """Corners (x, y) of what is kept of a frame (H, W): even sides, as H.264 needs them."""
    ends = np.array([-_AROUND, CANONICAL_SIZE + _AROUND])
    corners = transform(place, np.stack(np.meshgrid(ends, ends), axis=-1).reshape(4, 2))
    limit = np.array(size[::-1])
    low = np.clip(np.floor(corners.min(axis=0)), 0, limit).astype(np.intp)
    high = np.clip(np.ceil(corners.max(axis=0)), 0, limit).astype(np.intp)
    return low, high - (high - low) % 2


def _shrunk(frame: NDArray[np.uint8], scale: float) -> NDArray[np.uint8]:
    height, width = (int(side * scale) // 2 * 2 for side in frame.shape[:2])
    soft = cv2.GaussianBlur(frame, (0, 0), 0.5 * np.sqrt(scale**-2 - 1))
    matrix = np.column_stack([np.eye(2) / scale, np.full(2, 0.5 / scale - 0.5)])
    flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
    small = cv2.warpAffine(
        soft, matrix, (width, height), flags=flags, borderMode=cv2.BORDER_REPLICATE
    )
    return np.asarray(small, np.uint8)
