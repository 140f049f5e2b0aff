"""Motion is put into words only where it stands out and an AU expects it that way."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

from deft_llm import facs
from deft_llm.answers import strength
from deft_llm.clip import OFFSET_PHASE, ONSET_PHASE
from deft_llm.data.features import Features, mirror_features
from deft_llm.data.records import mirror_evidence
from deft_llm.motion.evidence import MAX_ANGLE, explaining_aus, measured_evidence
from deft_llm.motion.regions import ACTIVE_Z, RegionTable
from deft_llm.unimer.agreement import AGREEMENT_FEATURES, AgreementWeights, candidates, fitted
from deft_llm.unimer.constraints import SEEN_Z, judge

MakeTable = Callable[..., RegionTable]
MakeRegions = Callable[..., np.ndarray]
VISIBLE = [f"{s}{n}" for n, au in facs.ACTION_UNITS.items() if au.movements for s in ("", "L")]
# Muscles that pull the same part opposite ways.
ANTAGONISTS = [
    *(("1", "4"), ("2", "4"), ("5", "43"), ("5", "45"), ("5", "7"), ("12", "15"), ("12", "18")),
    *(("18", "20"), ("17", "15"), ("17", "26"), ("24", "25"), ("16", "8"), ("38", "39")),
]


def prior_field(code: str) -> dict[str, tuple[float, float]]:
    """One pixel of motion in each expected region, along the AU's main direction."""
    return {
        region: facs.direction_vector(names[0], facs.REGIONS[region].side)
        for region, names in facs.expected_directions(code).items()
    }


@pytest.mark.parametrize("code", VISIBLE)
def test_an_au_explains_its_own_field(make_regions: MakeRegions, code: str) -> None:
    agreement = judge(make_regions(prior_field(code)), [code], "casme2")
    assert {row.region: row.direction for row in agreement.evidence} == {
        region: names[0] for region, names in facs.expected_directions(code).items()
    }
    assert all(row.aus == (code,) and row.source == "casme2" for row in agreement.evidence)
    assert (agreement.label_only, agreement.unexplained) == ((), ())
    assert agreement.level == "A"
    assert agreement.score == pytest.approx(1.0)


@pytest.mark.parametrize(("one", "other"), [*ANTAGONISTS, *((b, a) for a, b in ANTAGONISTS)])
def test_an_au_never_explains_its_antagonists_field(
    make_regions: MakeRegions, one: str, other: str
) -> None:
    regions = make_regions(prior_field(one))
    agreement = judge(regions, [other])
    assert (agreement.evidence, agreement.level) == ((), "label-only")
    assert agreement.label_only == (other,)
    assert {row.region for row in agreement.unexplained} == set(prior_field(one))
    both = judge(regions, [one, other])
    assert all(row.aus == (one,) for row in both.evidence)
    assert both.label_only == (other,)


def test_a_one_sided_au_explains_one_side(make_regions: MakeRegions) -> None:
    agreement = judge(make_regions(prior_field("12")), ["L12"])
    assert agreement.evidence
    assert {facs.REGIONS[row.region].side for row in agreement.evidence} == {"left"}
    assert {facs.REGIONS[row.region].side for row in agreement.unexplained} == {"right"}
    assert agreement.level != "A"


def test_motion_that_goes_on_after_the_apex_is_less_sure(make_regions: MakeRegions) -> None:
    """In time: what rises with the expression falls with it."""
    field = prior_field("12")
    tables = [make_regions(field), make_regions(field, {}), make_regions(field, field)]
    sure = [
        fitted().probability(np.stack([c.features for c in candidates(table, ["12"])])).min()
        for table in tables
    ]
    assert sure[0] > sure[1] > sure[2]
    assert sure[0] >= fitted().threshold > sure[2]


def test_the_fall_is_told_where_it_goes_back(make_regions: MakeRegions) -> None:
    onset_phase = {
        "left mouth corner": (0.7, -0.7),
        "right mouth corner": (-0.7, -0.7),
        "chin": (0, 0),
    }
    agreement = judge(make_regions(onset_phase, {"left mouth corner": (-0.7, 0.7)}), ["12"])
    (row,) = agreement.returns
    assert (row.region, row.direction, row.phase) == (
        "left mouth corner",
        "down and inward",
        OFFSET_PHASE,
    )
    assert {row.phase for row in agreement.evidence} == {ONSET_PHASE}


