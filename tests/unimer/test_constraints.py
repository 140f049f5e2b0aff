"""Motion is put into words only where it stands out and an AU expects it that way."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest

from deft_llm import facs
from deft_llm.motion.regions import ACTIVE_Z, RegionTable
from deft_llm.unimer.constraints import (
    AGREED_Z,
    MAX_ANGLE,
    SEEN_Z,
    agreed_evidence,
    explaining_aus,
    measured_evidence,
    strength,
)

MakeTable = Callable[..., RegionTable]
VISIBLE = [f"{s}{n}" for n, unit in facs.ACTION_UNITS.items() if unit.movements for s in ("", "L")]
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
def test_an_au_explains_its_own_field(make_table: MakeTable, code: str) -> None:
    evidence = agreed_evidence(make_table(prior_field(code)), [code])
    assert {row.region: row.direction for row in evidence} == {
        region: names[0] for region, names in facs.expected_directions(code).items()
    }
    assert all(row.aus == (code,) for row in evidence)


@pytest.mark.parametrize(("one", "other"), [*ANTAGONISTS, *((b, a) for a, b in ANTAGONISTS)])
def test_an_au_never_explains_its_antagonists_field(
    make_table: MakeTable, one: str, other: str
) -> None:
    table = make_table(prior_field(one))
    assert agreed_evidence(table, [other]) == ()
    assert all(row.aus == (one,) for row in agreed_evidence(table, [one, other]))


def test_a_one_sided_au_explains_one_side(make_table: MakeTable) -> None:
    rows = agreed_evidence(make_table(prior_field("12")), ["L12"])
    assert rows
    assert {facs.REGIONS[row.region].side for row in rows} == {"left"}


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


def test_z_limits(make_table: MakeTable) -> None:
    """A label needs less proof, but one region must be seen; without a label it takes z >= 3."""
    noise = 0.1

    def table(**z: float) -> RegionTable:
        return make_table({name: (0.0, -value * noise) for name, value in z.items()}, noise)

    def agreed(**z: float) -> list[str]:
        return [row.region for row in agreed_evidence(table(**z), ["1", "17"])]

    assert AGREED_Z < SEEN_Z < ACTIVE_Z
    assert agreed(chin=SEEN_Z - 0.1) == []
    assert agreed(chin=SEEN_Z + 0.1) == ["chin"]
    assert agreed(chin=SEEN_Z + 0.1, glabella=AGREED_Z + 0.1) == ["glabella", "chin"]
    assert agreed(chin=SEEN_Z + 0.1, glabella=AGREED_Z - 0.1) == ["chin"]
    assert measured_evidence(table(chin=ACTIVE_Z - 0.1), []) == ()
    assert len(measured_evidence(table(chin=ACTIVE_Z + 0.1), [])) == 1


def test_motion_below_a_fiftieth_of_a_pixel_is_nothing(make_table: MakeTable) -> None:
    assert measured_evidence(make_table({"chin": (0.0, -0.019)}, noise=0.001), ["17"]) == ()


def test_unexplained_motion_is_measured_but_not_agreed(make_table: MakeTable) -> None:
    table = make_table({"chin": (0.3, 0.4)})
    (row,) = measured_evidence(table, ["17"])
    assert (row.region, row.direction, row.aus) == ("chin", "down and left", ())
    assert row.magnitude == pytest.approx(0.5)
    assert row.z == pytest.approx(5.0)
    assert agreed_evidence(table, ["17"]) == ()


def test_evidence_comes_in_the_order_of_the_regions(make_table: MakeTable) -> None:
    table = make_table(dict.fromkeys(reversed(facs.REGIONS), (0.0, -1.0)))
    assert [row.region for row in measured_evidence(table, [])] == list(facs.REGIONS)
