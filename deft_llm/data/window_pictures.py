"""The pictures of ``motion.flow_windows`` of a whole video, measured part by part and kept."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from deft_llm.clip import Clip
from deft_llm.data.long_videos import CodedVideo, LongVideoData, video_specs
from deft_llm.data.roi_tracking import measured_folder
from deft_llm.data.shards import Arrays, Shards, claim_set
from deft_llm.data.simulated import VIDEO_CRF
from deft_llm.errors import NoFaceError
from deft_llm.files import replacing
from deft_llm.media.face import align, landmark_finder, track_faces
from deft_llm.media.options import WHOLE, ReadOptions
from deft_llm.media.parts import parts_of
from deft_llm.motion.flow_windows import CHANNELS, SIDE, Bytes, flow_windows, frames_apart
from deft_llm.parallel import parallel_map
from deft_llm.simulator.head import Head, load_head
from deft_llm.simulator.ict_head.files import head_file
from deft_llm.simulator.long_videos import film_video
from deft_llm.simulator.scene.video_spec import VideoSpec

#: Of the measurement; a change makes kept pictures, and what was found in them, invalid.
VERSION = 1
_FILE = f"windows-{VERSION}.safetensors"
_NAME = "pictures"


def video_windows(
    source: Path | str | Clip, options: ReadOptions = WHOLE, cache: Path | None = None
) -> Bytes:
    """The picture of the window that begins at each frame of a video.

    Args:
        source: A video file, an animation, a folder of frames, or a clip.
        options: Which part to read, at which rate, whose face, and who places its landmarks.
        cache: Folder for what is measured, the one of ``roi_tracking``.

    Returns:
        uint8 (T, 3, 42, 42); 0 throughout where a window lacks a face or crosses a cut.

    Raises:
        UserError: If the source cannot be read.
    """
    folder = measured_folder(source, options, cache)
    file = folder / _FILE if folder else None
    if file is not None and file.is_file():
        try:
            return np.asarray(load_file(file)[_NAME], np.uint8)
        except (SafetensorError, KeyError):
            pass  # a damaged file is measured again
    pictures = _measured(source, options)
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        with replacing(file) as partial:
            save_file({_NAME: pictures}, partial)
    return pictures


def windows_of(video: CodedVideo, cache: Path) -> Bytes:
    """``video_windows`` of a video of a corpus, in frames of its track."""
    assert video.source is not None
    return video_windows(video.source, video.reading, cache)


def simulated_windows(data: LongVideoData, folder: Path) -> Callable[[CodedVideo], Bytes]:
    """``video_windows`` of each video of a simulated set, which is rendered for it, once.

    Args:
        data: The set.
        folder: Folder for the windows of these settings only, one file a video.

    Raises:
        UserError: If the folder holds windows of other settings, or a head cannot be loaded.
    """
    claim_set(folder, "windows", data)
    specs = list(video_specs(data))
    shards = Shards(folder, "windows", len(specs), 1)
    if not shards.whole:
        head = load_head(data.head, head_file(data.head, data.head_file))

        def measured(some: Sequence[VideoSpec]) -> Iterator[Arrays]:
            return parallel_map(partial(_of_rendered, head=head), some, data.workers)

        shards.render(specs, measured, "windows of long videos")
    files = {(s.subject, s.name): file for s, file in zip(specs, shards.files, strict=True)}

    def windows(video: CodedVideo) -> Bytes:
        return np.asarray(load_file(files[video.subject, video.video])[_NAME], np.uint8)

    return windows


def _of_rendered(spec: VideoSpec, head: Head) -> Arrays:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "video.mp4"
        film_video(spec, head, path, VIDEO_CRF)
        return {_NAME: video_windows(path)}


def _measured(source: Path | str | Clip, options: ReadOptions) -> Bytes:
    whole = np.zeros((0, len(CHANNELS), SIDE, SIDE), np.uint8)
    for part in parts_of(source, options):
        first = (part.start - options.start) // options.stride
        if first + len(part.clip) <= len(whole):
            continue  # shown by the window before
        pictures = _of_part(part.clip, options)
        # The last windows of the part before go beyond its end, but not beyond this one's.
        kept = min(len(whole), max(first, len(whole) - frames_apart(part.clip.timestamps)))
        whole = np.concatenate([whole[:kept], pictures[kept - first :]])
    return whole


def _of_part(clip: Clip, options: ReadOptions) -> Bytes:
    nothing = np.zeros((len(clip), len(CHANNELS), SIDE, SIDE), np.uint8)
    if len(clip) < 2:
        return nothing
    try:
        track = track_faces(clip, face=options.face)
    except NoFaceError:
        return nothing
    return flow_windows(align(clip, track, landmark_finder(options.landmarks)))
