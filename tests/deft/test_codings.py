"""What codings say of the classes, given the AU head: its shares, and how they count."""

from __future__ import annotations

import math

import pytest
import torch

from deft_llm import facs
from deft_llm.answers import COARSE_LABELS, NOTHING, coarse_label
from deft_llm.deft.inference.codings import Codings
from deft_llm.simulator.scene.statistics import combinations

NUMBERS = (1, 2, 4, 5, 6, 7, 9, 10, 12, 14, 15, 17, 24)


def head(*codes: str) -> torch.Tensor:
    """The output (1, K, 2) of a head that is sure of some AUs and of no other."""
    sure = torch.full((1, len(NUMBERS), 2), 0.01)
    for code in codes:
        for side in facs.au_sides(code):
            sure[0, NUMBERS.index(facs.au_number(code)), int(side == "right")] = 0.99
    return sure


def test_shares_are_those_of_the_combination_that_is_seen() -> None:
    codings = Codings(NUMBERS)
    found = codings.log_shares(COARSE_LABELS, head("1", "2")).exp()[0]
    assert float(found.sum()) == pytest.approx(1.0, abs=1e-5)
    coded = {
        label: sum(
            counts.get("1+2", 0.0)
            for emotion, counts in combinations().items()
            if coarse_label(emotion) == label
        )
        for label in COARSE_LABELS
    }
    share = coded["surprise"] / sum(coded.values())
    assert float(found[COARSE_LABELS.index("surprise")]) == pytest.approx(share, abs=0.05)
    assert int(found.argmax()) == COARSE_LABELS.index("surprise")


def test_a_lip_corner_on_one_side_is_coded_otherwise_than_on_both() -> None:
    codings, labels = Codings(NUMBERS), ("happiness", "contempt")
    both, one = (codings.log_shares(labels, head(code))[0] for code in ("12", "L12"))
    assert float(both[0] - both[1]) > 1.0 > float(one[0] - one[1])


def test_without_any_au_no_emotion_is_the_likeliest() -> None:
    codings = Codings(NUMBERS)
    found = codings.log_shares(COARSE_LABELS, head())[0]
    assert COARSE_LABELS[int(found.argmax())] == NOTHING
    # A head that has seen nothing leaves the usual shares.
    blank = codings.log_shares(("surprise",), torch.full((1, len(NUMBERS), 2), 0.5))
    assert math.exp(float(blank)) < 0.5


def test_every_label_is_told_and_unknown_ones_are_not() -> None:
    codings = Codings(NUMBERS)
    assert codings.know(facs.SCHEMES["7-dfme"]) and codings.know(COARSE_LABELS)
    assert not codings.know(("happiness", "repression"))
    found = codings.log_shares(facs.SCHEMES["7-dfme"], head("4").repeat(3, 1, 1))
    assert found.shape == (3, len(facs.SCHEMES["7-dfme"])) and found.isfinite().all()
