"""Published vision networks and recognizers as backbones of the experts, loaded from real files."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import (
    AutoModel,
    AutoModelForImageTextToText,
    CLIPConfig,
    CLIPModel,
    Dinov2Config,
    Dinov2Model,
    VideoMAEConfig,
    VideoMAEModel,
)

from deft_llm import facs
from deft_llm.data.features import Features
from deft_llm.deft import backbone_entries
from deft_llm.deft.backbones import ExpertBackbone, resolve_backbones
from deft_llm.deft.configuration_deft import DeftConfig
from deft_llm.deft.modeling_deft import CLIP_INPUTS, DeftForConditionalGeneration, orthogonality
from deft_llm.deft.processing_deft import DeftFeatureExtractor
from deft_llm.deft.tuning.model import build_empty, train_only
from deft_llm.errors import UserError
from deft_llm.recognizers.base import RECOGNIZERS, Recognizer, load_recognizer

VIT = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "patch_size": 8,
}
READS = {
    "structure": ("structure",),
    "texture": ("texture",),
    "motion": ("flow", "flow_scale", "regions"),
}


class FramesNet(Recognizer):
    """The least that reads frames."""

    inputs = ("frames",)
    feature_dim = 6

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.net, self.head = nn.Linear(3, 6), nn.Linear(6, classes)

    def forward_features(self, inputs: dict[str, Tensor]) -> Tensor:
        assert inputs["frames"].min() >= 0 and inputs["frames"].max() <= 1
        tokens: Tensor = self.net(inputs["frames"].mean((3, 4)))
        return tokens

    def forward(self, inputs: dict[str, Tensor]) -> Tensor:
        logits: Tensor = self.head(self.forward_features(inputs).mean(1))
        return logits


class SidedNet(Recognizer):
    """The least that reads flow of one size, which the class states."""

    inputs = ("flow_uvs",)
    side: int | None = 12
    feature_dim = 3

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.net, self.head = nn.Linear(144, 5), nn.Linear(15, classes)

    def forward_features(self, inputs: dict[str, Tensor]) -> Tensor:
        tokens: Tensor = self.net(inputs["flow_uvs"].flatten(2))
        return tokens.transpose(1, 2)

    def forward(self, inputs: dict[str, Tensor]) -> Tensor:
        logits: Tensor = self.head(self.forward_features(inputs).flatten(1))
        return logits


class UnsidedNet(SidedNet):
    """The same, but its class does not say so."""

    side = None


@pytest.fixture(autouse=True)
def own_nets(monkeypatch: pytest.MonkeyPatch) -> None:
    """Recognizers of one's own in the registry."""
    module = ModuleType("own_nets")
    monkeypatch.setitem(sys.modules, "own_nets", module)
    for name, made in (("frames_net", FramesNet), ("sided", SidedNet), ("unsided", UnsidedNet)):
        setattr(module, name, made)
        monkeypatch.setitem(RECOGNIZERS, name, f"own_nets:{name}")


def published(folder: Path, kind: str) -> Path:
    """A tiny model in the files in which its like is published."""
    torch.manual_seed(3)
    if kind == "clip":
        text = {**VIT, "vocab_size": 50, "projection_dim": 8}
        vision = {**VIT, "image_size": 32, "projection_dim": 8}
        model: Any = CLIPModel(CLIPConfig(text_config=text, vision_config=vision))
    elif kind == "dinov2":
        model = Dinov2Model(Dinov2Config(**{**VIT, "mlp_ratio": 2}, image_size=32))
    else:
        sizes = {**VIT, "image_size": 16, "num_frames": 4, "tubelet_size": 2}
        model = VideoMAEModel(VideoMAEConfig(**sizes))
    model.save_pretrained(folder)
    statistics = {"image_mean": [0.48, 0.46, 0.41], "image_std": [0.27, 0.26, 0.28]}
    (folder / "preprocessor_config.json").write_text(json.dumps(statistics))
    return folder


