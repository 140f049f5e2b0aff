from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from deft_llm.errors import UserError
from deft_llm.gaze.tables import read_labels, read_predictions, write_answers, write_table


def test_labels_of_3et(tmp_path: Path) -> None:
    path = tmp_path / "label.txt"
    path.write_text("(312.5, 240, 0)\n( 300, 200.25, 1)\n")
    labels = read_labels(path)
    np.testing.assert_array_equal(labels.pupil, [[312.5, 240], [300, 200.25]])
    assert labels.closed.tolist() == [False, True]


@pytest.mark.parametrize("text", ["312.5, 240, 0\n", "(1, 2)\n", "(1, x, 0)\n", "(1, 2, 3)\n"])
def test_wrong_labels_name_their_line(tmp_path: Path, text: str) -> None:
    path = tmp_path / "label.txt"
    path.write_text("(1, 2, 0)\n" + text)
    with pytest.raises(UserError, match=r"line 2: .* expected \(x, y, close\)"):
        read_labels(path)


def test_answers_of_the_challenge_come_back(tmp_path: Path) -> None:
    path = tmp_path / "answers.csv"
    places = np.random.default_rng(0).uniform(0, 80, (7, 2))
    write_answers(path, places)
    assert path.read_text().splitlines()[0] == "row_id,x,y"
    read = read_predictions(path)
    assert read.times is None
    np.testing.assert_allclose(read.xy, places, rtol=1e-5)
    places[3] = np.nan
    with pytest.raises(UserError, match="row 3 has no place"):
        write_answers(path, places)


def test_predictions_with_times_and_gaps(tmp_path: Path) -> None:
    path = tmp_path / "p.csv"
    path.write_text("\ufefft,x,y,more\n10000,1.5,2,a\n20000,,nan,b\n")
    read = read_predictions(path)
    assert read.times is not None
    assert read.times.tolist() == [10_000, 20_000]
    assert np.isnan(read.xy[1]).all()


def test_empty_lines_are_no_predictions(tmp_path: Path) -> None:
    """Nor is a sample lost whose cells are empty: those behind it would be of other times."""
    path = tmp_path / "p.csv"
    path.write_text("x,y\n1,2\n\n,\n3,4\n \n\n")
    np.testing.assert_array_equal(read_predictions(path).xy, [[1, 2], [np.nan] * 2, [3, 4]])
    path.write_text("t,x,y\n10000,1,2\n\n20000,3,4\n\n")
    times = read_predictions(path).times
    assert times is not None and times.tolist() == [10_000, 20_000]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "columns none; expected x, y"),
        ("x,y\n", "no predictions"),
        ("a,b\n1,2\n", "columns a, b; expected x, y"),
        ("x,y\n1,2\n1,two\n", "line 3: y is 'two'"),
        ("t,x,y\n20,1,1\n10,1,1\n", "line 3: time 10; expected"),
        ("t,x,y\n\n20,1,1\n\n10,1,1\n", "line 5: time 10; expected"),
        ("x,y\n\n1,2\n\n1,two\n", "line 5: y is 'two'"),
        ("t,x,y\n,1,1\n", "line 2: time nan"),
    ],
)
def test_wrong_predictions(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "p.csv"
    path.write_text(text)
    with pytest.raises(UserError, match=told):
        read_predictions(path)


def test_table(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    write_table(path, {"a": [1, 2], "b": [0.5, float("nan")]})
    assert path.read_text() == "a,b\n1,0.5\n2,\n"
