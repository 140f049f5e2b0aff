"""A video of any length is searched part by part: each expression once, and gone on with later."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from deft_llm.clip import Clip, Expression, Interval
from deft_llm.data.roi_tracking import RoiTrack
from deft_llm.errors import NoFaceError, UserError
from deft_llm.media import windows
from deft_llm.media.options import ReadOptions
from deft_llm.media.parts import Part
from deft_llm.media.tracking import FaceTrack
from deft_llm.media.video import write_video
from deft_llm.media.windows import Window
from deft_llm.motion.evidence import fewest_aus
from deft_llm.motion.measure import Measurement
from deft_llm.motion.region_paths import Trajectory
from deft_llm.motion.regions import REGION_NAMES, RegionTable
from deft_llm.motion.rois import ROIS
from deft_llm.spotters import returning, trained
from deft_llm.spotters.finder import Found, Look, Spotted, join_macros
from deft_llm.spotters.hysteresis import Thresholds, decode, expressions
from deft_llm.spotters.priors import CLASSES, SPOTTING_MAINLY
from deft_llm.spotters.spot import CONTEXT, Progress, load_finder, search_video, spot, suited
from deft_llm.spotters.trained import TrainedFinder
from tests.spotters.finders import KnownFinder, spotted

Measure = Callable[..., Measurement]
EXPRESSIONS = (spotted(10, 14, 20), spotted(52, 56, 60), spotted(80, 84, 90))


def searched(finder: KnownFinder, known: tuple[Progress, ...] = ()) -> list[Progress]:
    seen = [each.seen for each in known if each.seen is not None]
    return list(search_video("any", ReadOptions(), finder, known=seen))


def test_what_two_parts_show_is_told_once(make_measurement: Measure) -> None:
    steps = searched(KnownFinder(EXPRESSIONS, make_measurement(), 160))
    assert [each.spotted for step in steps for each in step.found] == list(EXPRESSIONS)
    frames = [frame for step in steps if step.seen for frame in step.seen.frames]
    assert frames == list(range(160))
    assert steps[-1].done == 1.0


def test_going_on_is_the_same_as_never_having_stopped(make_measurement: Measure) -> None:
    """Parts that are known, also after JSON, are not looked at again."""
    looked: list[int] = []
    finder = KnownFinder(EXPRESSIONS, make_measurement(), 160, looked.append)
    whole = searched(finder)
    looked.clear()
    again = searched(finder, tuple(whole[:3]))
    assert looked == [2]
    assert [step.seen for step in again] == [step.seen for step in whole]
    for step in whole:
        if step.seen is not None:
            back = type(step.seen).from_dict(json.loads(json.dumps(step.seen.to_dict())))
            assert back == step.seen


def test_movements_of_one_smile_are_one_macro_expression() -> None:
    rise, stop = spotted(10, 14, 20, "macro", 8.0), spotted(24, 26, 30, "micro", 0.5)
    fade, apart = spotted(33, 36, 40, "macro", 4.0), spotted(70, 74, 80, "macro", 5.0)
    lone = spotted(90, 92, 96)
    one, other, last = join_macros([rise, stop, fade, apart, lone], 0.5)
    assert one.expression.interval == Interval(10, 14, 40)
    assert (one.kind, one.evidence) == ("macro", rise.evidence)
    # Half a second after a macro-expression, a micro-expression stays one.
    assert (other, last) == (apart, lone)


@pytest.mark.parametrize(
    ("onset", "region", "joins"),
    [
        (21, "left inner brow", True),
        (25, "left inner brow", False),  # 0.2 s after the macro-expression
        (21, "chin", False),
    ],
)
def test_what_touches_a_macro_expression_and_moves_as_it_did_is_its_part(
    onset: int, region: str, joins: bool
) -> None:
    smile, small = spotted(10, 14, 20, "macro", 8.0), spotted(onset, onset + 3, onset + 8)
    small = replace(small, evidence=tuple(replace(row, region=region) for row in small.evidence))
    found = join_macros([smile, small], 0.5)
    assert len(found) == (1 if joins else 2)
    assert found[0].expression.interval == Interval(10, 14, onset + 8 if joins else 20)
    assert found[0].evidence == smile.evidence
    # The same before it as after it.
    early = replace(spotted(0, 2, 30 - onset), evidence=small.evidence)
    assert len(join_macros([early, smile], 0.5)) == len(found)


@pytest.mark.parametrize(
    ("lift", "returned", "kind"), [(0.8, 0.9, "micro"), (0.8, 0.2, "macro"), (9.0, 0.9, "macro")]
)
def test_large_or_held_movements_are_macro_expressions(
    make_measurement: Measure, lift: float, returned: float, kind: str
) -> None:
    measured = replace(make_measurement(lift), returned=returned)
    found = Found.of(measured, Expression(Interval(101, 105, 109))).spotted
    assert found.kind == kind
    assert found.seconds == (0.005, 0.025, 0.045)
    assert found.evidence[0].region == "left inner brow"


def test_a_network_sees_too_little_of_a_short_video() -> None:
    """The example clips, of half a second: a network alone would miss four of them."""
    assert suited("embedded", CONTEXT) == "embedded" and suited("embedded", 0.4) == "returning"
    assert suited("runs/mine", 0.4) == "runs/mine", "the user's own is taken as it is"
    clip = Path(__file__).resolve().parents[2] / "demo" / "clips" / "03_disgust.mp4"
    (found,) = spot(clip)
    assert found.kind == "micro" and 0.1 < found.seconds[1] < 0.25


def test_videos_that_can_show_nothing(tmp_path: Path) -> None:
    grey = np.full((12, 64, 64, 3), 90, np.uint8)
    write_video(tmp_path / "grey.mp4", grey, 25)
    with pytest.raises(NoFaceError, match="no face in 12 frames, so no expression"):
        spot(tmp_path / "grey.mp4")
    write_video(tmp_path / "short.mp4", grey[:3], 25)
    with pytest.raises(UserError, match="3 frames, too short"):
        spot(tmp_path / "short.mp4")
    with pytest.raises(UserError, match="expected 'returning', 'embedded', or the folder"):
        load_finder("retruning")


@dataclass
class Read:
    score: np.ndarray
    logits: np.ndarray


class Known:
    """Stands for a network: a score that is known, on every second frame of the video."""

    name, thresholds, prior, fps, rois = "known", Thresholds(), SPOTTING_MAINLY, 15.0, 18

    def read(self, curves: np.ndarray) -> Read:
        assert curves.shape == (36, 60)
        score = np.zeros(60, np.float32)
        score[12:20] = 0.9
        logits = np.zeros((60, len(CLASSES)), np.float32)
        logits[:, CLASSES.index("surprise")] = 2.0
        return Read(score, logits)

    def decode(self, curves: Read) -> list[Expression]:
        found = expressions(curves.score, decode(curves.score, self.thresholds))
        return [replace(each, emotion="surprise") for each in found]


class Silent(Known):
    """A network that finds nothing."""

    fps = 30.0

    def read(self, curves: np.ndarray) -> Read:
        return Read(np.zeros(curves.shape[1]), np.zeros((curves.shape[1], len(CLASSES))))


def test_a_trained_spotter_reads_at_its_own_rate(
    make_measurement: Measure, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Frames are those of the video all the same, and the full rate is measured."""
    write_video(tmp_path / "v.mp4", np.zeros((120, 32, 32, 3), np.uint8), 30)
    measured: list[tuple[Interval, float]] = []

    def follow(source: Path, options: ReadOptions, cache: Path | None) -> list[RoiTrack]:
        assert options.stride == 2
        motion = np.ones((60, len(ROIS), 2), np.float32)
        return [RoiTrack(0, motion, np.zeros(60, np.int64), np.arange(60) / 15)]

    def parts(source: Path, options: ReadOptions) -> list[Part]:
        frames = np.zeros((70, 2, 2, 3), np.uint8)
        times = np.arange(70) / 30
        clips = [Clip("a", frames, times), Clip("b", frames, times + 50 / 30)]
        return [
            Part(clip, start, 70, start > 0) for clip, start in zip(clips, (0, 50), strict=True)
        ]

    def measure(aligned: Clip, interval: Interval) -> Measurement:
        measured.append((interval, float(aligned.timestamps[0])))
        return make_measurement()

    monkeypatch.setattr(trained, "resolve", lambda *_: lambda folder: Known())
    monkeypatch.setattr(trained, "follow_rois", follow)
    monkeypatch.setattr(trained, "parts_of", parts)
    monkeypatch.setattr(trained, "track_faces", lambda *_, **__: make_measurement().aligned)
    monkeypatch.setattr(trained, "align", lambda clip, *_: clip)
    monkeypatch.setattr(trained, "measure", measure)
    steps = list(search_video(tmp_path / "v.mp4", finder=TrainedFinder(tmp_path)))
    (found,) = [each.spotted for step in steps for each in step.found]
    # The decoder's border lies a frame outside, and every second frame was read.
    assert (found.expression.interval.onset, found.expression.interval.offset) == (22, 40)
    # Of these frames, whichever the measurement took.
    assert found.seconds == tuple(
        round(t / 30, 4) for t in vars(found.expression.interval).values()
    )
    # A second and a half at rest on both sides, as far as the part goes.
    assert measured == [(found.expression.interval, 0.0)]
    assert max(found.probabilities, key=found.probabilities.__getitem__) == "surprise"
    seen = [step.seen for step in steps if step.seen is not None]
    assert [frame for part in seen for frame in part.frames] == list(range(0, 120, 2))
    assert isinstance(found, Spotted) and steps[-1].done == 1.0
    assert found.scorer == "known"


