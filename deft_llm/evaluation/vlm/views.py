"""What a vision-language model is shown of a measured clip: pictures, and words about them.

All views are made of the features of a clip (``data/features.py``), so a corpus that was measured
once can be shown to any model.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from deft_llm.data.features import REGION_COLUMNS, Features
from deft_llm.data.inputs import source_of
from deft_llm.errors import UserError, did_you_mean
from deft_llm.media.draw import flow_colours
from deft_llm.motion.evidence import moved_regions
from deft_llm.motion.flow_diff import FlowWarp

Image = NDArray[np.uint8]
Inputs = Mapping[str, NDArray[Any]]
FRAMES_SHOWN = 224  # side of the frames that are stored for this, where nobody says otherwise
_SIDE = 336  # px of every picture that is shown
_FACTOR = 8.0  # magnification
_FRAMES = 8
_ONSET, _APEX = 0, 2  # key frames (``data/raw_frames.py``)
_FULL_COLOUR_PX = 1.0  # motion of full brightness in the flow picture


@dataclass(frozen=True)
class Shown:
    """Pictures and words of one clip.

    Attributes:
        pictures: uint8 RGB (H, W, 3).
        words: What the pictures are, and what was measured.
    """

    pictures: tuple[Image, ...]
    words: str


@dataclass(frozen=True)
class View:
    """One way to show a clip.

    Attributes:
        inputs: Inputs that it is made of (``data/inputs.py``).
        make: Inputs of one clip -> what is shown.
    """

    inputs: tuple[str, ...]
    make: Callable[[Inputs], Shown]


def _onset_apex(inputs: Inputs) -> Shown:
    frames = _key_frames(inputs)
    return Shown(
        (_picture(frames[_ONSET]), _picture(frames[_APEX])),
        "A face at rest, at the onset of a micro-expression; then the same face at its apex.",
    )


def _magnified(inputs: Inputs) -> Shown:
    frames = _key_frames(inputs)
    apex = FlowWarp()(frames[_ONSET], frames[_APEX], _FACTOR)
    return Shown(
        (_picture(frames[_ONSET]), _picture(apex)),
        "A face at rest, at the onset of a micro-expression; then the same face at its apex, with "
        f"the motion magnified {_FACTOR:g} times.",
    )


def _key_frames(inputs: Inputs) -> NDArray[np.float32]:
    return np.asarray(inputs["key_frames"], np.float32).transpose(0, 2, 3, 1)


def _eight_frames(inputs: Inputs) -> Shown:
    # Stored are the onset and eight more; the last, the offset, looks like the onset.
    frames = np.asarray(inputs["frames"], np.float32)[:_FRAMES].transpose(0, 2, 3, 1)
    return Shown(
        tuple(_picture(255 * frame) for frame in frames),
        f"{_FRAMES} frames of a micro-expression in order of time, from its onset on; its apex is "
        "in the middle.",
    )


def _flow(inputs: Inputs) -> Shown:
    flow = cv2.resize(
        np.asarray(inputs["flow"][0, :2], np.float32).transpose(1, 2, 0), (_SIDE, _SIDE)
    )
    return Shown(
        (flow_colours(flow.transpose(2, 0, 1), _FULL_COLOUR_PX),),
        "The motion of a face from the onset to the apex of a micro-expression. Colour is the "
        "direction in the picture (right red, down yellow-green, left cyan, up violet), brightness "
        f"the distance, full at {_FULL_COLOUR_PX:g} px of a face of 224 px; black did not move.",
    )


def _regions(inputs: Inputs) -> Shown:
    table = dict(zip(REGION_COLUMNS, np.asarray(inputs["regions"], float)[0].T, strict=True))
    moved = moved_regions(table["u"], table["v"], table["active"] > 0.5, (), table["z"])
    rows = sorted(moved, key=lambda row: -row.magnitude)
    lines = [
        f"- {row.region}: {row.direction}, {row.magnitude:.2f} px, {row.z:.1f} times the noise"
        for row in rows
    ]
    return Shown(
        (),
        "Measured motion from the onset to the apex of a micro-expression, in pixels of a face of "
        "224 pixels; left and right are the subject's; other regions did not move.\n"
        + ("\n".join(lines) or "- no region moved above the noise"),
    )


VIEWS: dict[str, View] = {
    "onset_apex": View(("key_frames",), _onset_apex),
    "eight_frames": View(("frames",), _eight_frames),
    "flow": View(("flow",), _flow),
    "magnified": View(("key_frames",), _magnified),
    "regions": View(("regions",), _regions),
}


def inputs_of(views: Iterable[str]) -> tuple[str, ...]:
    """The inputs that some views are made of.

    Raises:
        UserError: If a view is unknown, or none is given.
    """
    names = list(views)
    if not names:
        raise UserError(f"show: nothing to show; expected some of {', '.join(VIEWS)}")
    for name in names:
        if name not in VIEWS:
            raise UserError(
                f"show: unknown view {name!r}, expected some of {', '.join(VIEWS)}"
                f"{did_you_mean(name, VIEWS)}"
            )
    return tuple(dict.fromkeys(i for name in names for i in VIEWS[name].inputs))


def show(views: Sequence[str], inputs: Inputs) -> Shown:
    """Some views of one clip, in this order.

    Args:
        views: Names of ``VIEWS``.
        inputs: Inputs of the clip, without an axis for clips.
    """
    made = [VIEWS[name].make(inputs) for name in views]
    return Shown(tuple(p for each in made for p in each.pictures), "\n".join(e.words for e in made))


def show_features(views: Sequence[str], features: Features, name: str) -> Shown:
    """The same of a clip that was just measured.

    Args:
        views: Names of ``VIEWS``.
        features: Its features.
        name: Its name, for messages.

    Raises:
        UserError: If a view is unknown, or the features lack what it is made of.
    """
    found = {}
    for wanted in inputs_of(views):
        feature, make = source_of(wanted, features, name)
        found[wanted] = make(features[feature][None], None)[0]
    return show(views, found)


def _picture(frame: NDArray[Any]) -> Image:
    """A frame (H, W, 3) in 0..255 at the side that is shown."""
    image = np.clip(np.asarray(frame, np.float32), 0, 255).round().astype(np.uint8)
    if image.shape[0] == _SIDE:
        return image
    way = cv2.INTER_CUBIC if image.shape[0] < _SIDE else cv2.INTER_AREA
    return np.asarray(cv2.resize(image, (_SIDE, _SIDE), interpolation=way), np.uint8)
