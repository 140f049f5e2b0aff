"""What the AU head is sure of limits what a language model names."""

import pytest
import torch

from deft_llm.deft.inference.grammar import START, AuLimits, State, advance, options
from deft_llm.deft.inference.verdicts import POSSIBLE, SURE, au_limits

NUMBERS = [1, 4, 12]


def limits(*rows: tuple[float, float], moved: frozenset[str] | None = None) -> AuLimits:
    return au_limits(torch.tensor(rows, dtype=torch.float64), NUMBERS, moved)


def codes(found: AuLimits) -> frozenset[str]:
    assert found.allowed is not None
    return found.allowed


def test_sure_is_due_and_excluded_is_forbidden() -> None:
    found = limits((0.9, 0.9), (0.05, 0.05), (0.5, 0.5))
    assert found.due == {"1"}
    assert "1" in codes(found) and "L1" not in codes(found)
    assert not {"4", "L4", "R4"} & codes(found)
    assert codes(found) >= {"12", "L12", "R12"}


def test_one_side_alone() -> None:
    found = limits((0.95, 0.05), (0.0, 0.0), (0.3, 0.95))
    assert found.due == {"1", "12"}
    assert codes(found) & {"1", "L1", "R1"} == {"L1"}
    assert codes(found) >= {"12", "R12"}


def test_nothing_is_named_that_no_region_speaks_for() -> None:
    found = limits((0.9, 0.9), (0.0, 0.0), (0.9, 0.9), moved=frozenset({"12", "L12", "R12", "9"}))
    assert found.due == {"12"}
    # The head has no output for AU 9.
    assert codes(found) == {"12"}


@pytest.mark.parametrize("value", [POSSIBLE, SURE])
def test_the_thresholds_themselves_count(value: float) -> None:
    found = limits((value, value), (0.0, 0.0), (0.0, 0.0))
    assert "1" in codes(found) and (found.due == {"1"}) == (value == SURE)


def test_a_list_does_not_end_before_what_is_due() -> None:
    found = limits((0.9, 0.9), (0.0, 0.0), (0.5, 0.5))
    start = State(START.stage._replace(aus=found))
    begun = advance(start, b'{"class": "positive", "emotion": "happiness", "aus": [')
    assert begun is not None
    assert not any(piece.startswith(b"]") for piece in options(begun.stage))
    named = advance(begun, b'"12", "1"')
    assert named is not None
    assert any(piece.startswith(b"]") for piece in options(named.stage))
    assert advance(begun, b'"4"') is None
