"""Scores of the simulated benchmark: the ceiling, AUs, tables by amplitude, the rule's claims."""

from __future__ import annotations

import numpy as np

from deft_llm import facs
from deft_llm.data.clip_dataset import MeasuredClip
from deft_llm.data.features import REGION_COLUMNS
from deft_llm.data.simulated import SimulatedData, specs
from deft_llm.evaluation.bayes_rule import BayesRule
from deft_llm.evaluation.explanation.replies import Reply
from deft_llm.evaluation.explanation.scores import (
    AMPLITUDES,
    amplitude_table,
    au_matrix,
    kind_table,
    rule_claims,
    scored_aus,
)
from deft_llm.metrics.faithfulness import ClaimCounts
from deft_llm.simulator.scene.clip_spec import ClipSpec, draw_spec
from deft_llm.simulator.scene.distractors import PROFILES
from deft_llm.simulator.scene.life import KINDS


def _spec(seed: int, emotion: str | None, *aus: str) -> ClipSpec:
    return draw_spec(seed, seed, emotion=emotion, aus=aus)


# --------------------------------------------------------------------------- ceiling


def test_bayes_rule_counts_as_by_hand() -> None:
    rule = BayesRule(
        [
            _spec(1, "happiness", "12"),
            _spec(2, "happiness", "12"),
            _spec(3, "anger", "12"),
            _spec(4, "disgust", "4"),
            _spec(5, "others", "4"),  # none of the three classes: not counted
            _spec(6, "others", "4"),
            _spec(7, None),
        ]
    )
    assert rule(["12"]) == "positive"
    assert rule(["4"]) == "negative"
    # Never drawn together. positive: 2/4 · (2+1)/(2+2) · (0+1)/(2+2); negative: 2/4 · 2/4 · 2/4.
    assert rule(["4", "12"]) == "negative"
    assert rule(["12", "4"]) == "negative"


def test_bayes_rule_tells_sides_apart() -> None:
    rule = BayesRule([_spec(1, "happiness", "12"), _spec(2, "contempt", "L12")])
    assert (rule(["12"]), rule(["L12"])) == ("positive", "negative")


def test_scored_aus_are_the_pinned_twelve() -> None:
    # Those in at least 2 % of the coded combinations.
    assert scored_aus(0.02) == [1, 2, 4, 5, 6, 7, 9, 10, 12, 14, 17, 24]


def test_au_matrix_leaves_sides_aside() -> None:
    matrix = au_matrix([("L12", "1"), ()], [1, 4, 12])
    np.testing.assert_array_equal(matrix, [[True, False, True], [False, False, False]])


# ---------------------------------------------------------------------------- tables


def test_every_peak_falls_in_one_row() -> None:
    edges = AMPLITUDES
    assert list(edges) == sorted(edges)
    lowest, highest = PROFILES["benchmark"].peak_px
    assert edges[0] <= lowest and highest < edges[-1]
    clips = [
        MeasuredClip.simulated(spec, np.zeros((20, 2), np.float32), None)
        for spec in specs(SimulatedData(clips=200, identities=10))
    ]
    replies = [Reply({}, "", None, None) for _ in clips]
    rows = amplitude_table(clips, replies)
    counts = [int(row["clips"]) for row in rows]
    assert sum(counts) == sum(bool(clip.spec.aus) for clip in clips)
    assert all(count > 0 for count in counts)


def test_life_has_rows_by_kind_and_by_large_peaks() -> None:
    clips = [
        MeasuredClip.simulated(spec, np.zeros((20, 2), np.float32), None)
        for spec in specs(SimulatedData(clips=200, identities=10, profile="life"))
    ]
    replies = [Reply({}, "", None, None) for _ in clips]
    shown = [clip.spec.kinds for clip in clips if clip.spec.aus]
    by_kind = {row["kind"]: row["clips"] for row in kind_table(clips, replies)}
    assert by_kind == {
        "none": sum(not kinds for kinds in shown),
        **{kind: sum(kind in kinds for kinds in shown) for kind in KINDS},
    }
    peaks = [(row["peak px"], row["clips"]) for row in amplitude_table(clips, replies)]
    assert [name for name, _ in peaks[4:]] == ["3.0-6.0", "6.0-12.0", "12.0-20.0"]
    assert sum(int(count) for _, count in peaks) == len(shown)


def test_none_is_a_guess_only_where_it_counts() -> None:
    likelihoods = {
        "negative": -2.0,
        "positive": -1.0,
        "surprise": -3.0,
        "others": -0.5,
        "none": -0.1,
    }
    reply = Reply(likelihoods, "", None, None)
    assert (reply.likeliest("three"), reply.best()) == ("positive", "none")
    silent = Reply({}, "", None, None)  # no face was found
    assert (silent.likeliest("three"), silent.best()) == (None, "none")


def test_the_rule_states_moved_regions_that_an_au_explains() -> None:
    """Both mouth corners rise under AU12, the glabella moves under none, the chin is not seen."""
    names = list(facs.REGIONS)
    corners = [names.index(f"{side} mouth corner") for side in ("left", "right")]
    motion = np.zeros((len(names), 2), np.float32)
    motion[[*corners, names.index("glabella"), names.index("chin")]] = (0.0, -0.8)
    regions = np.zeros((2, len(names), len(REGION_COLUMNS)), np.float32)
    for phase, sign in enumerate((-1, 1)):
        regions[phase, corners, :3] = (0.0, sign * 0.8, 0.8)
    regions[0, names.index("glabella"), :3] = (0.0, -0.8, 0.8)
    regions[..., REGION_COLUMNS.index("coherence")] = 1.0
    regions[..., REGION_COLUMNS.index("noise")] = 0.04
    regions[..., REGION_COLUMNS.index("z")] = regions[..., REGION_COLUMNS.index("magnitude")] / 0.04
    smile = MeasuredClip.simulated(_spec(1, "happiness", "12"), motion, {"regions": regions})
    still = MeasuredClip.simulated(_spec(2, None), motion, {"regions": regions})
    unseen = MeasuredClip.simulated(_spec(3, "happiness", "12"), motion, None)
    assert rule_claims([smile]) == ClaimCounts(2, 2, 4, 2)
    assert rule_claims([still, unseen]) == ClaimCounts(0, 0, 8, 0)
