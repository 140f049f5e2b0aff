"""Exchanged motion, identity and alignment are found where they were put."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from deft_llm.data.clip_dataset import MeasuredClip
from deft_llm.data.features import Features
from deft_llm.data.simulated import SimulatedData, even_specs
from deft_llm.deft.configuration_deft import EXPERTS
from deft_llm.deft.inference.explainer import Explainer
from deft_llm.errors import UserError
from deft_llm.evaluation.explanation.disentanglement import (
    alignment,
    answers,
    exchange,
    expert_tokens,
    identity_probe,
)
from tests.evaluation.explanation.conftest import SMALL


def speaker(*parts: str) -> Any:
    """A model whose answer hangs on these experts alone."""
    weights = torch.randn(12, 5, generator=torch.Generator().manual_seed(3))

    def likelihoods(tokens: dict[str, torch.Tensor], label_set: str) -> torch.Tensor:
        assert label_set == "coarse"
        return torch.stack([tokens[part].flatten(1) @ weights for part in parts]).sum(0)

    return SimpleNamespace(likelihoods=likelihoods)


@pytest.mark.parametrize(
    ("parts", "both", "motion"),
    [
        (("motion",), 1.0, 1.0),
        (("texture",), 1.0, 0.0),
        (("structure",), 0.0, 0.0),
        (("motion", "texture"), 1.0, None),
    ],
)
def test_the_answer_follows_what_it_hangs_on(
    parts: tuple[str, ...], both: float, motion: float | None
) -> None:
    generator = torch.Generator().manual_seed(0)
    tokens = {name: torch.randn(80, 3, 4, generator=generator) for name in EXPERTS}
    own = answers(speaker(*parts), tokens)
    found = exchange(speaker(*parts), tokens, seed=0)
    assert len(own.unique()) == 5 and 40 < found.pairs < 80
    assert found.follows_both == both
    if motion is None:
        assert 0.2 < found.follows_motion < 0.95
    else:
        assert found.follows_motion == motion
    still = {name: values[:1].expand_as(values) for name, values in tokens.items()}
    assert math.isnan(exchange(speaker(*parts), still, seed=0).follows_both)
    with pytest.raises(UserError, match="1 clip"):
        exchange(speaker(*parts), {n: values[:1] for n, values in tokens.items()}, seed=0)


@pytest.fixture
def explainer(tiny_checkpoint: Path) -> Explainer:
    return Explainer.load(tiny_checkpoint)


@pytest.fixture
def clips(make_features: Callable[[int], Features]) -> list[MeasuredClip]:
    """20 clips of each of three faces, one without a face; the face is in the onset frame."""
    found = []
    for spec in even_specs(SimulatedData(**{**SMALL, "clips": 60, "identities": 3})):
        features = make_features(spec.seed)
        face = np.random.default_rng(spec.identity).integers(0, 240, (64, 64, 3))
        onset = (face + np.random.default_rng(spec.seed).integers(0, 15, face.shape)).astype("u1")
        found.append(
            MeasuredClip.simulated(
                spec, np.zeros((20, 2), np.float32), {**features, "onset": onset}
            )
        )
    found[7] = MeasuredClip.simulated(found[7].spec, found[7].motion, None)
    return found


def test_identity_is_found_where_it_was_put(
    explainer: Explainer, clips: list[MeasuredClip]
) -> None:
    found = identity_probe(explainer, clips)
    assert found.faces == 2  # the third lost a clip and has 19
    assert found.chance == pytest.approx(0.5)
    assert found.accuracy["structure"] == 1.0
    assert found.accuracy["motion"] < 0.8
    with pytest.raises(UserError, match="0 faces with 20 clips"):
        identity_probe(explainer, clips[:30])


def test_alignment_is_of_every_pair(explainer: Explainer, clips: list[MeasuredClip]) -> None:
    tokens = expert_tokens(explainer, clips)
    assert {len(values) for values in tokens.values()} == {len(clips) - 1}  # one shows no face
    same = {**tokens, "texture": tokens["motion"] * 2}
    assert alignment(same)["texture", "motion"] == pytest.approx(1.0)
    assert abs(alignment(tokens)["structure", "motion"]) < 0.3
