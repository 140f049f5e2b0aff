"""``deft-llm explain``: what is checked before a clip is read, and what its lines and rows say."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deft_llm.cli.chat import _command
from deft_llm.cli.console import Tally
from deft_llm.cli.explaining import question_columns
from deft_llm.cli.summary import clip_line, explained_lines, measured_lines, part_line, to_read
from deft_llm.clip import Explanation
from deft_llm.errors import UserError
from deft_llm.media.options import WHOLE, ReadOptions
from deft_llm.media.video import read_clip
from deft_llm.metrics.figures import Figure, report
from deft_llm.motion.measure import Measurement
from deft_llm.viz.report import ClipInfo, report_values
from tests.cli.conftest import Run


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--ask", " "), "the question is empty"),
        (("--ask", "x" * 5000), "question of 5000 characters"),
        (("--checkpoint", "nowhere"), "checkpoint nowhere"),
    ],
)
def test_model_and_questions_are_checked_before_a_clip_is_read(
    run: Run, options: tuple[str, ...], told: str
) -> None:
    result = run("explain", "missing.mp4", *options)
    assert result.status == 2 and told in result.err and "missing.mp4" not in result.err


def test_a_question_takes_no_column_of_another() -> None:
    assert question_columns(["file", "Why?", "Why?", "Why?"]) == [
        *("file (2)", "Why?", "Why? (2)", "Why? (3)"),
    ]


def test_the_terminal_and_the_report_tell_the_same_seconds(
    make_measurement: Callable[..., Measurement],
) -> None:
    """Of a part of a video they are those of the video in both."""
    made = make_measurement()
    later = replace(made.aligned, timestamps=made.aligned.timestamps + 7.0)
    measurement = replace(made, aligned=later)
    values = report_values(measurement, Explanation("", {}, {}, ()), ClipInfo("a", 9, 9.0, 1.0))
    onset = values["interval"]["onset"]["seconds"]
    assert onset >= 7
    assert f"onset {onset:.3f} s" in "\n".join(measured_lines(measurement))


def test_frames_rate_and_length_agree(tmp_path: Path) -> None:
    """Eight frames of 0.1 s and twelve of 0.05 s last 1.4 s, which is not 20 frames at 20 fps."""
    path = tmp_path / "c.gif"
    pictures = [Image.new("RGB", (8, 8), (i, 9 * i, 0)) for i in range(20)]
    lengths = [100] * 8 + [50] * 12
    pictures[0].save(path, save_all=True, append_images=pictures[1:], duration=lengths)
    assert clip_line(path, to_read(path, WHOLE)) == "c.gif · 20 frames at 20 fps (varies) · 1.40 s"
    first, fast = (to_read(path, options) for options in (ReadOptions(stop=8), ReadOptions(fps=40)))
    assert clip_line(path, first) == "c.gif · 8 frames at 10 fps · 0.80 s"
    assert clip_line(path, fast) == "c.gif · 20 frames at 40 fps · 0.50 s"
    clip, whole = read_clip(path), to_read(path, WHOLE)
    assert part_line(whole, clip) == ""
    assert part_line(whole, clip.part(8, 20)) == "from 0.80 s · 12 frames at 20 fps · 0.60 s"


def test_the_reason_why_nothing_is_named_is_told_once() -> None:
    nothing = Explanation(None, {}, {}, (), remarks=("no motion", "the face is dark", "hard cut"))
    lines = list(explained_lines(nothing))
    assert [line.split(None, 1) for line in lines if line.startswith(("emotion", "note"))] == [
        ["emotion", "none named: no motion"],
        ["note", "the face is dark; hard cut"],
    ]
    alone = list(explained_lines(replace(nothing, remarks=("no motion",))))
    assert not any(line.startswith("note") for line in alone)


def test_reports_go_into_a_folder(run: Run, here: Path) -> None:
    """Told before a clip is measured."""
    (here / "out").write_text("mine", encoding="utf-8")
    for place in ("out", "out/below"):
        result = run("explain", "missing.mp4", "--out", place)
        assert result.status == 2 and f"--out {place}: out is a file" in result.err
        assert "missing.mp4" not in result.err
    assert (here / "out").read_text(encoding="utf-8") == "mine"
    assert "missing.mp4" in run("explain", "missing.mp4", "--out", "out", "--no-report").err


def test_a_chat_is_not_saved_over_its_clip(tmp_path: Path) -> None:
    clip = tmp_path / "clip.mp4"
    clip.write_bytes(b"a video")
    with pytest.raises(UserError, match="would replace the input"):
        _command(f"/save {clip}", [], False, clip, set())
    assert clip.read_bytes() == b"a video"


def test_a_chat_is_saved_over_no_file_but_its_own(tmp_path: Path) -> None:
    clip, mine, chat = tmp_path / "clip.mp4", tmp_path / "thesis.md", tmp_path / "chat.md"
    mine.write_text("chapter one", encoding="utf-8")
    saved: set[Path] = set()
    with pytest.raises(UserError, match=r"thesis\.md is there already, and not from this chat"):
        _command(f"/save {mine}", [], False, clip, saved)
    assert mine.read_text(encoding="utf-8") == "chapter one"
    for _ in range(2):  # a longer chat replaces a shorter one
        _command(f"/save {chat}", [], False, clip, saved)
    assert saved == {chat.resolve()}


def test_what_is_kept_and_how_it_ends() -> None:
    assert Tally(3, "clips").kept() == "none of the clips is done"
    assert Tally(3, "clips", done=1, failed=1).kept() == "1 of 3 clips are done, and kept"
    ends = [Tally(3, "clips", failed=failed).end().exit_code for failed in (0, 1, 3)]
    assert ends == [0, 1, 2]


@pytest.mark.parametrize("value", [math.nan, math.inf, np.float32(-np.inf)])
def test_a_figure_that_is_no_number_is_null(tmp_path: Path, value: float) -> None:
    report([Figure("epe", value)], tmp_path / "f.json")
    (row,) = json.loads((tmp_path / "f.json").read_text(), parse_constant=pytest.fail)
    assert row["value"] is None
