"""Checks of values read from JSON; each yields (field, what was got and what was expected)."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

from deft_llm import facs
from deft_llm.clip import OFFSET_PHASE, ONSET_PHASE
from deft_llm.errors import did_you_mean

Row = Mapping[str, Any]
FieldProblems = Iterator[tuple[str, str]]
Check = Callable[[Any, str], FieldProblems]
_LONGEST = 60  # characters of a value in a message
_ALIKE = 0.8  # an unknown field this similar to an absent one is a spelling of it


def shown(value: Any) -> str:
    """A value as JSON, cut if it is long."""
    try:
        # In ASCII: half of a surrogate pair stays an escape, so that the message can be printed.
        said = json.dumps(value)
    except RecursionError:
        return "something nested too deeply"
    return said if len(said) <= _LONGEST else said[:_LONGEST] + " …"


def text(value: Any, field: str) -> FieldProblems:
    """Text that is not blank and can be encoded (half of a surrogate pair cannot)."""
    if not isinstance(value, str) or not value.strip():
        yield field, f"got {shown(value)}, expected text"
    elif any("\ud800" <= char <= "\udfff" for char in value):
        yield field, f"got {shown(value)}, expected whole characters, not half of a surrogate pair"


def any_text(value: Any, field: str) -> FieldProblems:
    """Text, which may be empty."""
    if value != "":
        yield from text(value, field)


def flag(value: Any, field: str) -> FieldProblems:
    """True or false."""
    if not isinstance(value, bool):
        yield field, f"got {shown(value)}, expected true or false"


def is_whole(value: Any) -> bool:
    """Whether a value is a whole number >= 0; true and false are none."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def whole(value: Any, field: str) -> FieldProblems:
    """A whole number >= 0."""
    if not is_whole(value):
        yield field, f"got {shown(value)}, expected a whole number >= 0"


def number(value: Any, field: str) -> FieldProblems:
    """A finite number >= 0."""
    good = isinstance(value, int | float) and not isinstance(value, bool)
    # Compared as it is: a very large integer does not fit into a float.
    if not good or not 0 <= value < math.inf:
        yield field, f"got {shown(value)}, expected a number >= 0"


def texts(value: Any, field: str) -> FieldProblems:
    """A list of texts."""
    if not isinstance(value, list):
        yield field, f"got {shown(value)}, expected a list of texts"
        return
    for k, item in enumerate(value):
        yield from text(item, f"{field}[{k}]")


def aus(value: Any, field: str) -> FieldProblems:
    """A list of AU codes such as 12 or L12."""
    if not isinstance(value, list):
        yield field, f"got {shown(value)}, expected a list of AU codes"
        return
    known = {f"{side}{n}" for n in facs.ACTION_UNITS for side in ("", "L", "R")}
    for k, code in enumerate(value):
        if not isinstance(code, str) or code not in known:
            yield f"{field}[{k}]", f'got {shown(code)}, expected a FACS AU such as "12" or "L12"'


def evidence(value: Any, field: str) -> FieldProblems:
    """A list of statements: region, direction, magnitude, z, AUs, phase."""
    if not isinstance(value, list):
        yield field, f"got {shown(value)}, expected a list"
        return
    for k, row in enumerate(value):
        if isinstance(row, dict):
            yield from _statement(row, f"{field}[{k}]")
        else:
            yield f"{field}[{k}]", f"got {shown(row)}, expected a region with its direction"


def _statement(row: Row, field: str) -> FieldProblems:
    region = row.get("region")
    # Without a known region its side is unknown, and the direction cannot be checked.
    if not isinstance(region, str) or region not in facs.REGIONS:
        yield f"{field}.region", f"got {shown(region)}, expected a name of facs.REGIONS"
        return
    direction, known = row.get("direction"), facs.directions(facs.REGIONS[region].side)
    if direction not in known:
        got = shown(direction)
        yield f"{field}.direction", f"got {got}, expected one of {', '.join(known)}"
    yield from number(row.get("magnitude"), f"{field}.magnitude")
    yield from number(row.get("z"), f"{field}.z")
    phase = row.get("phase", ONSET_PHASE)
    if phase not in (ONSET_PHASE, OFFSET_PHASE):
        yield f"{field}.phase", f"got {shown(phase)}, expected {ONSET_PHASE!r} or {OFFSET_PHASE!r}"
    yield from any_text(row.get("source", ""), f"{field}.source")
    yield from aus(row.get("aus"), f"{field}.aus")


def fields(row: Row, required: Mapping[str, Check], optional: Mapping[str, Check]) -> FieldProblems:
    """Every required field, and the optional ones that are there.

    Other fields are left alone, as people keep notes of their own; but not one that is nearly
    spelled like a field that is missing, because its value would be ignored.
    """
    for name, check in required.items():
        if name in row:
            yield from check(row[name], name)
        else:
            yield name, "missing"
    for name, check in optional.items():
        if name in row:
            yield from check(row[name], name)
    yield from _misspelled(row, [*required, *optional])


def _misspelled(row: Row, known: Collection[str]) -> FieldProblems:
    absent = [name for name in known if name not in row]
    for name in row:
        if name not in known and (hint := did_you_mean(name, absent, _ALIKE)):
            yield shown(name)[1:-1], f"unknown field{hint}"
