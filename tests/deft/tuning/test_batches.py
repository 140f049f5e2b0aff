"""The order in which conversations are learned from."""

from __future__ import annotations

import numpy as np
from transformers import TrainerState

from deft_llm.deft.tuning.callbacks import OrderOfEpoch
from deft_llm.deft.tuning.datasets import LengthGroupedBatches


def test_every_conversation_once_in_batches_of_like_length() -> None:
    lengths = np.random.default_rng(0).integers(10, 500, 203).tolist()
    order = list(LengthGroupedBatches(lengths, 8, seed=1))
    assert sorted(order) == list(range(203))
    means = np.array(lengths)[order[:200]].reshape(-1, 8)
    assert (means.max(1) / means.min(1)).mean() < 1.5


def test_short_and_long_batches_alternate() -> None:
    """Sorted batches would let a small model forget one kind while it sees the other."""
    lengths = np.random.default_rng(0).integers(10, 500, 800).tolist()
    order = list(LengthGroupedBatches(lengths, 8, seed=1))
    means = np.array(lengths)[order].reshape(-1, 8).mean(1)
    assert abs(np.corrcoef(means[:-1], means[1:])[0, 1]) < 0.3


def test_order_depends_on_seed_and_epoch_alone() -> None:
    lengths = list(range(64))
    one, two = (LengthGroupedBatches(lengths, 8, seed=1) for _ in range(2))
    assert list(one) == list(two)
    two.set_epoch(1)
    assert list(one) != list(two)
    assert list(one) != list(LengthGroupedBatches(lengths, 8, seed=2))


def test_the_trainer_tells_the_epoch_that_goes_on() -> None:
    order = LengthGroupedBatches(list(range(64)), 8, seed=1)
    state = TrainerState(epoch=1.25)  # taken up again inside the second epoch
    OrderOfEpoch(order).on_epoch_begin(None, state, None)
    straight = LengthGroupedBatches(list(range(64)), 8, seed=1)
    straight.set_epoch(1)
    assert list(order) == list(straight)
