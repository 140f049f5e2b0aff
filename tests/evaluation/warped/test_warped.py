"""The benchmark of warped faces: its faces, its scores, and a small run by its file."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from deft_llm import facs, resources
from deft_llm.answers import coarse_label
from deft_llm.errors import UserError
from deft_llm.evaluation.benchmark import run
from deft_llm.evaluation.warped import benchmark, unfinished
from deft_llm.evaluation.warped.clips import NUMBERS, SETS, Condition, Order, Row, rows_of
from deft_llm.evaluation.warped.faces import files_in, real_faces, rendered_faces
from deft_llm.evaluation.warped.natural import NaturalClip, find
from deft_llm.evaluation.warped.scores import by_class, by_condition, figure_names, figures
from deft_llm.files import read_lines
from deft_llm.media.video import write_video
from deft_llm.simulator.scene.clip_spec import draw_spec
from deft_llm.simulator.scene.clips import render_clip
from deft_llm.simulator.scene.statistics import combinations

CONDITIONS = {"smile": Condition(), "still": Condition(expression=False)}


def row(**changes: Any) -> Row:
    values: dict[str, Any] = {
        **{"kind": "real", "condition": "smile", "face": "me.jpg", "second": 0.0},
        **{"expected": "positive", "codes": ("6", "12"), "peak_px": 1.0},
        **{"named": "positive", "named_aus": (6, 12)},
    }
    return Row(**(values | changes))


def still(**changes: Any) -> Row:
    return row(**{"condition": "still", "expected": None, "codes": (), "named_aus": ()} | changes)


def test_only_the_class_that_moved_is_right() -> None:
    assert row().right
    assert not row(named="negative").right
    assert not row(named=None).right
    assert not row(problem="no face").right
    assert still(named=None).right
    assert not still(named=None, named_aus=(12,)).right
    assert not still(named="negative").right


def test_each_combination_has_the_class_of_its_codings() -> None:
    """Counted anew: a combination on one side counts the codings of either side alone."""

    def kind(code: str) -> tuple[int, bool]:
        return facs.au_number(code), code[0] in "LR"

    for label, sets in SETS.items():
        for aus in sets:
            counts: Counter[str] = Counter()
            for emotion, codings in combinations().items():
                for codes, count in codings.items():
                    if codes and {kind(c) for c in codes.split("+")} == {kind(c) for c in aus}:
                        counts[coarse_label(emotion)] += int(count)
            judged = {name: n for name, n in counts.items() if name in SETS}
            assert max(judged, key=judged.__getitem__) == label, (aus, counts)


def test_figures_are_shares_of_their_own_rows() -> None:
    rows = [
        row(errors=(0.1, 0.3), stated=(True, False), moved=(True, True)),
        row(named="negative", named_aus=(4,), stated=(True, True)),
        still(named=None),
        still(named="surprise", named_aus=(1,)),
    ]
    values = figures("real", rows, CONDITIONS)
    assert list(values) == figure_names("real", CONDITIONS)
    assert values["real_smile_right"] == 0.5
    assert values["real_still_false_alarms"] == 0.5
    assert values["real_aus_recall"] == 0.5
    assert values["real_aus_f1"] == pytest.approx(2 / 3)  # 6 and 12: once of twice
    assert values["real_region_error"] == pytest.approx(0.2)
    assert values["real_directions_right"] == 0.75
    assert values["real_regions_found"] == 1.0
    assert [line["right"] for line in by_condition(rows)] == [1, 1]
    assert [line["negative"] for line in by_class(rows)] == [1]


def test_real_and_rendered_faces_are_never_in_one_row() -> None:
    rows = [row(), row(kind="rendered", named="negative")]
    assert [(r["faces"], r["right"]) for r in by_condition(rows)] == [("real", 1), ("rendered", 0)]
    assert len(by_class(rows)) == 2


def test_a_one_sided_au_has_a_row_of_its_own() -> None:
    rows = [row(codes=("12",)), row(codes=("L12",))]
    assert [line["AUs"] for line in by_class(rows)] == ["12", "L12"]
    assert rows[1].aus == (12,)


def test_every_combination_of_aus_is_one_that_is_scored() -> None:
    assert set(SETS) == {"positive", "negative", "surprise"}
    assert set(NUMBERS) == {1, 2, 4, 5, 6, 7, 9, 10, 12, 15, 17}


@pytest.fixture(scope="module")
def own_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A photo and a clip of a face as a user has them, with a note and a picture of a wall."""
    folder = tmp_path_factory.mktemp("camera")
    frames = render_clip(draw_spec(3, 11, emotion=None, aus=(), blink=None)).clip.frames
    (folder / "photos").mkdir()
    cv2.imwrite(str(folder / "photos" / "me 2.jpg"), frames[0, :, :, ::-1])
    cv2.imwrite(str(folder / "wall.png"), np.full((90, 120, 3), 128, np.uint8))
    (folder / "notes.txt").write_text("filmed on Monday\n")
    (folder / ".hidden").write_text("x")
    write_video(folder / "rest.mp4", frames, 30)
    return folder


