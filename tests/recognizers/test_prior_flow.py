from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from deft_llm.errors import UserError
from deft_llm.motion.encoding import mirror_flow
from deft_llm.recognizers.base import Recognizer, load_recognizer
from deft_llm.recognizers.prior_flow import FlowPriorNet, PriorFlow, load_priors
from deft_llm.training.tasks import run


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two networks, trained for a moment through train.py's own entry."""
    place = tmp_path_factory.mktemp("prior")
    recipe = place / "recipe.yaml"
    recipe.write_text(
        f"task: flow_prior\noutput: {place / 'run'}\nnetworks: 2\nepochs: 3\nbatch_size: 20\n"
        "held_out: 6\ndraws:\n  - {head: own, images: 60, per_identity: 60}\n"
    )
    run(recipe)
    return place / "run"


def _flow(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((12, 3, 28, 28)).astype(np.float32)


def _model(folder: Path, **options: Any) -> PriorFlow:
    model = load_recognizer("prior_flow", 3, weights=str(folder), **options)
    assert isinstance(model, PriorFlow)
    return model


def test_the_network_keeps_the_contract() -> None:
    network = FlowPriorNet(3).eval()
    assert isinstance(network, Recognizer)
    inputs = {"flow_uvs": torch.from_numpy(_flow())}
    assert network.forward_features(inputs).shape == (12, 49, network.feature_dim)
    assert network(inputs).shape == (12, 3)


def test_finished_networks_are_kept(folder: Path) -> None:
    files = sorted(folder.glob("net*.safetensors"))
    assert len(files) == 2
    assert any((load_file(files[0])[k] != v).any() for k, v in load_file(files[1]).items())
    stamps = [f.stat().st_mtime_ns for f in files]
    run(folder.parent / "recipe.yaml")
    assert [f.stat().st_mtime_ns for f in files] == stamps


def test_simulation_alone_never_reads_a_label(folder: Path) -> None:
    flow = _flow()
    answers = []
    for labels in (np.zeros(12, np.int64), np.arange(12) % 3):
        model = _model(folder, real=False)
        model.fit({"flow_uvs": flow}, labels)
        answers.append(model.predict_proba({"flow_uvs": flow}))
    np.testing.assert_array_equal(answers[0], answers[1])
    np.testing.assert_allclose(answers[0].sum(1), 1)
    # Emotion has no side: a clip and its mirror image are answered alike.
    mirrored = model.predict_proba({"flow_uvs": mirror_flow(flow)})
    np.testing.assert_allclose(mirrored, answers[0], atol=1e-5)


def test_few_labels_move_it_and_none_leave_the_scores(folder: Path) -> None:
    flow, labels = _flow(), np.arange(12) % 3
    bare = _model(folder, real=False).predict_proba({"flow_uvs": flow})
    strong, weak = _model(folder, C=1.0), _model(folder, C=1e-9)
    for model in (strong, weak):
        model.fit({"flow_uvs": flow}, labels)
    assert (strong.predict_proba({"flow_uvs": flow}).argmax(1) == labels).all()
    np.testing.assert_allclose(weak.predict_proba({"flow_uvs": flow}), bare, atol=1e-4)


def test_damaged_weights_are_told(tmp_path: Path) -> None:
    (tmp_path / "net0.safetensors").write_bytes(b"half")
    with pytest.raises(UserError, match=r"net0\.safetensors: damaged; delete it"):
        load_priors(tmp_path, 3)


def test_seeds_pick_networks_and_none_takes_their_mean(folder: Path) -> None:
    flow = {"flow_uvs": _flow()}
    first, second, again, mean = (
        _model(folder, real=False, seed=s).prior(flow["flow_uvs"])[1] for s in (0, 1, 2, None)
    )
    assert (first != second).any()
    np.testing.assert_array_equal(first, again)
    np.testing.assert_allclose(mean, (first + second) / 2, atol=1e-5)


def test_what_is_kept_is_what_is_computed(folder: Path) -> None:
    prior = _model(folder, seed=1).prior
    flow = _flow(5)
    parts = [prior(flow[:4]), prior(flow)]
    fresh = prior._read(flow)
    np.testing.assert_allclose(np.hstack(parts[1]), fresh, atol=1e-5)
    np.testing.assert_array_equal(parts[0][1], parts[1][1][:4])


def test_missing_weights_are_explained(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"run train\.py"):
        load_priors(tmp_path, 3)
