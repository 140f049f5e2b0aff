"""The benchmark of rewards: counts by subject, paired intervals, habits, a small run by file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from deft_llm import facs
from deft_llm.data.clip_dataset import MeasuredClip
from deft_llm.errors import UserError
from deft_llm.evaluation import benchmark as benchmarks
from deft_llm.evaluation.reward.scores import (
    COUNTS,
    counts,
    gain,
    habits,
    hallucinated_share,
    precision,
    recall,
)
from deft_llm.simulator.scene.clip_spec import draw_spec
from tests.evaluation.explanation.conftest import SMALL, by_name

pytestmark = pytest.mark.filterwarnings("ignore:Mean of empty slice", "ignore:invalid value")


def answer(region: str, way: str, aus: tuple[str, ...] = (), strength: str = "slight") -> str:
    row = {"region": region, "direction": way, "strength": strength}
    record = {"class": "others", "emotion": "others", "aus": aus, "evidence": [row]}
    return json.dumps({**record, "rationale": ""})


def clips(count: int) -> list[MeasuredClip]:
    """Clips of two faces by turns, in which the chin rises."""
    motion = np.zeros((len(facs.REGIONS), 2), np.float32)
    motion[list(facs.REGIONS).index("chin")] = (0.0, -0.5)
    specs = (draw_spec(7 + i, 100 + i % 2, aus=("17",), emotion="others") for i in range(count))
    return [MeasuredClip.simulated(spec, motion, None) for spec in specs]


RIGHT, WRONG = answer("chin", "up", ("17",)), answer("glabella", "down", ("9",))


def test_counts_are_those_of_the_exact_motion_by_subject() -> None:
    found = counts(clips(4), [RIGHT, WRONG, RIGHT, "no answer"])
    assert found.shape == (2, len(COUNTS))
    assert precision(found) == pytest.approx(2 / 3)
    assert recall(found) == 0.5
    assert hallucinated_share(found) == pytest.approx(1 / 3)


def test_a_gain_is_paired_over_subjects() -> None:
    before = counts(clips(4), [WRONG, RIGHT, WRONG, WRONG])
    after = counts(clips(4), [RIGHT] * 4)
    more = gain([after, after], [before], recall)
    assert more.value == pytest.approx(0.75)
    assert more.low <= more.value <= more.high
    nothing = gain([before], [before], recall)
    assert (nothing.value, nothing.low, nothing.high) == (0, 0, 0)  # hard faces cancel


def test_habits_show_the_ways_round_a_reward() -> None:
    spam = json.dumps(
        {
            **{"class": "none", "emotion": "none", "aus": []},
            "evidence": [
                {"region": name, "direction": "up", "strength": "slight"} for name in facs.REGIONS
            ],
            "rationale": "The chin moves up. The chin moves up.",
        }
    )
    shown = habits(clips(4), [spam, "", RIGHT, answer("chin", "up", strength="marked")])
    assert shown.claims == pytest.approx((20 + 1 + 1) / 4)
    assert shown.silent == 0.25
    assert shown.slight == pytest.approx(21 / 22)
    assert shown.repeated == 0.25
    assert shown.parsed == 0.75


@pytest.fixture
def file(tiny_checkpoint: Path, recipe: Path, tmp_path: Path) -> Path:
    few: dict[str, Any] = {**SMALL, "clips": 6, "seed": 9100000}
    values = {
        "benchmark": "motion_reward",
        "before": str(tiny_checkpoint),
        "rewarded": [str(tiny_checkpoint), str(tmp_path / "missing")],
        "controls": {"other_clip": [str(tiny_checkpoint)]},
        "recipes": [str(recipe)],
        "data": {"own": few},
        "still": {"own_still": {**few, "seed": 9200000, "neutral_share": 1.0}},
        "samples": 2,
        "output": str(tmp_path / "out"),
        "bars": {"recall_gain_own": {"least": 0.05}, "left_out": {"most": 0}},
    }
    path = tmp_path / "motion_reward.yaml"
    path.write_text(yaml.safe_dump(values))
    return path


@pytest.mark.usefixtures("rendered", "short_answers")
def test_a_small_run_measures_every_figure(file: Path) -> None:
    figures, tables = benchmarks.run(file)
    named = by_name(figures)
    assert named["left_out"].value == 1.0  # the checkpoint that is not there
    assert named["uf1_change_own"].value == 0.0  # the same model
    assert named["clips_without_au"].value == 6
    assert {"best_of_precision_own", "greedy_recall_own", "emotion_without_au"} <= named.keys()
    assert {"other_clip_recall_gain_low_own", "other_clip_recall_gain_high_own"} <= named.keys()
    assert not named["recall_gain_own"].reached
    assert "rewarded" in tables and "silent" in tables
    assert "warped_worse" not in named


def test_a_bar_of_no_figure_is_refused(file: Path) -> None:
    with pytest.raises(UserError, match="no figure 'recal_gain_own'; did you mean"):
        benchmarks.run(file, ["bars.recal_gain_own={least: 0}"])