def test_a_users_folder_gives_faces(own_folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    files = files_in(own_folder)
    assert [path.name for path in files] == ["notes.txt", "me 2.jpg", "rest.mp4", "wall.png"]
    faces = real_faces(files, 4)
    assert [Path(face.name).name for face in faces] == ["me 2.jpg"] * 2 + ["rest.mp4"] * 2
    assert np.array_equal(faces[1].frames, faces[0].frames[:, :, ::-1])
    assert "notes.txt" in caplog.text and "wall.png" in caplog.text


def test_a_resting_clip_keeps_its_frames(own_folder: Path) -> None:
    (face,) = real_faces([own_folder / "rest.mp4"], 1, resting=True)
    assert len(face.frames) == len(face.transforms) > 20
    assert face.fps == pytest.approx(30)


def test_what_shows_no_face_is_one_error(own_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no face in any of 2 files"):
        real_faces([own_folder / "notes.txt", own_folder / "wall.png"], 2)
    with pytest.raises(UserError, match="no file in this folder"):
        files_in(tmp_path)
    with pytest.raises(UserError, match="expected photos or clips"):
        files_in(tmp_path / "missing")


def test_a_natural_clip_is_a_path_or_one_of_deft_data(
    own_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = NaturalClip(file=own_folder / "rest.mp4", emotion="none")
    assert find(mine) == own_folder / "rest.mp4"
    theirs = NaturalClip(file=Path("theirs.mp4"), emotion="positive")
    monkeypatch.delenv("DEFT_DATA", raising=False)
    assert find(theirs) is None
    monkeypatch.setenv("DEFT_DATA", str(tmp_path))
    with pytest.raises(UserError, match=r"natural: theirs\.mp4"):
        find(theirs)


def test_amplitudes_are_checked(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="the smaller one first"):
        run(resources.benchmark("warped"), ["peak_px=[3, 0.5]"])


def test_a_users_folder_by_the_file(own_folder: Path, tmp_path: Path) -> None:
    changes = [
        *(f"source={own_folder / 'photos'}", "kinds=[real]", "faces=1", "workers=1"),
        "conditions={returning: {}, still: {expression: false}}",
        f"natural=[{{file: {own_folder / 'rest.mp4'}, emotion: none}}]",
        *(f"output={tmp_path}", "peak_px=[2, 3]", "bars={}"),
    ]
    found, tables = run(resources.benchmark("warped"), changes)
    values = {figure.name: figure.value for figure in found}
    assert "1 faces from 1 file" in tables
    assert values["real_still_false_alarms"] == 0
    assert values["real_region_error"] < 0.5
    assert not any(name.startswith("rendered") for name in values)
    rows = list(read_lines(tmp_path / "clips.jsonl"))
    assert [line["condition"] for line in rows] == ["returning", "still"]
    assert rows[0]["errors"] and 2 <= rows[0]["peak_px"] <= 3


def test_faces_that_keep_still_alone_make_a_table(own_folder: Path, tmp_path: Path) -> None:
    changes = [
        *(f"source={own_folder / 'photos'}", "kinds=[real]", "faces=1", "workers=1"),
        *("conditions={still: {expression: false}}", "natural=[]", f"output={tmp_path}", "bars={}"),
    ]
    found, tables = run(resources.benchmark("warped"), changes)
    assert {figure.name: figure.value for figure in found}["real_still_false_alarms"] == 0
    assert "still" in tables


def test_a_stopped_run_goes_on_with_the_faces_that_are_left(
    own_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, int]] = []

    def rows_of(order: Order) -> list[Row]:
        asked.append((order.portrait.name, order.number))
        if len(asked) == 3:
            raise KeyboardInterrupt
        return [row(condition=name, second=float(order.number)) for name in order.conditions]

    monkeypatch.setattr(benchmark, "rows_of", rows_of)
    changes = [
        *(f"source={own_folder / 'photos'}", "kinds=[real]", "faces=2", "workers=1"),
        *("conditions={held: {}, still: {expression: false}}", "natural=[]"),
        *(f"output={tmp_path}", "bars={}"),
    ]
    warped = resources.benchmark("warped")
    run(warped, changes)  # whole: nothing of it is used again
    asked.clear()
    with pytest.raises(KeyboardInterrupt):
        run(warped, [*changes, "faces=4", f"source={own_folder}"])
    assert len(asked) == 3
    kept = list(read_lines(tmp_path / "unfinished.jsonl"))
    run(warped, [*changes, "faces=4", f"source={own_folder}"])
    assert [number for _, number in asked] == [0, 1, 2, 2, 3]
    assert [len(line["rows"]) for line in kept] == [2, 2]
    assert not (tmp_path / "unfinished.jsonl").exists()
    lines = list(read_lines(tmp_path / "clips.jsonl"))
    assert [line["second"] for line in lines] == [0, 0, 1, 1, 2, 2, 3, 3]
    # Another setting is another run.
    asked.clear()
    with pytest.raises(KeyboardInterrupt):
        run(warped, [*changes, "faces=4", f"source={own_folder}", "seed=1"])
    asked.clear()
    run(warped, [*changes, "faces=2", f"source={own_folder}", "seed=2"])
    assert len(asked) == 2
    # And so is a model whose temperatures were fitted again.
    checkpoint = tmp_path / "checkpoint"
    checkpoint.mkdir()
    again = [*changes, "faces=4", f"source={own_folder}", f"checkpoint={checkpoint}"]
    for temperatures in ("{}", '{"three": 2.0}'):
        (checkpoint / "calibration.json").write_text(temperatures)
        unfinished._weights.cache_clear()  # as in another process
        asked.clear()
        with pytest.raises(KeyboardInterrupt):
            run(warped, again)
        assert len(asked) == 3


@pytest.mark.parametrize(
    ("number", "hard"),
    [
        (18, "lids close faster than the track follows"),
        (60, "the track is lost behind closed lids"),
        (0, "the apex has half-closed lids"),
    ],
)
def test_a_blink_alone_moves_no_region(number: int, hard: str) -> None:
    (face,) = rendered_faces(970000 + number, 7700000 + number, 1)
    blink = {"blink": Condition(expression=False, blink=True)}
    order = Order("rendered", number, face, blink, 7700000, (0.5, 3.0), resources.EMBEDDED)
    (found,) = rows_of(order)
    assert found.right and found.stated == (), hard
