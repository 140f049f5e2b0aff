from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from deft_llm.errors import UserError
from deft_llm.recognizers.base import Recognizer, load_recognizer
from deft_llm.recognizers.bi_woof import bi_woof
from deft_llm.recognizers.layers import SeededDropout
from deft_llm.recognizers.lbp_top import lbp_top
from deft_llm.recognizers.ststnet import STSTNet

# Parameters for three classes at 28x28, counted by hand from the layouts of the papers.
NETWORKS = {
    "ststnet": (27 * 16 + 2 * 16 + 400 * 3 + 3, (25, 16)),
    "off_apexnet": (
        2 * (26 * 6 + 151 * 16) + 1568 * 1024 + 1024 + 1024 * 1025 + 1025 * 3,
        (49, 32),
    ),
    "htnet": (None, (4, 64)),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_networks_keep_the_contract(name: str) -> None:
    torch.manual_seed(0)
    network = load_recognizer(name, 5)
    assert isinstance(network, Recognizer)
    network.eval()
    inputs = {"flow_uvs": torch.randn(4, 3, 28, 28)}
    tokens = NETWORKS[name][1]
    assert network.forward_features(inputs).shape == (4, *tokens)
    assert tokens[1] == network.feature_dim
    logits = network(inputs)
    assert logits.shape == (4, 5)
    # A clip's answer does not hang on what else is in the batch.
    alone = network({"flow_uvs": inputs["flow_uvs"][2:3]})
    torch.testing.assert_close(alone[0], logits[2])


@pytest.mark.parametrize("name", ["ststnet", "off_apexnet"])
def test_parameter_counts(name: str) -> None:
    network = load_recognizer(name, 3)
    assert isinstance(network, Recognizer)
    assert sum(p.numel() for p in network.parameters()) == NETWORKS[name][0]


def test_ststnet_is_three_streams_in_the_papers_order() -> None:
    # It is computed as one convolution, pooled before ReLU; here as the paper draws it.
    torch.manual_seed(0)
    network = STSTNet(3, dropout=0.0).double()
    stem = network.streams[0]
    assert isinstance(stem, torch.nn.Conv2d)
    maps, first = [], 0
    flow = torch.randn(6, 3, 28, 28, dtype=torch.float64)
    weight = stem.weight.detach().clone().requires_grad_()
    for filters in (3, 5, 8):
        stream = torch.nn.Sequential(
            torch.nn.BatchNorm2d(filters), torch.nn.ReLU(), torch.nn.MaxPool2d(3, 3, padding=1)
        ).double()
        part = slice(first, first + filters)
        maps.append(stream(torch.nn.functional.conv2d(flow, weight[part], padding=2)))
        first += filters
    pooled = torch.nn.functional.avg_pool2d(torch.cat(maps, 1), 2)
    expected = network.head(pooled.flatten(2).transpose(1, 2).flatten(1))
    found = network({"flow_uvs": flow})
    torch.testing.assert_close(found, expected)
    found.square().sum().backward()
    expected.square().sum().backward()
    torch.testing.assert_close(stem.weight.grad, weight.grad)


@pytest.mark.parametrize("name", NETWORKS)
def test_every_parameter_learns(name: str) -> None:
    # In HTNet's published code the query and key weights never get a gradient.
    torch.manual_seed(0)
    network = load_recognizer(name, 3)
    assert isinstance(network, Recognizer)
    network({"flow_uvs": torch.randn(8, 3, 28, 28)}).square().sum().backward()
    for parameter_name, parameter in network.named_parameters():
        assert parameter.grad is not None, parameter_name
        assert parameter.grad.abs().sum() > 0 or "bias" in parameter_name, parameter_name


def test_htnet_looks_at_every_pixel() -> None:
    torch.manual_seed(0)
    network = load_recognizer("htnet", 3)
    assert isinstance(network, Recognizer)
    network.eval()
    flow = torch.randn(1, 3, 28, 28, requires_grad=True)
    network({"flow_uvs": flow}).sum().backward()
    assert flow.grad is not None
    assert (flow.grad != 0).all()


def test_htnet_refuses_a_size_that_does_not_fit() -> None:
    with pytest.raises(UserError, match="40 pixels"):
        load_recognizer("htnet", 3, side=40)


def test_an_unknown_name_is_answered_with_a_near_one() -> None:
    with pytest.raises(UserError, match="did you mean 'ststnet'"):
        load_recognizer("stsnet", 3)


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        (
            "fmanet",
            {"width": "many"},
            r"fmanet: options\.width: expected a whole number, got 'many'",
        ),
        ("fmanet", {"width": True}, "expected a whole number, got True"),
        ("mol", {"flow_width": "wide"}, r"options\.flow_width: expected a number"),
        ("fmanet", {"gate": "yes"}, "expected true or false, got 'yes'"),
        ("fmanet", {"width": -2}, r"cannot be built with the options width=-2 \("),
        pytest.param(
            "fmanet",
            {"width": 0},
            "width=0 leave a layer without a weight",
            marks=pytest.mark.filterwarnings("ignore:Initializing zero-element"),
        ),
    ],
)
def test_a_value_that_no_network_can_have_is_told(
    name: str, options: dict[str, Any], words: str
) -> None:
    """Before clips are measured: most layers take it without a word."""
    with pytest.raises(UserError, match=words):
        load_recognizer(name, 3, **options)


