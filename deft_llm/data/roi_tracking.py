"""The regions of the ME-TST papers, followed through a video of any length.

``follow_rois`` reads a video once, part by part (``media.parts``), and yields the motion of 18
regions in every frame as it goes; memory does not grow with the video. Parts overlap, and each is
moved onto the one before by the median difference of the frames that both hold, so that within a
shot the motion goes on.

T frames; motion is in px of the canonical face, u to the image's right and v down, without the
head's.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from deft_llm.clip import Clip
from deft_llm.errors import NoFaceError
from deft_llm.files import digest, file_digest, replacing, sampled_digest
from deft_llm.media.face import align, landmark_finder, track_faces
from deft_llm.media.frames import list_frames
from deft_llm.media.options import WHOLE, ReadOptions
from deft_llm.media.parts import Part, parts_of
from deft_llm.motion.region_paths import track_regions
from deft_llm.motion.rois import ROIS, roi_masks
from deft_llm.motion.visibility import on_part

Floats = NDArray[np.float32]

_OF_FRAMES = ("motion", "shots", "timestamps")
_REMARKS = "remarks"
_VERSION = 2  # of the measurement; a change makes cached parts invalid


@dataclass(frozen=True)
class RoiTrack:
    """Motion of the regions in consecutive frames of a video.

    Attributes:
        first: Index of the first of them among the frames that are read.
        motion: (T, 18, 2) px of the canonical face, against the same face within a shot; NaN in
            frames without a face.
        shots: (T,) number of the shot; no motion is measured across a cut.
        timestamps: (T,) seconds.
        remarks: What the user should know about the face in them.
    """

    first: int
    motion: Floats
    shots: NDArray[np.int64]
    timestamps: NDArray[np.float64]
    remarks: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.motion)

    @property
    def present(self) -> NDArray[np.bool_]:
        """(T,) which frames have a face."""
        return np.isfinite(self.motion[:, 0, 0])

    def after(self, first: int) -> RoiTrack:
        """The frames from number ``first`` on."""
        kept = max(first - self.first, 0)
        rows = {name: getattr(self, name)[kept:] for name in _OF_FRAMES}
        return replace(self, first=self.first + kept, **rows)

    @classmethod
    def whole(cls, parts: Sequence[RoiTrack]) -> RoiTrack:
        """Consecutive parts as one."""
        rows = {n: np.concatenate([getattr(part, n) for part in parts]) for n in _OF_FRAMES}
        remarks = dict.fromkeys(remark for part in parts for remark in part.remarks)
        return cls(first=parts[0].first, remarks=tuple(remarks), **rows)


def follow_rois(
    source: Path | str | Clip, options: ReadOptions = WHOLE, cache: Path | None = None
) -> Iterator[RoiTrack]:
    """The motion of the regions, part by part.

    Args:
        source: A video file, an animation, a folder of frames, or a clip.
        options: Which part to read, at which rate, whose face, and who places its landmarks.
        cache: Folder for measured parts. A search that was stopped goes on after the last of them;
            the video is still decoded up to there.

    Yields:
        Consecutive frames without a gap.

    Raises:
        UserError: If the source cannot be read.
    """
    folder = measured_folder(source, options, cache)
    last: RoiTrack | None = None
    for number, part in enumerate(parts_of(source, options)):
        file = folder / f"part_{number:05d}.safetensors" if folder else None
        motion, remarks = _measured(part, options, file)
        first = (part.start - options.start) // options.stride
        new = _joined_to(last, RoiTrack(first, motion, *_one_shot(part.clip), remarks))
        done = last.first + len(last) if last else 0
        # A short shot may end within what the window before has shown already.
        if done < new.first + len(new):
            last = new
            yield new.after(done)


def roi_track(
    source: Path | str | Clip, options: ReadOptions = WHOLE, cache: Path | None = None
) -> RoiTrack:
    """The motion of the regions over the whole video; see ``follow_rois``.

    Raises:
        NoFaceError: If no frame shows a face.
        UserError: If the source cannot be read.
    """
    track = RoiTrack.whole(list(follow_rois(source, options, cache)))
    if not track.present.any():
        name = source.name if isinstance(source, Clip) else source
        raise NoFaceError(
            f"{name}: no face in {len(track)} frames; give a video that shows one face from the "
            "front, upright, at least 15 % of the frame high"
        )
    return track


def _one_shot(clip: Clip) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    return np.zeros(len(clip), np.int64), clip.timestamps.copy()


def _joined_to(last: RoiTrack | None, new: RoiTrack) -> RoiTrack:
    """The next part, moved onto the last one where they are of one shot."""
    if last is None:
        return new
    shared = last.first + len(last) - new.first
    if shared > 0 and last.first <= new.first:
        # The overlap as far as the new part goes, which may end inside it.
        apart = last.motion[-shared:][: len(new)] - new.motion[:shared]
        both = np.isfinite(apart[:, 0, 0])
        if both.any():
            moved = new.motion + np.median(apart[both], axis=0)
            return replace(new, motion=moved, shots=new.shots + last.shots[-1])
    # A cut, or no face to tell how the two lie: the regions start anew.
    return replace(new, shots=new.shots + last.shots[-1] + 1)


def _measured(
    part: Part, options: ReadOptions, file: Path | None
) -> tuple[Floats, tuple[str, ...]]:
    """Motion (T, 18, 2) of one part and what is to be told, from the cache if they are there."""
    if file is not None and file.is_file():
        try:
            with safe_open(file, framework="numpy") as kept:
                motion = kept.get_tensor("motion")
                remarks = tuple(json.loads(kept.metadata()[_REMARKS]))
        except (SafetensorError, KeyError):
            motion, remarks = np.zeros(0, np.float32), ()
        # A damaged part is measured again.
        if motion.shape == (len(part.clip), len(ROIS), 2):
            return motion, remarks
    motion, remarks = _measure(part.clip, options)
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        with replacing(file) as partial:
            save_file({"motion": motion}, partial, {_REMARKS: json.dumps(remarks)})
    return motion, remarks


def _measure(clip: Clip, options: ReadOptions) -> tuple[Floats, tuple[str, ...]]:
    nothing = np.full((len(clip), len(ROIS), 2), np.nan, np.float32)
    if len(clip) < 2:
        return nothing, ()
    try:
        track = track_faces(clip, face=options.face)
    except NoFaceError:
        return nothing, ()
    aligned = align(clip, track, landmark_finder(options.landmarks))
    followed = track_regions(aligned, masks_of=roi_masks, even=True)
    return followed.regions, (*track.remarks, *on_part(aligned))


def measured_folder(
    source: Path | str | Clip, options: ReadOptions, cache: Path | None
) -> Path | None:
    """Where the parts of this video lie; by its content and by all that changes the result."""
    if cache is None:
        return None
    if isinstance(source, Clip):
        content = source.content_hash()
    elif (path := Path(source)).is_dir():
        # By their bytes: frames of two videos may have the same names, and as BMP the same sizes.
        read = list_frames(path).part(options.start, options.stop, options.stride)
        times = [json.dumps(read.places)] if read.missing else []
        content = digest(*map(file_digest, read.frames), *times)
    else:
        content = sampled_digest(path) if path.is_file() else ""
    settings = json.dumps([_VERSION, asdict(options)], sort_keys=True, default=str)
    return cache / digest(content, settings)[:32]
