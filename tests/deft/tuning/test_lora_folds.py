"""LoRA tuning inside a fold: it learns from the fold's labels, and from nothing else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from deft_llm.data.features import Features
from deft_llm.deft.tuning.lora_folds import DeftClipsLora, DeftLora, balanced_rows
from deft_llm.errors import UserError
from deft_llm.facs import THREE_CLASSES
from deft_llm.motion.encoding import mirror_flow
from deft_llm.recognizers.base import load_recognizer

TRUTH = np.arange(12, dtype=np.int64) % 3


def clips() -> np.ndarray:
    """Flow images (12, 3, 28, 28); each class moves a place of its own."""
    images = np.random.default_rng(0).normal(0, 0.1, (12, 3, 28, 28)).astype(np.float32)
    for image, label in zip(images, TRUTH, strict=True):
        rows = slice(4 + 8 * label, 10 + 8 * label)
        image[:2, rows, 8:20] += 2
        image[2, rows, 8:20] += 2
    return images


@pytest.fixture
def tuned(tiny_checkpoint: Path) -> DeftLora:
    made = load_recognizer(
        "deft_lora",
        3,
        checkpoint=str(tiny_checkpoint),
        steps=40,
        batch_size=6,
        learning_rate=1e-2,
        rank=4,
    )
    assert isinstance(made, DeftLora)
    return made


def test_a_fold_is_learnt_and_the_next_begins_anew(tuned: DeftLora) -> None:
    images = clips()
    given = {"flow_uvs": images}
    before = tuned.predict_proba(given)
    kept = {name: x.clone() for name, x in tuned.start.model.state_dict().items()}
    tuned.fit(given, TRUTH)
    after = tuned.predict_proba(given)
    chosen = np.log(after[np.arange(12), TRUTH]).mean()
    assert chosen > np.log(before[np.arange(12), TRUTH]).mean() + 0.3
    np.testing.assert_allclose(
        after, tuned.predict_proba({"flow_uvs": mirror_flow(images)}), atol=1e-5
    )
    # The model that every fold begins with is as it was, and the fold repeats itself.
    assert all(torch.equal(kept[n], x) for n, x in tuned.start.model.state_dict().items())
    tuned.fit(given, TRUTH)
    np.testing.assert_allclose(tuned.predict_proba(given), after, atol=1e-6)


def test_experts_and_heads_stay(tuned: DeftLora) -> None:
    tuned.fit({"flow_uvs": clips()}, TRUTH)
    old, new = tuned.start.model.state_dict(), tuned.explainer.model.state_dict()
    assert old.keys() == new.keys()
    same = {name for name, x in old.items() if torch.equal(x, new[name])}
    assert {n for n in old if n.startswith(("experts.", "heads."))} <= same
    assert any("q_proj" in name for name in old.keys() - same)


def test_classes_come_alike_whatever_the_fold_holds() -> None:
    rng = np.random.default_rng(0)
    labels = np.array([0] * 50 + [1] * 3 + [2] * 2)
    drawn = labels[np.concatenate([balanced_rows(labels, 6, rng) for _ in range(20)])]
    assert np.bincount(drawn).tolist() == [40, 40, 40]
    without = np.array([0] * 5 + [2] * 5)  # a fold that lacks a class draws the others
    assert set(without[balanced_rows(without, 6, rng)]) == {0, 2}


def test_a_missing_checkpoint_is_said(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no config\.json"):
        load_recognizer("deft_lora", 3, checkpoint=str(tmp_path))


@pytest.mark.parametrize(
    "tuning", [{"rank": 0}, {"batch_size": 0}, {"steps": 0}, {"learning_rate": -1.0}]
)
def test_a_wrong_setting_is_told_before_any_fold(
    tuning: dict[str, float], tiny_checkpoint: Path
) -> None:
    (name,) = tuning
    with pytest.raises(UserError, match=f"deft_clips_lora: {name}: .*should be greater than"):
        load_recognizer(
            "deft_clips_lora", 3, labels=THREE_CLASSES, checkpoint=str(tiny_checkpoint), **tuning
        )


def test_measured_clips_in_the_order_of_their_labels(
    tiny_checkpoint: Path, make_features: Callable[[int], Features]
) -> None:
    # As long as each other in the words of an untrained model, which it could not unlearn.
    labels = ("surprise", "negative", "positive")
    made = load_recognizer(
        "deft_clips_lora",
        3,
        labels=labels,
        checkpoint=str(tiny_checkpoint),
        **{"steps": 40, "batch_size": 6, "learning_rate": 1e-2, "rank": 4},
    )
    assert isinstance(made, DeftClipsLora)
    features = [make_features(i) for i in range(6)]
    truth = np.arange(6) % 3
    for clip, label in zip(features, truth, strict=True):
        clip["flow"][:, :, 18 * label : 18 * label + 12] += 3
    given = {name: np.stack([c[name] for c in features]).astype(np.float32) for name in made.inputs}
    kept = {name: x.clone() for name, x in made.start.model.state_dict().items()}
    before = made.predict_proba(given)
    made.fit(given, truth)
    after = made.predict_proba(given)
    rows = np.arange(6)
    assert np.log(after[rows, truth]).mean() > np.log(before[rows, truth]).mean() + 0.1
    assert all(torch.equal(kept[n], x) for n, x in made.start.model.state_dict().items())
    with pytest.raises(UserError, match="deft_clips_lora: unknown key 'step'"):
        load_recognizer("deft_clips_lora", 3, labels=labels, step=3)
