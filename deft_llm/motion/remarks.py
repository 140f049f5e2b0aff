"""What a user is told about a measurement: what moved on, what was left out, what was not seen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from deft_llm.clip import Interval
from deft_llm.motion.flow import to_grey
from deft_llm.motion.light import LightChange
from deft_llm.motion.onset_apex import WINDOW
from deft_llm.motion.regions import ACTIVE_Z, REGION_NAMES, RegionTable
from deft_llm.motion.visibility import BRIGHT, DARK

if TYPE_CHECKING:
    from deft_llm.media.face import AlignedClip

NO_MOTION = "no motion above the noise floor"
# Where this holds, that nothing moved cannot be said.
NO_REGION = "no region could be measured"
RETURNED = 0.5  # share of the motion that has to come back for the face to have returned
# A region in which not even so much would stand out cannot be measured; px. Our own choice: few
# micro-expressions are larger.
BLIND_PX = 1.0
_SLOW = 20.0  # frames per second: here, the shortest expressions (0.1 s) last two frames
_CLIPPED = 0.3  # share of a region in which the camera saw nothing but white


def not_returned(returned: float, shown: Interval, aligned: AlignedClip) -> str:
    """A remark on a movement that did not come back; empty if it did."""
    if not returned < RETURNED:  # NaN without motion
        return ""
    left = int(np.flatnonzero(aligned.present)[-1])
    if aligned.timestamps[left] - aligned.timestamps[shown.apex] >= WINDOW:
        until = "within half a second"
    elif aligned.goes_on or left < len(aligned.present) - 1:
        # Another movement follows, the face is lost, or the shot ends.
        until = "by its offset"
    else:
        until = "before the clip ends"
    return f"the movement did not return {until}"


def on_rate(times: NDArray[np.float64]) -> list[str]:
    """A remark on few frames per second; ``times`` are two at least."""
    step = float(np.median(np.diff(times)))
    missed = f"{_rate(step)}: a movement of less than {2 * step:.2f} s can be missed"
    return [missed] if step > 1 / _SLOW else []


def too_slow(times: NDArray[np.float64]) -> str:
    """Why a search in vain says nothing; empty if it does.

    Where frames are as far apart as the search looks around an apex, it misses short movements,
    which fall between the frames, and long ones, which leave its window.
    """
    step = float(np.median(np.diff(times)))
    if step < WINDOW:
        return ""
    return (
        f"{_rate(step)}: nothing can be told of movements, which are searched for within "
        f"{WINDOW:g} s of their apex"
    )


def _rate(step: float) -> str:
    rate = f"{1 / step:.2g}"
    return f"{rate} frame{'' if rate == '1' else 's'} per second"


def on_frames(asked: Interval | None, shown: Interval, aligned: AlignedClip) -> list[str]:
    """Remarks on frames without the face.

    Args:
        asked: The interval that the user gave, or None.
        shown: The one that was measured.
        aligned: The clip.
    """
    count = len(aligned.present)
    remarks, missing = [], count - int(np.count_nonzero(aligned.present))
    if missing:
        remarks.append(f"{missing} of {count} frames {aligned.left_out} were left out")
    if asked is not None and asked != shown:
        remarks.append(
            f"interval moved to frames with a face: {shown.onset}, {shown.apex}, {shown.offset}"
        )
    return remarks


def on_clip(light: LightChange | None, held: str, others: Sequence[Interval]) -> list[str]:
    """Remarks on changing light, on what :func:`not_returned` says, and on other movements."""
    remarks = []
    if light:
        remarks.append(f"the light changed by up to {100 * light.largest:.0f} %, evened out")
    if held:
        remarks.append(held)
    if others:
        many = "another movement" if len(others) == 1 else f"{len(others)} other movements"
        remarks.append(f"the clip holds {many}; this is the strongest")
    return remarks


def blind(table: RegionTable) -> NDArray[np.bool_]:
    """(R,) Regions in which a pixel of motion would not stand out, and none did."""
    # A motion may be large enough to stand out all the same.
    return (ACTIVE_Z * table.noise > BLIND_PX) & ~table.active


def not_seen(
    table: RegionTable,
    frame: NDArray[np.uint8],
    masks: NDArray[np.float32],
    hidden: Mapping[str, NDArray[np.bool_]] | None = None,
) -> dict[str, list[str]]:
    """Regions that cannot be measured, by the reason.

    Args:
        table: Of the onset phase.
        frame: (H, W, 3) RGB, the apex.
        masks: (R, H, W) weights of the regions.
        hidden: ``visibility.hidden_regions``.

    Returns:
        Reason to names of regions; a region has one reason, the first that holds.
    """
    grey = to_grey(frame)
    weight = np.maximum(masks.sum(axis=(1, 2)), 1e-6)
    level = (masks * grey).sum(axis=(1, 2)) / weight
    white = (masks * (grey >= BRIGHT)).sum(axis=(1, 2)) / weight
    hides = blind(table)
    reasons = {
        **(hidden or {}),
        "landmarks too uncertain": ~table.placed,
        "too dark": hides & (level < DARK),
        "too bright": hides & (white > _CLIPPED),
        "noise, closed lids or the head's turn would hide a pixel of motion": hides,
    }
    told = np.zeros(len(REGION_NAMES), bool)
    found: dict[str, list[str]] = {}
    for reason, holds in reasons.items():
        if names := [REGION_NAMES[k] for k in np.flatnonzero(holds & ~told)]:
            found[reason] = names
        told |= holds
    return found


def on_regions(unseen: dict[str, list[str]]) -> list[str]:
    """Remarks on regions that cannot be measured, see :func:`not_seen`."""
    return [f"not measured, {reason}: {', '.join(names)}" for reason, names in unseen.items()]