BUILT = {
    "own_vit": {"model_type": "vit", **VIT, "image_size": 32},
    "own_video": {
        "model_type": "videomae",
        **VIT,
        **{"image_size": 16, "num_frames": 4, "tubelet_size": 2},
    },
}
CASES = [
    ("structure", "own_vit"),
    ("texture", "own_video"),
    ("structure", "clip"),
    ("structure", "dinov2"),
    ("texture", "videomae"),
    ("texture", "frames_net"),
    ("texture", "mol"),
    ("motion", "off_apexnet"),
    ("motion", "ststnet"),
    ("motion", "htnet"),
    ("motion", "fmanet"),
    ("motion", "mpfnet"),
    ("motion", "sided"),
]


OPTIONS: dict[str, dict[str, Any]] = {
    "fmanet": {"width": 8},
    "mpfnet": {"width": 8, "side": 32, "channels": "flow"},
    "mol": {"flow": False, "landmarks": False},
}


def build(
    config: DeftConfig, expert: str, kind: str, folder: Path, frozen: bool = False
) -> DeftForConditionalGeneration:
    if kind in BUILT:
        config.backbones = {expert: {"config": BUILT[kind], "frozen": frozen}}
    else:
        name = kind if kind in RECOGNIZERS else str(published(folder / kind, kind))
        options = OPTIONS.get(kind, {})
        config.backbones = {expert: {"name": name, "frozen": frozen, "options": options}}
    resolve_backbones(config)
    torch.manual_seed(0)
    model = DeftForConditionalGeneration(config)
    backbone_of(model).load()
    return model


def backbone_of(model: nn.Module) -> ExpertBackbone:
    (found,) = (m for m in model.modules() if isinstance(m, ExpertBackbone))
    return found


@pytest.fixture
def clips(make_features: Callable[[int], Features]) -> dict[str, Tensor]:
    return dict(DeftFeatureExtractor()([make_features(0), make_features(1)]))


