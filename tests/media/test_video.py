"""The reader gives what was written: frames, times, ranges; the writer leaves nothing behind."""

from __future__ import annotations

import os
import struct
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from deft_llm.errors import UserError
from deft_llm.media import video
from deft_llm.media.backends import BACKENDS
from deft_llm.media.video import (
    clip_from_array,
    decode_bytes,
    encode_h264,
    probe,
    read_clip,
    write_frames,
    write_video,
)
from tests.media.films import Frames, moving

DATA = os.environ.get("DEFT_DATA")
needs_data = pytest.mark.skipif(not DATA, reason="set DEFT_DATA to the development data")


def backends() -> list[str]:
    try:
        import decord  # noqa: F401
    except ImportError:
        return [name for name in BACKENDS if name != "decord"]
    return list(BACKENDS)


def write_variable(path: Path, frames: Frames, ticks: list[int]) -> None:
    """A video whose frame i is shown at ticks[i] milliseconds."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=1000, options={"crf": "10", "g": "6"})
        stream.height, stream.width, stream.pix_fmt = *frames.shape[1:3], "yuv420p"
        stream.codec_context.time_base = Fraction(1, 1000)
        for frame, tick in zip(frames, ticks, strict=True):
            picture = av.VideoFrame.from_ndarray(frame, format="rgb24")
            picture.pts, picture.time_base = tick, Fraction(1, 1000)
            container.mux(stream.encode(picture))
        container.mux(stream.encode())


TICKS = [0, 5, 10, 15, 20, 33, 66, 100, 133, 140, 145, 150, 155, 160, 200, 240, 280, 285]


@pytest.mark.parametrize("backend", backends())
def test_constant_rate_times(tmp_path: Path, backend: str) -> None:
    frames = moving()
    write_video(tmp_path / "c.mp4", frames, 200)
    clip = read_clip(tmp_path / "c.mp4", backend=backend)
    assert clip.frames.shape == frames.shape
    np.testing.assert_allclose(clip.timestamps, np.arange(len(frames)) / 200, atol=1e-6)
    assert np.abs(clip.frames.astype(int) - frames).mean() < 3


@pytest.mark.parametrize("backend", backends())
def test_variable_rate_times(tmp_path: Path, backend: str) -> None:
    """An average rate would put the apex of a micro-expression at the wrong time."""
    write_variable(tmp_path / "v.mp4", moving(len(TICKS)), TICKS)
    clip = read_clip(tmp_path / "v.mp4", backend=backend)
    np.testing.assert_allclose(clip.timestamps, np.array(TICKS) / 1000, atol=1e-6)
    info = probe(tmp_path / "v.mp4")
    assert info.variable_rate and info.frames == len(TICKS)
    np.testing.assert_allclose(info.timestamps, clip.timestamps, atol=1e-6)


@pytest.mark.parametrize("backend", backends())
@pytest.mark.parametrize("window", [(0, 5, 1), (7, None, 1), (13, 17, 3), (1, 18, 5), (17, 99, 1)])
def test_range_equals_slice(
    tmp_path: Path, backend: str, window: tuple[int, int | None, int]
) -> None:
    """Starting at a key frame must not shift the range (B-frames, key frames every 6)."""
    write_variable(tmp_path / "v.mp4", moving(len(TICKS)), TICKS)
    whole = read_clip(tmp_path / "v.mp4", backend=backend)
    start, stop, stride = window
    part = read_clip(tmp_path / "v.mp4", start=start, stop=stop, stride=stride, backend=backend)
    np.testing.assert_array_equal(part.frames, whole.frames[start:stop:stride])
    np.testing.assert_allclose(part.timestamps, whole.timestamps[start:stop:stride])


def test_backends_agree(tmp_path: Path) -> None:
    write_video(tmp_path / "c.mp4", moving(), 60)
    clips = [read_clip(tmp_path / "c.mp4", backend=name) for name in backends()]
    for clip in clips[1:]:
        np.testing.assert_allclose(clip.timestamps, clips[0].timestamps, atol=1e-6)
        assert np.abs(clip.frames.astype(int) - clips[0].frames).max() <= 2


@needs_data
@pytest.mark.parametrize("backend", backends())
@pytest.mark.parametrize(
    ("name", "frames"),
    [
        ("no_face.mp4", 95),  # the header says 98; an edit list hides three
        ("single_face.mp4", 72),
        ("face_noface.mov", 169),
        ("format_FLV_H264_AAC.video", 180),  # no frame count in the header
        ("format_MKV_VP8_VORBIS.video", 180),
    ],
)
def test_real_containers(name: str, frames: int, backend: str) -> None:
    path = Path(str(DATA)) / "video" / name
    clip = read_clip(path, backend=backend, max_side=160)
    assert len(clip) == probe(path).frames == frames
    np.testing.assert_allclose(clip.timestamps, probe(path).timestamps, atol=1e-6)
    reference = read_clip(path, start=frames - 3, max_side=160)
    assert np.abs(clip.frames[-3:].astype(int) - reference.frames).max() <= 2


def test_bytes_equal_file_and_repeat(tmp_path: Path) -> None:
    """The simulator encodes in memory; the same frames must give the same bytes."""
    data = encode_h264(moving(), 100)
    assert data == encode_h264(moving(), 100)
    (tmp_path / "b.mp4").write_bytes(data)
    np.testing.assert_array_equal(
        decode_bytes(data, "b").frames, read_clip(tmp_path / "b.mp4").frames
    )


def test_writes_h264_yuv420p(tmp_path: Path) -> None:
    write_video(tmp_path / "c.mp4", moving(), 25)
    with av.open(str(tmp_path / "c.mp4")) as container:
        context = container.streams.video[0].codec_context
        assert (context.name, context.pix_fmt) == ("h264", "yuv420p")


def test_odd_size_is_padded() -> None:
    frames = moving(3, 47, 63)
    clip = decode_bytes(encode_h264(frames, 25), "odd")
    assert clip.frames.shape == (3, 48, 64, 3)
    assert np.abs(clip.frames[:, :47, :63].astype(int) - frames).mean() < 3


def test_rotated_video_is_upright(tmp_path: Path) -> None:
    """A phone stores portrait video lying down, with a rotation in the track header."""
    frames = moving(4)
    data = bytearray(encode_h264(frames, 25))
    at = data.index(b"tkhd") + 4 + 40
    one = 1 << 16
    data[at : at + 36] = struct.pack(">9i", 0, one, 0, -one, 0, 0, 48 * one, 0, 1 << 30)
    (tmp_path / "phone.mp4").write_bytes(data)
    upright = read_clip(tmp_path / "phone.mp4", backend="opencv")
    clip = read_clip(tmp_path / "phone.mp4")
    assert clip.frames.shape == (4, 64, 48, 3)
    assert np.abs(clip.frames.astype(int) - upright.frames).max() <= 2


def test_large_frames_are_scaled_down(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    large = np.repeat(np.repeat(moving(2, 54, 96), 40, axis=1), 40, axis=2)  # 3840x2160
    write_video(tmp_path / "4k.mp4", large, 30)
    assert read_clip(tmp_path / "4k.mp4").frames.shape == (2, 720, 1280, 3)
    assert "3840x2160 scaled to 1280x720" in caplog.text
    assert read_clip(tmp_path / "4k.mp4", max_side=None).frames.shape == (2, 2160, 3840, 3)


def test_name_with_spaces_and_letters(tmp_path: Path) -> None:
    path = tmp_path / "Übung größer 表情 1.mp4"
    write_video(path, moving(4), 30)
    assert all(len(read_clip(path, backend=name)) == 4 for name in backends())


@pytest.mark.parametrize("frames", [1, 3])
def test_very_short(tmp_path: Path, frames: int) -> None:
    write_video(tmp_path / "s.mp4", moving(frames), 30)
    assert len(read_clip(tmp_path / "s.mp4")) == frames


def test_array_of_grey_16_bit() -> None:
    grey = np.array([0, 128, 255], np.uint16)[None, None] * np.uint16(257)
    clip = clip_from_array(np.repeat(grey, 2, axis=0), 50, "a")
    np.testing.assert_array_equal(clip.frames[1, 0, :, 2], [0, 128, 255])
    np.testing.assert_allclose(clip.timestamps, [0, 0.02])


def test_cut_file_gives_what_decodes(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Half a recording is still a recording; that it is half must be said."""
    path = tmp_path / "whole.mp4"
    with av.open(str(path), "w", options={"movflags": "faststart"}) as container:
        stream = container.add_stream("libx264", rate=30, options={"g": "5", "crf": "10"})
        stream.height, stream.width, stream.pix_fmt = 48, 64, "yuv420p"
        for frame in moving(40):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    whole = path.read_bytes()
    (tmp_path / "cut.mp4").write_bytes(whole[: int(0.6 * len(whole))])
    clip = read_clip(tmp_path / "cut.mp4")
    assert 5 <= len(clip) < 40
    assert "damaged or cut" in caplog.text
    intact = decode_bytes(whole, "whole")
    np.testing.assert_array_equal(clip.frames, intact.frames[: len(clip)])


