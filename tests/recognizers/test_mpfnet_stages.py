"""MPFNet's stages: triplets, balanced magnified copies, episodes, and all of it in one fold."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor

from deft_llm.data.features import Features
from deft_llm.errors import UserError
from deft_llm.recognizers.base import Recognizer, load_recognizer
from deft_llm.recognizers.mpfnet import MPFNet
from deft_llm.recognizers.mpfnet_staged import MPFNetStaged
from deft_llm.recognizers.mpfnet_stages import (
    Stages,
    balanced_factors,
    batch_all,
    prototypes_of_others,
    train_stages,
)
from deft_llm.training import tasks
from tests.recognizers.conftest import write_folder

ROOT = Path(__file__).resolve().parents[2]
FEW = {"triplets": 2, "magnified": 2, "episodes": 2, "batch_size": 6}


def by_triplets(embeddings: Tensor, labels: Tensor, margin: float) -> Tensor:
    """All triplets, one by one."""
    count, losses = range(len(labels)), []
    for a, p, n in itertools.product(count, count, count):
        if p != a and labels[p] == labels[a] and labels[n] != labels[a]:
            near = (embeddings[a] - embeddings[p]).square().sum()
            far = (embeddings[a] - embeddings[n]).square().sum()
            losses.append((near - far + margin).clamp_min(0))
    return torch.stack(losses).mean()


def test_batch_all_is_the_mean_over_all_triplets() -> None:
    embeddings = torch.randn(9, 4, generator=torch.Generator().manual_seed(0))
    labels = torch.tensor([0, 0, 1, 1, 1, 2, 2, 3, 0])  # one clip has no partner
    expected = by_triplets(embeddings, labels, 0.5)
    torch.testing.assert_close(batch_all(embeddings, labels, 0.5), expected)


def test_separated_classes_have_no_loss() -> None:
    labels = torch.tensor([0, 0, 1, 1])
    apart = torch.tensor([[0.0, 0], [0.1, 0], [3, 0], [3.1, 0]])
    assert batch_all(apart, labels, 1.0) == 0
    alone = torch.randn(3, 2, requires_grad=True)
    loss = batch_all(alone, torch.zeros(3, dtype=torch.long))
    loss.backward()
    assert loss == 0 and alone.grad is not None and not alone.grad.any()


def test_copies_balance_the_classes_but_not_by_their_factor() -> None:
    labels = np.repeat([0, 1, 2], [40, 13, 4])
    copies = balanced_factors(labels, np.random.default_rng(0))
    counts = np.bincount([labels[row] for row, _ in copies])
    assert counts.tolist() == [40, 52, 40]
    assert len(set(copies)) == len(copies)  # every copy of a clip has a factor of its own
    means = [np.mean([f for row, f in copies if labels[row] == k]) for k in range(3)]
    assert max(means) - min(means) < 1.5


def test_no_clip_is_compared_with_itself() -> None:
    vectors = torch.randn(2, 6, 5, generator=torch.Generator().manual_seed(0))
    labels = torch.tensor([0, 1, 0, 2, 1, 0])
    prototypes, asked = prototypes_of_others(vectors, labels)
    assert asked.tolist() == [True, True, True, False, True, True]
    for n, c in itertools.product(range(6), range(3)):
        behind = [m for m in range(6) if labels[m] == c and m != n]
        if behind:
            torch.testing.assert_close(prototypes[:, n, c], vectors[:, behind].mean(1))
    # A clip's own vector does not reach what it is compared with.
    other = vectors.clone()
    other[:, 1] += 100
    again, _ = prototypes_of_others(other, labels)
    torch.testing.assert_close(again[:, 1], prototypes[:, 1], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    ("variant", "learnt"), [("p", "both"), ("c", "both"), ("gfe", "gfe"), ("afe", "afe")]
)
def test_every_encoder_is_trained_and_prototypes_are_the_class_means(
    variant: Any, learnt: str
) -> None:
    torch.manual_seed(0)
    network = MPFNet(3, variant, width=16, side=16)
    before = {k: v.clone() for k, v in network.state_dict().items() if k.endswith("stem.0.weight")}
    volumes, labels = torch.randn(12, 5, 4, 16, 16), np.arange(12) % 3
    asked = []

    def magnify(row: int, factor: float) -> NDArray[np.float32]:
        asked.append(factor)
        return np.float32(factor) * np.asarray(volumes[row], np.float32)

    train_stages(network, volumes, labels, magnify, Stages(**FEW))
    after = network.state_dict()
    assert all(not torch.equal(after[k], v) for k, v in before.items())
    assert (len(asked) > 0) == (learnt != "gfe")
    network.eval()
    with torch.no_grad():
        vectors = network.embed(volumes)
    means = torch.stack([vectors[:, labels == k].mean(1) for k in range(3)], 1)
    torch.testing.assert_close(network.prototypes, means, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(("channels", "read"), [("flow", slice(2)), ("difference", slice(2, 5))])
def test_channels_that_are_left_out_change_nothing(channels: Any, read: slice) -> None:
    torch.manual_seed(0)
    network = MPFNet(3, "p", width=16, channels=channels).eval()
    volume = torch.randn(2, 5, 4, 16, 16)
    other = torch.randn_like(volume)
    other[:, read] = volume[:, read]
    found = [network({"flow_diff_volume": x}) for x in (volume, other)]
    assert torch.equal(*found)


def key_frames(count: int) -> NDArray[np.float32]:
    """Clips whose left or right half moves, or nothing but noise does."""
    rng = np.random.default_rng(0)
    clips = []
    for i in range(count):
        skin = cv2.GaussianBlur(rng.normal(120, 200, (32, 32, 3)), (0, 0), 2).astype(np.float32)
        apex = skin + rng.normal(0, 1, skin.shape).astype(np.float32)
        half = slice(16 * (i % 3), 16 * (i % 3) + 16)
        apex[:, half] = np.roll(skin, 1, axis=0)[:, half]
        clips.append(np.stack([skin, skin, apex]).transpose(0, 3, 1, 2))
    return np.stack(clips)


def test_a_fold_in_one_call(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    frames, labels = key_frames(9), np.array([0, 2, 2, 0, 2, 2, 0, 2, 2])
    made = load_recognizer("mpfnet_staged", 3, variant="p", side=16, length=4, stages=FEW, seed=1)
    assert isinstance(made, MPFNetStaged)
    made.fit({"key_frames": frames[:8]}, labels[:8])
    found = made.predict_proba({"key_frames": frames})
    np.testing.assert_allclose(found.sum(1), 1)
    assert (found[:, 1] == 0).all()  # a class that this fold has no clip of
    again = MPFNetStaged(3, "p", side=16, length=4, stages=FEW, seed=1)
    again.fit({"key_frames": frames[:8]}, labels[:8])
    np.testing.assert_array_equal(again.predict_proba({"key_frames": frames}), found)
    # A second call keeps nothing of the first, whose clips may be those that are tested next.
    again.fit({"key_frames": frames[:8]}, labels[:8])
    np.testing.assert_array_equal(again.predict_proba({"key_frames": frames}), found)
    made.save(tmp_path, ("positive", "negative", "surprise"))
    # A saved network is shown clips of the usual length.
    assert "clips of 11 frames, and it was trained with 4:" in caplog.text
    network = load_recognizer("mpfnet", 2, variant="p", side=16)
    assert isinstance(network, Recognizer)
    network.load_state_dict(load_file(tmp_path / "model.safetensors"))


def test_the_smoke_recipe_runs_all_stages(
    tmp_path: Path, make_features: Callable[[int], Features]
) -> None:
    clips = key_frames(12).astype(np.float16)
    for part in ("data", "test"):
        write_folder(tmp_path / part, lambda i: {**make_features(i), "key_frames": clips[i]}, part)
    changes = {part: tmp_path / part for part in ("data", "test")} | {"output": tmp_path / "run"}
    recipe = ROOT / "train_configs" / "recognizers" / "mpfnet_smoke.yaml"
    tasks.run(recipe, [*(f"{k}={v}" for k, v in changes.items()), "options.side=16"])
    final = tmp_path / "run" / "final"
    saved = json.loads((final / "config.json").read_text(encoding="utf-8"))
    assert saved["recognizer"] == "mpfnet" and (final / "scores.json").is_file()
    network = load_recognizer("mpfnet", len(saved["classes"]), **saved["options"])
    assert isinstance(network, Recognizer)
    network.load_state_dict(load_file(final / "model.safetensors"))


def test_a_misspelt_stage_is_named() -> None:
    with pytest.raises(UserError, match=r"stages.*epsiodes"):
        MPFNetStaged(3, stages={"epsiodes": 3})
