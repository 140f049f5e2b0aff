"""Models of transformers, untrained and tiny, in the files of the published ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from deft_llm.errors import UserError
from deft_llm.evaluation.vlm.base import VlmChoice
from deft_llm.evaluation.vlm.local import LocalVlm

from .tiny_models import KINDS, tiny_vlm

QUESTION = "Which class?"
LABELS = ("negative", "positive", "surprise")


def pictures(seed: int) -> list[NDArray[np.uint8]]:
    rng = np.random.default_rng(seed)
    return [rng.integers(0, 256, (48, 48, 3), np.uint8) for _ in range(2)]


@pytest.mark.parametrize("kind", KINDS)
def test_every_format(tmp_path: Path, kind: str) -> None:
    vlm = LocalVlm(VlmChoice(model=str(tiny_vlm(kind, tmp_path)), device="cpu"))
    shown = pictures(0)
    found = vlm.log_likelihoods(shown, QUESTION, LABELS)
    assert len(found) == 3 and all(np.isfinite(found)) and max(found) < 0
    # The likelihood is that of the letters written one after the other, with the end of the turn.
    asked = vlm._asked(shown, QUESTION)
    ids = [*vlm.processor.tokenizer("negative")["input_ids"], vlm.end]
    total = 0.0
    with torch.inference_mode():
        for k, token in enumerate(ids):
            longer = {
                name: torch.cat([x, torch.tensor([ids[:k]], dtype=x.dtype)], 1)
                if name == "input_ids"
                else torch.cat([x, torch.full((1, k), int(name == "attention_mask"))], 1)
                if x.shape == asked["input_ids"].shape
                else x
                for name, x in asked.items()
            }
            total += float(vlm.model(**longer).logits[0, -1].log_softmax(-1)[token])
    assert found[0] == pytest.approx(total, abs=1e-3)
    # It looks at the pictures, at both of them, and writes the same twice.
    assert vlm.log_likelihoods(pictures(1), QUESTION, LABELS) != pytest.approx(found, abs=1e-6)
    swapped = vlm.log_likelihoods(shown[::-1], QUESTION, LABELS)
    assert swapped != pytest.approx(found, abs=1e-7)
    text = vlm.write(shown, QUESTION, 4)
    assert isinstance(text, str) and vlm.write(shown, QUESTION, 4) == text
    assert vlm.write((), QUESTION, 2) is not None  # the region table alone shows no picture


def test_a_model_without_a_chat_template(tmp_path: Path) -> None:
    folder = tiny_vlm("qwen2_5_vl", tmp_path, template=False)
    with pytest.raises(UserError, match=r"no chat template; expected chat_template\.jinja"):
        LocalVlm(VlmChoice(model=str(folder)))


def test_damaged_weights(tmp_path: Path) -> None:
    folder = tiny_vlm("qwen2_5_vl", tmp_path)
    (folder / "model.safetensors").write_bytes(b"xx")
    with pytest.raises(UserError, match=r"cannot be loaded .*header"):
        LocalVlm(VlmChoice(model=str(folder)))


def test_what_is_no_such_model(tmp_path: Path, tiny_checkpoint: Path) -> None:
    with pytest.raises(UserError, match="no such folder; expected one, or a name on the hub"):
        LocalVlm(VlmChoice(model=str(tmp_path / "nothing")))
    (tmp_path / "config.json").write_text('{"model_type": "qwen2"}')
    with pytest.raises(UserError, match=r"cannot be loaded .*a qwen2 takes no pictures"):
        LocalVlm(VlmChoice(model=str(tmp_path)))
