"""Changes of light in an aligned clip: found, evened out, and their error estimated.

Optical flow assumes that a point keeps its brightness. A lamp that fades, a flash or a passing
shadow breaks this, and the flow of a still face then shows motion. The change is smooth where the
face is detailed, so it is the ratio of the blurred frames: each frame is divided by its own ratio
to the clip's median. What this cannot undo (saturated skin, rounding in the dark, the edge of a
shadow) is measured: the onset is lit like the apex, evened out in the same way, and its flow to
the onset is motion from light alone. Our own method.

T frames, H = W = 224 pixels, S = 56: side of the gain maps.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from deft_llm.motion.flow import LucasKanadeFlow, local_normalise, to_grey
from deft_llm.motion.head_depth import head_points
from deft_llm.motion.head_motion import remove_head_motion
from deft_llm.motion.pixels import smaller

if TYPE_CHECKING:
    from deft_llm.media.face import AlignedClip

FloatArray = NDArray[np.float32]

_SIDE = 56
_TRACKED = 112  # px, side of the frames in which the head is followed
_BLUR = 2.0  # SD in pixels of the gain map: 8 px of the face, more than a micro-expression moves
_DARK = 2.0  # grey levels added before the logarithm, so that black stays finite
# The light counts as changed if half of the face changed by 4.5 %, or a quarter of it by 9 %. Faces
# under steady light stay below 1.5 and 3.5 % (heads that drift by 3 px), a broad smile that bares
# the teeth below 3.5 and 8 %; ``LucasKanadeFlow`` itself copes with smaller changes.
_HALF, _QUARTER = 0.045, 0.09
_FACE = slice(_SIDE // 8, -_SIDE // 8)  # without the background at the border


@dataclass(frozen=True)
class LightChange:
    """How the light of a clip changed.

    Attributes:
        gains: (T, S, S) log of brightness over the clip's median brightness.
        largest: Largest relative change between two frames, such as 0.5; a quarter of the face
            changed by as much or more.
    """

    gains: FloatArray
    largest: float

    def gain(self, t: int, size: int) -> FloatArray:
        """Brightness of frame t over the clip's median, (size, size)."""
        return np.exp(cv2.resize(self.gains[t], (size, size), interpolation=cv2.INTER_CUBIC))

    def brightening(self, t: int, size: int) -> FloatArray:
        """By how much evening out brightens frame t, (size, size); below 1 it darkens it."""
        return np.asarray(1 / self.gain(t, size), np.float32)

    def borders(self, i: int, j: int, size: int) -> FloatArray:
        """How steeply the change of light from frame i to j varies, (size, size), 1 / px.

        The edge of a shadow is sharper than the gain maps, so part of it stays in the frames.
        """
        change = cv2.resize(self.gains[j] - self.gains[i], (size, size))
        return np.hypot(*np.gradient(change)).astype(np.float32)

    def even(self, aligned: AlignedClip) -> AlignedClip:
        """The clip as if the light had stayed the same."""
        size = aligned.frames.shape[1]
        frames = np.empty_like(aligned.frames)
        for t, frame in enumerate(aligned.frames):
            frames[t] = _levels(frame / self.gain(t, size)[..., None])
        return replace(aligned, frames=frames)

    def relit(self, aligned: AlignedClip, i: int, j: int) -> FloatArray:
        """Frame i under the light of frame j, evened out again: (H, W) grey levels.

        It differs from the evened frame i only by what evening out cannot undo.
        """
        size = aligned.frames.shape[1]
        first, second = self.gain(i, size)[..., None], self.gain(j, size)[..., None]
        # In colour: the red of skin saturates long before its grey level does.
        return to_grey(_levels(_levels(aligned.frames[i] * (second / first)) / second))


def light_change(aligned: AlignedClip) -> LightChange | None:
    """Find a change of light.

    Args:
        aligned: The aligned clip.

    Returns:
        The change, or None if the light stayed the same.
    """
    visible = np.flatnonzero(aligned.present)
    logs = np.stack([_log_brightness(frame) for frame in aligned.frames])
    # A first look without the head's motion, which would take flow in every frame.
    if not _changed(logs[visible] - np.median(logs[visible], axis=0)):
        return None
    gains = np.zeros_like(logs)
    middle = int(visible[len(visible) // 2])
    for t in visible:
        gains[t] = logs[t] - _carried(aligned, logs[middle], middle, int(t))
    # To the clip's usual light: against the middle frame alone, that one's noise would be in all.
    gains[visible] -= np.median(gains[visible], axis=0)
    # A head that moves far changes what lies under every pixel, and no light.
    if not _changed(gains[visible]):
        return None
    # A percentile below the largest: one bright tooth or reflection is not what the light did.
    span = np.ptp(gains[visible][:, _FACE, _FACE], axis=0)
    return LightChange(gains, float(np.expm1(np.percentile(span, 75))))


def _changed(gains: NDArray[np.floating]) -> bool:
    seen = np.abs(gains[:, _FACE, _FACE]).reshape(len(gains), -1)
    half, quarter = (np.percentile(seen, share, axis=1).max() for share in (50, 75))
    return bool(half > _HALF or quarter > _QUARTER)


def _log_brightness(frame: NDArray[np.uint8]) -> FloatArray:
    small = cv2.resize(to_grey(frame), (_SIDE, _SIDE), interpolation=cv2.INTER_AREA)
    return np.asarray(np.log(cv2.GaussianBlur(small, (0, 0), _BLUR) + _DARK), np.float32)


def _carried(aligned: AlignedClip, brightness: FloatArray, i: int, j: int) -> FloatArray:
    """The brightness map of frame i, moved along with the head to frame j.

    Without this, a brow that drifts with the head would count as light, and be evened out.
    """
    if i == j:
        return brightness
    scale = aligned.frames.shape[1] / _TRACKED
    landmarks = smaller(head_points(aligned), scale)
    # Local contrast, because it hardly depends on the light.
    a, b = (
        local_normalise(cv2.resize(to_grey(aligned.frames[t]), (_TRACKED, _TRACKED)))
        for t in (i, j)
    )
    motion = remove_head_motion(LucasKanadeFlow()(a, b), landmarks)[1]
    moved = cv2.resize(motion.field(_TRACKED, _TRACKED).transpose(1, 2, 0), (_SIDE, _SIDE))
    y, x = np.mgrid[:_SIDE, :_SIDE].astype(np.float32)
    moved *= _SIDE / _TRACKED
    return cv2.remap(
        brightness,
        # Carried along, not back: a pixel takes what lay where the motion began.
        x - moved[..., 0],
        y - moved[..., 1],
        cv2.INTER_LINEAR,
        None,
        cv2.BORDER_REPLICATE,
    )


def _levels(image: NDArray[np.floating]) -> NDArray[np.uint8]:
    return np.clip(np.rint(image), 0, 255).astype(np.uint8)
