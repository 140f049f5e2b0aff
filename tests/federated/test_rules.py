"""The rules as functions over weights, and which weights they exchange."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from deft_llm.errors import UserError
from deft_llm.federated import checkpoint
from deft_llm.federated.checkpoint import Progress
from deft_llm.federated.checks import Update, accepted, problem
from deft_llm.federated.client import Order
from deft_llm.federated.exchange import listed, named, names_of, put, size_in_words, taken
from deft_llm.federated.membership import losses, membership_auc
from deft_llm.federated.rules import RULES, mean, personalised
from deft_llm.recognizers.layers import SeededDropout

CLASSES = ("negative", "positive", "surprise")


def state(seed: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {"w": rng.standard_normal((3, 2)), "b": rng.standard_normal(2)}


@pytest.mark.parametrize(
    ("size", "words"),
    [(0, "0.0 MB"), (9_400, "9 kB"), (940_000, "940 kB"), (6_040_000, "6.0 MB")],
)
def test_a_small_network_weighs_something(size: int, words: str) -> None:
    """A round of it was told like one of ``local``, in which nothing is sent."""
    assert size_in_words(size) == words


def test_the_mean_is_weighted_by_clips() -> None:
    states, clips = [state(i) for i in range(3)], [1, 5, 2]
    found = mean(states, clips)
    for name in ("w", "b"):
        wanted = np.average([s[name] for s in states], axis=0, weights=clips)
        np.testing.assert_allclose(found[name], wanted, atol=1e-12)
    assert mean(states[:1], [7])["w"] == pytest.approx(states[0]["w"])


def test_personal_weights_equal_the_released_rule() -> None:
    # The public server makes weights for each site: .9 w_j + .1 sum over the others of n_i w_i.
    states, clips = [state(i) for i in range(4)], [3, 11, 6, 40]
    average = mean(states, clips)
    for j, own in enumerate(states):
        moved = personalised(own, average, clips[j], sum(clips))
        others = [i for i in range(4) if i != j]
        whole = sum(clips[i] for i in others)
        for name in own:
            rest = sum(clips[i] / whole * states[i][name] for i in others)
            np.testing.assert_allclose(moved[name], 0.9 * own[name] + 0.1 * rest, atol=1e-12)


def test_a_site_that_is_not_in_the_mean_moves_towards_all_of_it() -> None:
    own, average = state(0), state(1)
    moved = personalised(own, average, 0, 20)
    np.testing.assert_allclose(moved["w"], 0.9 * own["w"] + 0.1 * average["w"], atol=1e-12)
    # Nobody else has sent: there is nothing to move towards.
    np.testing.assert_array_equal(personalised(own, own, 20, 20)["w"], own["w"])


class Network(nn.Module):
    """A batch norm whose name does not tell what it is."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(2, 3), nn.Linear(3, 2)
        self.middle = nn.Sequential(nn.BatchNorm1d(3), SeededDropout(0.5))
        self.frozen = nn.Linear(2, 2).requires_grad_(False)
        self.register_buffer("prior", torch.ones(2))


def test_what_is_exchanged_under_each_rule() -> None:
    network = Network()
    layers = ["first.weight", "first.bias", "second.weight", "second.bias"]
    norm = ["middle.0.weight", "middle.0.bias"]
    statistics = ["middle.0.running_mean", "middle.0.running_var"]
    sent = {rule: set(names_of(network, RULES[rule]).sent) for rule in RULES}
    assert sent["fedavg"] == sent["fedprox"] == {*layers, *norm, *statistics}
    assert sent["p_fedprox"] == {*layers, *norm}
    assert sent["fedbn"] == set(layers)
    assert sent["local"] == sent["central"] == set()
    # Counters, priors and frozen layers never leave; all that is trained is somewhere.
    for rule in RULES.values():
        names = names_of(network, rule)
        assert {*names.sent, *names.kept} == {*layers, *norm, *statistics}
        assert not {*names.sent} & {*names.kept}


