"""What the heads are taught about a clip."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from deft_llm import facs
from deft_llm.clip import Evidence, Interval
from deft_llm.corpora.base import CORPORA, load_class
from deft_llm.data.records import ClipRecord
from deft_llm.deft.configuration_deft import IGNORE_INDEX, DeftConfig
from deft_llm.deft.inference.grammar import END, START, advance
from deft_llm.deft.tuning.datasets import ClipTargets
from deft_llm.unimer.answer_writer import AnswerWriter, Templates
from deft_llm.unimer.coded import problem_of

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


@pytest.mark.parametrize("corpus", CORPORA)
def test_every_label_of_every_corpus_is_taught(corpus: str) -> None:
    """To heads and language model: repression and SMIC's coarse classes as well."""
    targets = ClipTargets(DeftConfig())
    for label in load_class(corpus).emotions.values():
        coded = replace(record(), emotion=label)
        assert problem_of(replace(coded, interval=Interval(0, 1, 2))) == ""
        assert targets(coded, mirrored=False)["emotion_labels"] == targets.emotions[label]
        answers = AnswerWriter(Templates())
        assert answers.answer("emotion", coded.facts()) == label
        after = advance(START, answers.answer("structured_answer", coded.facts()).encode())
        assert after is not None and after.stage == END


def test_a_head_without_a_label_ignores_it() -> None:
    """A model may have been trained on fewer classes than its clips now have."""
    fewer = [name for name in DeftConfig().emotions if name != "repression"]
    targets = ClipTargets(DeftConfig(emotions=fewer))
    assert targets(record(), mirrored=False)["emotion_labels"] == targets.emotions["happiness"]
    repressed = replace(record(), emotion="repression")
    assert targets(repressed, mirrored=False)["emotion_labels"] == IGNORE_INDEX


def test_aus_that_nobody_coded_are_not_taught_to_be_absent() -> None:
    labelled = replace(record(), aus=(), evidence=(), emotion="negative")
    targets = ClipTargets(DeftConfig())
    found = targets(labelled, mirrored=False)
    assert found["emotion_labels"] == targets.emotions["negative"]
    assert (found["au_labels"] == -1).all() and (found["region_labels"] == IGNORE_INDEX).all()
    neutral = targets(replace(labelled, emotion=None), mirrored=False)
    assert not neutral["au_labels"].any() and not neutral["region_labels"].any()
