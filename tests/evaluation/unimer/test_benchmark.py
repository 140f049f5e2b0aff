"""The Uni-MER benchmark can tell a leak from none, and a fit finds what makes statements true."""

from __future__ import annotations

import random
from collections.abc import Callable

import numpy as np
import pytest

from deft_llm import facs
from deft_llm.data.clip_dataset import MeasuredClip
from deft_llm.data.features import REGION_COLUMNS, Features
from deft_llm.evaluation.unimer.agreement_fit import Samples, fit, samples
from deft_llm.evaluation.unimer.benchmark import (
    statement_values,
    text_only_gain,
)
from deft_llm.simulator.scene.clip_spec import draw_spec
from deft_llm.unimer.agreement import AGREEMENT_FEATURES
from deft_llm.unimer.judging import judged


def _rows(leaky: bool) -> list[dict[str, object]]:
    rng = random.Random(0)
    rows: list[dict[str, object]] = []
    for k in range(600):
        answer = rng.choice(("yes", "no"))
        hint = answer if leaky else rng.choice(("yes", "no"))
        question = f"<clip>Is it {'shown' if hint == 'yes' else 'visible'} at {rng.randint(0, 9)}?"
        turns = [{"from": "human", "value": question}, {"from": "gpt", "value": answer}]
        rows.append({"subject": f"s{k % 40}", "kinds": ["au_yes_no"], "conversations": turns})
    return rows


def test_a_question_that_gives_the_answer_away_is_found() -> None:
    assert text_only_gain(_rows(leaky=True), "au_yes_no") > 0.4
    assert abs(text_only_gain(_rows(leaky=False), "au_yes_no")) < 0.08
    assert np.isnan(text_only_gain(_rows(leaky=False), "class"))


def test_the_fit_weighs_what_matters_and_keeps_the_wanted_precision() -> None:
    rng = np.random.default_rng(0)
    features = rng.normal(size=(3000, len(AGREEMENT_FEATURES)))
    features[:, 0] = 1.0
    which = AGREEMENT_FEATURES.index("z_both")
    true = rng.random(3000) < 1 / (1 + np.exp(-1.5 - 2.5 * features[:, which]))
    subjects = rng.integers(0, 40, 3000).astype(str)
    data = Samples(features, true, np.ones(3000, bool), subjects, 3000)
    weights = fit(data, 0.95, {"clips": 1})
    assert int(np.abs(weights.weights[1:]).argmax()) + 1 == which
    accepted = weights.probability(features) >= weights.threshold
    assert true[accepted].mean() == pytest.approx(0.95, abs=0.015)
    assert weights.recipe["recall_out_of_fold"] == pytest.approx((true & accepted).mean(), abs=0.03)


@pytest.fixture
def clip(make_features: Callable[[int], Features]) -> MeasuredClip:
    """Both mouth corners go up and outward by a pixel and come back; the left lid twitches."""
    spec = draw_spec(3, 3, emotion="happiness", aus=("12",))
    motion = np.zeros((len(facs.REGIONS), 2), np.float32)
    names = list(facs.REGIONS)
    for side, u in (("left", 0.7), ("right", -0.7)):
        for part in ("mouth corner", "cheek", "upper lip"):
            motion[names.index(f"{side} {part}")] = (u, -0.7)
    motion[names.index("left upper lid")] = (0.0, 0.5)
    table = np.zeros((2, len(names), len(REGION_COLUMNS)), np.float32)
    size = np.hypot(*motion.T)
    for phase, sign in enumerate((1, -1)):
        for column, values in (
            *(("u", sign * motion[:, 0]), ("v", sign * motion[:, 1]), ("magnitude", size)),
            *(("peak", size), ("coherence", np.ones_like(size)), ("z", size / 0.05)),
            *(("noise", np.full_like(size, 0.05)), ("active", size > 0.15)),
        ):
            table[phase, :, REGION_COLUMNS.index(column)] = values
    return MeasuredClip.simulated(
        spec, motion, {**make_features(0), "regions": table.astype(np.float16)}
    )


def test_statements_are_scored_against_exact_motion(clip: MeasuredClip) -> None:
    found = statement_values([clip], [judged(clip)])
    assert found["statement_precision"] == 1.0
    # Seven regions moved; the lid's motion is no AU's.
    assert found["statement_recall"] == pytest.approx(6 / 7)
    assert found["moved_regions_that_an_au_explains"] == pytest.approx(6 / 7)
    assert found["recall_of_those"] == 1.0
    assert [row.region for row in judged(clip).unexplained] == ["left upper lid"]
    data = samples([clip])
    assert (len(data.true), data.all_moved) == (6, 7)
    assert data.true.all()
