"""Flow windows of whole videos: parts joined, kept, and measured again where damaged."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from deft_llm.data import window_pictures
from deft_llm.data.long_videos import LongVideoData, simulated_videos
from deft_llm.data.video_sources import VideoSource
from deft_llm.data.window_pictures import video_windows
from deft_llm.media.options import ReadOptions
from deft_llm.media.parts import Part, parts_of
from deft_llm.motion.flow_windows import SIDE, frames_apart

CLIP = Path(__file__).parents[2] / "demo" / "clips" / "01_surprise.mp4"


def test_windows_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options = ReadOptions(stop=36)
    (part,) = parts_of(CLIP, options)
    apart = frames_apart(part.clip.timestamps)
    first = video_windows(CLIP, options, tmp_path)
    assert first.shape == (36, 3, SIDE, SIDE) and first.dtype == np.uint8
    seen = np.asarray(first.any((1, 2, 3)))
    assert seen[:-apart].all() and not seen[-apart:].any()
    # In two parts that overlap, windows across the end of the first are those of the second.
    cut, back = 28, 2 + apart
    overlapping = [
        Part(part.clip.part(0, cut), 0, cut, False),
        Part(part.clip.part(cut - back, 36), cut - back, 0, True),
    ]
    with monkeypatch.context() as patched:
        patched.setattr(window_pictures, "parts_of", lambda *_: iter(overlapping))
        joined = video_windows(CLIP, options)
    assert joined.shape == first.shape and (joined.any((1, 2, 3)) == seen).all()
    with monkeypatch.context() as patched:
        patched.setattr(window_pictures, "parts_of", lambda *_: pytest.fail("measured again"))
        assert np.array_equal(video_windows(CLIP, options, tmp_path), first)
    (kept,) = tmp_path.rglob("windows-*.safetensors")
    kept.write_bytes(kept.read_bytes()[:-100])
    assert np.array_equal(video_windows(CLIP, options, tmp_path), first)


def test_windows_of_simulated_videos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = LongVideoData(
        videos=1, identities=1, seconds=(1, 1), size=128, without=0, speech=0, workers=1
    )
    (video,) = simulated_videos(data, tmp_path / "videos")
    windows = VideoSource(simulated=data).windows(tmp_path)(video)
    assert len(windows) == len(video.track) and windows.any()
    monkeypatch.setattr(window_pictures, "film_video", lambda *_: pytest.fail("rendered again"))
    assert np.array_equal(VideoSource(simulated=data).windows(tmp_path)(video), windows)
