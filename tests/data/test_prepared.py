"""The cache: nothing twice, nothing half-written, the same by one process and by two."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from deft_llm.clip import Annotation, Clip, Interval
from deft_llm.config import validate_settings
from deft_llm.corpora.base import load_corpus
from deft_llm.corpora.reading import Entry, Reading
from deft_llm.corpora.synthetic import write_corpus
from deft_llm.data import prepared as module
from deft_llm.data.features import Features
from deft_llm.data.measuring import CODED
from deft_llm.data.prepared import (
    MeasuringJob,
    PrepareSettings,
    content_key,
    left_out,
    measuring_job,
    open_prepared,
    prepare,
    prepare_one,
)
from deft_llm.errors import NoFaceError, UserError
from deft_llm.media.frames import list_frames
from deft_llm.media.landmarks import MeanShapeFinder
from deft_llm.motion.measure import Measurement
from deft_llm.motion.meter import MotionSettings

from ..corpora.conftest import tiny


class Gauge:
    """Stands in for alignment and measurement, counts its calls, and stops when told to."""

    def __init__(self, stop_at: int | None = None) -> None:
        self.measured: list[str] = []
        self.stop_at = stop_at

    def __call__(self, job: MeasuringJob, settings: PrepareSettings) -> tuple[Features, str]:
        clip = job.entry.annotation.clip
        if len(self.measured) == self.stop_at:
            raise KeyboardInterrupt
        self.measured.append(clip)
        if clip.endswith("02f"):
            raise NoFaceError("no face")
        return {"flow": np.full((2, 3), len(self.measured), np.float16)}, "ok"


@pytest.fixture
def reading(tmp_path: Path) -> Reading:
    write_corpus("casme2", tmp_path / "corpus", subjects=2, clips=3, renderer=tiny)
    return load_corpus("casme2", tmp_path / "corpus").read()


def test_an_interrupted_run_goes_on(
    reading: Reading, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache, first = tmp_path / "cache", Gauge(stop_at=3)
    monkeypatch.setattr(module, "_measure", first)
    with pytest.raises(KeyboardInterrupt):
        prepare(reading, cache)
    assert not (cache / "casme2.jsonl").exists() and not list(cache.glob(".*partial"))
    second = Gauge()
    monkeypatch.setattr(module, "_measure", second)
    rows = prepare(reading, cache)
    # what was done stays done; only the clip in hand is measured again
    assert first.measured + second.measured == [a.clip for a in reading.annotations]
    assert [row.cached for row in rows] == [True] * 3 + [False] * 3
    assert [row.annotation for row in rows] == list(reading.annotations)


def test_what_cannot_be_measured_is_listed(
    reading: Reading, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_measure", Gauge())
    for _ in range(2):
        rows = prepare(reading, tmp_path / "cache")
        assert [row.problem for row in rows] == ["", "no face", ""] * 2
    clips = open_prepared(tmp_path / "cache" / "casme2.jsonl")
    kept = [a for a in reading.annotations if not a.clip.endswith("02f")]
    assert clips.clips.tolist() == [f"casme2/{a.clip}" for a in kept]
    assert [(r.aus, r.emotion, r.interval) for r in clips.records] == [
        (a.aus, a.emotion, a.interval) for a in kept
    ]
    assert clips.stack("flow")[:, 0, 0].tolist() == [1, 3, 4, 6]
    found = clips.by_name(f"casme2/{kept[1].clip}").features
    assert found is not None and found["flow"][0, 0] == 3
    left = list(left_out(tmp_path / "cache" / "casme2.jsonl"))
    assert [clip.split("_")[0] for clip, _, _ in left] == ["casme2/sub01", "casme2/sub02"]
    assert all(failed.no_face for failed in left)


def test_remarks_are_told_again_and_a_damaged_file_is_measured_again(
    reading: Reading, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def measure(job: MeasuringJob, settings: PrepareSettings) -> tuple[Features, tuple[str, ...]]:
        remarks = ("the light changed", "a blink") * (job.entry is reading.entries[0])
        return {"flow": np.zeros((2, 3), np.float16)}, remarks

    monkeypatch.setattr(module, "_measure", measure)
    cache = tmp_path / "cache"
    first, again = prepare(reading, cache), prepare(reading, cache)
    assert all(row.cached for row in again)
    assert [row.remark for row in again] == [row.remark for row in first]
    assert first[0].remark == "the light changed; a blink" and not first[1].remark
    file = cache / f"{first[0].key}.safetensors"
    file.write_bytes(file.read_bytes()[:-3])
    assert [row.cached for row in prepare(reading, cache)] == [False, True, True, True, True, True]
    assert open_prepared(cache / "casme2.jsonl").stack("flow").shape == (6, 2, 3)


def test_a_frame_that_cannot_be_read_stops_no_run(
    reading: Reading, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that fails after the folders were listed; when it is back, the clip is measured."""
    broken = reading.entries[3].folder
    assert broken is not None
    read = Path.read_bytes

    def failing(path: Path) -> bytes:
        if path.parent == broken:
            raise OSError(5, "Input/output error")
        return read(path)

    monkeypatch.setattr(module, "_measure", Gauge())
    monkeypatch.setattr(Path, "read_bytes", failing)
    rows = prepare(reading, tmp_path / "cache")
    assert "cannot be read (Input/output error); copy it again" in rows[3].problem
    assert [bool(row.problem) for row in rows] == [False, True, False, True, True, False]
    monkeypatch.setattr(Path, "read_bytes", read)
    assert not prepare(reading, tmp_path / "cache")[3].problem


