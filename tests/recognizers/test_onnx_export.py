"""Recognizers as ONNX: the same logits for any batch, names and classes in the file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from deft_llm.errors import UserError
from deft_llm.recognizers import onnx_export
from deft_llm.recognizers.base import Recognizer, load_recognizer
from deft_llm.recognizers.onnx_export import example_inputs, export_onnx

CASES: list[tuple[str, dict[str, Any]]] = [
    ("mpfnet", {"variant": "c", "width": 8, "side": 32}),
    ("mpfnet", {"variant": "p", "width": 8, "side": 32, "centred": False}),
    ("mol", {"flow": False, "landmarks": False}),
    ("ststnet", {}),
    ("fmanet", {"width": 8}),
]


def save(folder: Path, name: str, options: dict[str, Any]) -> Recognizer:
    """An untrained network as a run leaves it, with running statistics that are not the usual."""
    torch.manual_seed(0)
    network = load_recognizer(name, 3, **options)
    assert isinstance(network, Recognizer)
    with torch.no_grad():
        network.train()(example_inputs(network, 2))
    folder.mkdir()
    state = {n: x.contiguous() for n, x in network.state_dict().items()}
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    text = {"classes": ["a", "b", "c"], "recognizer": name, "options": options}
    (folder / "config.json").write_text(json.dumps(text), encoding="utf-8")
    return network.eval()


@pytest.mark.slow
@pytest.mark.parametrize(("name", "options"), CASES)
def test_the_file_computes_what_the_network_does(
    tmp_path: Path, name: str, options: dict[str, Any]
) -> None:
    for package in ("onnx", "onnxscript"):
        pytest.importorskip(package)
    runtime = pytest.importorskip("onnxruntime")
    network = save(tmp_path / "run", name, options)
    assert export_onnx(tmp_path / "run", tmp_path / "net.onnx") < 1e-4
    session = runtime.InferenceSession(tmp_path / "net.onnx", providers=["CPUExecutionProvider"])
    assert [i.name for i in session.get_inputs()] == list(network.inputs)
    known = session.get_modelmeta().custom_metadata_map
    assert json.loads(known["classes"]) == ["a", "b", "c"]
    for batch in (1, 4):
        inputs = example_inputs(network, batch)
        (found,) = session.run(["logits"], {n: x.numpy() for n, x in inputs.items()})
        with torch.no_grad():
            np.testing.assert_allclose(found, network(inputs).numpy(), atol=1e-4)


def test_a_missing_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_export, "find_spec", lambda name: None if name == "onnx" else name)
    with pytest.raises(UserError, match=r"needs onnx; get them with: pip install 'deft-llm\[exp"):
        export_onnx(tmp_path, tmp_path / "net.onnx")


def test_a_run_without_a_network_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnx_export, "find_spec", lambda name: name)
    with pytest.raises(UserError, match="no such file; expected a folder"):
        export_onnx(tmp_path, tmp_path / "net.onnx")
