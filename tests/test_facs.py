"""The symmetry of regions, directions and AUs, and the classes of emotions."""

from __future__ import annotations

import math
from typing import get_args

import pytest

from deft_llm import facs
from deft_llm.errors import UserError

SIDES = get_args(facs.Side)
CODES = [f"{side}{number}" for number in facs.ACTION_UNITS for side in ("", "L", "R")]


@pytest.mark.parametrize("side", SIDES)
def test_direction_names_and_vectors_are_one_to_one(side: facs.Side) -> None:
    """In steps of 45 degrees the round trip is exact, 20 degrees beside it the name still holds."""
    names = set()
    for step in range(8):
        u, v = math.cos(step * math.pi / 4), math.sin(step * math.pi / 4)
        name = facs.direction_name(u, v, side)
        names.add(name)
        assert facs.direction_vector(name, side) == pytest.approx((u, v), abs=1e-12)
        for turn in (-20, 20):
            angle = step * math.pi / 4 + math.radians(turn)
            assert facs.direction_name(9 * math.cos(angle), 9 * math.sin(angle), side) == name
    assert len(names) == 8


def test_directions_are_the_subjects() -> None:
    """The subject's left is image right; v points down."""
    assert facs.direction_name(1, 0, "left") == "outward"
    assert facs.direction_name(1, 0, "right") == "inward"
    assert facs.direction_name(1, 0, "middle") == "left"
    assert {facs.direction_name(0, -1, side) for side in SIDES} == {"up"}


def test_a_direction_of_another_kind_of_region_is_an_error() -> None:
    with pytest.raises(UserError, match="expected one of"):
        facs.direction_vector("outward", "middle")
    with pytest.raises(UserError, match="expected one of"):
        facs.direction_vector("left", "right")


def test_mirror_68_is_an_involution_that_keeps_each_part() -> None:
    assert sorted(facs.MIRROR_68) == list(range(68))
    assert all(facs.MIRROR_68[facs.MIRROR_68[i]] == i for i in range(68))
    middle = [i for i in range(68) if facs.MIRROR_68[i] == i]
    assert middle == [8, 27, 28, 29, 30, 33, 51, 57, 62, 66]
    for part in (range(17), range(17, 27), range(27, 36), range(36, 48), range(48, 68)):
        assert {facs.MIRROR_68[i] for i in part} == set(part)


def test_regions_are_mirror_images_of_each_other() -> None:
    assert len(facs.REGIONS) == 20
    for name, region in facs.REGIONS.items():
        twin = facs.REGIONS[facs.mirror_region(name)]
        assert facs.mirror_region(twin.name) == name == region.name
        assert {facs.MIRROR_68[a] for a in region.anchors} == set(twin.anchors)
        assert (-region.offset[0], region.offset[1]) == twin.offset
        assert region.half_size == twin.half_size
        assert (region.side == "middle") == (twin is region)


@pytest.mark.parametrize("side", SIDES)
def test_mirrored_directions_are_mirrored_vectors(side: facs.Side) -> None:
    swap: dict[facs.Side, facs.Side] = {"left": "right", "right": "left", "middle": "middle"}
    for step in range(8):
        u, v = math.cos(step * math.pi / 4), math.sin(step * math.pi / 4)
        name = facs.direction_name(u, v, side)
        mirrored = facs.mirror_direction(name, side)
        assert facs.direction_vector(mirrored, swap[side]) == pytest.approx((-u, v), abs=1e-12)
        assert facs.mirror_direction(mirrored, swap[side]) == name


def test_mirrored_codes() -> None:
    assert [facs.mirror_au(code) for code in ("12", "L12", "R1")] == ["12", "R12", "L1"]
    assert all(facs.mirror_au(facs.mirror_au(code)) == code for code in CODES)


def test_sort_aus_orders_by_number_then_side() -> None:
    assert facs.sort_aus(["R12", "4", "L12", "12", "4"]) == ("4", "12", "L12", "R12")


@pytest.mark.parametrize("code", CODES)
def test_expectations_are_symmetric_and_nameable(code: str) -> None:
    expected = facs.expected_directions(code)
    for region, names in expected.items():
        side = facs.REGIONS[region].side
        assert all(facs.direction_vector(name, side) for name in names)
    assert facs.expected_directions(facs.mirror_au(code)) == {
        facs.mirror_region(region): tuple(
            facs.mirror_direction(name, facs.REGIONS[region].side) for name in names
        )
        for region, names in expected.items()
    }


def test_a_bare_code_expects_both_sides() -> None:
    both = {**facs.expected_directions("L12"), **facs.expected_directions("R12")}
    assert facs.expected_directions("12") == both
    assert all(facs.REGIONS[r].side != "right" for r in facs.expected_directions("L12"))


def test_to_three() -> None:
    negative = {"anger", "contempt", "disgust", "fear", "sadness", "repression"}
    assert {e for e in facs.EMOTIONS if facs.to_three(e) == "negative"} == negative
    assert facs.to_three("happiness") == "positive"
    assert facs.to_three("surprise") == "surprise"
    assert facs.to_three("others") is facs.to_three(None) is None
    with pytest.raises(UserError, match="happyness"):
        facs.to_three("happyness")


@pytest.mark.parametrize(
    ("scheme", "kept"),
    [
        ("3", {"anger": "negative", "happiness": "positive", "surprise": "surprise"}),
        ("4", {"repression": "negative", "others": "others", "positive": "positive"}),
        ("5-casme2", {"repression": "repression", "others": "others", "disgust": "disgust"}),
        ("5-samm", {"contempt": "contempt", "anger": "anger"}),
        ("7", {"sadness": "sadness", "others": "others"}),
        ("7-dfme", {"contempt": "contempt", "surprise": "surprise"}),
    ],
)
def test_label_schemes(scheme: str, kept: dict[str, str]) -> None:
    assert {emotion: facs.to_scheme(emotion, scheme) for emotion in kept} == kept
    assert facs.to_scheme(None, scheme) is None
    labels = {facs.to_scheme(emotion, scheme) for emotion in facs.EMOTIONS} - {None}
    assert labels == set(facs.SCHEMES[scheme])


def test_sadness_and_fear_of_casme2_are_in_no_merged_class() -> None:
    for emotion in ("sadness", "fear"):
        assert facs.to_three(emotion, "casme2") is None
        assert facs.to_three(emotion, "samm") == "negative"
        assert {facs.to_scheme(emotion, scheme, "casme2") for scheme in ("3", "4")} == {None}
        assert facs.to_scheme(emotion, "7", "casme2") == emotion


def test_what_a_scheme_leaves_out() -> None:
    assert facs.to_scheme("others", "3") is facs.to_scheme("others", "7-dfme") is None
    assert facs.to_scheme("sadness", "5-casme2") is facs.to_scheme("negative", "7") is None
    with pytest.raises(UserError, match="label scheme '6'"):
        facs.to_scheme("anger", "6")
