"""What holds for any AU code, any cell of a coding sheet and any dotted override."""

from __future__ import annotations

import json
import math
from copy import deepcopy
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from deft_llm import facs
from deft_llm.au_notation import CodedAU, parse_aus
from deft_llm.clip import Interval
from deft_llm.config import apply_overrides
from deft_llm.corpora.coding import RowPlace, read_aus, read_emotion, read_interval
from deft_llm.corpora.report import Report
from deft_llm.corpora.sheets import FRAME_FIELDS, SheetRow
from deft_llm.errors import UserError

# Nothing here depends on chance or on how fast the machine is.
EXAMPLES = settings(
    derandomize=True,
    deadline=None,
    max_examples=100,
    suppress_health_check=[HealthCheck.too_slow],
)
CODES = [f"{side}{number}" for number in facs.ACTION_UNITS for side in ("", "L", "R")]
LABELS = (*facs.EMOTIONS, *facs.THREE_CLASSES, None)
SWAP: dict[facs.Side, facs.Side] = {"left": "right", "right": "left", "middle": "middle"}

codes = st.sampled_from(CODES)
# Letters and signs that stand in AU codings, so that most texts are nearly right.
au_like = st.text("0123456789LRATBEXlre?+()/.,- fo\n") | st.text()
frames = st.integers(-5, 400).map(str)
frame_like = frames | st.sampled_from(["", "/", "-", "12.0", "soon", "?"]) | st.text()


# ------------------------------------------------------------------- AU codes, directions, labels


@EXAMPLES
@given(st.lists(codes), st.randoms(use_true_random=False))
def test_codes_are_sorted_the_same_from_any_order(given_codes: list[str], rng: Any) -> None:
    once = facs.sort_aus(given_codes)
    rng.shuffle(given_codes)
    assert facs.sort_aus(given_codes) == facs.sort_aus(once) == once
    assert once == tuple(code for code in CODES if code in given_codes)


@EXAMPLES
@given(codes)
def test_a_mirrored_code_acts_on_the_other_side_the_same_way(code: str) -> None:
    other = facs.mirror_au(code)
    assert facs.mirror_au(other) == code and other in CODES
    assert facs.au_number(other) == facs.au_number(code)
    assert {SWAP[side] for side in facs.au_sides(code)} == set(facs.au_sides(other))
    assert facs.expected_directions(other) == {
        facs.mirror_region(region): tuple(
            facs.mirror_direction(way, facs.REGIONS[region].side) for way in ways
        )
        for region, ways in facs.expected_directions(code).items()
    }


@EXAMPLES
@given(st.floats(-math.pi, math.pi), st.floats(0.01, 100), st.sampled_from(list(SWAP)))
def test_a_flipped_motion_has_the_mirrored_name(
    angle: float, length: float, side: facs.Side
) -> None:
    u, v = length * math.cos(angle), length * math.sin(angle)
    name = facs.direction_name(u, v, side)
    du, dv = facs.direction_vector(name, side)
    assert u * du + v * dv >= math.cos(math.pi / 8) * length * (1 - 1e-9)
    mirrored = facs.mirror_direction(name, side)
    assert facs.mirror_direction(mirrored, SWAP[side]) == name
    assume(abs(angle / (math.pi / 4) % 1 - 0.5) > 1e-6)  # on the border of two names either is fine
    assert facs.direction_name(-u, v, SWAP[side]) == mirrored


@EXAMPLES
@given(st.sampled_from(LABELS) | st.text(), st.sampled_from(list(facs.SCHEMES)) | st.text())
def test_every_emotion_has_a_class_or_none_in_every_scheme(emotion: str, scheme: str) -> None:
    if emotion in LABELS and scheme in facs.SCHEMES:
        assert facs.to_three(emotion) in (*facs.THREE_CLASSES, None)
        assert facs.to_scheme(emotion, scheme) in (*facs.SCHEMES[scheme], None)
        return
    with pytest.raises(UserError) as caught:
        facs.to_scheme(emotion, scheme)
    assert "\n" not in str(caught.value)


# --------------------------------------------------------------------------- cells of the sheets


@st.composite
def written_units(draw: st.DrawFn) -> tuple[str, CodedAU]:
    """One AU as a coder may write it, and what is meant."""
    prefix = draw(st.sampled_from(["", "L", "R", "A", "A/L", "A/R"]))
    part, blank = draw(st.sampled_from(["", "T", "B"])), draw(st.sampled_from(["", " "]))
    number = draw(st.sampled_from(sorted(facs.ACTION_UNITS)))
    intensity = draw(st.sampled_from(["", "A", "E", "A/B"]))
    uncertain, reference, lower = (draw(st.booleans()) for _ in range(3))
    text = f"{prefix}{part}{blank}{number}{blank}{intensity}{'?' * uncertain}"
    text = text.lower() if lower else text
    side = prefix[-1:].replace("A", "")
    unit = CodedAU(number, side, part, prefix[:1] == "A", intensity, reference, uncertain)
    return (f"ref({text})" if reference else text), unit


@EXAMPLES
@given(st.lists(st.lists(written_units(), min_size=1, max_size=3), min_size=1, max_size=4))
def test_what_coders_write_is_read_as_meant(
    written: list[list[tuple[str, CodedAU]]],
) -> None:
    """Several in a list are alternatives: "(R6 or R12)+R15"."""
    parts, expected, groups = [], [], 0
    for choices in written:
        joined = " or ".join(text for text, _ in choices)
        parts.append(f"({joined})" if len(choices) > 1 else joined)
        groups += len(choices) > 1
        expected += [(unit, groups if len(choices) > 1 else 0) for _, unit in choices]
    for plus in ("+", " + "):
        found = parse_aus(plus.join(parts))
        assert [(u.code, u.part, u.intensity, u.uncertain, u.reference) for u in found] == [
            (u.code, u.part, u.intensity, u.uncertain, u.reference) for u, _ in expected
        ]
        assert [(u.asymmetric, u.alternative) for u in found] == [
            (u.asymmetric, group) for u, group in expected
        ]