def test_what_a_cut_leaves_of_an_expression_is_named_anew(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The emotion is the likeliest of the probabilities that stand beside it."""

    class Changing(Known):
        def read(self, curves: np.ndarray) -> Read:
            read = super().read(curves)
            # Before the cut, the stronger part speaks for another emotion.
            read.logits[:16, CLASSES.index("positive")] = 9.0
            return read

        def decode(self, curves: Read) -> list[Expression]:
            return [Expression(Interval(11, 17, 20), "positive")]

    monkeypatch.setattr(trained, "resolve", lambda *_: lambda folder: Changing())
    motion = np.ones((60, len(ROIS), 2), np.float32)
    track = RoiTrack(0, motion, np.repeat([0, 1], [16, 44]), np.arange(60) / 15)
    read = TrainedFinder(tmp_path)._read(track, ReadOptions())
    ((told, shares),) = read.expressions
    assert told.interval == Interval(16, 17, 20)
    assert told.emotion == "surprise" == max(shares, key=shares.__getitem__)


def test_macro_expressions_join_what_the_network_found(
    make_measurement: Measure, monkeypatch: pytest.MonkeyPatch
) -> None:
    large = replace(make_measurement(9.0), returned=1.0)
    found = Found.of(make_measurement(0.5), Expression(large.interval))

    def look(*kinds: Found) -> Look:
        return Look(np.arange(3), np.arange(3) / 30, np.zeros(3, np.float32), kinds, ("told",))

    again = Found.of(large, Expression(large.interval))
    earlier = replace(again, spotted=replace(again.spotted, seconds=(-2.0, -1.9, -1.8)))
    small = replace(earlier, spotted=replace(earlier.spotted, kind="micro"))
    assert again.spotted.kind == "macro" and found.spotted.kind == "micro"
    asked: list[Window] = []

    def returning(window: Window, options: ReadOptions) -> Look:
        asked.append(window)
        return look(earlier, small, again)

    monkeypatch.setattr(trained, "look_at", returning)
    part = Part(Clip("v", np.zeros((3, 2, 2, 3), np.uint8), np.arange(3) / 30), 40, 0, False)
    both = trained._with_macros(lambda: look(found), part, ReadOptions())
    # What the network found as well is not told twice, and what is small is its affair.
    assert both.found == (earlier, found)
    assert both.remarks == ("told",) and asked == [Window(part.clip, 40, False)]


@pytest.mark.parametrize("start", [0, 20])
def test_only_what_the_next_part_shows_is_left_to_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, start: int
) -> None:
    """What a cut or the end of the video cuts off is found; else it would be nowhere, or twice."""
    scenes = np.random.default_rng(0).integers(0, 256, (2, 6, 8, 3), np.uint8)
    pictures = [np.kron(scene, np.ones((16, 16, 1), np.uint8)) for scene in scenes]
    write_video(tmp_path / "v.mp4", np.repeat(pictures, 60, axis=0), 30)
    length = 120 - start
    motion, shots = np.ones((length, len(ROIS), 2), np.float32), np.zeros(length, np.int64)
    track = RoiTrack(0, motion, shots, np.arange(length) / 30)
    monkeypatch.setattr(windows, "_MADE", 0)
    monkeypatch.setattr(windows, "WINDOW_BYTES", 80 * pictures[0].nbytes)
    asked: list[tuple[int, bool]] = []  # where a part stops, and whether it is final

    def returning(window: Window, options: ReadOptions) -> Look:
        asked.append((window.first + len(window.clip), window.last))
        frames = window.first + np.arange(len(window.clip))
        return Look(frames, window.clip.timestamps, np.zeros(len(frames), np.float32), ())

    monkeypatch.setattr(trained, "resolve", lambda *_: lambda folder: Silent())
    monkeypatch.setattr(trained, "follow_rois", lambda *_: [track])
    monkeypatch.setattr(trained, "look_at", returning)
    finder = TrainedFinder(tmp_path, macros=True)
    steps = list(search_video(tmp_path / "v.mp4", ReadOptions(start=start), finder))
    # Windows overlap, so that a shot may be seen to its end by two of them.
    assert set(asked) == {(60, True), (start + 80, False), (120, True)}
    assert steps[-1].done == 1.0


def test_logged_macro_expressions_are_as_old_as_the_search_for_them(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("config.json", "model.safetensors"):
        (tmp_path / name).write_text(name, encoding="utf-8")
    monkeypatch.setattr(trained, "resolve", lambda *_: lambda folder: Silent())

    def keys() -> tuple[str, str]:
        return TrainedFinder(tmp_path).key, TrainedFinder(tmp_path, macros=True).key

    alone, with_macros = keys()
    monkeypatch.setattr(returning.ReturningFinder, "key", "another search")
    assert keys()[0] == alone != with_macros != keys()[1]


def test_neighbours_are_not_measured_with_an_expression() -> None:
    one, other, far = Interval(20, 25, 30), Interval(30, 33, 40), Interval(300, 305, 310)
    places = [one, other, far]
    assert trained._alone(one, places, 45, 400) == (0, 30)
    assert trained._alone(other, places, 45, 400) == (30, 85)
    assert trained._alone(far, places, 45, 320) == (255, 320)
    # Two that touch: each of their borders is one more frame on either side.
    score = np.repeat([0, 0.9, 0.52, 0.9, 0], [10, 10, 4, 10, 10])
    touching = decode(score)
    (_, _, first), (second, _, _) = (tuple(vars(each).values()) for each in touching)
    assert second < first
    assert trained._alone(touching[0], touching, 45, 43) == (0, first)
    assert trained._alone(touching[1], touching, 45, 43) == (second, 43)


def test_what_is_told_of_the_face_comes_once(
    make_measurement: Measure, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each window sees the second person anew; a cut makes two shots of one window."""
    aligned = make_measurement().aligned
    track = FaceTrack(np.zeros((12, 4)), np.ones(12, bool), remarks=("another face is there",))
    still = Trajectory(
        np.zeros((12, len(REGION_NAMES), 2), np.float32), np.zeros((12, 2), np.float32)
    )
    still.regions[5] = 1.0
    monkeypatch.setattr(returning, "shots", lambda clip: [(0, 12), (14, 26)])
    monkeypatch.setattr(returning, "track_faces", lambda *_, **__: track)
    monkeypatch.setattr(returning, "align", lambda *_: aligned)
    # Cut off by the end of the first shot, and by the end of the window.
    found = (Interval(8, 10, 11),)
    monkeypatch.setattr(returning, "watch_expressions", lambda _: (found, still))
    monkeypatch.setattr(returning, "measure", lambda *_, **__: make_measurement())
    clip = Clip("two", np.zeros((26, 8, 8, 3), np.uint8), np.arange(26) / 25)
    look = returning.look_at(Window(clip, 100, False), ReadOptions(stride=2))
    cut = "hard cut at 0.56 s; no motion is measured across it"
    assert look.remarks == (cut, "another face is there")
    # Between the shots lie blank frames; at rest the curve is 0.
    assert np.flatnonzero(np.isnan(look.curve)).tolist() == [12, 13]
    assert np.flatnonzero(look.curve > 0.5).tolist() == [5, 19]
    assert look.frames[:3].tolist() == [100, 102, 104]
    # No later window shows the first shot; the second one goes on in the next window.
    (only,) = look.found
    assert only.spotted.expression.interval == Interval(102, 110, 118)
    assert len(returning.look_at(Window(clip, 0, True)).found) == 2


def test_the_fewest_action_units(make_measurement: Measure) -> None:
    table = make_measurement().table_apex

    def moved(*names: str) -> RegionTable:
        there = np.isin(REGION_NAMES, names)
        up = np.where(there, -1.0, 0.0).astype(np.float32)
        return replace(table, u=0 * up, v=up, magnitude=-up, active=there, z=10 * -up)

    assert fewest_aus(moved("left inner brow", "right inner brow", "glabella")) == ("1",)
    assert fewest_aus(moved("left outer brow")) == ("L2",)
    assert fewest_aus(moved("left outer brow", "right outer brow", "left inner brow")) == (
        "L1",
        "2",
    )
    assert fewest_aus(moved()) == ()
