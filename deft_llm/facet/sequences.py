"""From scans to what the network takes: the views of a scan, the dynamic views of a sequence."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deft_llm.data.rank_pooling import compress, motion_curve, rank_pool, rising_frames
from deft_llm.data.scan_views import SIDE, YAWS, Relief, Surface, channels, views
from deft_llm.errors import UserError
from deft_llm.scans.normalise import normalise
from deft_llm.scans.placing import Pose, find_pose, follow_pose
from deft_llm.scans.scan import Scan, checked

Floats = NDArray[np.float32]
_LEAST_FRAMES = 3  # our choice


@dataclass(frozen=True)
class SequenceMotion:
    """How much the face of a 4D sequence moves.

    Attributes:
        faces: The frames, normalised.
        surfaces: Of the faces.
        ahead: The faces from the front.
        curve: (T,) mm that the face has moved since the first frame.
    """

    faces: list[Scan]
    surfaces: list[Surface]
    ahead: list[Relief]
    curve: NDArray[np.float64]

    @property
    def peak(self) -> int:
        """The place of the apex, the frame of the largest motion, among the frames."""
        return int(np.argmax(self.curve))

    @property
    def apex(self) -> Scan:
        """The frame of the largest motion, normalised."""
        return self.faces[self.peak]

    @property
    def notes(self) -> tuple[str, ...]:
        """What was changed in the frames, each once."""
        return _once([note for face in self.faces for note in face.notes])


@dataclass(frozen=True)
class SequenceViews:
    """A 4D sequence as pictures.

    Attributes:
        views: (V, C, S, S) dynamic images, or (T, V, C, S, S) frames.
        used: The frames that were pooled.
        motion: Of the whole sequence.
    """

    views: Floats
    used: list[int]
    motion: SequenceMotion


def normalised_frames(scans: Sequence[Scan], where: str) -> list[Scan]:
    """The frames of a sequence, each in the frame of its face.

    The pose is found in the first frame and followed from there.

    Raises:
        UserError: If the first frame shows no face, or a frame is damaged.
    """
    frames, pose = [], None
    for number, scan in enumerate(scans):
        place = f"{where}, frame {number + 1}"
        scan = checked(scan, place)
        found: Pose = (
            find_pose(scan.vertices, place) if pose is None else follow_pose(scan.vertices, pose)
        )
        # Only the first frame tells how it was turned: all are turned alike.
        frames.append(normalise(scan, place, None if pose is None else found))
        pose = found
    return frames


def sequence_motion(scans: Sequence[Scan], where: str, side: int = SIDE) -> SequenceMotion:
    """Follow the motion of a sequence, drawn from the front alone.

    Args:
        scans: As read, in order.
        where: For messages.
        side: Of the pictures, px.

    Raises:
        UserError: If there are fewer than three frames, or one shows no face.
    """
    if len(scans) < _LEAST_FRAMES:
        raise UserError(
            f"{where}: {len(scans)} frames; expected a sequence of {_LEAST_FRAMES} or more"
        )
    faces = normalised_frames(scans, where)
    surfaces = [Surface(face) for face in faces]
    ahead = [surface.relief(0.0, side) for surface in surfaces]
    curve = motion_curve(np.stack([r.depth for r in ahead]), np.stack([r.mask for r in ahead]))
    return SequenceMotion(faces, surfaces, ahead, curve)


def sequence_views(
    scans: Sequence[Scan],
    where: str,
    names: Sequence[str],
    frames: int,
    yaws: Sequence[float] = YAWS,
    side: int = SIDE,
    pooled: bool = True,
) -> SequenceViews:
    """Draw a sequence from its first frame to its apex.

    Args:
        scans: As read, in order.
        where: For messages.
        names: Channels.
        frames: At most this many are drawn from the sides.
        yaws: Degrees, one for each view.
        side: Of the pictures, px.
        pooled: Pool the frames to dynamic images; otherwise exactly `frames` of them, for the
            temporal transformer.

    Raises:
        UserError: If there are fewer than three frames, or one shows no face.
    """
    motion = sequence_motion(scans, where, side)
    # From the sides only the frames that are used: those up to the apex.
    used = rising_frames(motion.curve, frames)
    drawn = [_drawn(motion.surfaces[t], motion.ahead[t], names, yaws, side) for t in used]
    stacked = _common([d[0] for d in drawn], [d[1] for d in drawn])
    if pooled:
        pictures = compress(rank_pool(stacked), names)
    else:
        # A short rise has fewer frames than the transformer takes: some are then taken twice.
        spread = np.round(np.linspace(0, len(stacked) - 1, frames)).astype(int)
        # What stays the same cancels, as it does in a dynamic image, whose weights sum to 0.
        moved = stacked - stacked[:1]
        pictures = compress(moved[spread], names)
    return SequenceViews(pictures, used, motion)


def _once(notes: Sequence[str]) -> tuple[str, ...]:
    """Each kind of note once: the same hole differs by a mm from frame to frame."""
    kinds: dict[str, str] = {}
    for note in notes:
        kinds.setdefault(re.sub(r"\d+", "", note), note)
    return tuple(kinds.values())


def _drawn(
    surface: Surface, ahead: Relief, names: Sequence[str], yaws: Sequence[float], side: int
) -> tuple[Floats, NDArray[np.bool_]]:
    """Channels (V, C, S, S) and masks (V, 1, S, S) of one frame."""
    reliefs = [ahead if yaw == 0.0 else surface.relief(yaw, side) for yaw in yaws]
    made = np.stack([channels(relief, names) for relief in reliefs])
    return made, np.stack([relief.mask[None] for relief in reliefs])


def _common(frames: list[Floats], masks: list[NDArray[np.bool_]]) -> Floats:
    """Frames (T, V, C, S, S), 0 where one of them shows no face: its moving rim means nothing."""
    both: Floats = np.stack(frames) * np.logical_and.reduce(masks)
    return both


def scan_views(
    scan: Scan, where: str, names: Sequence[str], yaws: Sequence[float] = YAWS, side: int = SIDE
) -> tuple[Scan, Floats]:
    """Normalise and draw one scan: the face, and its views (V, C, S, S).

    Raises:
        UserError: If it shows no face.
    """
    face = normalise(scan, where)
    return face, views(face, yaws, names, side)
