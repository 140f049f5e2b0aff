"""``deft-llm spot``: files for everyone, a stop that costs nothing, one line for a wrong input."""

from __future__ import annotations

import csv
import json
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from deft_llm.claims import LOCK, locked
from deft_llm.cli import search_log
from deft_llm.cli.spotted_lines import rate_line
from deft_llm.corpora.megc_spotting import read_spotting
from deft_llm.errors import UserError
from deft_llm.media.video import write_video
from deft_llm.motion.measure import Measurement
from deft_llm.spotters import spot
from deft_llm.spotters.finder import Spotted
from deft_llm.viz.spotting_plot import Curve, Mark, spotting_plot
from tests.cli.conftest import Run
from tests.spotters.finders import FPS, KnownFinder, spotted

FOUND = (spotted(10, 14, 20), spotted(52, 56, 60), spotted(90, 94, 112, "macro", 9.0))
Use = Callable[..., KnownFinder]


@pytest.fixture
def video(here: Path) -> Path:
    folder = here / "s07"
    folder.mkdir()
    write_video(folder / "long.mp4", np.zeros((160, 32, 32, 3), np.uint8), FPS)
    return folder / "long.mp4"


@pytest.fixture
def use(make_measurement: Callable[..., Measurement], monkeypatch: pytest.MonkeyPatch) -> Use:
    """Let the command use a finder that knows what is in the video."""

    def install(
        before: Callable[[int], None] = lambda number: None,
        found: Sequence[Spotted] = FOUND,
        **others: Any,
    ) -> KnownFinder:
        finder = KnownFinder(found, make_measurement(), 160, before, **others)
        monkeypatch.setattr(spot, "load_finder", lambda name, macro: finder)
        return finder

    return install


