"""Every container gives the frames of a plain sequential decode, whole and in part."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest

from deft_llm.clip import Clip
from deft_llm.errors import UserError
from deft_llm.media.containers import open_video
from deft_llm.media.packets import scan
from deft_llm.media.video import probe, read_clip
from tests.media.films import add_track, encode, moving, plain_decode, write_film

#: x264 with key frames that lean on frames before them.
OPEN = {"bf": "3", "crf": "12", "x264-params": "open-gop=1:keyint=8:min-keyint=1"}
#: x264 without key frames: the picture is renewed column by column.
RENEWED = {"crf": "12", "x264-params": "intra-refresh=1:keyint=8"}
MPEG2 = {"g": "8", "bf": "2", "b": "900k"}
HIDDEN = {"g": "8", "auto-alt-ref": "1", "lag-in-frames": "10", "b": "300k"}
FILMS: dict[str, tuple[str, dict[str, str] | None, str | None]] = {
    "a.mp4": ("libx264", None, None),
    "open.mp4": ("libx264", OPEN, None),
    "renewed.mp4": ("libx264", RENEWED, None),
    "a.mkv": ("libx264", None, None),
    "open.mkv": ("libx264", OPEN, None),
    "a.MTS": ("libx264", None, "mpegts"),
    "open.m2ts": ("libx264", OPEN, "mpegts"),
    "a.vob": ("mpeg2video", MPEG2, "vob"),
    "a.mpg": ("mpeg2video", MPEG2, "mpeg"),
    "a.m2v": ("mpeg2video", MPEG2, "mpeg2video"),
    "a.h264": ("libx264", None, "h264"),
    "a.avi": ("libx264", None, None),
    "asp.avi": ("mpeg4", {"g": "8", "bf": "2", "b": "900k"}, None),
    "a.asf": ("libx264", None, None),
    "a.flv": ("libx264", None, None),
    "a.webm": ("libvpx", HIDDEN, None),
    "nine.webm": ("libvpx-vp9", HIDDEN, None),
    "a.mjpeg": ("mjpeg", {}, "mjpeg"),
    "a.mxf": ("mpeg2video", MPEG2, None),
}


def same(part: Clip, whole: Clip, window: slice) -> None:
    np.testing.assert_array_equal(part.frames, whole.frames[window])
    np.testing.assert_allclose(part.timestamps, whole.timestamps[window], atol=1e-6)


@pytest.mark.parametrize("name", FILMS)
def test_frames_of_a_sequential_decode(tmp_path: Path, name: str) -> None:
    codec, options, form = FILMS[name]
    path = write_film(tmp_path / name, moving(26), codec, options, form=form)
    whole = read_clip(path)
    np.testing.assert_array_equal(whole.frames, plain_decode(path))
    assert len(whole) == 26
    np.testing.assert_allclose(whole.timestamps, np.arange(26) / 25, atol=2e-3)
    info = probe(path)
    assert (info.frames, info.width, info.height) == (26, 64, 48)
    np.testing.assert_allclose(info.timestamps, whole.timestamps, atol=1e-6)
    for start, stop, stride in ((0, 3, 1), (7, 12, 1), (8, 9, 1), (15, None, 3), (25, 26, 1)):
        part = read_clip(path, start=start, stop=stop, stride=stride)
        same(part, whole, slice(start, stop, stride))


def test_only_safe_key_frames_are_entries(tmp_path: Path) -> None:
    """Speed must not be had by decoding from frames that lean on earlier ones."""

    def entries(name: str, options: dict[str, str] | None) -> int:
        path = write_film(tmp_path / name, moving(26), options=options)
        with open_video(path, name) as (container, stream):
            index = scan(container, stream)
        assert index.exact
        return len(index.entries)

    assert entries("closed.mp4", None) == 4
    assert entries("open.mp4", OPEN) == entries("renewed.mp4", RENEWED) == 1


@pytest.mark.parametrize("start", [-15, -8, -3])
def test_edit_list_hides_the_same_frames(tmp_path: Path, start: int) -> None:
    """A trimmed phone video holds frames that no player shows, and is not cut off."""
    path = write_film(tmp_path / "trimmed.mp4", moving(30), start=start)
    whole = read_clip(path)
    np.testing.assert_array_equal(whole.frames, plain_decode(path))
    assert len(whole) == probe(path).frames == 30 + start
    assert whole.remarks == ()
    same(read_clip(path, start=4, stop=9), whole, slice(4, 9))


def test_times_before_the_first_known_one(tmp_path: Path) -> None:
    """Matroska with negative times: FFmpeg gives the first frames without times."""
    path = write_film(tmp_path / "negative.mkv", moving(20), start=-8)
    whole = read_clip(path)
    assert len(whole) == probe(path).frames == len(plain_decode(path))
    np.testing.assert_allclose(np.diff(whole.timestamps), 1 / 25, atol=2e-3)
    assert whole.timestamps[0] == pytest.approx(0, abs=2e-3)


def test_recording_that_starts_in_the_middle(tmp_path: Path) -> None:
    """A transport stream cut by a recorder: frames before the first key frame cannot be shown."""
    data = write_film(tmp_path / "w.ts", moving(30), form="mpegts").read_bytes()
    path = tmp_path / "middle.ts"
    path.write_bytes(data[188 * (len(data) // 188 // 3) :])
    whole = read_clip(path)
    np.testing.assert_array_equal(whole.frames, plain_decode(path))
    assert 0 < len(whole) == probe(path).frames < 30


def test_joined_recordings_keep_all_frames(tmp_path: Path) -> None:
    """Two transport streams one after the other: the times start again."""
    data = write_film(tmp_path / "w.ts", moving(12), form="mpegts").read_bytes()
    path = tmp_path / "joined.ts"
    path.write_bytes(data + data)
    whole = read_clip(path)
    assert len(whole) == probe(path).frames == len(plain_decode(path)) == 24
    np.testing.assert_allclose(np.diff(whole.timestamps), 1 / 25, atol=2e-3)
    assert any("out of order" in remark for remark in whole.remarks)


def test_bare_stream_takes_the_stated_rate(tmp_path: Path) -> None:
    path = write_film(tmp_path / "a.h264", moving(8), form="h264")
    remark = "the file states no times: 25 fps assumed; if it is wrong, so are all times"
    assert remark in read_clip(path).remarks
    told = read_clip(path, fps=200)
    assert told.fps == pytest.approx(200) and told.remarks == ()


def test_rate_replaces_that_of_playback(tmp_path: Path) -> None:
    """High-speed cameras write films of 25 frames per second."""
    path = write_film(tmp_path / "slow.mp4", moving(8))
    assert read_clip(path, fps=500, start=2).timestamps[0] == pytest.approx(2 / 500)
    assert probe(path, fps=500).fps == pytest.approx(500)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".ts"])
def test_video_without_its_first_key_frame(tmp_path: Path, suffix: str) -> None:
    """Copied from the middle of a recording; the container has times for what nobody can show."""
    whole, path = write_film(tmp_path / "w.mkv", moving(20)), tmp_path / f"a{suffix}"
    with av.open(str(whole)) as old, av.open(str(path), "w") as new:
        track = new.add_stream_from_template(old.streams.video[0])
        for number, packet in enumerate(old.demux(video=0)):
            if packet.size and number >= 3:
                packet.stream = track
                new.mux(packet)
    clip = read_clip(path)
    np.testing.assert_array_equal(clip.frames, plain_decode(path))
    assert 0 < len(clip) == probe(path).frames < 20
    same(read_clip(path, start=5, stop=9), clip, slice(5, 9))


def test_end_that_is_lost_is_told(tmp_path: Path) -> None:
    """A recording in fragments, cut inside of one: its packets are there, and do not decode."""
    path = tmp_path / "cut.mp4"
    with av.open(str(path), "w", options={"movflags": "dash+frag_keyframe"}) as container:
        track = add_track(container, "libx264", {"g": "8", "crf": "12"}, (48, 64))
        encode(container, track, moving(30))
    path.write_bytes(path.read_bytes()[: int(0.6 * path.stat().st_size)])
    clip = read_clip(path)
    assert 8 <= len(clip) < 30 and "damaged or cut" in clip.remarks[0]


def test_frames_faster_than_the_clock(tmp_path: Path) -> None:
    """Matroska counts milliseconds; at 4,000 frames per second four frames share each."""
    path = tmp_path / "fast.mkv"
    with av.open(str(path), "w") as container:
        track = add_track(container, "libx264", {"g": "8"}, (48, 64), rate=4000)
        encode(container, track, moving(20), rate=4000)
    clip = read_clip(path)
    np.testing.assert_allclose(clip.timestamps, np.arange(20) / 4000)
    same(read_clip(path, start=7, stop=9), clip, slice(7, 9))
    assert clip.remarks == ()


# ------------------------------------------------------------------- which track


def test_cover_picture_is_no_video(tmp_path: Path) -> None:
    """FFmpeg makes a cover picture a track of its own."""
    path, frames = tmp_path / "cover.mkv", moving(10)
    with av.open(str(path), "w") as container:
        cover = add_track(container, "mjpeg", {}, (96, 128))
        cover.disposition = av.stream.Disposition.attached_pic.value
        film = add_track(container, "libx264", {"crf": "12"}, (48, 64))
        encode(container, cover, moving(1, 96, 128))
        encode(container, film, frames)
    np.testing.assert_array_equal(read_clip(path).frames, plain_decode(path, track=1))
    assert (probe(path).frames, probe(path).width) == (10, 64)


@pytest.mark.parametrize(
    ("first", "second", "default", "chosen"),
    [
        ((2, 32), (12, 64), None, 1),  # thumbnails in front of the film
        ((12, 32), (12, 64), None, 1),  # a small copy for scrubbing
        ((12, 64), (12, 32), None, 0),
        ((2, 128), (12, 64), 0, 1),  # large stills, marked as default: no video
        ((12, 64), (12, 32), 1, 1),
    ],
)
def test_track_that_a_player_shows(
    tmp_path: Path,
    first: tuple[int, int],
    second: tuple[int, int],
    default: int | None,
    chosen: int,
) -> None:
    path = tmp_path / "two.mkv"
    with av.open(str(path), "w") as container:
        tracks = []
        for number, (_, side) in enumerate((first, second)):
            tracks.append(add_track(container, "libx264", {"crf": "12"}, (side, side)))
            marked = av.stream.Disposition.default.value if number == default else 0
            tracks[-1].disposition = marked
        for track, (count, side) in zip(tracks, (first, second), strict=True):
            encode(container, track, moving(count, side, side))
    np.testing.assert_array_equal(read_clip(path).frames, plain_decode(path, track=chosen))


# ------------------------------------------------------------------- changes inside a video


def joined(folder: Path, sizes: list[tuple[int, int]]) -> Path:
    """Ten frames of each size in one stream, as browsers record them."""
    parts = []
    for number, (height, width) in enumerate(sizes):
        part = folder / f"{number}.h264"
        write_film(part, moving(10, height, width), options={"g": "5", "crf": "12"}, form="h264")
        parts.append(part.read_bytes())
    path = folder / "joined.h264"
    path.write_bytes(b"".join(parts))
    return path


def test_size_changes_are_scaled_and_told(tmp_path: Path) -> None:
    path = joined(tmp_path, [(48, 64), (96, 128), (96, 64)])
    whole = read_clip(path)
    # The largest size: nothing is lost.
    assert whole.frames.shape == (30, 96, 128, 3)
    assert "picture size changes" in whole.remarks[0]
    assert (probe(path).width, probe(path).height) == (128, 96)
    # Proportions stay: a narrow picture gets bars.
    assert whole.frames[25, :, :32].max() == 0 and whole.frames[25, :, 32:96].mean() > 50
    for start, stop in ((0, 5), (8, 12), (22, 30)):
        same(read_clip(path, start=start, stop=stop), whole, slice(start, stop))


# ------------------------------------------------------------------- names, and what is no video


@pytest.mark.parametrize(
    "name", ["12:30:05.mp4", "http:clip.mp4", "concat:a|b.mp4", "img%03d.mp4", "-clip.mp4", "pipe:"]
)
def test_names_are_no_addresses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    write_film(tmp_path / "plain.mp4", moving(4)).rename(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    for backend in ("pyav", "opencv"):
        assert len(read_clip(name, backend=backend)) == probe(name).frames == 4


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("notes.txt", b"a text\n" * 99, "a text or a list of other files"),
        ("list.m3u8", b"#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1:9/a.ts\n", "not a readable video"),
        ("list.ffconcat", b"ffconcat version 1.0\nfile other.mp4\n", "not a readable video"),
        ("page.mp4", b"<html>not found</html>\n" * 99, "not a readable video"),
        ("zeros.mov", bytes(4000), "not a readable video"),
        ("lines.srt", b"1\n00:00:01,000 --> 00:00:02,000\nHi\n", "no video stream"),
    ],
)
def test_what_ffmpeg_also_opens(tmp_path: Path, name: str, content: bytes, words: str) -> None:
    (tmp_path / name).write_bytes(content)
    for read in (read_clip, probe):
        with pytest.raises(UserError, match=words) as caught:
            read(tmp_path / name)
        assert "\n" not in str(caught.value) and name in str(caught.value)


def test_pipe_is_refused(tmp_path: Path) -> None:
    """Opening it would wait for ever."""
    import os

    os.mkfifo(tmp_path / "pipe.mp4")
    for path in (tmp_path / "pipe.mp4", Path("/dev/null")):
        with pytest.raises(UserError, match="neither a file nor a folder"):
            read_clip(path)


@pytest.mark.parametrize("seed", range(6))
def test_damaged_files_give_frames_or_one_line(tmp_path: Path, seed: int) -> None:
    data = bytearray(write_film(tmp_path / "a.mp4", moving()).read_bytes())
    rng = np.random.default_rng(seed)
    first = data.index(b"moov") if seed % 2 else 0
    for place in rng.integers(first, len(data), 30):
        data[int(place)] = int(rng.integers(256))
    (tmp_path / "a.mp4").write_bytes(bytes(data))
    try:
        clip = read_clip(tmp_path / "a.mp4")
    except UserError as error:
        assert "\n" not in str(error)
    else:
        assert len(clip) == 24 or "damaged" in " ".join(clip.remarks)