def _bad_inputs(folder: Path) -> dict[str, tuple[Path, str]]:
    """Path and a word of its error, for everything that cannot be read."""
    (folder / "empty.mp4").touch()
    (folder / "text.mp4").write_text("not a video\n" * 99)
    data = encode_h264(moving(), 30)
    (folder / "cut.mp4").write_bytes(data[: len(data) // 2])  # its index stood at the end
    with av.open(str(folder / "sound.mp4"), "w") as container:
        stream = container.add_stream("aac", rate=44100)
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        silence.sample_rate = 44100
        container.mux(stream.encode(silence))
        container.mux(stream.encode())
    return {
        "missing": (folder / "nowhere.mp4", "no such file"),
        "empty": (folder / "empty.mp4", "empty"),
        "text": (folder / "text.mp4", "not a readable video"),
        "cut": (folder / "cut.mp4", "complete to its end"),
        "sound": (folder / "sound.mp4", "no video stream"),
    }


@pytest.mark.parametrize("kind", ["missing", "empty", "text", "cut", "sound"])
def test_bad_input_says_what_is_wrong(tmp_path: Path, kind: str) -> None:
    path, word = _bad_inputs(tmp_path)[kind]
    for read in (read_clip, probe):
        with pytest.raises(UserError, match=word) as caught:
            read(path)
        assert "\n" not in str(caught.value) and path.name in str(caught.value)


@pytest.mark.parametrize("backend", backends())
def test_no_backend_reads_text(tmp_path: Path, backend: str) -> None:
    path, _ = _bad_inputs(tmp_path)["text"]
    with pytest.raises(UserError) as caught:
        read_clip(path, backend=backend)
    assert "\n" not in str(caught.value)


def test_bad_ranges_and_names(tmp_path: Path) -> None:
    write_video(tmp_path / "c.mp4", moving(5), 30)
    for window in ({"start": -1}, {"start": 3, "stop": 3}, {"stride": 0}):
        with pytest.raises(UserError, match="range"):
            read_clip(tmp_path / "c.mp4", **window)  # type: ignore[arg-type]
    with pytest.raises(UserError, match="has 5 frames"):
        read_clip(tmp_path / "c.mp4", start=5)
    for fps in (0.0, -1.0, np.nan, np.inf):
        for read in (read_clip, probe):
            with pytest.raises(UserError, match="frames per second"):
                read(tmp_path / "c.mp4", fps=fps)
        with pytest.raises(UserError, match="frames per second"):
            clip_from_array(moving(2), fps, "a")
    with pytest.raises(UserError, match="max_side 0"):
        read_clip(tmp_path / "c.mp4", max_side=0)
    with pytest.raises(UserError, match="pyav"):
        read_clip(tmp_path / "c.mp4", backend="vlc")


def test_memory_limit_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_video(tmp_path / "c.mp4", moving(), 30)
    monkeypatch.setattr("deft_llm.media.selection.MAX_CLIP_BYTES", 50_000)
    with pytest.raises(UserError, match="stride"):
        read_clip(tmp_path / "c.mp4")


def test_failed_write_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "old.mp4").write_bytes(b"old")

    def fail(*args: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(video, "_encode", fail)
    with pytest.raises(KeyboardInterrupt):
        write_video(tmp_path / "old.mp4", moving(), 30)
    assert [p.name for p in tmp_path.iterdir()] == ["old.mp4"]
    assert (tmp_path / "old.mp4").read_bytes() == b"old"


def test_bad_writes(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="avi"):
        write_video(tmp_path / "c.avi", moving(), 30)
    with pytest.raises(UserError, match="does not exist"):
        write_video(tmp_path / "no" / "c.mp4", moving(), 30)
    with pytest.raises(UserError, match="uint8 RGB"):
        encode_h264(np.zeros((0, 8, 8, 3), np.uint8), 30)
    for fps in (0.0, 1e-6, np.nan, np.inf):
        with pytest.raises(UserError, match="fps or more"):
            write_video(tmp_path / "c.mp4", moving(), fps)
        with pytest.raises(UserError, match="fps or more"):
            write_frames(tmp_path / "c.mp4", iter(moving()), fps)
    assert not list(tmp_path.iterdir())
