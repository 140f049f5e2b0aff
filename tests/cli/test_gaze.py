"""``deft-llm gaze``: from a recording to a table and a plot; wrong input in one line."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deft_llm.gaze.network import TrackerConfig, TrackerNet
from deft_llm.gaze.tracker import Tracked, Tracker
from deft_llm.simulator.events import EyeRecording, EyeSpec, simulate_eye
from deft_llm.weights import save_network
from tests.cli.conftest import Run


@pytest.fixture(scope="module")
def made() -> EyeRecording:
    return simulate_eye(EyeSpec(seed=2, eye=71, seconds=1.5, activity="blink"))


@pytest.fixture
def files(here: Path, made: EyeRecording) -> Path:
    e = made.events
    np.savez("eye.npz", t=e.t, x=e.x, y=e.y, p=e.p)
    rng = np.random.default_rng(0)
    places = made.pupil / 8 + rng.normal(0, 1.5, made.pupil.shape)
    rows = [f"{i},{x:.4f},{y:.4f}" for i, (x, y) in enumerate(places)]
    Path("other.csv").write_text("row_id,x,y\n" + "\n".join(rows) + "\n")
    labels = [
        f"({x:.2f}, {y:.2f}, {c:d})" for (x, y), c in zip(made.pupil, made.closed, strict=True)
    ]
    Path("label.txt").write_text("\n".join(labels) + "\n")
    Path("short.csv").write_text("t,x,y,p\n0,1,2,1\n2000,3,4,0\n")
    save_network(TrackerNet(TrackerConfig(width=4, dilations=(1,))), here)
    return here


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open() as file:
        return list(csv.DictReader(file))


def test_refines_the_predictions_of_another_tracker(run: Run, files: Path) -> None:
    result = run("gaze", "eye.npz", "-o", "g.csv", "--predictions", "other.csv", "--labels",
                 "label.txt")  # fmt: skip
    assert result.status == 0, result.err
    rows = _rows(files / "g.csv")
    assert len(rows) == 150
    assert list(rows[0]) == ["t", "seconds", "x", "y", "raw_x", "raw_y", "blink", "saccade"]
    before, after = (
        float(line.split("l2 ")[1].split()[0])
        for line in result.out.splitlines()
        if line.startswith(("before", "after"))
    )
    assert after < 0.8 * before
    assert (files / "g.png").read_bytes()[:4] == b"\x89PNG"


def test_what_looks_wrong_is_told(run: Run, files: Path) -> None:
    """Events of a part of the sensor alone, and predictions that go on behind them."""
    with np.load("eye.npz") as e:
        half = {"t": e["t"], "x": e["x"] // 2, "y": e["y"] // 2, "p": e["p"]}
    np.savez("half.npz", **half)
    early = half["t"] < 500_000
    np.savez("early.npz", **{name: column[early] for name, column in half.items()})
    result = run("gaze", "half.npz", "--tracker", ".", "--no-plot")
    assert result.status == 0 and "of 640 x 480 px; if the sensor is smaller" in result.out
    result = run("gaze", "early.npz", "--predictions", "other.csv", "--no-plot")
    assert result.status == 0 and "of 150 predictions are of times without events" in result.err


def test_tracks_by_itself(run: Run, files: Path) -> None:
    result = run("gaze", "eye.npz", "--tracker", ".", "--no-plot")
    assert result.status == 0, result.err
    rows = _rows(files / "gaze.csv")
    assert "raw_x" not in rows[0]
    assert len(rows) == pytest.approx(150, abs=1)
    assert not (files / "gaze.png").exists()


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("none.h5",), "none.h5: no such file"),
        (("eye.npz", "-o", "g.txt"), "ends in .csv"),
        (("eye.npz", "-o", "no/g.csv"), "there is no folder no"),
        (("eye.npz", "--grid", "80"), "expected WIDTHxHEIGHT"),
        (("eye.npz", "--refine", "--mode", "covarance"), "did you mean 'covariance'"),
        (("eye.npz", "--refine", "--direction", "back"), "--direction back: expected paper or inv"),
        (("eye.npz", "--flow", "off"), "--flow off: expected centroid, plane, telescoped or none"),
        (("eye.npz", "--predictions", "other.csv", "--grid", "20x15"), "on a grid of 20 x 15"),
        (("eye.npz", "--predictions", "other.csv", "--rate", "0"), "--rate 0"),
        (("eye.npz", "--rate", "50"), "--rate: of predictions without times"),
        (("short.csv", "--tracker", "."), "events of 2 ms; expected a recording of at least 10"),
        (
            ("eye.npz", "--predictions", "other.csv", "--sensor", "1280x720"),
            "such as a grid of 80x45",
        ),
        (
            ("eye.npz", "--tracker", ".", "--sensor", "1280x720", "--grid", "80x45"),
            "the tracker sees a grid of 80 x 60, which a sensor of 1280 x 720 pixels does not fit",
        ),
        (("eye.npz", "--tracker", ".", "--grid", "20x15"), "grid of 80x60"),
        (("eye.npz", "--sensor", "320x240", "--tracker", "."), "the sensor has 320 x 240"),
    ],
)
def test_wrong_input(run: Run, files: Path, options: tuple[str, ...], told: str) -> None:
    result = run("gaze", *options)
    assert result.status == 2
    assert told in result.err
    assert result.err.count("\n") == 1


@pytest.mark.parametrize("option", [("--eyes-start", "1.5"), ("--eyes-sensor", "346x260")])
def test_options_of_a_recording_need_one(run: Run, files: Path, option: tuple[str, str]) -> None:
    (files / "clip.mp4").write_bytes(b"x")
    result = run("explain", "clip.mp4", *option)
    assert result.status == 2
    assert result.err == f"deft-llm: {option[0]}: of a recording of the eye; give it with --eyes\n"


@pytest.mark.parametrize(
    ("place", "kept", "table"),
    [
        ("deft_llm.gaze.tracker.Tracker.track", "gaze.csv is not written", False),
        ("deft_llm.viz.gaze_plot.gaze_plot", "gaze.csv is written, its plot is not", True),
    ],
)
def test_ctrl_c_says_what_is_kept(
    run: Run, files: Path, monkeypatch: pytest.MonkeyPatch, place: str, kept: str, table: bool
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(place, interrupt)
    result = run("gaze", "eye.npz", "--tracker", ".")
    assert (result.status, result.err) == (130, f"deft-llm: stopped; {kept}\n")
    assert (files / "gaze.csv").exists() is table and not (files / "gaze.png").exists()


def test_ctrl_c_keeps_what_was_tracked(
    run: Run, files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    track, calls = Tracker.track, []

    def once(*arguments: Any) -> Tracked:
        calls.append(arguments)
        if len(calls) > 1:
            raise KeyboardInterrupt
        return track(*arguments)

    monkeypatch.setattr("deft_llm.gaze.tracker._BLOCK", 60)
    monkeypatch.setattr(Tracker, "track", once)
    result = run("gaze", "eye.npz", "--tracker", ".", "--no-plot")
    assert (result.status, result.err) == (
        130,
        "deft-llm: stopped; gaze.csv holds what was tracked\n",
    )
    assert len(_rows(files / "gaze.csv")) == 60


def test_a_simulated_recording_is_read_by_its_folder(run: Run, files: Path) -> None:
    result = run("simulate", "eyes", "try", "--seconds", "0.5", "--activity", "pursuit")
    assert result.status == 0, result.err
    folder = files / "try" / "pursuit_0"
    assert sorted(p.name for p in folder.iterdir()) == ["label.txt", "pursuit_0.npz"]
    result = run("gaze", folder, "--tracker", ".", "--no-plot", "--labels", folder / "label.txt")
    assert result.status == 0, result.err
    assert result.out.count("l2") == 1, (
        "nothing is refined: one line of errors, no before and after"
    )
    again = run("simulate", "eyes", "try", "--seconds", "0.5", "--activity", "pursuit")
    assert again.status == 2 and "exists already; give a new folder" in again.err
    wrong = run("simulate", "eyes", "try", "--activity", "pursui")
    assert wrong.status == 2
    assert "did you mean 'pursuit'" in wrong.err


def test_a_stop_keeps_whole_recordings(
    run: Run, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half a recording would be read as a whole one, and refuse the same command."""
    save = np.savez

    def stop(path: Path, **columns: np.ndarray) -> None:
        save(path, **columns)  # type: ignore[arg-type]
        if "blink_1" in path.name:
            raise KeyboardInterrupt

    monkeypatch.setattr(np, "savez", stop)
    command = ("simulate", "eyes", "try", "--seconds", "0.3", "--activity", "blink")
    result = run(*command, "--recordings", "3")
    assert (result.status, result.err) == (
        130,
        "deft-llm: stopped; 1 of 3 recordings written, and kept\n",
    )
    assert (here / "try" / "blink_0").is_dir() and not (here / "try" / "blink_1").exists()
    monkeypatch.setattr(np, "savez", save)
    assert run(*command, "--seed", "1").status == 0


