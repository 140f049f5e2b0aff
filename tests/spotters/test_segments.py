"""Labels, sampling and loss, against values worked out by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from deft_llm.clip import Expression, Interval
from deft_llm.data.long_videos import CodedVideo
from deft_llm.errors import UserError
from deft_llm.spotters.base import Regression
from deft_llm.spotters.priors import CLASSES
from deft_llm.spotters.segments import (
    NEUTRAL,
    UNKNOWN,
    Sampling,
    Segments,
    class_weights,
    frame_labels,
    resampled,
    spotting_loss,
)
from tests.spotters.conftest import made_video

NEGATIVE, POSITIVE = CLASSES.index("negative"), CLASSES.index("positive")


def test_labels_are_hard_and_later_codings_win() -> None:
    coded = [
        Expression(Interval(1, 3, 6), "disgust"),
        Expression(Interval(4, 6, 8), "happiness"),
        Expression(Interval(9, 9, 11), None),
    ]
    expected = [NEUTRAL] * 12
    expected[2:5] = [NEGATIVE] * 3
    expected[5:8] = [POSITIVE] * 3
    expected[10] = UNKNOWN
    assert frame_labels(coded, 12).tolist() == expected
    # An expression may go on after the last frame that was read.
    assert len(frame_labels([Expression(Interval(8, 9, 40), "fear")], 10)) == 10


def test_weights_balance_and_a_missing_class_weighs_nothing() -> None:
    labels = np.array([NEUTRAL] * 8 + [NEGATIVE] * 2 + [UNKNOWN] * 5)
    weights = class_weights([labels]).tolist()
    assert weights[NEGATIVE] == pytest.approx(10 / (5 * 2))
    assert weights[NEUTRAL] == pytest.approx(6 * 10 / (5 * 8))
    assert weights[POSITIVE] == 0
    assert class_weights([]).tolist() == [0.0] * 5


def test_loss_by_hand() -> None:
    """Of the frames' mean, not of the weights' mean, and without frames of unknown emotion."""
    labels = torch.tensor([[NEUTRAL, NEGATIVE, UNKNOWN, NEUTRAL]])
    score = torch.tensor([[0.2, 0.6, 0.5, 0.0]])
    weights = torch.tensor([2.0 if c == NEGATIVE else 6.0 for c in range(5)])
    losses = spotting_loss(Regression(score, torch.zeros(1, 4, 5)), labels, weights)
    mse = (0.2**2 + 0.4**2 + 0.5**2) / 4
    entropy = (6 + 2 + 6) * np.log(5) / 4
    assert losses["loss"].item() == pytest.approx(0.9 * mse + 0.1 * entropy, rel=1e-5)


def test_positive_segments_hold_an_expression(videos: list[CodedVideo]) -> None:
    drawn = Segments(videos, 18, Sampling(40, positives=1.0)).batch(np.random.default_rng(0), 32)
    assert drawn["curves"].shape == (32, 36, 40) and drawn["labels"].shape == (32, 40)
    # The apex is inside, so at least one frame of the expression is.
    assert (drawn["labels"] != NEUTRAL).any(1).all()
    anywhere = Segments(videos, 18, Sampling(40, positives=0.0))
    labels = anywhere.batch(np.random.default_rng(0), 64)["labels"]
    assert 0 < (labels != NEUTRAL).any(1).float().mean() < 0.8


def test_a_segment_is_a_piece_of_its_video() -> None:
    video = made_video(0, 0)
    sampling = Sampling(50, scale=(1.0, 1.0), flips=False)
    batch = Segments([video], 5, sampling).batch(np.random.default_rng(1), 8)
    curves, labels = video.curves(5), frame_labels(video.coded, 300)
    for segment, label in zip(batch["curves"].numpy(), batch["labels"].numpy(), strict=True):
        start = next(t for t in range(251) if (curves[:, t : t + 50] == segment).all())
        assert (labels[start : start + 50] == label).all()
    first = Segments([video], 5, Sampling(50, from_first=True, flips=False))
    assert not first.batch(np.random.default_rng(1), 8)["curves"][:, :, 0].any()


def test_another_segment_is_laid_on_top_with_its_labels() -> None:
    videos = [made_video(0, 0), made_video(1, 2, every=0)]
    plain = Sampling(50, positives=0.0, scale=(1.0, 1.0), flips=False)
    drawn = Segments(videos, 5, replace(plain, overlaid=1.0))
    # Frame t of the one is t, of the other 1000: a sum tells which frames it is of.
    drawn.curves = [np.tile(np.arange(300, dtype=np.float32), (10, 1)), np.full((10, 300), 1000.0)]
    labels = drawn.labels[0]
    seen = set()
    batch = drawn.batch(np.random.default_rng(0), 32)
    for curves, found in zip(batch["curves"].numpy(), batch["labels"].numpy(), strict=True):
        others = int(curves[0, 0] // 1000)
        seen.add(others)
        if others == 2:
            assert (found == NEUTRAL).all()
        elif others == 1:
            start = int(curves[0, 0]) - 1000
            assert (found == labels[start : start + 50]).all()
        else:
            starts = int(curves[0, 0])
            pairs = ((t, starts - t) for t in range(251) if 0 <= starts - t <= 250)
            inside = labels != NEUTRAL
            shown = found != NEUTRAL
            assert any((shown == inside[a : a + 50] | inside[b : b + 50]).all() for a, b in pairs)
    assert seen == {0, 1, 2}


def test_at_another_tempo_curves_and_labels_stay_together() -> None:
    video = made_video(0, 0)
    plain = Sampling(100, positives=1.0, scale=(1.0, 1.0), flips=False)
    slow = Segments([video], 5, replace(plain, tempo=(0.5, 0.5)))
    batch = slow.batch(np.random.default_rng(2), 8)
    curves, labels = video.curves(5), frame_labels(video.coded, 300)
    for segment, label in zip(batch["curves"].numpy(), batch["labels"].numpy(), strict=True):
        # Half as fast: 50 frames fill 100, and both ends are frames of the video.
        start = next(t for t in range(251) if np.allclose(curves[:, t], segment[:, 0]))
        assert np.allclose(curves[:, start + 49], segment[:, -1])
        where = np.rint(np.linspace(start, start + 49, 100)).astype(int)
        assert (labels[where] == label).all()
    assert np.allclose(resampled(np.array([[0.0, 2.0, 4.0]], np.float32), 5), [[0, 1, 2, 3, 4]])
    assert np.array_equal(resampled(curves, 300), curves)


def test_short_videos_are_left_out_and_nothing_to_learn_is_told(
    videos: list[CodedVideo], caplog: pytest.LogCaptureFixture
) -> None:
    short = made_video(9, 9, frames=60)
    assert len(Segments([*videos, short], 18, Sampling(100))) == len(videos)
    assert "1 of 13 videos are shorter than 100 frames" in caplog.text
    with pytest.raises(UserError, match="no micro-expression is coded"):
        Segments([made_video(0, 2, every=0)], 18, Sampling(100))