def test_weights_are_taken_out_and_put_back() -> None:
    one, other = Network(), Network()
    names = names_of(one, RULES["fedavg"]).sent
    found = taken(one, names)
    assert all(x.dtype == np.float32 for x in found.values())
    for values in found.values():
        values.flags.writeable = False  # as off the wire
    put(other, found)
    assert torch.equal(one.first.weight, other.first.weight)
    other.first.weight.data.add_(1)  # the network's own memory, not the array's
    assert not np.array_equal(taken(other, ["first.weight"])["first.weight"], found["first.weight"])


def test_weights_without_names_are_the_same_after_a_restart(tmp_path: Path) -> None:
    # Flower's older API sends no names, and a server that goes on reads its weights from a file.
    names = names_of(Network(), RULES["fedavg"]).sent
    found = taken(Network(), names)
    checkpoint.save(tmp_path, Progress(Order(2, found)))
    kept = checkpoint.load(tmp_path, {}).order.state
    assert list(kept) != list(names)  # a file has an order of its own
    there = named(listed(kept), names)
    assert there.keys() == found.keys()
    assert all(np.array_equal(there[name], found[name]) for name in names)


def sent(**changes: object) -> Update:
    values = {
        "site": "north",
        "state": {"w": np.ones((2, 2), np.float32)},
        "clips": 4,
        "loss": 1.0,
        "classes": CLASSES,
        **changes,
    }
    return Update(**values)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"state": {"w": np.full((2, 2), np.nan, np.float32)}}, "w is not finite"),
        ({"state": {"w": np.full((2, 2), np.inf, np.float32)}}, "w is not finite"),
        ({"state": {"w": np.ones((2, 1), np.float32)}}, r"w has the shape \(2, 1\)"),
        ({"state": {"w": np.ones((2, 2), np.int64)}}, "w is int64; expected float32"),
        ({"state": {"v": np.ones(1, np.float32)}}, "lacks w and has the unknown v"),
        ({"clips": 0}, "0 training clips; expected at least 1"),
        ({"clips": -3}, "-3 training clips; expected at least 1"),
        ({"clips": float("nan")}, "nan training clips; expected a whole number"),
        ({"clips": True}, "True training clips; expected a whole number"),
        ({"classes": ("happiness",)}, "its classes are happiness; expected negative, positive"),
    ],
)
def test_what_cannot_be_averaged_is_told(changes: dict[str, object], told: str) -> None:
    expected = {"w": np.zeros((2, 2), np.float32)}
    assert problem(sent(), expected, CLASSES) == ""
    bad = sent(site="south", **changes)
    good, wrong = accepted([sent(), bad], expected, CLASSES)
    assert [u.site for u in good] == ["north"] and list(wrong) == ["south"]
    with pytest.raises(UserError, match=f"0 sites sent weights .*site south: .*{told}"):
        accepted([bad], expected, CLASSES)


def test_too_few_answers_end_a_round() -> None:
    with pytest.raises(UserError, match=r"1 sites sent .* expected at least 2 \(nobody answered\)"):
        accepted([sent()], {"w": np.zeros((2, 2), np.float32)}, CLASSES, at_least=2)


def test_membership_auc() -> None:
    sure, unsure = np.array([[0.9, 0.1], [0.2, 0.8]]), np.array([[0.4, 0.6], [0.7, 0.3]])
    labels = np.array([0, 1])
    assert membership_auc(losses(sure, labels), losses(unsure, labels)) == 1.0
    assert membership_auc(losses(sure, labels), losses(sure, labels)) == 0.5
    assert np.isnan(membership_auc(losses(sure, labels), np.empty(0)))
    assert np.isfinite(losses(np.array([[0.0, 1.0]]), np.array([0]))).all()


def test_updates_of_one_name_are_all_left_out() -> None:
    sent = [Update(name, state(i), 3, 0.5, CLASSES) for i, name in enumerate("abcb")]
    good, wrong = accepted(sent, state(0), CLASSES)
    assert [u.site for u in good] == ["a", "c"]
    assert wrong["b"].startswith("2 nodes answered under this name")
    with pytest.raises(UserError, match=r"2 sites sent .* at least 3 \(site b: 2 nodes"):
        accepted(sent, state(0), CLASSES, at_least=3)
