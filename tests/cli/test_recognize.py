"""``deft-llm recognize``: classes by examples or as trained, and every wrong support set."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from deft_llm.cli import recognizing
from deft_llm.clip import Clip, Interval
from deft_llm.errors import UserError
from deft_llm.motion.measure import Measurement
from deft_llm.recognizers.base import Recognizer, load_recognizer
from tests.cli.conftest import Run

ROOT = Path(__file__).resolve().parents[2]
MPFNET = {"variant": "afe", "width": 8, "side": 32}
CLASSES = ("brow", "mouth", "still")


def save(folder: Path, name: str, options: dict[str, object]) -> Path:
    """An untrained network as a run leaves it."""
    torch.manual_seed(0)
    network = load_recognizer(name, 2, **options)
    assert isinstance(network, Recognizer)
    final = folder / "final"
    final.mkdir(parents=True)
    state = {n: x.contiguous() for n, x in network.state_dict().items()}
    save_file(state, final / "model.safetensors", metadata={"format": "pt"})
    text = json.dumps({"classes": ["a", "b"], "recognizer": name, "options": options})
    (final / "config.json").write_text(text, encoding="utf-8")
    return folder


@pytest.fixture
def mpfnet(here: Path) -> Path:
    return save(here / "run", "mpfnet", MPFNET)


@pytest.fixture(autouse=True)
def measured(monkeypatch: pytest.MonkeyPatch, make_measurement: Callable[..., Measurement]) -> None:
    """Clips are files with a number; modulo 3 it says which half of the face moves."""

    def measure(
        path: Path, options: object, interval: Interval | None
    ) -> tuple[Clip | None, Measurement]:
        text = path.read_text(encoding="utf-8")
        if text == "bad":
            raise UserError(f"{path}: not a readable video")
        made = make_measurement(found=text != "2")
        frames = made.aligned.frames[: 4 if text == "short" else 12].copy()
        number = int(text) if text.isdigit() else 0
        skin = np.roll(frames[0], 7 * number, axis=0)
        half = (slice(0, 112), slice(112, 224), slice(0, 2))[number % 3]
        moved = skin.copy()
        moved[half] = np.roll(skin, 2, axis=1)[half]
        frames[:3], frames[3:] = skin, moved
        aligned = replace(made.aligned, frames=frames, present=np.ones(len(frames), bool))
        return None, replace(made, aligned=aligned, interval=interval or Interval(1, 3, 3))

    monkeypatch.setattr(recognizing, "measure_video", measure)


def clip(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


@pytest.fixture
def support(here: Path) -> Path:
    for number in range(6):
        clip(here / "support" / CLASSES[number % 3] / f"{number}.mp4", str(number))
    return here / "support"


def test_a_few_examples_name_new_classes(run: Run, here: Path, mpfnet: Path, support: Path) -> None:
    asked = [clip(here / f"q{i}.mp4", str(i)) for i in (6, 7)]
    done = run("recognize", *asked, "--support", support, "--weights", mpfnet, "--json", "-")
    assert done.status == 0
    records = json.loads(done.out)
    assert [r["predicted"] for r in records] == ["brow", "mouth"]
    for record in records:
        assert set(record["probabilities"]) == set(CLASSES)
        assert sum(record["probabilities"].values()) == pytest.approx(1, abs=1e-5)
        assert record["interval"] == {"onset": 1, "apex": 3, "offset": 3}
        assert record["model"] == "mpfnet-afe" and record["error"] is None
    assert "still/2.mp4: no movement above the noise" in done.err


def test_without_examples_the_classes_are_those_of_the_training(
    run: Run, here: Path, mpfnet: Path
) -> None:
    done = run("recognize", clip(here / "q.mp4", "6"), "--weights", mpfnet, "--csv", "out.csv")
    assert done.status == 0 and "class     " in done.out
    head, row = (here / "out.csv").read_text(encoding="utf-8").splitlines()
    assert head.startswith("file,predicted,probability,onset")
    assert row.split(",")[1] in ("a", "b")


def test_a_bad_clip_does_not_stop_the_others(
    run: Run, here: Path, mpfnet: Path, support: Path
) -> None:
    # A copy of a support clip under another name, a clip that cannot be read, and a good one.
    asked = [clip(here / n, t) for n, t in (("c.mp4", "4"), ("x.mp4", "bad"), ("q.mp4", "7"))]
    done = run("recognize", *asked, "--support", support, "--weights", mpfnet, "--json", "o.json")
    assert done.status == 1
    assert "c.mp4: also in the support set, as" in done.err and "4.mp4" in done.err
    records = json.loads((here / "o.json").read_text(encoding="utf-8"))
    assert [bool(r["error"]) for r in records] == [True, True, False]


@pytest.mark.parametrize(
    ("change", "more", "words"),
    [
        ("", ["--interval", "3,3,5"], "onset 3 and apex 3; expected an apex after the onset"),
        ("empty", [], "class 'angry' has no clip; give at least one"),
        ("one", [], "1 class; expected clips of two classes or more"),
        ("none", [], "no folder of a class in it; expected SUPPORT/CLASS/"),
        ("twice", [], "are the same clip; leave it in one class"),
        ("mol", [], "mol takes no examples; give an mpfnet"),
        ("", ["--model", "mpfnet-c"], "holds mpfnet-afe; expected mpfnet-c"),
    ],
)
def test_what_cannot_be_answered_is_one_line(
    run: Run, here: Path, mpfnet: Path, change: str, more: list[str], words: str
) -> None:
    weights = mpfnet
    if change == "mol":
        weights = save(here / "mol", "mol", {"flow": False, "landmarks": False})
    for number in range(2 if change != "none" else 0):
        label = "brow" if change == "one" else CLASSES[number]
        clip(here / "s" / label / f"{number}.mp4", "0" if change == "twice" else str(number))
    (here / "s" / ("angry" if change == "empty" else "")).mkdir(parents=True, exist_ok=True)
    asked = clip(here / "q.mp4", "6")
    done = run("recognize", asked, "--support", here / "s", "--weights", weights, *more)
    assert done.status == 2 and words in done.err
    told = [line for line in done.err.splitlines() if not line.startswith("WARNING")]
    assert len(told) == 1 and told[0].startswith("deft-llm: ")


def test_mol_needs_eight_frames(run: Run, here: Path) -> None:
    weights = save(here / "mol", "mol", {"flow": False, "landmarks": False})
    done = run("recognize", clip(here / "q.mp4", "short"), "--weights", weights)
    assert done.status == 2
    assert "q.mp4: a clip of 4 frames; expected at least 8" in done.err


def test_without_a_network_measured_motion_is_compared(run: Run, here: Path, support: Path) -> None:
    asked = clip(here / "q.mp4", "6")
    done = run("recognize", asked, "--support", support, "--json", "-")
    assert done.status == 0
    (record,) = json.loads(done.out)
    assert record["model"] == "motion" and set(record["probabilities"]) == set(CLASSES)
    assert sum(record["probabilities"].values()) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--model", "mpfnet-p"], "train it first"),
        (["--model", "mpfnett"], "expected motion, or the name of a network, such as mpfnet-c"),
        ([], "nothing to compare the clips with"),
        (["--support", "support", "--heatmaps", "h"], "--heatmaps: motion draws none"),
    ],
)
def test_without_weights_it_says_where_they_come_from(
    run: Run, here: Path, support: Path, more: list[str], words: str
) -> None:
    done = run("recognize", clip(here / "q.mp4", "0"), *more)
    assert (
        done.status == 2 and words in done.err and "--weights" in done.err
    ) or "mpfnet" in done.err


def test_heat_maps_show_where_the_network_looked(
    run: Run, here: Path, mpfnet: Path, support: Path
) -> None:
    asked = [clip(here / folder / "q.mp4", "6") for folder in ("one", "two")]
    options = ("--support", support, "--weights", mpfnet, "--heatmaps", here / "seen")
    done = run("recognize", *asked, *options, "--json", "-")
    assert done.status == 0
    pictures = {record["heatmap"] for record in json.loads(done.out)}
    assert len(pictures) == 2  # clips of one name keep a picture each
    for picture in pictures:
        assert cv2.imread(picture).shape[1] > 4 * 2 * 224


def test_heat_maps_of_another_network_are_refused(run: Run, here: Path) -> None:
    other = save(here / "other", "ststnet", {})
    asked = clip(here / "q.mp4", "6")
    done = run("recognize", asked, "--weights", other, "--heatmaps", here / "seen")
    assert done.status == 2
    assert "--heatmaps: ststnet draws none; give an mpfnet" in done.err
    assert not (here / "seen").exists()


def test_psyau_says_which_pairs_of_aus_carried_the_class(run: Run, here: Path) -> None:
    weights = save(here / "psyau", "psyau", {})
    (here / "no").mkdir()
    files = ("--json", "o.json", "--csv", "o.csv")
    done = run("recognize", clip(here / "q.mp4", "6"), "no", "--weights", weights, *files)
    assert done.status == 1 and "carried by AU" in done.out
    record = json.loads((here / "o.json").read_text(encoding="utf-8"))[0]
    with (here / "o.csv").open(encoding="utf-8") as table:
        named, failed = csv.DictReader(table)
    assert named["AU pairs"].count("AU") >= 3 and named["AU pairs"] in done.out
    assert failed["AU pairs"] == "" and failed["error"]
    assert len(record["au_pairs"]) == 3
    shares = [pair["share"] for pair in record["au_pairs"]]
    assert shares == sorted(shares, reverse=True) and 0 < sum(shares) <= 1


def test_ctrl_c_says_what_is_kept(
    run: Run, here: Path, support: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = [clip(here / f"q{i}.mp4", text) for i, text in enumerate(("6", "bad", "7"))]
    measure = recognizing.measure_video

    def stop(path: Path, *rest: object) -> object:
        if path == asked[2]:
            raise KeyboardInterrupt
        return measure(path, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(recognizing, "measure_video", stop)
    done = run("recognize", *asked, "--support", support, "--json", "rows.json")
    assert done.status == 130
    assert done.err.endswith("deft-llm: stopped; 1 of 3 clips are done, and kept\n")
    rows = json.loads((here / "rows.json").read_text())
    assert [row["error"] is None for row in rows] == [True, False]


def test_heat_maps_are_not_read_again(run: Run, here: Path, mpfnet: Path, support: Path) -> None:
    clip(here / "clips" / "q.mp4", "6")
    tree = ("recognize", "clips", "--support", support, "--weights", mpfnet)
    for number in range(2):
        cv2.imwrite(str(clip(here / "clips" / "heat" / f"{number}.png", "")), np.zeros((9, 9, 3)))
    done = run(*tree, "--heatmaps", "clips/heat")
    assert done.status == 0 and done.out.count("clip ") == 1
