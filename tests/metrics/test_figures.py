"""Figures with their bars, and the exit status that --check is there for."""

from __future__ import annotations

import json
import math
import threading
from pathlib import Path

import pytest

from deft_llm.metrics.figures import Figure, Peak, report

GOOD, POOR = Figure("uf1", 0.9, 0.85), Figure("uf1", 0.8, 0.85)


@pytest.mark.parametrize(
    ("figure", "reached"),
    [
        (GOOD, True),
        (POOR, False),
        (Figure("uf1", 0.85, 0.85), True),
        (Figure("invented", 0.04, 0.05, above=False), True),
        (Figure("invented", 0.06, 0.05, above=False), False),
        (Figure("only reported", 0.0), True),
        (Figure("only reported", math.nan), True),
        # What could not be measured has not reached anything, from either side.
        (Figure("uf1", math.nan, 0.0), False),
        (Figure("invented", math.nan, 1.0, above=False), False),
    ],
)
def test_bar(figure: Figure, reached: bool) -> None:
    assert figure.reached is reached
    assert ("MISSED" in str(figure)) is not reached


@pytest.mark.parametrize(
    ("figures", "check", "status"),
    [
        ([GOOD], True, 0),
        ([GOOD, POOR], True, 1),
        ([GOOD, POOR], False, 0),
        ([Figure("uf1", math.nan, 0.5)], True, 1),
    ],
)
def test_check_sets_the_exit_status(figures: list[Figure], check: bool, status: int) -> None:
    assert report(iter(figures), check=check) == status


def test_printed_and_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report([GOOD, POOR, Figure("clips", 640)], tmp_path / "figures.json")
    assert capsys.readouterr().out.splitlines() == [
        "uf1 = 0.9 (bar >= 0.85)",
        "uf1 = 0.8 (bar >= 0.85)  MISSED",
        "clips = 640",
    ]
    rows = json.loads((tmp_path / "figures.json").read_text(encoding="utf-8"))
    assert [row["reached"] for row in rows] == [True, False, True]
    assert rows[0] == {"name": "uf1", "value": 0.9, "bar": 0.85, "above": True, "reached": True}


def test_the_largest_of_many_looks_is_kept() -> None:
    values = iter([1.0, float("nan"), 5.0, 2.0])
    seen = threading.Event()

    def look() -> float:
        value = next(values, 0.0)
        if value == 0.0:
            seen.set()
        return value

    with Peak(look, 0.001) as peak:
        assert seen.wait(10)
    assert peak.value == 5.0