def test_wrong_labels_cost_no_tracking(
    run: Run, files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Tracker, "track", lambda *_: pytest.fail("it tracks"))
    result = run("gaze", "eye.npz", "--tracker", ".", "--labels", "none.txt")
    assert (result.status, result.err) == (2, "deft-llm: none.txt: no such file\n")


def test_labels_of_another_time_cost_no_table(run: Run, files: Path) -> None:
    Path("late.csv").write_text("t,x,y\n" + "".join(f"{10**6 + i},9,9\n" for i in range(9)))
    Path("first.txt").write_text("(72, 72, 0)\n")
    options = ("--predictions", "late.csv", "--labels", "first.txt", "--no-plot", "-o", "g.csv")
    assert run("gaze", "eye.npz", *options).status == 2
    assert len(_rows(files / "g.csv")) == 9


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("-o", "other.csv", "--predictions", "other.csv"), "would replace the input"),
        (("-o", "gaze.csv", "--causal"), "--causal: says how to refine"),
        (("-o", "gaze.csv", "--mode", "raw"), "--mode: says how to refine"),
        (("--refine", "--released", "--direction", "paper"), "--released: refines as published"),
        (("--predictions", "other.csv", "--tracker", "."), "give one"),
        (("-o", "folder.csv"), "is a folder"),
    ],
)
def test_options_that_contradict_each_other(
    run: Run, files: Path, options: tuple[str, ...], told: str
) -> None:
    (files / "folder.csv").mkdir()
    before = Path("other.csv").read_text()
    result = run("gaze", "eye.npz", *options)
    assert result.status == 2 and told in result.err and result.err.count("\n") == 1
    assert Path("other.csv").read_text() == before and not Path("gaze.csv").exists()
