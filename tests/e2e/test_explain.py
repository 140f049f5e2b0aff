"""``deft-llm explain`` as people meet it: good clips, many clips, and poor ones."""

from __future__ import annotations

import csv
import json
import signal
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest

from deft_llm.cli.summary import explained_lines
from deft_llm.clip import Evidence, Explanation
from deft_llm.deft.inference.answer import Answer
from deft_llm.deft.inference.explainer import Explainer
from deft_llm.deft.inference.wording import disagreement
from deft_llm.motion.remarks import NO_MOTION
from deft_llm.queries.findings import Findings
from deft_llm.queries.query import Query
from deft_llm.scans.reading import write_scan
from deft_llm.simulator.own_head.head import OwnHead
from deft_llm.simulator.scans import Scanner, Sitter
from deft_llm.viz import overlay
from tests.e2e.small_clips import DeftLlm, Film, Frames, files, folder_of_frames, labels, noise

REPORT = {"report.html", "explanation.json", "overlay.png"}


# ------------------------------------------------------------------------ good input


def test_clip_gives_summary_and_report(
    deft_llm: DeftLlm, film: Film, face: Frames, tmp_path: Path
) -> None:
    clip = film("surprise.mp4", face)
    result = deft_llm("explain", clip)
    assert (result.status, result.err) == (0, "")
    expected = ["clip", "face", "interval", "emotion", "evidence", "report"]
    assert [label for label in labels(result.out) if label in expected] == expected
    assert f"{len(face)} frames at 60 fps" in result.out
    target = tmp_path / "out" / "surprise"
    assert str(target / "report.html") in result.out
    assert files(tmp_path / "out") == {f"surprise/{name}" for name in REPORT}
    record = json.loads((target / "explanation.json").read_text(encoding="utf-8"))
    probabilities = record["explanation"]["probabilities"]
    assert sum(probabilities.values()) == pytest.approx(1, abs=1e-5)
    assert record["explanation"]["evidence"]

    # The second run replaces the report and leaves other people's files alone.
    (target / "notes.txt").write_text("mine", encoding="utf-8")
    (target / "report.html").write_text("old", encoding="utf-8")
    assert deft_llm("explain", clip).status == 0
    assert files(target) == REPORT | {"notes.txt"}
    assert (target / "report.html").read_text(encoding="utf-8") != "old"


def test_a_scan_beside_the_clip(
    deft_llm: DeftLlm, film: Film, face: Frames, tmp_path: Path
) -> None:
    scan = tmp_path / "smile.wrl"
    write_scan(scan, Sitter.of(OwnHead(), 3).scan({"12": 1.0, "6": 1.0}, Scanner(pitch=1.8)))
    clip = film("clip.mp4", face)
    result = deft_llm("explain", clip, "--scan", scan)
    assert (result.status, result.err) == (0, "")
    assert "smile.wrl, by itself: happiness" in result.out
    record = json.loads((tmp_path / "out" / "clip" / "explanation.json").read_text())
    assert record["scan"]["name"] == "smile.wrl" and len(record["scan"]["views"]) == 3
    assert "emotion" in record["explanation"], "the clip's own verdict stands beside it"

    result = deft_llm("explain", clip, "--scan", clip)
    assert result.status == 2 and result.err.count("\n") == 1 and "clip.mp4" in result.err
    result = deft_llm("explain", clip, film("b.mp4", face), "--scan", scan)
    assert result.status == 2 and "a scan beside one clip, but 2 clips" in result.err


def test_a_disagreement_is_named() -> None:
    explanation = Explanation(
        "surprise",
        {"surprise": 1.0},
        {"1": 0.9, "L12": 0.2},
        (Evidence("left mouth corner", "up", 0.8, 16.0, ("L12", "14")),),
        disagreement=disagreement("surprise", {"L12": 0.02}),
    )
    lines = list(explained_lines(explanation))
    (doubt,) = [line.split(None, 1)[1] for line in lines if line.startswith("doubt")]
    assert doubt.startswith("the AU head gives L12 only 0.02; ") and doubt.endswith("% with L12")
    assert any(line.endswith(" L12 AU14") for line in lines if line.startswith("evidence"))


def test_folder_of_frames(deft_llm: DeftLlm, face: Frames, tmp_path: Path) -> None:
    folder = folder_of_frames(tmp_path / "EP01_5", face)
    result = deft_llm("explain", folder)
    assert result.status == 0, result.err
    assert f"{len(face)} frames at 200 fps" in result.out
    assert files(tmp_path / "out" / "EP01_5") == REPORT


def test_any_path(deft_llm: DeftLlm, film: Film, face: Frames, tmp_path: Path) -> None:
    result = deft_llm("explain", film("Überraschung, 惊讶 'n' co/clip – №1.mp4", face[::5]))
    assert result.status == 0, result.err
    assert files(tmp_path / "out" / "clip – №1") == REPORT


# --------------------------------------------------------------------------- many clips


