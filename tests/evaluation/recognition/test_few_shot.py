"""Few-shot use on classes of AUs: who is support, who is asked, and what stands beside it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from deft_llm.data.clip_dataset import ClipDataset
from deft_llm.data.labelled import LabelledClips, labelled
from deft_llm.data.records import ClipRecord
from deft_llm.errors import UserError
from deft_llm.evaluation.recognition.few_shot import (
    FIGURES,
    FewShotUse,
    draws,
    few_shot_values,
    trained,
)
from deft_llm.recognizers.mpfnet import MPFNet
from tests.evaluation.recognition.test_measured_clips import MakeFeatures, write_clips

CLASSES = {"up": [1, 2], "down": [4], "corners": [12]}
OPTIONS: dict[str, Any] = {"variant": "afe", "width": 8, "side": 32}


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory, make_features: MakeFeatures) -> ClipDataset:
    folder = tmp_path_factory.mktemp("few") / "clips"
    return ClipDataset.open(write_clips(folder, make_features, 900_000, 16))


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("weights")
    torch.manual_seed(0)
    save_file(MPFNet(3, **OPTIONS).state_dict(), folder / "model.safetensors")
    text = {"classes": ["a", "b", "c"], "recognizer": "mpfnet", "options": OPTIONS}
    (folder / "config.json").write_text(json.dumps(text), encoding="utf-8")
    return folder


def test_a_clip_of_two_classes_belongs_to_none(weights: Path) -> None:
    use = FewShotUse(weights=weights, classes=CLASSES)
    found = [
        use.label_of(ClipRecord("c", "s", None, True, aus))
        for aus in (("L1", "2"), ("1", "4"), ("6", "12"), ("17",))
    ]
    assert found == ["up", None, "corners", None]


def test_subjects_of_the_support_are_not_asked(clips: ClipDataset, weights: Path) -> None:
    use = FewShotUse(weights=weights, classes=CLASSES, shots=1, draws=5)
    data = labelled(clips, list(CLASSES), use.label_of)
    found = list(draws(use, data))
    assert len({tuple(support) for support, _ in found}) > 1
    for support, asked in found:
        assert sorted(data.labels[support]) == [0, 1, 2] and len(asked)
        assert not set(data.clips.people[support]) & set(data.clips.people[asked])


def test_both_are_scored_on_the_same_clips(clips: ClipDataset, weights: Path) -> None:
    use = FewShotUse(weights=weights, classes=CLASSES, shots=1, draws=3)
    network = trained(use)
    assert network is not None
    values = few_shot_values(use, network, clips)
    assert tuple(values) == FIGURES
    assert values["few_shot_gain"] == pytest.approx(
        values["few_shot_uf1"] - values["few_shot_nearest_uf1"]
    )
    assert values == few_shot_values(use, network, clips)  # the draws are seeded
    assert all(0 <= values[name] <= 1 for name in FIGURES[:3])


def test_a_class_with_too_few_clips_is_named(clips: ClipDataset, weights: Path) -> None:
    use = FewShotUse(weights=weights, classes=CLASSES, shots=4)
    with pytest.raises(UserError, match=r"few_shot: 4 clips of class .*; expected more than the 4"):
        few_shot_values(use, MPFNet(3, **OPTIONS), clips)


def test_a_draw_that_leaves_nobody_to_ask_is_named(clips: ClipDataset, weights: Path) -> None:
    use = FewShotUse(weights=weights, classes=CLASSES, shots=1)
    data = labelled(clips, list(CLASSES), use.label_of)
    one = [replace(record, subject="s1", dataset="mine") for record in data.clips.records]
    flow = {"flow": data.clips.stack("flow")}
    alone = LabelledClips(ClipDataset.of_arrays(one, flow), data.labels, data.classes)
    with pytest.raises(UserError, match="3 support clips show all 1 subjects"):
        list(draws(use, alone))


def test_without_a_trained_network_it_is_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert trained(FewShotUse(weights=tmp_path / "none", classes=CLASSES)) is None
    assert "few-shot use is left out" in caplog.text
