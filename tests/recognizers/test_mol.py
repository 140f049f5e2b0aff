"""MOL: published counts, F5C against plain forms, missing targets, sub-clips in any order."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from deft_llm.errors import UserError
from deft_llm.recognizers.f5c import CCC, FCC, circular, nearest
from deft_llm.recognizers.mol import MOL, Joint, conv_stack
from deft_llm.recognizers.mol_flow import correlation
from deft_llm.recognizers.mol_losses import NO_CLASS, Targets, Weights, joint_losses

RELEASE, RECOGNITION, FLOW, LANDMARKS = 44_104_865, 1_056_143, 39_730_282, 3_318_440


def count(module: nn.Module | None) -> int:
    return 0 if module is None else sum(p.numel() for p in module.parameters())


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def network() -> MOL:
    torch.manual_seed(0)
    return MOL(3).eval()


def test_the_release_has_the_published_counts() -> None:
    with torch.device("meta"):
        whole, five = MOL(3, release=True), MOL(5, release=True)
        alone = [MOL(c, release=True, flow=False, landmarks=False) for c in (3, 5)]
        default = MOL(3)
    assert count(whole) == RELEASE and count(five) == 44_105_379
    assert [count(each) for each in alone] == [RECOGNITION, 1_056_657]
    assert (count(whole.flow), count(whole.landmarks)) == (FLOW, LANDMARKS)
    assert count(FCC(release=True)) == 17_794 and count(CCC(release=True)) == 131_584
    assert count(conv_stack(release=True)) == 19_048
    assert count(default.flow) < FLOW / 4
    with pytest.raises(UserError, match=r"at most 0\.5"):
        MOL(3, flow_width=0.6)


def test_the_release_joins_pairs_in_turn() -> None:
    torch.manual_seed(0)
    release = MOL(3, release=True, flow=False).eval()
    frames = torch.rand(1, 8, 128, 128)
    first, second = release.pairs(frames)
    slots = release._slots(first, second)
    assert slots.shape == (1, 14, 128, 16, 16)
    assert torch.equal(slots[:, 2], first[:, 1]) and torch.equal(slots[:, 3], second[:, 1])
    found = release.joint(frames)
    assert found.flow is None and found.landmarks is not None
    assert found.logits.shape == (1, 3) and found.landmarks.shape == (1, 7, 68, 2)


@pytest.mark.parametrize("axis", ["H", "W"])
def test_fcc_is_a_circular_convolution(axis: str) -> None:
    x, kernel, bias = drawn(2, 6, 16, 16), drawn(6, 16, seed=1), drawn(6, seed=2)
    dim = 2 if axis == "H" else 3
    turned = x.transpose(dim, 3)
    # By the Fourier transform: a correlation is a product with the conjugate.
    product = torch.fft.fft(turned.double()) * torch.fft.fft(kernel.double())[:, None].conj()
    expected = (torch.fft.ifft(product).real + bias[:, None, None]).transpose(dim, 3)
    found = circular(x, kernel, bias, axis)  # type: ignore[arg-type]
    torch.testing.assert_close(found.double(), expected, atol=1e-5, rtol=1e-5)


def test_every_place_reaches_every_place() -> None:
    torch.manual_seed(0)
    fcc, x = FCC(channels=2, side=5).eval(), drawn(1, 2, 5, 5).requires_grad_()
    fcc(x)[0, 0, 2, 3].backward()
    assert x.grad is not None and (x.grad[0, 0] != 0).all()


def by_nodes(ccc: CCC, flat: Tensor, release: bool) -> Tensor:
    """The graph of the paper or of the release, edge by edge."""
    rows = flat.transpose(1, 2) if release else flat
    index = nearest(rows, ccc.neighbours, itself=release)
    found = torch.empty_like(flat)
    for b, clip in enumerate(flat):
        for i, node in enumerate(clip):
            edges = []
            for j in range(ccc.neighbours):
                other = node[index[b, :, j]] if release else clip[index[b, i, j]]
                difference = (other - node) - (node if release else 0)
                edges.append(F.relu(ccc.own(node) + ccc.difference(difference)))
            found[b, i] = torch.stack(edges).amax(0)
    return found


@pytest.mark.parametrize("release", [False, True])
def test_ccc_equals_the_loop_over_nodes(release: bool) -> None:
    torch.manual_seed(0)
    ccc, flat = CCC(channels=10, side=4, release=release), drawn(2, 10, 16)
    torch.testing.assert_close(ccc.edges(flat), by_nodes(ccc, flat, release), atol=2e-6, rtol=1e-5)


def test_no_node_is_its_own_neighbour() -> None:
    rows = drawn(3, 12, 5)
    rows[:, 1] = rows[:, 0]  # a twin is a neighbour, the node itself is not
    own = torch.arange(12)[:, None]
    assert not (nearest(rows, 4) == own).any()
    assert (nearest(rows, 4)[:, 0, 0] == 1).all()
    assert (nearest(rows[:, 2:], 4, itself=True)[..., 0] == own[:10, 0]).all()


def test_correlation_by_hand() -> None:
    first, second = drawn(2, 3, 6, 6), drawn(2, 3, 6, 6, seed=1)
    found = correlation(first, second, patch=5, dilation=2).unflatten(1, (5, 5))
    padded = F.pad(second, (4, 4, 4, 4))
    for dy in range(5):
        for dx in range(5):
            moved = padded[:, :, 2 * dy : 2 * dy + 6, 2 * dx : 2 * dx + 6]
            torch.testing.assert_close(found[:, dy, dx], (first * moved).mean(1))


def test_the_order_of_sub_clips_does_not_matter(network: MOL) -> None:
    clips = torch.rand(2, 3, 8, 128, 128)
    found = network({"sub_clips": clips})
    torch.testing.assert_close(found.exp().sum(1), torch.ones(2))
    turned = {"sub_clips": clips[:, [2, 0, 1]]}
    torch.testing.assert_close(network(turned), found)
    alone = [network({"sub_clips": clips[:, [k]]}).exp() for k in range(3)]
    torch.testing.assert_close(found.exp(), torch.stack(alone).mean(0))
    tokens = network.forward_features({"sub_clips": clips})
    assert tokens.shape == (2, 256, network.feature_dim)
    torch.testing.assert_close(network.forward_features(turned), tokens)


def test_flow_starts_at_zero_and_points_in_the_middle(network: MOL) -> None:
    found = network.joint(torch.rand(1, 8, 128, 128))
    assert found.flow is not None and found.landmarks is not None
    assert found.flow.shape == (1, 7, 2, 128, 128) and not found.flow.any()
    assert found.landmarks.shape == (1, 8, 68, 2)
    assert (found.landmarks - 64).abs().max() < 32


def test_a_clip_of_other_length_is_refused(network: MOL) -> None:
    with pytest.raises(UserError, match="7 frames; expected 8"):
        network({"sub_clips": torch.rand(1, 1, 7, 128, 128)})


def outputs(size: int = 3) -> Joint:
    made = (drawn(size, 4), drawn(size, 7, 2, 8, 8, seed=1), drawn(size, 8, 68, 2, seed=2))
    return Joint(*(x.requires_grad_() for x in made))


def test_a_missing_target_has_exactly_no_gradient() -> None:
    flow, landmarks = drawn(3, 7, 2, 8, 8, seed=3), drawn(3, 8, 68, 2, seed=4)
    flow[1], landmarks[2] = torch.nan, torch.nan
    found = outputs()
    losses = joint_losses(found, Targets(torch.tensor([NO_CLASS, 1, 2]), flow, landmarks))
    losses["loss"].backward()
    for output, missing in zip(found, (0, 1, 2), strict=True):
        assert output is not None and output.grad is not None
        given = [i for i in range(3) if i != missing]
        assert (output.grad[missing] == 0).all() and output.grad[given].abs().amin(0).max() > 0
    # The clips that are left count as if they were alone.
    alone = Joint(found.logits[1:], None, None)
    only = joint_losses(alone, Targets(torch.tensor([1, 2])))
    torch.testing.assert_close(losses["emotion"], only["emotion"])


def test_without_any_target_nothing_changes() -> None:
    found = outputs()
    nothing = torch.full((3, 7, 2, 8, 8), torch.nan), torch.full((3, 8, 68, 2), torch.nan)
    losses = joint_losses(found, Targets(torch.full((3,), NO_CLASS), *nothing))
    losses["loss"].backward()
    assert losses["loss"] == 0
    assert all(x is not None and x.grad is not None and not x.grad.any() for x in found)


def test_losses_by_hand() -> None:
    found = outputs(1)
    assert found.flow is not None and found.landmarks is not None
    points = drawn(1, 8, 68, 2, seed=5)
    points[..., 36:42, :], points[..., 42:48, :] = torch.tensor([0.0, 0]), torch.tensor([4.0, 3])
    target = Targets(torch.tensor([2]), found.flow.detach() + 0.5, points)
    losses = joint_losses(found, target, Weights(landmarks=0.1))
    expected = (found.landmarks - points).abs().sum() / (5 * 68)  # eyes 5 px apart
    torch.testing.assert_close(losses["landmarks"], expected.detach())
    torch.testing.assert_close(losses["flow"], torch.tensor(0.25))
    whole = F.cross_entropy(found.logits, torch.tensor([2])) + 2.5 + 0.1 * expected
    torch.testing.assert_close(losses["loss"], whole)


def test_every_parameter_learns() -> None:
    torch.manual_seed(0)
    network = MOL(3, flow_width=0.0625).train()
    assert network.flow is not None
    nn.init.normal_(network.flow.finest.weight, std=0.1)  # zero stops the gradient at first
    frames = torch.rand(2, 8, 128, 128)
    targets = Targets(torch.tensor([0, 2]), drawn(2, 7, 2, 128, 128), 128 * torch.rand(2, 8, 68, 2))
    joint_losses(network.joint(frames), targets)["loss"].backward()
    still = [n for n, p in network.named_parameters() if p.grad is None or not p.grad.any()]
    assert not still
