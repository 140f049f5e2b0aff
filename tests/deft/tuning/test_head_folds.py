"""The emotion head tuned inside a fold: it learns the fold's labels, and nothing else changes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from deft_llm.data.features import Features
from deft_llm.deft.tuning.head_folds import DeftHeadsTuned
from deft_llm.errors import UserError
from deft_llm.recognizers.base import load_recognizer

LABELS = ("surprise", "negative", "positive")


def test_a_fold_is_learnt_and_the_next_begins_anew(
    tiny_checkpoint: Path, make_features: Callable[[int], Features]
) -> None:
    made = load_recognizer(
        "deft_heads_tuned", 3, labels=LABELS, checkpoint=str(tiny_checkpoint), learning_rate=1e-2
    )
    assert isinstance(made, DeftHeadsTuned)
    features = [make_features(i) for i in range(6)]
    truth = np.arange(6) % 3
    for clip, label in zip(features, truth, strict=True):
        clip["flow"][:, :, 18 * label : 18 * label + 12] += 3
    given = {name: np.stack([c[name] for c in features]).astype(np.float32) for name in made.inputs}
    kept = {name: x.clone() for name, x in made.explainer.model.state_dict().items()}
    before = made.predict_proba(given)
    made.fit(given, truth)
    after = made.predict_proba(given)
    rows = np.arange(6)
    assert np.log(after[rows, truth]).mean() > np.log(before[rows, truth]).mean() + 0.3
    np.testing.assert_allclose(after.sum(1), 1, atol=1e-5)
    assert all(torch.equal(kept[n], x) for n, x in made.explainer.model.state_dict().items())
    made.fit(given, truth)
    np.testing.assert_allclose(made.predict_proba(given), after, atol=1e-6)


def test_a_wrong_setting_is_said(tiny_checkpoint: Path) -> None:
    with pytest.raises(UserError, match="deft_heads_tuned: unknown key 'step'"):
        load_recognizer(
            "deft_heads_tuned", 3, labels=LABELS, checkpoint=str(tiny_checkpoint), step=3
        )
