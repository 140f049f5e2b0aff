"""The AU-code grammar against the published sheets, and the symmetry of regions and directions."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any, get_args

import pytest

from deft_llm import facs
from deft_llm.errors import UserError

DATA = os.environ.get("DEFT_DATA")
needs_data = pytest.mark.skipif(not DATA, reason="set DEFT_DATA to the folder of annotations")
SHEETS = [
    ("CASME2-coding-20190701.xlsx", "Action Units", 255),
    ("casme3_table.xlsx", "AU", 860),
    ("SAMM_Micro_FACS_Codes_v2.xlsx", "Action Units", 159),
]
SIDES = get_args(facs.Side)
CODES = [f"{side}{number}" for number in facs.ACTION_UNITS for side in ("", "L", "R")]


def read(code: Any) -> list[str]:
    """Every attribute that is set, in a short form of the test's own."""
    aus = []
    for au in facs.parse_aus(code):
        marks = ("~" * au.asymmetric) + ("?" * au.uncertain) + ("ref " * au.reference)
        group = f" or{au.alternative}" if au.alternative else ""
        aus.append(f"{marks}{au.side}{au.part}{au.number}{au.intensity.lower()}{group}")
    return aus


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("R12", ["R12"]),
        ("L1+L2", ["L1", "L2"]),
        ("(R6 or R12)+R15", ["R6 or1", "R12 or1", "R15"]),
        ("(R6 or R12) + R15", ["R6 or1", "R12 or1", "R15"]),
        ("R14A or 17A or 24A", ["R14a or1", "17a or1", "24a or1"]),
        ("(1 or 2)+(6 or 7)", ["1 or1", "2 or1", "6 or2", "7 or2"]),
        ("A9+12", ["~9", "12"]),
        ("A/L12", ["~L12"]),
        ("A1B+A2C", ["~1b", "~2c"]),
        ("T28+14", ["T28", "14"]),
        ("B23", ["B23"]),
        ("ref(7B)+43", ["ref 7b", "43"]),
        ("4D+ref(6)+7C+43E", ["4d", "ref 6", "7c", "43e"]),
        ("7B+ ref(43)", ["7b", "ref 43"]),
        ("10A/B", ["10a/b"]),
        ("L12A+25", ["L12a", "25"]),
        ("4?", ["?4"]),
        ("l12", ["L12"]),
        (12, ["12"]),
        (12.0, ["12"]),
        ("soft focus+4", ["4"]),
    ],
)
def test_every_form_of_the_grammar(code: str | float, expected: list[str]) -> None:
    assert read(code) == expected


@pytest.mark.parametrize("code", [None, "", " ", "/", 0, "0", "nan", "-"])
def test_nothing_coded(code: Any) -> None:
    assert facs.parse_aus(code) == ()


@pytest.mark.parametrize(
    "code", ["99", "3", "R12+99", "smile", "12++14", "(R6 or R12", "R12)", "Q4", "?"]
)
def test_an_unknown_code_is_one_clear_line(code: str) -> None:
    with pytest.raises(UserError) as caught:
        facs.parse_aus(code)
    assert repr(code) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_code_of_a_unit_is_what_annotations_carry() -> None:
    assert [au.code for au in facs.parse_aus("A/L12C+T28+ref(R7B)")] == ["L12", "28", "R7"]


def sheet_codes(name: str, column: str) -> list[Any]:
    openpyxl = pytest.importorskip("openpyxl", reason="the extra 'corpora' reads sheets")
    path = Path(DATA or "") / "annotations" / name
    if not path.is_file():
        pytest.skip(f"{path} is not there")
    for sheet in openpyxl.load_workbook(path, read_only=True):
        rows = list(sheet.iter_rows(values_only=True))
        header = next((i for i, row in enumerate(rows) if column in row), None)
        if header is not None:
            place = rows[header].index(column)
            return [row[place] for row in rows[header + 1 :] if row[place] is not None]
    raise AssertionError(f"{name}: no column {column!r}")


@needs_data
@pytest.mark.parametrize(("name", "column", "rows"), SHEETS)
def test_every_code_of_the_published_sheets_parses(name: str, column: str, rows: int) -> None:
    codes = sheet_codes(name, column)
    assert len(codes) == rows
    for code in codes:
        assert facs.parse_aus(code) or str(code).strip() in {"/", "0"}, code


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


def test_what_a_scheme_leaves_out() -> None:
    assert facs.to_scheme("others", "3") is facs.to_scheme("others", "7-dfme") is None
    assert facs.to_scheme("sadness", "5-casme2") is facs.to_scheme("negative", "7") is None
    with pytest.raises(UserError, match="label scheme '6'"):
        facs.to_scheme("anger", "6")
