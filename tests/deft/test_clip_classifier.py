"""DEFT-LLM as a row of recognition tables: probabilities over the benchmark's classes alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from deft_llm import facs
from deft_llm.data.clip_dataset import ClipDataset
from deft_llm.data.features import Features, mirror_features
from deft_llm.data.inputs import mirror_inputs
from deft_llm.data.records import ClipRecord
from deft_llm.errors import UserError
from deft_llm.recognizers.base import ClassicalRecognizer, load_recognizer

NAMES = ("onset", "texture", "flow", "regions")


@pytest.fixture(scope="module")
def clips(make_features: Callable[[int], Features]) -> list[Features]:
    return [make_features(i) for i in range(3)]


def dataset(clips: list[Features]) -> ClipDataset:
    records = [ClipRecord(f"c{i}", "s", "surprise", True, ()) for i in range(len(clips))]
    arrays = {name: np.stack([clip[name] for clip in clips]) for name in NAMES}
    return ClipDataset.of_arrays(records, arrays)


def made(name: str, labels: tuple[str, ...], checkpoint: Path) -> ClassicalRecognizer:
    found = load_recognizer(name, len(labels), labels=labels, checkpoint=str(checkpoint))
    assert isinstance(found, ClassicalRecognizer)
    return found


@pytest.mark.parametrize("scheme", ["3", "4", "5-casme2", "7"])
@pytest.mark.parametrize("name", ["deft_clips", "deft_heads"])
def test_probabilities_of_every_scheme(
    clips: list[Features], tiny_checkpoint: Path, name: str, scheme: str
) -> None:
    model = made(name, facs.SCHEMES[scheme], tiny_checkpoint)
    found = model.predict_proba(dataset(clips).inputs(model.inputs))
    assert found.shape == (3, len(facs.SCHEMES[scheme])) and found.dtype == np.float64
    np.testing.assert_allclose(found.sum(1), 1, atol=1e-6)


def test_the_heads_add_up_emotions(clips: list[Features], tiny_checkpoint: Path) -> None:
    inputs = dataset(clips).inputs(NAMES)
    coarse = made("deft_heads", facs.SCHEMES["3"], tiny_checkpoint).predict_proba(inputs)
    explainer = made("deft_heads", facs.SCHEMES["3"], tiny_checkpoint).explainer  # type: ignore[attr-defined]
    with torch.no_grad():
        emotions, _ = explainer.model.heads(explainer.encode(clips))
    one, names = emotions.softmax(-1)[0].numpy(), explainer.model.config.emotions
    ratio = one[names.index("happiness")] + (
        one[names.index("positive")] if "positive" in names else 0
    )
    ratio /= one[names.index("surprise")]
    assert coarse[0, 1] / coarse[0, 2] == pytest.approx(ratio, rel=1e-4)


def test_inputs_of_a_mirrored_clip(clips: list[Features]) -> None:
    tensors = {n: torch.from_numpy(x) for n, x in dataset(clips).inputs(NAMES).items()}
    wanted = dataset([mirror_features(clip) for clip in clips]).inputs(NAMES)
    for name, found in mirror_inputs(tensors).items():
        np.testing.assert_array_equal(found.numpy(), wanted[name])


def test_clips_of_another_size(clips: list[Features], tiny_checkpoint: Path) -> None:
    inputs = dataset(clips).inputs(NAMES)
    inputs["flow"] = inputs["flow"][..., :28, :28]
    with pytest.raises(UserError, match=r"flow of shape \(2, 3, 28, 28\); this checkpoint expects"):
        made("deft_clips", facs.SCHEMES["3"], tiny_checkpoint).predict_proba(inputs)