def test_settings_and_content_are_the_key(
    reading: Reading, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gauge = Gauge()
    monkeypatch.setattr(module, "_measure", gauge)
    prepare(reading, tmp_path / "cache")
    prepare(reading, tmp_path / "cache", PrepareSettings(flow="dis"))
    assert len(gauge.measured) == 12
    folder = reading.entries[0].folder
    assert folder is not None
    moved = folder.rename(folder.with_name("EP99_01f"))
    entries = (Entry(reading.entries[0].annotation, moved, reading.entries[0].frames),)
    assert prepare(Reading("casme2", entries, reading.report), tmp_path / "cache")[0].cached
    interval = reading.annotations[0].interval
    assert interval is not None
    frame = list_frames(moved).frames[interval.apex]
    frame.write_bytes(frame.read_bytes() + b"\0")
    assert not prepare(Reading("casme2", entries, reading.report), tmp_path / "cache")[0].cached


def test_the_key_holds_the_network_that_finds_faces(reading: Reading, tmp_path: Path) -> None:
    """By its content: another file in the same place measures anew, the same elsewhere does not."""
    first, second = tmp_path / "a.onnx", tmp_path / "b.onnx"
    first.write_bytes(b"one")
    second.write_bytes(b"one")
    keys = []
    for path in (None, first, second):
        settings = PrepareSettings(yunet=path)
        keys.append(content_key(measuring_job(reading.entries[0], settings), settings))
    first.write_bytes(b"two")
    settings = PrepareSettings(yunet=first)
    keys.append(content_key(measuring_job(reading.entries[0], settings), settings))
    assert keys[1] == keys[2] and len({keys[0], keys[1], keys[3]}) == 3
    with pytest.raises(UserError, match="nowhere"):
        prepare(reading, tmp_path / "cache", PrepareSettings(yunet=Path("nowhere.onnx")))
    assert not list((tmp_path / "cache").glob("*.failed.json"))


def test_settings_that_leave_no_movement_are_told() -> None:
    with pytest.raises(UserError, match=r"longest 13: expected two frames more than lead \(12\)"):
        validate_settings(PrepareSettings, {"longest": 13}, "prepare")
    with pytest.raises(UserError, match="lead"):
        validate_settings(PrepareSettings, {"lead": -1}, "prepare")


def test_landmarks_are_placed_as_asked_for(
    reading: Reading, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual, mean = PrepareSettings(), PrepareSettings(landmarks="mean")
    job = measuring_job(reading.entries[0], usual)
    assert content_key(job, usual) != content_key(job, mean)
    placed = []

    def measured(clip: Clip, *rest: object) -> Measurement:
        placed.append(type(rest[-1]))
        raise UserError("enough")

    monkeypatch.setattr(module, "measure_coded", measured)
    prepare_one(job, tmp_path, mean)
    assert placed == [MeanShapeFinder]
    with pytest.raises(UserError, match=r"landmarks: expected one of network.*got 'mesh'"):
        validate_settings(PrepareSettings, {"landmarks": "mesh"}, "prepare")


def test_a_mesh_that_is_not_here_is_told_before_any_clip(
    reading: Reading, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DEFT_CACHE", str(tmp_path / "nothing"))
    with pytest.raises(UserError, match="models get face-mesh"):
        prepare(reading, tmp_path / "cache", PrepareSettings(landmarks="face-mesh"))
    assert not list((tmp_path / "cache").glob("*.json"))


def test_images_beside_the_frames_are_not_read(tmp_path: Path) -> None:
    """An overview that sorts before them shifts neither the interval nor the window."""
    written = write_corpus("casme2", tmp_path, subjects=1, clips=2, renderer=tiny)
    folder = written[0].folder
    shutil.copy(list_frames(folder).frames[0], folder / "cover.jpg")
    entry = load_corpus("casme2", tmp_path).read().entries[0]
    interval = written[0].annotation.interval
    assert interval is not None and entry.annotation.interval is not None
    files = list_frames(folder).frames
    assert files[entry.annotation.interval.onset].name == f"img{31 + interval.onset}.jpg"
    job = measuring_job(entry, PrepareSettings(lead=1000, tail=1000, longest=3000))
    assert (job.start, job.stop) == (0, len(files))


def test_the_window_of_a_long_video() -> None:
    def entry(onset: int, apex: int, offset: int, frames: int) -> Entry:
        annotation = Annotation("d", "s", "c", Interval(onset, apex, offset))
        return Entry(annotation, Path("folder"), frames)

    settings = PrepareSettings(lead=12, tail=5, longest=200)
    job = measuring_job(entry(100, 110, 130, 1000), settings)
    assert (job.start, job.stop, job.interval) == (88, 136, Interval(12, 22, 42))
    job = measuring_job(entry(4, 6, 9, 11), settings)
    assert (job.start, job.stop, job.interval) == (0, 11, Interval(4, 6, 9))
    job = measuring_job(entry(5, 5, 3460, 5000), settings)
    assert (job.start, job.stop, job.interval) == (0, 200, Interval(5, 5, 199))
    assert "3261 later" in job.remark


def test_a_cache_that_is_not_whole(
    reading: Reading, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = tmp_path / "cache"
    with pytest.raises(UserError, match="corpora prepare"):
        open_prepared(cache / "casme2.jsonl")
    monkeypatch.setattr(module, "_measure", Gauge())
    rows = prepare(reading, cache)
    file = cache / f"{rows[0].key}.safetensors"
    file.write_bytes(file.read_bytes()[:-3])
    with pytest.raises(UserError, match="damaged"):
        open_prepared(cache / "casme2.jsonl")[0]
    file.unlink()
    with pytest.raises(UserError, match="missing from the cache"):
        open_prepared(cache / "casme2.jsonl")
    with pytest.raises(UserError, match="without frames"):
        prepare(Reading("casme2", (Entry(reading.annotations[0]),), reading.report), cache)


@pytest.mark.slow
def test_two_processes_give_the_same_and_faces_are_found(tmp_path: Path) -> None:
    write_corpus("casme3", tmp_path / "corpus", subjects=2, clips=2)
    reading = load_corpus("casme3", tmp_path / "corpus").read()
    for workers in (1, 2):
        rows = prepare(reading, tmp_path / f"cache{workers}", workers=workers)
        assert not any(row.problem for row in rows)
    one, two = (open_prepared(tmp_path / f"cache{w}" / "casme3.jsonl") for w in (1, 2))
    for name, shape in (("flow", (4, 2, 3, 56, 56)), ("regions", (4, 2, 20, 8))):
        assert one.stack(name).shape == shape
        assert np.array_equal(one.stack(name), two.stack(name))
    lines = [json.loads(x) for x in (tmp_path / "cache2" / "casme3.jsonl").open(encoding="utf-8")]
    assert [line["annotation"]["clip"] for line in lines] == [a.clip for a in reading.annotations]


def test_a_corpus_is_measured_as_a_clip_in_use() -> None:
    assert PrepareSettings().flow == CODED.flow == MotionSettings().flow
