"""A language model from a GGUF file: the same model, as a folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from deft_llm.deft import gguf as converter
from deft_llm.errors import UserError

LETTERS = [*"abcdefghijklmnopqrstuvwxyz", "\u0120", "th", "the"]
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
WIDE, INNER, HEADS, KV = 64, 128, 4, 2


def write_gguf(path: Path, seed: int = 0) -> dict[str, np.ndarray]:
    """A Llama of one layer with a tokenizer of some letters; its weights by their GGUF names."""
    gguf = pytest.importorskip("gguf", reason="needs the extra gguf")
    rng = np.random.default_rng(seed)
    tokens = SPECIAL + LETTERS
    shapes = {
        "token_embd": (len(tokens), WIDE),
        "output_norm": (WIDE,),
        "blk.0.attn_norm": (WIDE,),
        "blk.0.ffn_norm": (WIDE,),
        "blk.0.attn_q": (WIDE, WIDE),
        "blk.0.attn_k": (WIDE * KV // HEADS, WIDE),
        "blk.0.attn_v": (WIDE * KV // HEADS, WIDE),
        "blk.0.attn_output": (WIDE, WIDE),
        "blk.0.ffn_gate": (INNER, WIDE),
        "blk.0.ffn_up": (INNER, WIDE),
        "blk.0.ffn_down": (WIDE, INNER),
    }
    weights = {name: rng.normal(0, 0.3, shape).astype(np.float32) for name, shape in shapes.items()}
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(64)
    writer.add_embedding_length(WIDE)
    writer.add_block_count(1)
    writer.add_feed_forward_length(INNER)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(len(tokens))
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(tokens)
    writer.add_token_types([3] * len(SPECIAL) + [1] * len(LETTERS))
    writer.add_token_merges(["t h", "th e"])
    writer.add_eos_token_id(2)
    writer.add_chat_template("{% for m in messages %}{{ m['content'] }}{% endfor %}")
    for name, array in weights.items():
        writer.add_tensor(f"{name}.weight", array)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return weights


def test_the_folder_holds_the_weights_of_the_file(tmp_path: Path) -> None:
    weights = write_gguf(tmp_path / "tiny.gguf")
    folder = tmp_path / "out"
    folder.mkdir()
    converter.to_folder(tmp_path / "tiny.gguf", folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    assert not hasattr(model.config, "quantization_config")
    down = model.model.layers[0].mlp.down_proj.weight.detach().numpy()
    np.testing.assert_allclose(down, weights["blk.0.ffn_down"], rtol=1e-3, atol=1e-4)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert tokenizer.chat_template and tokenizer.tokenize("the") == ["the"]


@pytest.mark.parametrize("share", [0.002, 0.5, 0.98])
def test_a_file_that_ends_too_early_is_told(share: float, tmp_path: Path) -> None:
    write_gguf(tmp_path / "tiny.gguf")
    whole, half = (tmp_path / "tiny.gguf").read_bytes(), tmp_path / "half.gguf"
    half.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(UserError, match=r"half\.gguf: no language model") as caught:
        converter.to_folder(half, tmp_path)
    assert "\n" not in str(caught.value)


def test_the_missing_package_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(converter, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pip install 'deft-llm\[gguf\]'"):
        converter.require_gguf()