def test_a_short_video_is_searched_without_the_network(
    run: Run, video: Path, use: Use, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    finder = use()
    names: list[str] = []

    def load(name: str, macro: bool) -> KnownFinder:
        names.append(name)
        return finder

    monkeypatch.setattr(spot, "load_finder", load)
    assert "searched without the network" not in run("spot", video).out
    monkeypatch.setattr(spot, "CONTEXT", 7.0)
    assert "shorter than 7 s: searched without the network" in run("spot", video, "--macro").out
    assert names == ["embedded", "returning"]


def test_a_short_part_of_a_long_video_is_a_short_video(run: Run, video: Path, use: Use) -> None:
    """As ``spotters.spot.spot`` takes it; the network would see as little of it."""
    use()
    told = "shorter than 5 s: searched without the network"
    assert told in run("spot", video, "--start", "1s", "--stop", "100").out
    assert told not in run("spot", video, "--start", "1s").out


def test_few_frames_a_second_are_told(run: Run, video: Path, use: Use, here: Path) -> None:
    """Nothing found says little where most of a movement falls between two frames."""
    use(found=())
    assert "frames per second" not in run("spot", video).out
    use(found=(), thinned=5)
    told = "5 frames per second: a movement of less than 0.40 s can be missed"
    assert f"note      {told}" in run("spot", video, "--out", "slow").out
    assert json.loads((here / "slow" / "long" / "spotted.json").read_text())["remarks"] == [told]


def test_the_files_of_a_video(run: Run, video: Path, use: Use, here: Path) -> None:
    use()
    result = run("spot", video, "--megc", "megc.csv")
    assert (result.status, result.err) == (0, "")
    assert (
        "micro     0.40 · 0.56 · 0.80 s (10, 14, 20) · score 0.75 (motion) · AU1 AU2" in result.out
    )
    assert "2 micro-expressions in 6.4 s with a face" in result.out
    folder = here / "out" / "long"
    rows = list(csv.DictReader((folder / "spotted.csv").read_text().splitlines()))
    assert [(row["kind"], row["apex frame"], row["apex s"]) for row in rows] == [
        ("micro", "14", "0.56"),
        ("micro", "56", "2.24"),
    ]
    record = json.loads((folder / "spotted.json").read_text())
    assert record["whole"] and len(record["expressions"]) == 2
    assert record["curve"]["frames"] == list(range(160)) and record["curve"]["threshold"] == 0.5
    picture = cv2.imread(str(folder / "curve.png"))
    assert picture is not None and picture.std() > 5
    # MEGC counts from 1, and takes no macro-expressions.
    assert "s07,long,11,21," in (here / "megc.csv").read_text()
    coded = read_spotting(here / "megc.csv")["s07", "long"]
    assert [each.interval.onset for each in coded] == [10, 52]


def test_macro_expressions_are_listed_when_asked_for(
    run: Run, video: Path, use: Use, here: Path
) -> None:
    use()
    result = run("spot", video, "--macro", "--csv", "-")
    rows = list(csv.DictReader(result.out.splitlines()))
    assert [row["kind"] for row in rows] == ["micro", "micro", "macro"]
    # Searched once, listed in another way: nothing is looked at again.
    use(lambda number: pytest.fail(f"part {number} is looked at again"))
    result = run("spot", video)
    assert "nothing is left to search" in result.out and "2 micro-expressions in" in result.out


def test_a_stop_keeps_what_was_found(run: Run, video: Path, use: Use, here: Path) -> None:
    def stop(number: int) -> None:
        if number == 2:
            raise KeyboardInterrupt

    use(stop)
    result = run("spot", video)
    assert result.status == 130
    assert "stopped; what was found is in out/long; the same command goes on" in result.err
    record = json.loads((here / "out" / "long" / "spotted.json").read_text())
    assert not record["whole"] and len(record["expressions"]) == 2
    # A line that was cut off, as by a power failure, is looked at again.
    log = here / "out" / "long" / "search.jsonl"
    log.write_text(log.read_text()[:-9])
    looked: list[int] = []
    use(looked.append)
    assert run("spot", video).status == 0
    assert looked == [1, 2]
    resumed = (here / "out" / "long" / "spotted.json").read_text()
    assert run("spot", video, "--out", "new").status == 0
    assert (here / "new" / "long" / "spotted.json").read_text() == resumed


def test_a_finished_video_is_not_even_read_again(run: Run, video: Path, use: Use) -> None:
    """An hour of it takes minutes to decode."""
    finder = use()
    first = run("spot", video)
    finder.search = lambda *_: pytest.fail("it is searched again")  # type: ignore[method-assign]
    again = run("spot", video)
    assert again.out == first.out.replace(
        "\nmicro", "\nknown     nothing is left to search\nmicro", 1
    )


def test_a_stop_behind_a_part_that_shows_no_new_frame(
    run: Run, video: Path, use: Use, here: Path
) -> None:
    """A short shot may end within what the window before has shown already."""

    def stop(number: int) -> None:
        if number == 1:
            raise KeyboardInterrupt

    use(stop, again=True)
    assert run("spot", video).status == 130
    use(again=True)
    result = run("spot", video)
    assert (result.status, result.err) == (0, "")
    assert "goes on   3.0 s are searched already" in result.out
    # All of them are kept, though one is like the other.
    use(lambda number: pytest.fail(f"part {number} is looked at again"), again=True)
    assert "nothing is left to search" in run("spot", video).out


def test_what_is_found_last_is_told(run: Run, video: Path, use: Use) -> None:
    """Also where a stride passes over the last frame, or a damaged file ends before it says."""
    use(found=(spotted(10, 14, 20), spotted(150, 154, 158)), reached=0.99)
    out = run("spot", video).out
    assert "2 micro-expressions in" in out and out.count("\nmicro  ") == 2


def test_one_process_at_a_time_searches_a_video(
    run: Run, video: Path, use: Use, here: Path
) -> None:
    """The lines of two would stand between each other in its log."""
    folder = here / "out" / "long"

    def others_are_kept_out(number: int) -> None:
        with pytest.raises(UserError, match="is writing this folder"), locked(folder):
            pass

    use(others_are_kept_out)
    assert run("spot", video).status == 0
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    write_video(video.parent / "b.mp4", np.zeros((160, 32, 32, 3), np.uint8), FPS)
    use()
    with locked(folder):
        result = run("spot", video, video.parent / "b.mp4")
    assert (result.status, len(result.err.splitlines())) == (1, 1)
    assert "out/long: process" in result.err and "give another folder" in result.err
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == files
    # The lock of one that was killed before its first line is nobody's.
    (here / "new" / "long").mkdir(parents=True)
    (here / "new" / "long" / LOCK).touch()
    assert run("spot", video, "--out", "new").status == 0
    assert [path.name for path in (here / "new").iterdir()] == ["long"]


def test_another_video_of_the_same_name(run: Run, video: Path, use: Use, here: Path) -> None:
    use()
    other = here / "s08"
    other.mkdir()
    write_video(other / "long.mp4", np.zeros((160, 32, 32, 3), np.uint8), FPS)
    assert run("spot", video).status == run("spot", other / "long.mp4").status == 0
    assert sorted(path.name for path in (here / "out").iterdir()) == ["long", "long-2"]


def test_a_folder_tells_the_rate(run: Run, video: Path, use: Use, here: Path) -> None:
    use()
    write_video(video.parent / "b.mp4", np.zeros((160, 32, 32, 3), np.uint8), FPS)
    (video.parent / "bad.mp4").write_bytes(b"no video")
    result = run("spot", video.parent)
    assert result.status == 1 and "bad.mp4" in result.err
    assert "4 micro-expressions in 0.21 minutes with a face of 2 videos" in result.out


def test_a_video_without_a_face(run: Run, here: Path) -> None:
    write_video(here / "grey.mp4", np.full((12, 64, 64, 3), 90, np.uint8), FPS)
    result = run("spot", "grey.mp4")
    assert result.status == 2
    assert len(result.err.splitlines()) == 1 and "no face in 12 frames" in result.err
    folder = here / "out" / "grey"
    assert len((folder / "spotted.csv").read_text().splitlines()) == 1
    assert json.loads((folder / "spotted.json").read_text())["whole"], "it was read to its end"


def test_a_page_without_an_expression_says_why(
    run: Run, video: Path, use: Use, here: Path, tiny_checkpoint: Path
) -> None:
    write_video(here / "grey.mp4", np.full((12, 64, 64, 3), 90, np.uint8), FPS)
    explained = ("--explain", "--checkpoint", tiny_checkpoint)
    assert run("spot", "grey.mp4", *explained).status == 2
    page = (here / "out" / "grey" / "report.html").read_text()
    assert "s searched · no face<" in page and "No face was seen, so nothing can be said" in page
    use(found=())
    assert run("spot", video, *explained).status == 0
    page = (here / "out" / "long" / "report.html").read_text()
    assert "· no expression<" in page and "Nothing was found." in page
    assert "each number leads" not in page


def test_the_page_explains_each_expression(
    run: Run, video: Path, use: Use, here: Path, tiny_checkpoint: Path
) -> None:
    use()
    result = run("spot", video, "--explain", "--checkpoint", tiny_checkpoint)
    assert result.status == 0
    page = (here / "out" / "long" / "report.html").read_text()
    assert page.count('<section id="e') == 2 and 'href="#e2"' in page
    assert "<script" not in page and "http" not in page.split("</style>")[1]
    # Onset, apex, offset, heat and arrows, with captions that are text: each of its own size.
    assert page.count("data:image/jpeg;base64,") == 2 * 5
    assert page.count("<figcaption>motion from onset to apex</figcaption>") == 2


def test_the_page_tells_which_movement_of_a_smile_it_shows(
    run: Run, video: Path, use: Use, here: Path, tiny_checkpoint: Path
) -> None:
    use(found=(spotted(10, 14, 20, "macro", 9.0), spotted(21, 26, 40)))
    assert run("spot", video, "--macro", "--explain", "--checkpoint", tiny_checkpoint).status == 0
    page = " ".join((here / "out" / "long" / "report.html").read_text().split())
    assert "0.40 to 1.60 s · frames 10, 14, 40" in page
    assert "What follows is of the largest of them, 0.40 to 0.80 s." in page
    # The smaller one was explained as well, before it was known to be a part.
    pictures = {path.name.split("_")[1] for path in (here / "out" / "long").glob("expression_*")}
    assert pictures == {"14"}
    assert run("spot", video).status == 0
    assert not list((here / "out" / "long").glob("expression_*"))


def test_it_is_told_what_gave_each_score(
    run: Run, video: Path, use: Use, here: Path, tiny_checkpoint: Path
) -> None:
    """A macro-expression is found by its motion, and the curve is the network's."""
    network = replace(spotted(10, 14, 20), scorer="known")
    use(found=(network, spotted(90, 94, 112, "macro", 9.0)))
    result = run("spot", video, "--macro", "--explain", "--checkpoint", tiny_checkpoint)
    assert "score 0.75 (known)" in result.out and "score 0.75 (motion)" in result.out
    told = "score of motion is of a movement that was found without the network"
    folder = here / "out" / "long"
    page = (folder / "report.html").read_text()
    assert "score 0.75 (known)" in page and "score 0.75 (motion)" in page
    assert told in page and told in result.out
    found = json.loads((folder / "spotted.json").read_text())["expressions"]
    assert [each["scorer"] for each in found] == ["known", "motion"]
    use(found=(network,))
    assert told not in run("spot", video, "--out", "network").out


def test_frames_are_those_of_the_video(
    run: Run, video: Path, use: Use, here: Path, tiny_checkpoint: Path
) -> None:
    """A network is given one frame of three; 160 is no multiple of it."""
    use(thinned=3)
    assert run("spot", video, "--explain", "--checkpoint", tiny_checkpoint).status == 0
    record = json.loads((here / "out" / "long" / "spotted.json").read_text())
    assert (record["frames"], record["frames_with_face"]) == (160, 160)
    assert len(record["curve"]["frames"]) == 54
    assert "160 frames · 6.4 s searched" in (here / "out" / "long" / "report.html").read_text()


def test_the_rate_of_false_alarms() -> None:
    """None in ten minutes: at most 3.69 can have been expected (exact Poisson interval)."""
    assert "0.00 a minute (95 % interval 0.00 to 0.37)" in rate_line([("a", 600.0, 0)])
    line = rate_line([("a", 300.0, 2), ("b", 300.0, 3)])
    assert "5 micro-expressions in 10.00 minutes" in line
    assert "0.50 a minute (95 % interval 0.16 to 1.17)" in line
    assert rate_line([("a", 0.0, 0)]) == "no face in any video"


def test_a_long_video_gets_a_row_a_minute() -> None:
    times = np.arange(0, 300, 0.5)
    values = np.abs(np.sin(times))
    values[100:120] = np.nan
    curve = Curve(times, values, "motion, px")
    assert len(curve.rows()) == 5 and list(curve.absent()) == [(50.0, 60.0)]
    short = Curve(times[:60], values[:60], "motion, px")
    tall, low = (
        cv2.imdecode(np.frombuffer(spotting_plot(c, [Mark(1, 2, 3, "x")], "t"), np.uint8), 1)
        for c in (curve, short)
    )
    assert tall is not None and low is not None and tall.shape[0] > 3 * low.shape[0]
    # A score has a fixed scale; motion of half a pixel is seen beside ten.
    assert Curve(times, values, "score", 0.5).top == 1.0
    assert Curve(times, 10 * values, "motion, px").height(0.5) > 0.15


def test_a_search_takes_no_folder_of_another(run: Run, video: Path, use: Use, here: Path) -> None:
    """Neither the report of a clip of this name, nor a video's own frames."""
    use()
    report = here / "out" / "long" / "report.html"
    report.parent.mkdir(parents=True)
    report.write_text("of deft-llm explain")
    assert run("spot", video).status == 0
    assert report.read_text() == "of deft-llm explain"
    assert (here / "out" / "long-2" / "search.jsonl").is_file()
    frames = here / "frames" / "ep1"
    frames.mkdir(parents=True)
    for number in range(160):
        cv2.imwrite(str(frames / f"{number}.png"), np.zeros((32, 32, 3), np.uint8))
    assert run("spot", frames, "--out", frames.parent).status == 0
    assert len(list(frames.iterdir())) == 160
    assert (frames.parent / "ep1-2" / "curve.png").is_file()


def test_other_settings_leave_no_page_of_the_old_ones(
    run: Run, video: Path, use: Use, here: Path
) -> None:
    use()
    assert run("spot", video).status == 0
    page = here / "out" / "long" / "report.html"
    page.write_text("of --explain")
    assert run("spot", video).status == 0 and page.is_file()
    assert run("spot", video, "--stride", "2").status == 0
    assert not page.exists() and (here / "out" / "long" / "curve.png").is_file()


def test_a_model_that_was_trained_anew_is_asked_anew(
    run: Run, video: Path, use: Use, here: Path, tiny_checkpoint: Path
) -> None:
    """Its folder has the same name, and what the older one said is not true of it."""
    use()
    model = shutil.copytree(tiny_checkpoint, here / "final")
    again = ("spot", video, "--explain", "--checkpoint", model)
    assert run(*again).status == 0
    assert "nothing is left to search" in run(*again).out
    weights = model / "model.safetensors"
    os.utime(weights, ns=(0, weights.stat().st_mtime_ns + 1_000_000_000))
    assert "nothing is left to search" not in run(*again).out


def test_megc_has_one_row_of_a_name(run: Run, video: Path, use: Use, here: Path) -> None:
    use()
    twin = here / "again" / "s07"
    twin.mkdir(parents=True)
    shutil.copy(video, twin / "long.mov")
    result = run("spot", video, twin / "long.mov", "--megc", "megc.csv")
    assert result.status == 2 and "both video 'long' of subject 's07'" in result.err
    assert "there is no folder no" in run("spot", video, "--megc", "no/megc.csv").err
    assert "would replace the input" in run("spot", video, "--megc", video).err


def test_nothing_found_is_a_table_with_a_header(run: Run, here: Path) -> None:
    write_video(here / "dark.mp4", np.zeros((90, 32, 32, 3), np.uint8), 30.0)
    run("spot", "dark.mp4", "--csv", "rows.csv")
    assert (here / "rows.csv").read_text().startswith("file,kind,onset frame")


def test_a_missing_model_is_told_before_the_search(run: Run, video: Path, use: Use) -> None:
    use(lambda number: pytest.fail("the video is searched"))
    result = run("spot", video, "--explain", "--checkpoint", "nowhere")
    assert result.status == 2 and result.err.startswith("deft-llm: checkpoint nowhere")


def test_a_model_is_for_explaining(run: Run, video: Path, use: Use) -> None:
    use(lambda number: pytest.fail("the video is searched"))
    result = run("spot", video, "--model", "nowhere")
    assert (result.status, result.err) == (
        2,
        "deft-llm: --checkpoint (--model) needs --explain: only then is a model asked\n",
    )


def test_a_stop_while_the_log_is_read_loses_nothing(
    run: Run, video: Path, use: Use, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use()
    assert run("spot", video).status == 0
    log = here / "out" / "long" / "search.jsonl"
    log.write_text(log.read_text()[:-9])
    before = log.read_text()

    def stop(path: Path, text: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(search_log, "write_text", stop)
    assert run("spot", video).status == 130
    assert log.read_text() == before


def test_a_name_is_no_formula() -> None:
    """Matplotlib would set what is between dollars, and fail on what it cannot read."""
    curve = Curve(np.arange(9.0), np.full(9, 0.4), "motion, px")
    for title in ("a$b_{$.mp4", "$1 and $2.mp4"):
        assert spotting_plot(curve, [Mark(1, 2, 3, title)], title)[:4] == b"\x89PNG"
