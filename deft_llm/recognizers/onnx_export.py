"""Write a trained recognizer as ONNX, for programs without torch.

The inputs keep the names of ``data/inputs.py``; the number of clips is free, all else is fixed.
The output is called "logits" (softmax gives probabilities): of MOL's heads only that of the
emotion. The file's metadata name the classes and the recognizer. What the file computes is compared
with the network before it is written.
"""

from __future__ import annotations

import json
import logging
import warnings
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from deft_llm.data.inputs import INPUTS
from deft_llm.errors import UserError
from deft_llm.files import write_bytes
from deft_llm.recognizers.base import Recognizer
from deft_llm.recognizers.saved import SavedRecognizer, open_saved

OUTPUT = "logits"
_PACKAGES = ("onnx", "onnxscript", "onnxruntime")
_TOLERANCE = 1e-3  # of logits; rounding alone gives some 1e-5


class _ByPosition(nn.Module):
    """The network with one argument for each input, as ONNX has them."""

    def __init__(self, network: Recognizer) -> None:
        super().__init__()
        self.network = network

    def forward(self, *inputs: Tensor) -> Tensor:
        """Inputs in the order of ``network.inputs`` to logits (B, classes)."""
        logits: Tensor = self.network(dict(zip(self.network.inputs, inputs, strict=True)))
        return logits


def export_onnx(run: Path, out: Path) -> float:
    """Write the network of a run.

    Args:
        run: Folder of a finished run, or its ``final``.
        out: File to write.

    Returns:
        The largest difference between the logits of file and network, on random inputs.

    Raises:
        UserError: If a package of the extra is missing, the run holds no network, an input has no
            fixed shape, or the file would compute something else.
    """
    if missing := [name for name in _PACKAGES if find_spec(name) is None]:
        raise UserError(
            f"ONNX needs {', '.join(missing)}; get them with: pip install 'deft-llm[export]'"
        )
    saved = open_saved(run)
    # Two clips: an axis of one would be taken for fixed.
    examples = example_inputs(saved.network, 2)
    content = _converted(saved, examples)
    difference = _difference(content, saved.network)
    if not difference <= _TOLERANCE:
        raise UserError(
            f"{run}: as ONNX its logits differ by {difference:.2g}; expected {_TOLERANCE:g} at "
            "most; try other versions of the packages of the extra export"
        )
    out.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(out, content)
    return difference


def example_inputs(network: Recognizer, batch: int) -> dict[str, Tensor]:
    """Random inputs of the right shapes.

    Raises:
        UserError: If an input has no fixed shape.
    """
    made = {}
    for name in network.inputs:
        shape = INPUTS[name].shape
        if not shape:
            raise UserError(f"input {name!r} has no fixed shape; it cannot be written as ONNX")
        sides = [_side(network) if size is None else size for size in shape]
        made[name] = torch.rand(batch, *sides)
    return made


def _side(network: Recognizer) -> int:
    return network.side or 56  # as clips are measured


def _converted(saved: SavedRecognizer, examples: dict[str, Tensor]) -> bytes:
    clips = torch.export.Dim("clips")
    # It warns of packages that it does not need here, and of its own old calls.
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        program = torch.onnx.export(
            _ByPosition(saved.network).eval(),
            tuple(examples.values()),
            input_names=list(examples),
            output_names=[OUTPUT],
            dynamic_shapes=(tuple({0: clips} for _ in examples),),  # one argument, *inputs
            dynamo=True,
            verbose=False,
        )
    assert program is not None
    model: Any = program.model_proto
    known = {"classes": json.dumps(saved.config.classes), "recognizer": saved.config.name}
    for key, value in known.items():
        entry = model.metadata_props.add()
        entry.key, entry.value = key, value
    content: bytes = model.SerializeToString()
    return content


def _difference(content: bytes, network: Recognizer) -> float:
    """Largest difference of the logits, for another batch size than that of the conversion."""
    import onnxruntime

    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    inputs = example_inputs(network, 3)
    (found,) = session.run([OUTPUT], {name: x.numpy() for name, x in inputs.items()})
    with torch.no_grad():
        wanted = network(inputs).numpy()
    return float(np.abs(found - wanted).max())