def test_a_number_with_an_exponent_is_a_number() -> None:
    """PyYAML reads 1e-4 as a string."""
    made: Any = load_recognizer("logistic_flow", 3, C="1e-4")
    assert made.C == 1e-4


def test_seeded_dropout() -> None:
    torch.manual_seed(0)
    dropout = SeededDropout(0.3)
    state = dropout.counter.clone()
    x = torch.ones(200, 50)
    first, second = dropout(x), dropout(x)
    assert first.eq(0).float().mean() == pytest.approx(0.3, abs=0.02)
    assert first.mean() == pytest.approx(1.0, abs=0.03)
    # Each step drops others: the share dropped twice is that of independent draws.
    assert (first.eq(0) & second.eq(0)).float().mean() == pytest.approx(0.09, abs=0.02)
    assert first.eq(0).float().mean(0).std() < 0.06  # and no column is favoured
    dropout.counter.copy_(state)
    assert torch.equal(dropout(x), first)
    assert torch.equal(dropout.eval()(x), x)


def test_networks_saved_with_torchs_dropout_are_read() -> None:
    network = load_recognizer("fmanet", 3, width=8)
    assert isinstance(network, nn.Module)
    saved = {name: x for name, x in network.state_dict().items() if "counter" not in name}
    network.load_state_dict(saved)
    assert "dropout.counter" not in saved


# -------------------------------------------------------------------------- classical


def _blobs() -> tuple[np.ndarray, np.ndarray]:
    """Flow whose class is the place of a patch of motion to the right."""
    rng = np.random.default_rng(0)
    labels = np.arange(60) % 3
    flow = 0.3 * rng.standard_normal((60, 3, 28, 28)).astype(np.float32)
    for x, label in zip(flow, labels, strict=True):
        x[0, 8 * label + 2 : 8 * label + 10, 8:20] += 1.5
        x[2, 8 * label + 2 : 8 * label + 10, 8:20] += 1.0
    return flow, labels


@pytest.mark.parametrize("name", ["logistic_flow", "svm_flow", "bi_woof"])
def test_classical_recognizers_learn(name: str) -> None:
    flow, labels = _blobs()
    model = load_recognizer(name, 3)
    assert not isinstance(model, Recognizer)
    model.fit({"flow_uvs": flow[:45]}, labels[:45])
    probabilities = model.predict_proba({"flow_uvs": flow[45:]})
    np.testing.assert_allclose(probabilities.sum(1), 1)
    assert (probabilities.argmax(1) == labels[45:]).mean() > 0.9


