"""CLIP's towers, with a tiny random model in the real format."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from deft_llm.errors import UserError
from deft_llm.facet.configuration import FacetConfig
from deft_llm.facet.files import load_facet
from deft_llm.facet.network import Facet
from deft_llm.facet.texts import class_vectors, default_prompts, load_text_tower
from deft_llm.weights import save_network


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from transformers import CLIPConfig, CLIPModel, CLIPTokenizer

    folder = tmp_path_factory.mktemp("clip")
    words = ["<|startoftext|>", "<|endoftext|>", *"abcdefghijklmnopqrstuvwxyz()0123456789,"]
    vocabulary = {w: i for i, w in enumerate([*words, *(f"{w}</w>" for w in words[2:])])}
    (folder / "vocab.json").write_text(json.dumps(vocabulary))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    CLIPTokenizer(
        vocab=str(folder / "vocab.json"), merges=str(folder / "merges.txt")
    ).save_pretrained(folder)
    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1}
    config = CLIPConfig(
        text_config={**sizes, "num_attention_heads": 2, "vocab_size": len(vocabulary)}
        | {"bos_token_id": 0, "eos_token_id": 1, "max_position_embeddings": 77},
        vision_config={**sizes, "num_attention_heads": 2, "image_size": 32, "patch_size": 16},
        projection_dim=12,
    )
    torch.manual_seed(0)
    CLIPModel(config).save_pretrained(folder)
    return folder


def test_both_towers_by_path(clip: Path, tmp_path: Path) -> None:
    classes = ("anger", "happiness")
    by_path = {"kind": "clip", "name_or_path": str(clip)}
    config = FacetConfig.model_validate(
        {
            **{"classes": list(classes), "prompts": default_prompts(classes), "side": 32},
            **{"dim": 8, "visual": {**by_path, "lora_rank": 2}, "text": by_path},
        }
    )
    tower = load_text_tower(config.text)
    network = Facet(config, tower.width).eval()
    texts = class_vectors(config.prompts, tower)
    assert texts.shape == (2, 12) and not torch.allclose(texts[0], texts[1])
    trained = [n for n, p in network.tower.named_parameters() if p.requires_grad]
    assert trained and all("lora" in name for name in trained)
    views = torch.randn(1, 3, 3, 32, 32)
    save_network(network, tmp_path)
    loaded = load_facet(tmp_path)
    with torch.no_grad():
        one = network(views, [texts])[0].text_logits
        other = loaded.network(views, [class_vectors(config.prompts, loaded.texts)])[0].text_logits
    assert torch.allclose(one, other, atol=1e-5)


def test_a_model_that_does_not_fit_is_one_line(clip: Path, tmp_path: Path) -> None:
    base = {"classes": ["anger"], "prompts": default_prompts(["anger"]), "side": 64, "dim": 8}
    visual = {"kind": "clip", "name_or_path": str(clip)}
    with pytest.raises(UserError, match="takes 3 channels of 32 px, got 3 of 64 px"):
        Facet(FacetConfig.model_validate({**base, "visual": visual}), 8)
    with pytest.raises(UserError, match="not readable as CLIP"):
        load_text_tower(
            FacetConfig.model_validate(
                {**base, "text": {**visual, "name_or_path": str(tmp_path)}}
            ).text
        )
    with pytest.raises(UserError, match="expected a hub name"):
        load_text_tower(FacetConfig.model_validate({**base, "text": {"kind": "clip"}}).text)