@torch.no_grad()
@pytest.mark.parametrize(("expert", "kind"), CASES)
def test_a_backbone_reads_its_own_input_alone_and_is_saved_with_the_whole(
    config: DeftConfig, clips: dict[str, Tensor], tmp_path: Path, expert: str, kind: str
) -> None:
    model = build(config, expert, kind, tmp_path).eval()
    tokens = model.get_clip_features(**clips)
    counts = config.token_counts()
    assert {k: tuple(v.shape) for k, v in tokens.items()} == {
        name: (2, count, config.expert_dim) for name, count in counts.items()
    }
    for name, inputs in READS.items():
        changed = model.get_clip_features(**clips | {k: clips[k].flip(0) for k in inputs})
        differs = {k for k, v in changed.items() if not torch.equal(v, tokens[k])}
        assert differs == {name}
    model.save_pretrained(tmp_path / "whole")
    shutil.rmtree(tmp_path / kind, ignore_errors=True)  # the published files are needed no more
    loaded, report = AutoModelForImageTextToText.from_pretrained(
        tmp_path / "whole", output_loading_info=True
    )
    assert not any(report[name] for name in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    for name, values in loaded.eval().get_clip_features(**clips).items():
        assert torch.equal(values, tokens[name]), name


@torch.no_grad()
@pytest.mark.parametrize("kind", ["clip", "dinov2"])
def test_an_image_model_sees_what_its_publisher_showed_it(
    config: DeftConfig, clips: dict[str, Tensor], tmp_path: Path, kind: str
) -> None:
    """Against the published network on an image that is normalised by hand."""
    backbone = backbone_of(build(config, "structure", kind, tmp_path).eval())
    original = AutoModel.from_pretrained(tmp_path / kind).eval()
    original = getattr(original, "vision_model", original)
    image = (clips["structure"] + 1) / 2
    image = torch.nn.functional.interpolate(image, (32, 32), mode="bilinear", antialias=True)
    statistics = json.loads((tmp_path / kind / "preprocessor_config.json").read_text())
    mean, std = (torch.tensor(statistics[f"image_{k}"])[:, None, None] for k in ("mean", "std"))
    patches = original((image - mean) / std).last_hidden_state[:, 1:]  # without the class token
    expected = backbone.project(patches).view(2, 2, 2, 2, 2, -1).mean((2, 4)).flatten(1, 2)
    torch.testing.assert_close(backbone(clips["structure"]), expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("frozen", [True, False])
def test_a_frozen_backbone_stays(
    config: DeftConfig, clips: dict[str, Tensor], tmp_path: Path, frozen: bool
) -> None:
    model = build(config, "texture", "videomae", tmp_path, frozen).train()
    train_only(model, ("experts", "heads"))
    backbone = backbone_of(model)
    assert backbone.net.training is not frozen
    before = {name: p.detach().clone() for name, p in backbone.named_parameters()}
    optimizer = torch.optim.AdamW(p for p in model.parameters() if p.requires_grad)
    model(**clips, emotion_labels=torch.tensor([0, 1])).loss.backward()
    optimizer.step()
    changed = {n for n, p in backbone.named_parameters() if not torch.equal(p, before[n])}
    assert any(n.startswith("net.") for n in changed) is not frozen
    assert any(n.startswith("project.") for n in changed)


def test_trained_weights_of_a_recognizer_are_put_in(config: DeftConfig, tmp_path: Path) -> None:
    torch.manual_seed(5)
    trained: Any = load_recognizer("ststnet", 3)
    final = tmp_path / "final"
    final.mkdir()
    save_file(trained.state_dict(), final / "model.safetensors")
    for weights in (tmp_path, final, final / "model.safetensors"):
        config.backbones = {"motion": {"name": "ststnet", "weights": str(weights)}}
        resolve_backbones(config)
        backbone = backbone_of(DeftForConditionalGeneration(config))
        backbone.load()
        for name, values in trained.state_dict().items():
            assert torch.equal(backbone.net.state_dict()[name], values)
    (final / "model.safetensors").write_bytes(b"nothing")
    with pytest.raises(UserError, match=r"does not fit .*expected model\.safetensors"):
        backbone.load()


def test_a_misspelt_recognizer_is_not_looked_for_on_the_hub(
    config: DeftConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a network that takes half a minute."""
    monkeypatch.setattr(
        backbone_entries.AutoConfig, "from_pretrained", lambda *_: pytest.fail("asked the hub")
    )
    config.backbones = {"motion": {"name": "fmanett"}}
    with pytest.raises(UserError, match="did you mean 'fmanet'"):
        resolve_backbones(config)


@pytest.mark.parametrize(
    ("backbones", "words"),
    [
        ({"structur": {"name": "x"}}, ["'structur'", "did you mean 'structure'"]),
        ({"motion": {"name": "fmanett"}}, ["'fmanett'", "did you mean 'fmanet'"]),
        ({"motion": {"nam": "fmanet"}}, ["backbones.motion", "did you mean 'name'"]),
        ({"motion": {"name": "fmanet"}}, ["random weights", "frozen: false"]),
        ({"motion": {"name": "fmanet", "options": {"wide": 3}}}, ["fmanet", "wide"]),
        ({"texture": {"name": "fmanet"}}, ["reads flow_dual", "reads frames"]),
        ({"motion": {"name": "lbp_top"}}, ["reads frames", "flow_uvs or flow_dual"]),
        ({"motion": {"name": "logistic_flow"}}, ["reads flow_uvs and is no network"]),
        ({"motion": "fmanet"}, ["backbones.motion: expected a group of settings", "'fmanet'"]),
        ({"motion": {"name": "psyau", "frozen": False}}, ["reads flow_uvs, patches; expected"]),
        ({"structure": {"name": "fmanet"}}, ["an image model"]),
        ({"structure": {}}, ["neither name nor config"]),
        ({"structure": {"config": {"model_type": "vit"}}}, ["random weights", "frozen: false"]),
        ({"structure": {"config": {"model_type": "vitt"}, "frozen": False}}, ["'vitt'", "vit or"]),
        (
            {"structure": {"config": {"model_type": "vit", "image_siz": 8}, "frozen": False}},
            ["'image_siz'", "did you mean 'image_size'"],
        ),
        (
            {"structure": {"config": {**BUILT["own_vit"], "patch_size": [8]}, "frozen": False}},
            ["no network that can be built", "expected sizes like"],
        ),
        ({"structure": {"config": BUILT["own_video"], "frozen": False}}, ["an image model"]),
        ({"texture": {"config": BUILT["own_vit"], "frozen": False}}, ["expected VideoMAE"]),
        ({"motion": {"config": BUILT["own_vit"], "frozen": False}}, ["expected a recognizer"]),
    ],
)
def test_a_wrong_backbone_is_named(
    config: DeftConfig, monkeypatch: pytest.MonkeyPatch, backbones: Any, words: list[str]
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    config.backbones = backbones
    with pytest.raises(UserError) as caught:
        resolve_backbones(config)
    assert "\n" not in str(caught.value)
    for word in words:
        assert word in str(caught.value)


def test_a_recognizer_that_cannot_read_the_flow_is_named(config: DeftConfig) -> None:
    """Not the language model, which is built around it."""
    config.backbones = {"motion": {"name": "unsided", "frozen": False}}
    with pytest.raises(UserError, match=r"backbone 'unsided' cannot read flow .* state its side"):
        build_empty(config)


@pytest.mark.parametrize(
    ("expert", "kind", "words"),
    [
        ("structure", "videomae", "type videomae; expected an image model"),
        ("texture", "clip", "type clip_vision_model; expected VideoMAE"),
        ("motion", "dinov2", "type dinov2; expected a recognizer"),
    ],
)
def test_a_vision_model_of_another_kind_is_refused(
    config: DeftConfig, tmp_path: Path, expert: str, kind: str, words: str
) -> None:
    config.backbones = {expert: {"name": str(published(tmp_path, kind))}}
    with pytest.raises(UserError, match=words):
        resolve_backbones(config)


# ---------------------------------------------------------------------- disentanglement


def test_orthogonality_is_the_formula_of_its_docstring() -> None:
    rng = np.random.default_rng(0)
    tokens = {name: rng.normal(size=(5, 3, 4)) for name in ("structure", "texture", "motion")}
    unit = []
    for values in tokens.values():
        z = values.mean(1) - values.mean((0, 1))
        unit.append(z / np.linalg.norm(z, axis=1, keepdims=True))
    a, b, c = unit
    expected = sum(np.linalg.norm(x.T @ y) ** 2 for x, y in ((a, b), (a, c), (b, c))) / 25
    found = orthogonality({k: torch.from_numpy(v) for k, v in tokens.items()})
    assert found.item() == pytest.approx(expected, rel=1e-5)


def test_experts_that_say_the_same_are_told_apart_when_it_is_minimised(
    model: DeftForConditionalGeneration, clips: dict[str, Tensor]
) -> None:
    """By the model's own loss: everything else is weighted with nothing."""
    config = model.config
    config.emotion_weight = config.au_weight = config.region_weight = 0.0
    config.orthogonality_weight = 1.0
    four = {name: torch.cat([clips[name], clips[name].flip(-1)]) for name in CLIP_INPUTS}
    labels = {"emotion_labels": torch.tensor([0, 1, 2, 3])}
    optimizer = torch.optim.Adam(model.experts.parameters(), lr=3e-3)
    values = []
    for _ in range(25):
        loss = model(**four, **labels).loss
        values.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert values[-1] < 0.7 * values[0]
    config.orthogonality_weight = 0.0
    assert model(**four, **labels).loss.item() == 0.0


def test_a_checkpoint_from_before_has_own_networks_and_no_such_loss() -> None:
    older = {"model_type": "deft", "expert_dim": 16}
    config = DeftConfig.from_dict(older)
    assert config.backbones == {}
    assert config.orthogonality_weight == 0.0
    assert config.motion_tokens == len(config.aus) + len(facs.REGIONS)
