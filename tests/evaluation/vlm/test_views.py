"""What a vision-language model is shown."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from deft_llm import facs
from deft_llm.data.features import REGION_COLUMNS
from deft_llm.data.inputs import INPUTS
from deft_llm.errors import UserError
from deft_llm.evaluation.vlm.views import VIEWS, inputs_of, show

Inputs = dict[str, NDArray[Any]]


@pytest.mark.parametrize(
    ("view", "pictures"),
    [("onset_apex", 2), ("eight_frames", 8), ("flow", 1), ("magnified", 2), ("regions", 0)],
)
def test_every_view(inputs: Inputs, view: str, pictures: int) -> None:
    shown = show([view], inputs)
    assert len(shown.pictures) == pictures and "micro-expression" in shown.words
    assert set(VIEWS[view].inputs) <= set(INPUTS)
    for picture in shown.pictures:
        assert picture.dtype == np.uint8 and picture.shape == (336, 336, 3) and picture.std() > 5


def test_magnified_motion_is_larger(inputs: Inputs) -> None:
    plain, large = (show([v], inputs).pictures for v in ("onset_apex", "magnified"))
    np.testing.assert_array_equal(plain[0], large[0])
    onset = plain[0].astype(float)
    assert np.abs(large[1] - onset).mean() > np.abs(plain[1] - onset).mean()


def test_the_motion_is_where_it_was(inputs: Inputs) -> None:
    picture = show(["flow"], inputs).pictures[0].astype(int)
    assert picture[60:120, 60:120, 0].mean() > 200 and picture[150:].max() == 0  # right is red


def test_the_table_names_the_regions_that_moved(inputs: Inputs) -> None:
    table = np.zeros_like(inputs["regions"])
    region = list(facs.REGIONS).index("left mouth corner")
    for name, value in {"v": -0.5, "z": 4.0, "active": 1.0}.items():
        table[0, region, REGION_COLUMNS.index(name)] = value
    lines = show(["regions"], {"regions": table}).words.splitlines()
    assert lines[1:] == ["- left mouth corner: up, 0.50 px, 4.0 times the noise"]
    nothing = show(["regions"], {"regions": np.zeros_like(table)})
    assert nothing.words.endswith("- no region moved above the noise")


def test_a_wrong_view_is_named() -> None:
    assert inputs_of(["flow", "onset_apex", "magnified"]) == ("flow", "key_frames")
    with pytest.raises(UserError, match=r"unknown view 'flows'.*did you mean 'flow'"):
        inputs_of(["flows"])
    with pytest.raises(UserError, match="nothing to show"):
        inputs_of([])
