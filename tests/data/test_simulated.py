"""The recipes of a simulated set: who shows what, how often."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from deft_llm.data.simulated import SimulatedData, specs


def drawn(**values: Any) -> list[tuple[str, ...]]:
    """AUs of 400 clips."""
    return [spec.aus for spec in specs(SimulatedData(clips=400, identities=10, seed=3, **values))]


def test_the_share_of_still_faces_leaves_the_others_as_they_are() -> None:
    usual, more = drawn(), drawn(neutral_share=0.3)
    assert np.mean([not aus for aus in usual]) == pytest.approx(0.1, abs=0.04)
    assert np.mean([not aus for aus in more]) == pytest.approx(0.3, abs=0.06)
    assert all(a == b for a, b in zip(usual, more, strict=True) if b)


def test_evenly_drawn_aus_are_never_still_and_make_rare_ones_frequent() -> None:
    usual, even = drawn(neutral_share=0.0), drawn(balanced_share=1.0, neutral_share=1.0)
    assert all(even)
    counts = [
        {au: sum(au in aus for aus in clips) for au in ("4", "26")} for clips in (usual, even)
    ]
    assert counts[1]["26"] > 2 * counts[0]["26"]
    assert counts[1]["4"] < counts[0]["4"]