@EXAMPLES
@given(au_like)
def test_any_text_is_known_units_or_one_line(text: str) -> None:
    place = RowPlace(Report(), "sheet.csv", 2, "clip")
    found = read_aus(text, place)
    assert set(found) <= set(CODES) and facs.sort_aus(found) == found
    try:
        units = parse_aus(text)
    except UserError as error:
        assert "\n" not in str(error)
        assert found == () and place.report.count("mended") == 1
    else:
        assert {facs.au_number(code) for code in found} <= {unit.number for unit in units}


@EXAMPLES
@given(st.tuples(frames, frames, frames) | st.tuples(*[frame_like] * 3), st.integers(0, 1))
def test_any_cells_are_an_interval_or_a_dropped_row(cells: tuple[str, ...], first: int) -> None:
    place = RowPlace(Report(), "sheet.csv", 2, "clip")
    row = SheetRow(2, dict(zip(FRAME_FIELDS, map(str.strip, cells), strict=True)))
    interval = read_interval(row, place, first)
    assert (interval is None) == (place.report.count("dropped") == 1)
    if interval is not None:
        assert first <= interval.onset <= interval.apex <= interval.offset


@EXAMPLES
@given(st.tuples(*(st.integers(1, 400) for _ in FRAME_FIELDS)))
def test_frames_in_order_are_read_as_written(coded: tuple[int, ...]) -> None:
    place = RowPlace(Report(), "sheet.csv", 2, "clip")
    onset, apex, offset = sorted(coded)
    assume(offset > onset)
    row = SheetRow(2, {"onset": str(onset), "apex": f"{apex}.0", "offset": str(offset)})
    assert read_interval(row, place, 1) == Interval(onset, apex, offset)
    assert not len(place.report)


@EXAMPLES
@given(st.sampled_from(facs.EMOTIONS).map(str.title) | st.text())
def test_any_word_is_an_emotion_of_the_corpus_or_one_line(word: str) -> None:
    own = {emotion: emotion for emotion in facs.EMOTIONS}
    try:
        assert read_emotion(word, own, RowPlace(Report(), "sheet.csv", 2, "clip")) in facs.EMOTIONS
    except UserError as error:
        assert word.lower() not in own and "\n" not in str(error)


# ------------------------------------------------------------------------------ dotted overrides

names = st.text("abcxyz_019", min_size=1, max_size=4)
leaves = st.none() | st.booleans() | st.integers() | st.text("aé1: #'\"\n", max_size=5)
trees = st.dictionaries(
    names,
    st.recursive(leaves, lambda c: st.lists(c, max_size=3) | st.dictionaries(names, c, max_size=3)),
    min_size=1,
)


def leaf_paths(node: Any, above: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """Where every value stands that is neither a mapping nor a list."""
    if not isinstance(node, dict | list):
        return [above]
    inside = node.items() if isinstance(node, dict) else enumerate(node)
    return [path for key, child in inside for path in leaf_paths(child, (*above, key))]


def replaced(tree: Any, path: tuple[str | int, ...], value: Any) -> Any:
    """By hand, in a copy."""
    tree = deepcopy(tree)
    node = tree
    for key in path[:-1]:
        node = node[key]
    node[path[-1]] = value
    return tree


def override(path: tuple[str | int, ...], value: Any) -> str:
    return f"{'.'.join(map(str, path))}={json.dumps(value)}"


@EXAMPLES
@given(trees, st.data())
def test_an_override_changes_its_leaf_and_nothing_else(tree: dict[str, Any], data: Any) -> None:
    paths = leaf_paths(tree)
    assume(paths)
    before, path, value = deepcopy(tree), data.draw(st.sampled_from(paths)), data.draw(leaves)
    assert apply_overrides(tree, [override(path, value)]) == replaced(tree, path, value)
    assert tree == before


@EXAMPLES
@given(trees, st.data())
def test_overrides_of_different_leaves_may_come_in_any_order(
    tree: dict[str, Any], data: Any
) -> None:
    paths = leaf_paths(tree)
    assume(len(paths) > 1)
    first, second = data.draw(st.lists(st.sampled_from(paths), min_size=2, max_size=2, unique=True))
    both = [override(first, "one"), override(second, {"two": [2]})]
    changed = apply_overrides(tree, both)
    assert changed == apply_overrides(tree, both[::-1])
    assert changed == replaced(replaced(tree, first, "one"), second, {"two": [2]})


yaml_like = st.sampled_from(["2024-13-45", "0x_", "[1", "{a: ", "*x", "a: b: c"]) | st.text()


@EXAMPLES
@given(trees, st.lists(names | st.integers(-2, 3).map(str), min_size=1, max_size=4), yaml_like)
def test_any_override_is_carried_out_or_one_line(
    tree: dict[str, Any], path: list[str], text: str
) -> None:
    before = deepcopy(tree)
    try:
        assert isinstance(apply_overrides(tree, [f"{'.'.join(path)}={text}"]), dict)
    except UserError as error:
        assert "\n" not in str(error)
    assert tree == before
