"""ME-TST, ME-TST+ and BoostingVRME: paths, any length, one result per video."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from deft_llm.errors import UserError
from deft_llm.spotters import regression
from deft_llm.spotters.base import Spotter, SpotterConfig
from deft_llm.spotters.boosting_vrme import BoostingVrme
from deft_llm.spotters.layers import DropPath
from deft_llm.spotters.me_tst import MeTst, MeTstConfig
from deft_llm.spotters.me_tst_plus import MeTstPlus
from deft_llm.spotters.regression import frame_classes, regress
from deft_llm.weights import load_network, save_network

SMALL = {"width": 8, "depth": 2, "states": 4}
MAKERS: dict[str, Callable[..., Spotter]] = {
    "me_tst": lambda **options: MeTst(MeTstConfig(**options)),
    "me_tst_plus": lambda **options: MeTstPlus(SpotterConfig(**options)),
    "boosting_vrme": lambda **options: BoostingVrme(SpotterConfig(**options)),
}


def small(name: str, **options: Any) -> Spotter:
    torch.manual_seed(0)
    network = MAKERS[name](**SMALL, **options)
    # Heads start near zero: larger ones show what reaches them.
    with torch.no_grad():
        network.fc_spot.weight.normal_()
        network.fc_recog.weight.normal_()
    return network.eval()


def curves(network: Spotter, frames: int, videos: int = 1) -> Tensor:
    draw = torch.Generator().manual_seed(frames)
    return torch.randn(videos, network.config.channels, frames, generator=draw)


@pytest.mark.parametrize("name", MAKERS)
def test_any_length_and_any_batch(name: str) -> None:
    # In float64, because matrix products of another shape add in another order.
    network = small(name).double()
    for frames in (1, 2, 3, 50, 131):
        x = curves(network, frames, videos=3).double()
        with torch.no_grad():
            score, logits = network(x)
            ones = [network(video[None]) for video in x]
        assert score.shape == (3, frames) and logits.shape == (3, frames, 5)
        assert (score >= 0).all() and (score <= 1).all()
        torch.testing.assert_close(score, torch.cat([o.score for o in ones]))
        torch.testing.assert_close(logits, torch.cat([o.logits for o in ones]))


def reached(network: Spotter, output: Tensor) -> set[str]:
    """Parts of the network that get a gradient from an output."""
    network.zero_grad()
    output.square().sum().backward()
    return {
        name.split(".")[0]
        for name, p in network.named_parameters()
        if p.grad is not None and p.grad.abs().max() > 0
    }


@pytest.mark.parametrize(
    ("name", "options", "spot", "recognize"),
    [
        ("me_tst", {}, {"spot_pathway"}, {"recog_pathway"}),
        ("me_tst", {"shared_path": True}, {"spot_pathway"}, {"spot_pathway"}),
        ("me_tst_plus", {}, {"spot_pathway"}, {"recog_pathway"}),
        ("boosting_vrme", {}, {"trunk"}, {"trunk"}),
    ],
)
@pytest.mark.parametrize("training", [False, True])
def test_which_paths_learn_from_which_task(
    name: str, options: Any, spot: set[str], recognize: set[str], training: bool
) -> None:
    network = small(name, **options).train(training)
    x = curves(network, 20, videos=2)
    assert reached(network, network(x).score) == spot | {"Stem", "fc_spot"}
    assert reached(network, network(x).logits) == recognize | {"Stem", "fc_recog"}


def test_every_weight_that_can_learn_does() -> None:
    for name in MAKERS:
        network = small(name)
        score, logits = network(curves(network, 20, videos=2))
        (score.sum() + logits.square().sum()).backward()
        missed = [n for n, p in network.named_parameters() if p.requires_grad and p.grad is None]
        assert not missed


def test_the_slow_path_hears_the_fast_one() -> None:
    trunk = small("boosting_vrme").trunk
    assert isinstance(trunk, nn.Module)
    x = torch.randn(1, 8, 20)
    for k in (1, 2):
        before = trunk(x)[..., :16]
        with torch.no_grad():
            getattr(trunk, f"fuse_{k}").conv[0].bias.add_(1)
        after = trunk(x)[..., :16]
        assert not torch.equal(before, after)
        assert torch.equal(after[:, ::2], after[:, 1::2])  # each slow frame stands for two


@pytest.mark.parametrize(
    ("name", "rates"),
    [("me_tst", [0.2 * max(0, i - 1) / 11 for i in range(12)]), ("boosting_vrme", None)],
)
def test_stochastic_depth_as_published(name: str, rates: list[float] | None) -> None:
    with torch.device("meta"):
        network = MAKERS[name]()
    found = [m.rate for m in network.modules() if isinstance(m, DropPath)]
    expected = 2 * rates if rates else 6 * [0, 0, 0.2 / 3, 0.4 / 3]
    assert found == pytest.approx(expected)


def test_dropped_paths_keep_the_mean() -> None:
    torch.manual_seed(0)
    drop = DropPath(0.25)
    x = torch.ones(4000, 2, 3)
    y = drop(x)
    assert sorted(y.unique().tolist()) == pytest.approx([0, 4 / 3])
    assert y.flatten(1).std(1).max() == 0  # whole samples
    assert y.mean().item() == pytest.approx(1, abs=0.03)
    assert torch.equal(drop.eval()(x), x)


@pytest.mark.parametrize("name", MAKERS)
def test_only_both_ways_hears_what_follows(name: str) -> None:
    forward, both = small(name), small(name, both_ways=True)
    both.load_state_dict(forward.state_dict())
    x = curves(forward, 60)
    later = x.clone()
    later[..., 40:] += 1  # beyond the reach of the stem's and the slow path's convolutions
    with torch.no_grad():
        assert torch.equal(forward(x).score[:, :30], forward(later).score[:, :30])
        assert (both(x).score[:, :30] != both(later).score[:, :30]).any()


@pytest.mark.parametrize("name", MAKERS)
def test_a_whole_video_is_one_pass(name: str) -> None:
    network = small(name).train()
    x = curves(network, 77)
    found = regress(network, x[0])
    assert network.training
    assert not found.score.requires_grad
    with torch.no_grad():
        expected = network.eval()(x)
    assert torch.equal(found.score, expected.score[0])
    assert torch.equal(found.logits, expected.logits[0])


def test_windows_are_stitched_by_their_place_in_the_video(monkeypatch: pytest.MonkeyPatch) -> None:
    network, k = small("boosting_vrme").double(), 10
    x = curves(network, 43)[0].double()
    found = {}
    for batch in (1, 3, 64):
        monkeypatch.setattr(regression, "BATCH", batch)
        found[batch] = regress(network, x, window=k)
    for batch in (1, 3):
        torch.testing.assert_close(found[batch], found[64])
    starts = [0, 5, 10, 15, 20, 25, 30, 33]
    with torch.no_grad():
        scores = {s: network((x[:, s : s + k] - x[:, s, None])[None]).score[0] for s in starts}
    first = {t: next(s for s in starts if s <= t < s + k) for t in range(43)}
    expected = torch.stack([scores[first[t]][t - first[t]] for t in range(43)])
    torch.testing.assert_close(found[64].score, expected)
    assert found[64].logits.shape == (43, 5)


def test_a_video_shorter_than_a_window_is_one_window() -> None:
    network = small("me_tst")
    x = curves(network, 17)[0]
    assert torch.equal(regress(network, x, window=50).score, regress(network, x).score)


def test_wrong_inputs_are_told() -> None:
    network = small("me_tst")
    with pytest.raises(UserError, match=r"expected \(videos, 10 channels, frames\)"):
        network(torch.zeros(1, 36, 20))
    with pytest.raises(UserError, match=r"expected \(channels, frames\)"):
        regress(network, torch.zeros(1, 10, 20))
    gap = torch.zeros(10, 20)
    gap[3, 7:9] = torch.nan
    with pytest.raises(UserError, match="2 frames without motion, the first is 7"):
        regress(network, gap)
    with pytest.raises(UserError, match="even number"):
        regress(network, torch.zeros(10, 20), window=15)


@pytest.mark.parametrize("name", MAKERS)
def test_saved_and_loaded_again(name: str, tmp_path: Path) -> None:
    network = small(name)
    save_network(network, tmp_path)
    kind = type(network)
    again = load_network(tmp_path, type(network.config), kind, "spotting", "train.py")
    x = curves(network, 30)[0]
    assert torch.equal(regress(network, x).logits, regress(again, x).logits)


def test_bfloat16_autocast_changes_little() -> None:
    network = small("me_tst")
    x = curves(network, 70)[0]
    with torch.autocast("cpu", torch.bfloat16):
        rounded = regress(network, x).score
    assert (rounded - regress(network, x).score).abs().max() < 0.05


def test_synergy_on_results() -> None:
    logits = torch.tensor([[0.0, 1.0, 0.5, 0.2, 3.0], [2.0, 0.0, 0.0, 0.0, 1.0]])
    assert frame_classes(logits, neutral=True).tolist() == [4, 0]
    assert frame_classes(logits, neutral=False).tolist() == [1, 0]