def test_many_clips_each_get_a_report_and_one_that_fails_stops_no_other(
    deft_llm: DeftLlm, film: Film, face: Frames, tmp_path: Path
) -> None:
    film("data/a/clip.mp4", face[5:20:5])
    (tmp_path / "data" / "b.mp4").write_text("no video")
    other = film("other/clip.mp4", face[5:20:5])
    again = [tmp_path / "data" / "a" / "clip.mp4", other]
    table, objects = tmp_path / "t.csv", tmp_path / "o.json"
    result = deft_llm("explain", *again, tmp_path / "data", "--csv", table, "--json", objects)
    assert result.status == 1
    (line,) = result.err.splitlines()
    assert line.startswith(f"deft-llm: {tmp_path / 'data' / 'b.mp4'}: not a readable video")
    assert result.out.splitlines()[-1] == "done      3 of 4 clips explained"
    reports = {"clip", "clip-2", "a/clip"}
    assert files(tmp_path / "out") == {f"{name}/{file}" for name in reports for file in REPORT}
    rows = list(csv.DictReader(table.open(encoding="utf-8")))
    read = json.loads(objects.read_text(encoding="utf-8"))
    names = [*map(str, again), str(tmp_path / "data" / "b.mp4"), str(again[0])]
    for found in (rows, read):
        assert [row["file"] for row in found] == names
        assert [bool(row["error"]) for row in found] == [False, False, True, False]
    assert [row["report"] for row in rows] == [row.get("report") or "" for row in read]

    # Explained again, each replaces its own report, in any order.
    before = {name: (tmp_path / "out" / name / "report.html").stat().st_ino for name in reports}
    assert deft_llm("explain", *reversed(again)).status == 0
    after = {name: (tmp_path / "out" / name / "report.html").stat().st_ino for name in reports}
    assert {name for name in reports if before[name] != after[name]} == {"clip", "clip-2"}
    assert files(tmp_path / "out") == {f"{name}/{file}" for name in reports for file in REPORT}


def test_objects_alone_go_to_standard_output(
    deft_llm: DeftLlm, film: Film, face: Frames, tmp_path: Path
) -> None:
    clip = film("clip.mp4", face)
    options = ("--json", "-", "--no-report", "--interval", "3,9,20", "--ask", "What <clip> moved?")
    result = deft_llm("explain", clip, *options)
    assert (result.status, result.err) == (0, "")
    (record,) = json.loads(result.out)
    assert record["file"] == str(clip)
    frames = {name: moment["frame"] for name, moment in record["interval"].items()}
    assert frames == {"onset": 3, "apex": 9, "offset": 20}
    assert [row["question"] for row in record["answers"]] == ["What <clip> moved?"]
    assert record["report"] is None
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("interval", "words"),
    [
        ("1,2", "expected three frame numbers"),
        ("a,b,c", "expected three frame numbers"),
        ("9,5,20", "0 <= onset <= apex <= offset"),
        ("1,2,900", "3 frames are read"),
    ],
)
def test_a_wrong_interval(
    deft_llm: DeftLlm, film: Film, face: Frames, interval: str, words: str
) -> None:
    result = deft_llm("explain", film("clip.mp4", face[5:20:5]), "--interval", interval)
    assert result.status == 2
    assert len(result.err.splitlines()) == 1 and words in result.err


def test_an_interval_is_of_one_clip(deft_llm: DeftLlm, tmp_path: Path) -> None:
    result = deft_llm("explain", tmp_path / "a", tmp_path / "b", "--interval", "1,2,3")
    assert (result.status, "2 clips are given" in result.err) == (2, True)
    result = deft_llm("explain", tmp_path / "a", "--all", "--interval", "1,2,3")
    assert (result.status, "give one of the two" in result.err) == (2, True)


