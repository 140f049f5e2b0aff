"""What the heads are taught about a clip."""

from __future__ import annotations

import numpy as np

from deft_llm import facs
from deft_llm.clip import Evidence
from deft_llm.data.records import ClipRecord
from deft_llm.deft.configuration_deft import DeftConfig
from deft_llm.deft.tuning.datasets import ClipTargets

NAMES = list(facs.REGIONS)


def record() -> ClipRecord:
    """AU12 on the left, told by one sided region and one on the midline."""
    rows = (("left mouth corner", "up and outward"), ("glabella", "down and left"))
    evidence = tuple(Evidence(region, way, 0.5, 4.0, ("L12",)) for region, way in rows)
    return ClipRecord("a", "s", "happiness", True, ("L12",), evidence, "", 0, "")


def test_regions_are_told_by_their_octant_and_the_others_by_nothing() -> None:
    labels = ClipTargets(DeftConfig())(record(), mirrored=False)["region_labels"]
    spoken = {NAMES[i]: int(labels[i]) for i in np.flatnonzero(labels)}
    assert spoken == {
        "left mouth corner": 1 + facs.octant("up and outward", "left"),
        "glabella": 1 + facs.octant("down and left", "middle"),
    }


def test_a_mirrored_clip_is_taught_the_mirrored_statements() -> None:
    labels = ClipTargets(DeftConfig())(record(), mirrored=True)["region_labels"]
    spoken = {NAMES[i]: int(labels[i]) for i in np.flatnonzero(labels)}
    assert spoken == {
        "right mouth corner": 1 + facs.octant("up and outward", "right"),
        "glabella": 1 + facs.octant("down and right", "middle"),
    }


def test_a_clip_of_which_nothing_may_be_said_teaches_still_regions() -> None:
    silent = ClipRecord("a", "s", "happiness", True, ("12",), (), "", 0, "")
    assert not ClipTargets(DeftConfig())(silent, mirrored=False)["region_labels"].any()