@pytest.mark.parametrize("seed", range(20))
def test_the_mirrored_clip_gets_the_mirrored_judgement(
    make_features: Callable[[int], Features], seed: int
) -> None:
    features, aus = make_features(seed), ["L12", "4", "R1", "17", "7"]
    here = judge(features["regions"], aus)
    there = judge(mirror_features(features)["regions"], [facs.mirror_au(code) for code in aus])
    assert {(e.region, e.direction) for e in map(mirror_evidence, here.evidence)} == {
        (e.region, e.direction) for e in there.evidence
    }
    assert there.score == pytest.approx(here.score, abs=1e-3)


def test_the_weights_survive_json_and_weigh_every_feature() -> None:
    again = AgreementWeights.from_json(fitted().to_json())
    np.testing.assert_allclose(again.weights, fitted().weights)
    assert len(again.weights) == len(AGREEMENT_FEATURES)
    assert 0.5 < again.threshold < 1
    assert again.recipe["clips"] >= 300


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("sign", [-1, 1])
def test_the_angle_limit(side: facs.Side, sign: int) -> None:
    """AU2 expects the outer brow straight up."""
    for turn, agrees in ((0, True), (MAX_ANGLE - 1, True), (MAX_ANGLE + 1, False), (180, False)):
        angle = math.radians(-90 + sign * turn)
        found = explaining_aus(f"{side} outer brow", math.cos(angle), math.sin(angle), ["2"])
        assert found == (("2",) if agrees else ())


def test_no_motion_has_no_direction_to_explain() -> None:
    assert explaining_aus("chin", 0.0, 0.0, ["17"]) == ()


@pytest.mark.parametrize(
    ("magnitude", "word"),
    [(0.0, "slight"), (0.39, "slight"), (0.4, "moderate"), (0.99, "moderate"), (1.0, "marked")],
)
def test_strength_words(magnitude: float, word: str) -> None:
    assert strength(magnitude) == word


def test_z_limits(make_table: MakeTable, make_regions: MakeRegions) -> None:
    """A label needs less proof, but one region must be seen; without a label it takes z >= 3."""
    noise = 0.1

    def lifted(z: float) -> dict[str, tuple[float, float]]:
        return dict.fromkeys(prior_field("1"), (0.0, -z * noise))

    assert SEEN_Z < ACTIVE_Z
    assert judge(make_regions(lifted(SEEN_Z - 0.1)), ["1"]).evidence == ()
    assert len(judge(make_regions(lifted(SEEN_Z + 0.1)), ["1"]).evidence) == 3
    chin = {"chin": (0.0, -(ACTIVE_Z - 0.1) * noise)}
    assert measured_evidence(make_table(chin), []) == ()
    chin = {"chin": (0.0, -(ACTIVE_Z + 0.1) * noise)}
    assert len(measured_evidence(make_table(chin), [])) == 1


def test_motion_below_a_fiftieth_of_a_pixel_is_nothing(make_table: MakeTable) -> None:
    assert measured_evidence(make_table({"chin": (0.0, -0.019)}, noise=0.001), ["17"]) == ()


def test_unexplained_motion_is_measured_but_not_agreed(
    make_table: MakeTable, make_regions: MakeRegions
) -> None:
    table = make_table({"chin": (0.3, 0.4)})
    (row,) = measured_evidence(table, ["17"])
    assert (row.region, row.direction, row.aus) == ("chin", "down and left", ())
    assert row.magnitude == pytest.approx(0.5)
    assert row.z == pytest.approx(5.0)
    agreement = judge(make_regions({"chin": (0.3, 0.4)}), ["17"])
    assert (agreement.evidence, [e.region for e in agreement.unexplained]) == ((), ["chin"])


def test_evidence_comes_in_the_order_of_the_regions(make_table: MakeTable) -> None:
    table = make_table(dict.fromkeys(reversed(facs.REGIONS), (0.0, -1.0)))
    assert [row.region for row in measured_evidence(table, [])] == list(facs.REGIONS)
