"""Options of a classical recognizer are chosen by what its rows would be scored by."""

from __future__ import annotations

import numpy as np
import pytest

from deft_llm.data.clip_dataset import ClipDataset
from deft_llm.data.labelled import LabelledClips
from deft_llm.data.records import ClipRecord
from deft_llm.evaluation.recognition.classical import predict_folds
from deft_llm.evaluation.recognition.entries import ModelEntry
from deft_llm.protocols import loso
from deft_llm.recognizers.base import RECOGNIZERS


class Speaking:
    """Names no class of any clip, or of every clip the second one."""

    inputs = ("flow_uvs",)

    def __init__(self, classes: int, word: str) -> None:
        self.classes, self.word = classes, word

    def fit(self, inputs: dict[str, np.ndarray], labels: np.ndarray) -> None:
        """Keep nothing."""

    def predict_proba(self, inputs: dict[str, np.ndarray]) -> np.ndarray:
        """Zeros where no answer can be read."""
        answer = np.zeros((len(inputs["flow_uvs"]), self.classes))
        answer[:, 1] = self.word == "second"
        return answer


def test_no_answer_is_no_vote_for_the_first_class(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(RECOGNIZERS, "speaking", f"{__name__}:Speaking")
    records = [ClipRecord(f"c{i}", f"s{i}", None, False, (), dataset="a") for i in range(6)]
    flow = {"flow_uvs": np.zeros((6, 3, 2, 2), np.float32)}
    clips = ClipDataset.of_arrays(records, flow, "a")
    # Most clips are of the first class, so that a guess of it would score higher.
    data = LabelledClips(clips, np.array([0, 0, 0, 0, 1, 1]), ("first", "second"))
    entry = ModelEntry(recognizer="speaking", choices={"word": ["none", "second"]})
    found = predict_folds(entry, data, flow, 0, loso(clips.people))
    assert all((p == [[0, 1]]).all() for p in found)
