"""SOFTNet and MEAN, on windows in which expressions show."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from deft_llm.data.long_videos import CodedVideo
from deft_llm.errors import UserError
from deft_llm.metrics.spotting import count_videos
from deft_llm.motion.flow_windows import SIDE, Bytes, frames_apart
from deft_llm.spotters import softnet
from deft_llm.spotters.softnet import Mean, SoftNet, train_on_windows, window_labels

# Emotion -> the rows of a picture that move.
_ROWS = {"happiness": slice(28, 38), "surprise": slice(4, 14)}


def pictures(video: CodedVideo) -> Bytes:
    """Windows of noise; in those that meet an expression, some rows move."""
    rng = np.random.default_rng([len(video.coded), len(video.track)])
    shown = rng.integers(90, 110, (len(video.track), 3, SIDE, SIDE))
    apart = frames_apart(video.track.timestamps)
    for each in video.coded:
        first = max(each.interval.onset - apart + 1, 0)
        shown[first : each.interval.offset + 1, :, _ROWS[str(each.emotion)], 10:30] += 100
    return shown.astype(np.uint8)


def count(module: torch.nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def test_the_parameters_of_the_public_code() -> None:
    assert count(SoftNet()) == 314_817
    network = Mean(3)
    assert count(network.streams) + count(network.spot) == 3_593
    assert count(network.recognize) == 2_808 + 3 * 393
    windows = torch.rand(2, 3, SIDE, SIDE)
    assert SoftNet()(windows).shape == network(windows).shape == (2,)


def test_a_window_that_meets_an_expression_is_1(videos: list[CodedVideo]) -> None:
    for video in videos[:3]:
        apart = frames_apart(video.track.timestamps)
        met = [
            any(t <= each.interval.offset and t + apart > each.interval.onset for each in coded)
            for coded in [video.coded]
            for t in range(len(video.track))
        ]
        assert window_labels(video).tolist() == [float(each) for each in met]


@pytest.mark.parametrize("name", ["softnet", "mean"])
def test_people_never_seen_are_searched(
    name: Any, videos: list[CodedVideo], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(softnet, "MOST", 800)
    monkeypatch.setattr(softnet, "EMOTION_EPOCHS", 10)
    train = [video for video in videos if video.subject in ("s0", "s1")]
    test = [video for video in videos if video.subject == "s3" and video.coded]
    spotter = train_on_windows(name, train, pictures)
    found = [spotter.find(video, pictures(video)) for video in test]
    spotted = [video.spotted(each) for video, each in zip(test, found, strict=True)]
    assert count_videos(spotted).f1 > 0.6
    named = [each.emotion for some in found for each in some]
    if name == "softnet":
        assert set(named) == {None}
        return
    right = [
        (f.emotion, {"happiness": "positive", "surprise": "surprise"}[str(c.emotion)])
        for video, some in zip(test, found, strict=True)
        for c in video.coded
        for f in some
        if c.interval.onset < f.interval.apex < c.interval.offset
    ]
    assert right and all(a == b for a, b in right)


def test_a_seed_gives_one_network(
    videos: list[CodedVideo], monkeypatch: pytest.MonkeyPatch
) -> None:
    for part, less in {"MOST": 200, "EPOCHS": 1, "EMOTION_EPOCHS": 2}.items():
        monkeypatch.setattr(softnet, part, less)
    a, b, other = (train_on_windows("mean", videos[:3], pictures, seed) for seed in (0, 0, 1))
    weights = [spotter.network.state_dict() for spotter in (a, b, other)]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    assert not torch.equal(weights[0]["spot.0.weight"], weights[2]["spot.0.weight"])
    # What is frozen has stayed: the first branch scores the same with emotions learned or not.
    unnamed = [replace(v, coded=tuple(replace(e, emotion=None) for e in v.coded)) for v in videos]

    def known(video: CodedVideo) -> Bytes:
        return pictures(next(v for v in videos if v.track is video.track))

    without = train_on_windows("mean", unnamed[:3], known).network.state_dict()
    spotting = [name for name in without if not name.startswith("recognize")]
    assert all(torch.equal(without[name], weights[0][name]) for name in spotting)


def test_nothing_to_learn_from_is_told(
    videos: list[CodedVideo], monkeypatch: pytest.MonkeyPatch
) -> None:
    still = [video for video in videos if not video.coded]
    with pytest.raises(UserError, match="none of 4 training videos shows an expression"):
        train_on_windows("softnet", still, pictures)
    monkeypatch.setattr(softnet, "EPOCHS", 1)
    monkeypatch.setattr(softnet, "EMOTION_EPOCHS", 1)
    network = train_on_windows("mean", videos[:1], pictures)
    nothing = np.zeros((len(videos[0].track), 3, SIDE, SIDE), np.uint8)
    assert network.find(videos[0], nothing) == ()