def test_a_stop_keeps_what_is_done(
    deft_llm: DeftLlm,
    film: Film,
    face: Frames,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clips = [film(f"{name}.mp4", face[5:20:5]) for name in "abc"]
    explained, explain = [], Explainer.explain

    def stop(*arguments: Any, **options: Any) -> Explanation:
        explained.append(arguments)
        if len(explained) == 2:
            raise KeyboardInterrupt
        return explain(*arguments, **options)

    monkeypatch.setattr(Explainer, "explain", stop)
    result = deft_llm("explain", *clips, "--json", tmp_path / "o.json")
    assert result.status == 130
    assert result.err == "deft-llm: stopped; 1 of 3 clips are done, and kept\n"
    assert files(tmp_path / "out") == {f"a/{name}" for name in REPORT}
    assert len(json.loads((tmp_path / "o.json").read_text())) == 1


def test_sigterm_leaves_no_half_report(
    deft_llm: DeftLlm,
    film: Film,
    face: Frames,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def end(_: Frames) -> bytes:
        signal.raise_signal(signal.SIGTERM)
        return b""

    clip = film("clip.mp4", face[5:20:5])
    monkeypatch.setattr(overlay, "encode_png", end)
    result = deft_llm("explain", clip)
    assert (result.status, result.err) == (143, "")
    assert list((tmp_path / "out").iterdir()) == []


# ------------------------------------------------------- poor input: a result with a word


def test_three_frames(deft_llm: DeftLlm, film: Film, face: Frames, tmp_path: Path) -> None:
    result = deft_llm("explain", film("three.mp4", face[5:20:5]))
    assert result.status == 0, result.err
    assert "3/3 frames" in result.out
    assert files(tmp_path / "out" / "three") == REPORT


def test_face_in_half_of_the_frames(deft_llm: DeftLlm, film: Film, face: Frames) -> None:
    half = len(face) // 2
    gone = noise(half, face.shape[1])
    result = deft_llm("explain", film("half.mp4", np.concatenate([face[:half], gone])))
    assert result.status == 0, result.err
    assert "hard cut at" in result.out and "part from 0.00" in result.out
    shown = int(result.out.split("face", 1)[1].split("/")[0])
    assert abs(shown - half) <= 2


def test_four_k(deft_llm: DeftLlm, film: Film, face: Frames) -> None:
    wide = np.full((3, 2160, 3840, 3), 110, np.uint8)
    for frame, small in zip(wide, face[5:20:5], strict=True):
        frame[:, 840:3000] = cv2.resize(small, (2160, 2160))
    result = deft_llm("explain", film("wide.mp4", wide))
    assert result.status == 0, result.err
    assert "3/3 frames" in result.out


def test_cut_recording(deft_llm: DeftLlm, film: Film, face: Frames, tmp_path: Path) -> None:
    """Its index stands in front, so that the frames before the cut can still be shown."""
    whole, cut = film("whole.mp4", face), tmp_path / "cut.mp4"
    front = str(tmp_path / "front.mp4")
    with av.open(str(whole)) as old, av.open(front, "w", options={"movflags": "faststart"}) as new:
        stream = new.add_stream_from_template(old.streams.video[0])
        for features in old.demux(video=0):
            if features.dts is not None:
                features.stream = stream
                new.mux(features)
    data = Path(front).read_bytes()
    cut.write_bytes(data[: int(0.7 * len(data))])
    result = deft_llm("explain", cut)
    assert result.status == 0, result.err
    assert "damaged or cut" in result.err
    assert files(tmp_path / "out" / "cut") == REPORT


def test_still_face_gets_no_emotion(
    deft_llm: DeftLlm,
    film: Film,
    face: Frames,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Sensor noise alone: the language model is not even asked."""

    def asked(*_: object, **__: object) -> None:
        raise AssertionError("the language model was asked about a face that did not move")

    monkeypatch.setattr(Explainer, "answers", asked)
    grain = np.random.default_rng(1).normal(0, 1.5, (24, *face.shape[1:]))
    still = np.clip(np.rint(face[0] + grain), 0, 255).astype(np.uint8)
    result = deft_llm("explain", film("still.mp4", still))
    assert result.status == 0, result.err
    emotion = next(line for line in result.out.splitlines() if line.startswith("emotion"))
    assert "none named" in emotion
    assert NO_MOTION in emotion
    assert "interval" not in labels(result.out)
    text = (tmp_path / "out" / "still" / "explanation.json").read_text(encoding="utf-8")
    explanation = json.loads(text)["explanation"]
    assert explanation["emotion"] is None
    assert not explanation["probabilities"]
    assert not explanation["aus"]
    assert not explanation["evidence"]


def test_questions_are_answered_in_order(deft_llm: DeftLlm, film: Film, face: Frames) -> None:
    asked = ["What moved?", "And why?"]
    options = [word for question in asked for word in ("--ask", question)]
    result = deft_llm("explain", film("asked.mp4", face), *options)
    assert result.status == 0, result.err
    after = result.out.partition("report")[2]
    assert [line[2:] for line in after.splitlines() if line.startswith("> ")] == asked


@pytest.mark.parametrize("leave", [EOFError, KeyboardInterrupt])
def test_chat_goes_on_until_it_is_left(
    deft_llm: DeftLlm,
    film: Film,
    face: Frames,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    leave: type[BaseException],
) -> None:
    """Earlier turns are remembered; an unsupported sentence is marked; leaving is no failure."""
    saved = tmp_path / "chat.md"
    questions = iter(["/query", "What moved?", "Are you sure?", f"/save {saved}", "/help", "/sing"])
    remembered: list[list[tuple[str, str]]] = []

    def typed(prompt: str) -> str:
        try:
            return next(questions)
        except StopIteration:
            raise leave from None

    def explanation(
        _: object, __: object, turns: list[tuple[str, str]], question: str, *___: object
    ) -> Answer:
        remembered.append(list(turns))
        text = f"Both inner brows move down. I am sure about {question}"
        return Answer(text, Findings(Query("moved")))

    monkeypatch.setattr("builtins.input", typed)
    monkeypatch.setattr(Explainer, "answer", explanation)
    result = deft_llm("chat", film("chat.mp4", face))
    assert result.status == 0, result.err
    assert "Traceback" not in result.err
    assert "Both inner brows move down. [not borne out by the motion] I am sure" in result.out
    answer = "Both inner brows move down. I am sure about What moved?"
    assert remembered == [[], [("What moved?", answer)]]
    assert result.out.count("[moved]") == 2
    assert "/save FILE writes the chat" in result.out
    assert "'/sing': expected /query, /save FILE or /help" in result.out
    assert "**What moved?**" in saved.read_text(encoding="utf-8")