def test_a_sum_over_both_phases_tells_no_relation_between_them() -> None:
    """What `logistic_dual` is there to show in the dual-phase benchmark."""
    rng = np.random.default_rng(0)
    places = rng.integers(0, 2, (400, 2))  # of the patch that moves, in each phase
    flow = 0.3 * rng.standard_normal((400, 2, 3, 12, 12)).astype(np.float32)
    for x, place in zip(flow, places, strict=True):
        for phase in (0, 1):
            x[phase, 1, 6 * place[phase] : 6 * place[phase] + 6] += 1.0
    found = []
    for labels in (places[:, 0], places[:, 1], places[:, 0] ^ places[:, 1]):
        model = load_recognizer("logistic_dual", 2, C=0.01)
        assert not isinstance(model, Recognizer)
        model.fit({"flow_dual": flow[:300]}, labels[:300])
        guesses = model.predict_proba({"flow_dual": flow[300:]}).argmax(1)
        found.append((guesses == labels[300:]).mean())
    assert min(found[:2]) > 0.95 and found[2] < 0.65


def test_a_class_never_seen_has_no_probability() -> None:
    flow, labels = _blobs()
    model = load_recognizer("logistic_flow", 4)
    assert not isinstance(model, Recognizer)
    model.fit({"flow_uvs": flow}, labels)
    assert (model.predict_proba({"flow_uvs": flow})[:, 3] == 0).all()


def test_the_turn_into_the_span_changes_nothing() -> None:
    from sklearn.linear_model import LogisticRegression

    flow, labels = _blobs()
    model = load_recognizer("logistic_flow", 3, C=0.01)
    assert not isinstance(model, Recognizer)
    model.fit({"flow_uvs": flow[:45]}, labels[:45])
    plain = LogisticRegression(C=0.01, class_weight="balanced", max_iter=1000)
    plain.fit(flow[:45].reshape(45, -1), labels[:45])
    expected = plain.predict_proba(flow[45:].reshape(15, -1))
    np.testing.assert_allclose(model.predict_proba({"flow_uvs": flow[45:]}), expected, atol=2e-3)


def test_bi_woof_by_hand() -> None:
    # Motion straight down in one block alone: one bin of one block holds everything.
    flow = np.zeros((1, 3, 28, 28), np.float32)
    flow[0, 1, 8:12, 12:16] = 2.0
    flow[0, 2, 8:12, 12:16] = 1.0
    found = bi_woof(flow).reshape(7, 7, 8)
    assert found[2, 3, 2] == pytest.approx(1.0)  # a quarter turn clockwise from image right
    assert np.count_nonzero(found) == 1
    assert (bi_woof(np.zeros((1, 3, 28, 28), np.float32)) == 0).all()


def test_lbp_top_by_hand() -> None:
    # A brightness that rises to the right: in XY the neighbours above, below and on the right
    # are not darker; the same pattern everywhere.
    ramp = np.broadcast_to(np.arange(12.0), (5, 12, 12))
    found = lbp_top(ramp, blocks=2).reshape(4, 3, 59)
    assert (found.max(2) == 1).all()
    np.testing.assert_array_equal(found[0, 0], found[0, 1])  # X with Y, and X with T
    assert not (found[0, 1] == found[0, 2]).all()  # constant in YT
    np.testing.assert_allclose(found.sum(2), 1)


def test_lbp_top_tells_motion_from_stillness() -> None:
    rng = np.random.default_rng(0)
    clips = []
    for i in range(30):
        texture = rng.random((40, 20, 20)).astype(np.float32)
        still = np.broadcast_to(texture[:1], (6, 20, 20))
        clips.append(still if i % 2 else texture[:6])
    frames = np.stack(clips)[:, :, None].repeat(3, axis=2)
    labels = np.arange(30) % 2
    model = load_recognizer("lbp_top", 2)
    assert not isinstance(model, Recognizer)
    model.fit({"frames": frames[:20]}, labels[:20])
    assert (model.predict_proba({"frames": frames[20:]}).argmax(1) == labels[20:]).all()


def test_lbp_top_needs_three_frames() -> None:
    with pytest.raises(UserError, match="2 frames"):
        lbp_top(np.zeros((2, 20, 20)))
