"""Naming clips by a few labelled ones: any classes, and what a support set must not be."""

from __future__ import annotations

import logging

import cv2
import numpy as np
import pytest
import torch

from deft_llm.errors import UserError
from deft_llm.recognizers.few_shot import FewShot, MotionFewShot, Shot, region_motion_vectors
from deft_llm.recognizers.mpfnet import MPFNet

CLASSES = ("brow", "mouth", "still")


def shot(seed: int, label: str | None = None) -> Shot:
    """A texture that moves at its top, at its bottom or hardly at all, by its seed modulo 3."""
    noise = np.random.default_rng(seed).normal(120, 200, (48, 48, 3)).astype(np.float32)
    skin = cv2.GaussianBlur(noise, (0, 0), 2)
    apex = skin + 0.1
    half = (slice(0, 24), slice(24, 48), slice(0))[seed % 3]
    apex[half] = np.roll(skin, 1, axis=1)[half]
    return Shot(f"c{seed}", np.stack([skin, skin, apex]).transpose(0, 3, 1, 2), label)


def support(count: int = 6) -> list[Shot]:
    return [shot(i, CLASSES[i % 3]) for i in range(count)]


@pytest.fixture
def network() -> MPFNet:
    torch.manual_seed(0)
    return MPFNet(4, "afe", side=48)


def test_new_classes_are_told_apart_without_training(network: MPFNet) -> None:
    before = {name: x.clone() for name, x in network.state_dict().items()}
    queries = [shot(i) for i in range(6, 12)]
    found = FewShot(network, support(), CLASSES)(queries)
    assert found.shape == (6, 3)
    np.testing.assert_allclose(found.sum(1), 1)
    # Random filters suffice for motion in another half of the picture.
    assert found.argmax(1).tolist() == [0, 1, 2, 0, 1, 2]
    # Columns are in the order of the classes, whatever that of the support set.
    turned = FewShot(network, support()[::-1], CLASSES[::-1])(queries)
    np.testing.assert_allclose(turned[:, ::-1], found, atol=1e-6)
    assert all(torch.equal(x, before[name]) for name, x in network.state_dict().items())


def moved(seed: int, label: str | None = None) -> Shot:
    """A clip with motion of 4 regions: the first two up, the last two outward, or hardly any."""
    rng = np.random.default_rng(seed)
    u, v = rng.normal(0, 0.02, (2, 4))
    size = float(rng.uniform(0.3, 3.0))  # px; a class may be strong or slight
    if seed % 3 == 0:
        v[:2] -= size
    elif seed % 3 == 1:
        u[2:] += size
    motion = region_motion_vectors(u, v, np.hypot(u, v) / 0.05)
    return Shot(f"c{seed}", np.full((3, 3, 4, 4), seed, np.float32), label, motion)


def test_measured_motion_tells_classes_apart_whatever_its_size() -> None:
    known = [moved(i, CLASSES[i % 3]) for i in range(6)]
    few = MotionFewShot(known, CLASSES)
    found = few([moved(i) for i in (6, 7, 9, 10)])
    np.testing.assert_allclose(found.sum(1), 1)
    assert found.argmax(1).tolist() == [0, 1, 0, 1]
    assert found.max(1).min() > 0.9
    with pytest.raises(UserError, match="also in the support set"):
        few([moved(3)])


def test_a_motion_vector_has_a_direction_and_no_size() -> None:
    u, v = np.array([0.0, 2.0]), np.array([-1.0, 0.0])
    whole = region_motion_vectors(u, v, np.array([5.0, 5.0]))
    np.testing.assert_allclose(whole, [0, 0.5**0.5, -(0.5**0.5), 0])
    np.testing.assert_allclose(region_motion_vectors(3 * u, 3 * v, np.array([5.0, 5.0])), whole)
    # A region that moved further above its noise counts more, up to ten floors.
    far, further = (region_motion_vectors(u, v, np.array([5.0, z])) for z in (20.0, 40.0))
    assert far[1] > whole[1]
    np.testing.assert_array_equal(far, further)
    assert not region_motion_vectors(0 * u, 0 * v, 0 * u).any()


def test_one_clip_is_enough_and_said(network: MPFNet, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        FewShot(network, support(5), CLASSES)([shot(9)])
    assert [r.getMessage() for r in caplog.records] == [
        "support: one clip of still: it alone stands for its class"
    ]


@pytest.mark.parametrize(
    ("shots", "query", "classes", "words"),
    [
        (support(2), shot(9), CLASSES, "class 'still' has no clip; give at least one"),
        (support(), shot(9), CLASSES[:2], "c2 is of class 'still'; expected one of brow, mouth"),
        (support(1), shot(9), CLASSES[:1], "1 class; expected clips of two classes"),
        (support(), shot(4), CLASSES, "c4: also in the support set, as c4"),
        (
            [*support(), shot(4, "brow")],
            shot(9),
            CLASSES,
            "c4 of class 'mouth' and c4 of class 'brow' are the same clip",
        ),
    ],
)
def test_a_support_set_that_cannot_answer_is_refused(
    network: MPFNet, shots: list[Shot], query: Shot, classes: tuple[str, ...], words: str
) -> None:
    with pytest.raises(UserError, match=words):
        FewShot(network, shots, classes)([query])
