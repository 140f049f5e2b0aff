"""The table of intervals: exact frames, text for subjects, one line for whatever is wrong."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from deft_llm.clip import Expression, Interval
from deft_llm.corpora.megc_spotting import read_spotting, spotted_videos, write_spotting
from deft_llm.errors import UserError
from deft_llm.metrics.spot_then_recognize import score_videos

HEAD = "subject,video,onset,offset,emotion\n"


def _file(folder: Path, text: str, encoding: str = "utf-8") -> Path:
    path = folder / "found.csv"
    path.write_bytes(text.encode(encoding))
    return path


def _some() -> dict[tuple[str, str], tuple[Expression, ...]]:
    def row(onset: int, offset: int, emotion: str | None) -> Expression:
        return Expression(Interval(onset, (onset + offset) // 2, offset), emotion)

    return {
        ("006", "006_1"): (row(0, 700, "negative"), row(1400, 1400, None)),
        ("spNO.1", "a, second"): (row(354, 359, "happiness"),),
    }


@pytest.mark.parametrize("first", [0, 1, 7])
def test_written_and_read_again(first: int, tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    write_spotting(path, _some(), first)
    assert read_spotting(path, first) == _some()


def test_frames_are_counted_from_one(tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    write_spotting(path, _some())
    assert path.read_text(encoding="utf-8").splitlines() == [
        "subject,video,onset,offset,emotion",
        "006,006_1,1,701,negative",
        "006,006_1,1401,1401,",
        'spNO.1,"a, second",355,360,happiness',
    ]


def test_nothing_found_is_a_result(tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    write_spotting(path, {})
    assert read_spotting(path) == {}


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("Subject;Video;Onset;Offset;Emotion\n006;v;11;21;Happy\n\n", "utf-8-sig"),
        ("emotion\tvid\tsubject\tpred_onset\tpred_offset\nhappiness\tv\t006\t11.0\t21\n", "utf-16"),
        ("subject,video,onset,apex,offset,emotion\n006,v,11,16,21,happy\n", "utf-8"),
    ],
)
def test_as_people_write_it(text: str, encoding: str, tmp_path: Path) -> None:
    found = read_spotting(_file(tmp_path, text, encoding))
    assert found == {("006", "v"): (Expression(Interval(10, 15, 20), "happiness"),)}


def test_an_apex_is_read(tmp_path: Path) -> None:
    text = "subject,video,onset,apex,offset,emotion\n1,v,11,12,21,others\n1,v,30,0,40,others\n"
    rows = read_spotting(_file(tmp_path, text))["1", "v"]
    # An apex of 0 is outside: the nearest frame of the interval.
    assert [each.interval for each in rows] == [Interval(10, 11, 20), Interval(29, 29, 39)]


@pytest.mark.parametrize("apex", ["", "-1", "/", "-", "nan", "NaN", "?"])
def test_an_apex_that_is_not_coded_is_the_middle(apex: str, tmp_path: Path) -> None:
    text = f"subject,video,onset,apex,offset,emotion\n1,v,11,{apex},21,others\n"
    rows = read_spotting(_file(tmp_path, text))["1", "v"]
    assert [each.interval for each in rows] == [Interval(10, 15, 20)]


def test_rows_from_before_the_video(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        rows = read_spotting(_file(tmp_path, f"{HEAD}1,v,-3,65,others\n1,v,-1,9,others\n"))
    assert [each.interval.onset for each in rows["1", "v"]] == [0, 0]
    assert "2 rows begin before the first frame" in caplog.text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("subject,video,onset,emotion\n1,v,1,others\n", "no column 'offset'"),
        ("1,v,1,9,others\n", "no column 'subject'"),
        ("", "no column 'subject'"),
        (f"{HEAD}1,v,1,9,others\n1,v,x,9,others\n", "row 3: onset 'x'"),
        (f"{HEAD}1,v,1,,others\n", "row 2: offset ''"),
        (f"{HEAD}1,v,1.5,9,others\n", "row 2: onset '1.5'"),
        (f"{HEAD}1,v,10,9,others\n", "row 2: onset 10 after offset 9"),
        (f"{HEAD}1,v,1,9,hapiness\n", "emotion 'hapiness'.*did you mean 'happiness'"),
        (f"{HEAD},v,1,9,others\n", "row 2: no subject"),
        (f"{HEAD}1,v,1\n", "row 2: offset ''"),
    ],
)
def test_errors_are_one_line(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message) as raised:
        read_spotting(_file(tmp_path, text))
    assert "\n" not in str(raised.value)


def test_a_missing_file_and_a_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="not readable"):
        read_spotting(tmp_path / "none.csv")
    with pytest.raises(UserError, match="cannot be written"):
        write_spotting(tmp_path / "none" / "out.csv", {})


def test_every_video_is_scored() -> None:
    coded, found = _some(), {("006", "006_1"): _some()["006", "006_1"][:1]}
    found["007", "quiet"] = (Expression(Interval(5, 6, 9)),)
    seconds = {("006", "006_1"): 30.0, ("spNO.1", "a, second"): 20.0, ("007", "quiet"): 60.0}
    seconds["008", "quiet"] = 10.0
    videos = spotted_videos(coded, found, seconds)
    assert len(videos) == 4
    scores = score_videos(videos)
    assert (scores["hits"], scores["false_alarms"], scores["misses"]) == (1, 1, 2)
    assert scores["false_alarms_a_minute"] == pytest.approx(0.5)


def test_names_that_never_meet_are_an_error() -> None:
    found = {("6", "006_1"): _some()["006", "006_1"]}
    with pytest.raises(UserError, match=r"'6/006_1'.*expected names such as '006/006_1'"):
        spotted_videos(_some(), found)
