"""The motion expert on published flow images: what it is given, and what it never sees."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from deft_llm.deft.inference.flow_classifier import DeftFlowClassifier, as_trained
from deft_llm.deft.modeling_deft import DeftForConditionalGeneration
from deft_llm.errors import UserError
from deft_llm.motion.encoding import encode_flow, medsqrt, mirror_flow, stretch
from deft_llm.recognizers.base import load_recognizer


def flows(clips: int, side: int = 28) -> np.ndarray:
    """Patches of motion (N, 3, S, S), the strain never negative and zero somewhere."""
    rng = np.random.default_rng(0)
    motion = rng.normal(0, 0.05, (clips, 3, side, side))
    for i in range(clips):
        motion[i, :2, 4 : 10 + i, 6:12] += rng.normal(0, 1, (2, 1, 1))
    motion[:, 2] = np.hypot(motion[:, 0], motion[:, 1])
    motion[:, 2] -= motion[:, 2].min((1, 2), keepdims=True)
    return motion.astype(np.float32)


def test_published_images_come_back_as_flow_is_encoded() -> None:
    """The way stretch, medsqrt, as_trained ends where flow in pixels goes directly."""
    motion = flows(4)
    direct = encode_flow(motion)[0]
    through = as_trained(medsqrt(stretch(motion)), 28).numpy()
    # 256 steps of grey are left; the square root makes most of them near zero.
    assert np.abs(through - direct).mean() < 0.06
    for a, b in zip(through.reshape(12, -1), direct.reshape(12, -1), strict=True):
        assert np.corrcoef(a, b)[0, 1] > 0.98
    larger = as_trained(medsqrt(stretch(motion)), 56)
    assert larger.shape == (4, 3, 56, 56) and larger.dtype == torch.float32


def test_enlarging_keeps_places_and_sides() -> None:
    images = medsqrt(stretch(flows(3)))
    small, large = as_trained(images, 28), as_trained(images, 56)
    pooled = torch.nn.functional.avg_pool2d(large.sign() * large**2, 2)
    named_aus = small.sign() * small**2
    assert np.corrcoef(pooled.flatten().numpy(), named_aus.flatten().numpy())[0, 1] > 0.9
    flipped = as_trained(mirror_flow(images), 56).numpy()
    np.testing.assert_allclose(flipped, mirror_flow(large.numpy()), atol=5e-3)


@pytest.fixture
def recognizer(tiny_checkpoint: Path) -> DeftFlowClassifier:
    made = load_recognizer("deft", 3, checkpoint=str(tiny_checkpoint))
    assert isinstance(made, DeftFlowClassifier)
    return made


def test_only_motion_speaks(recognizer: DeftFlowClassifier) -> None:
    images = medsqrt(stretch(flows(5)))
    tokens = recognizer.encode(images)
    experts = recognizer.explainer.model.experts
    for name in ("structure", "texture"):
        assert torch.equal(tokens[name], experts.blank[name].expand_as(tokens[name]))
    assert not torch.equal(tokens["motion"][0], tokens["motion"][1])


def test_probabilities_do_not_hang_on_folds_or_labels(recognizer: DeftFlowClassifier) -> None:
    images = medsqrt(stretch(flows(40)))
    whole = recognizer.predict_proba({"flow_uvs": images})
    assert whole.shape == (40, 3)
    np.testing.assert_allclose(whole.sum(1), 1.0, atol=1e-9)
    recognizer.fit({"flow_uvs": images}, np.zeros(40, np.int64))
    parts = [recognizer.predict_proba({"flow_uvs": images[i : i + 9]}) for i in range(0, 40, 9)]
    np.testing.assert_allclose(np.concatenate(parts), whole, atol=1e-4)


def test_flow_goes_where_the_model_is(
    recognizer: DeftFlowClassifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[torch.Tensor] = []
    elsewhere = torch.device("meta")
    monkeypatch.setattr(DeftForConditionalGeneration, "device", elsewhere)
    monkeypatch.setattr(
        DeftForConditionalGeneration,
        "get_clip_features",
        lambda _, ablate, **clip: seen.extend(clip.values()),
    )
    recognizer.encode(medsqrt(stretch(flows(2))))
    assert seen and {values.device for values in seen} == {elsewhere}


def test_a_class_has_no_side(recognizer: DeftFlowClassifier) -> None:
    images = np.random.default_rng(3).normal(size=(4, 3, 28, 28)).astype(np.float32)
    probabilities = recognizer.predict_proba({"flow_uvs": images})
    np.testing.assert_allclose(
        probabilities, recognizer.predict_proba({"flow_uvs": mirror_flow(images)})
    )


def test_the_missing_fall_is_the_rise_backwards_or_nothing(
    tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[torch.Tensor] = []

    def spy(_: object, ablate: tuple[str, ...], **clip: torch.Tensor) -> dict[str, torch.Tensor]:
        assert not clip["regions"].any() and not clip["flow_scale"].any()
        seen.append(clip["flow"])
        return {}

    monkeypatch.setattr(DeftForConditionalGeneration, "get_clip_features", spy)
    for offset_phase in ("opposite", "none"):
        made = load_recognizer(
            "deft", 3, checkpoint=str(tiny_checkpoint), offset_phase=offset_phase
        )
        assert isinstance(made, DeftFlowClassifier)
        made.encode(medsqrt(stretch(flows(2))))
    opposite, none = seen
    torch.testing.assert_close(opposite[:, 1, :2], -opposite[:, 0, :2])
    torch.testing.assert_close(opposite[:, 1, 2], opposite[:, 0, 2])
    assert not none[:, 1].any() and torch.equal(none[:, 0], opposite[:, 0])


@pytest.mark.parametrize(
    ("classes", "options", "word"),
    [
        (5, {}, "5 classes"),
        (3, {"offset_phase": "up"}, "offset_phase 'up'"),
        (3, {"checkpoint": "x"}, "checkpoint x: no such folder"),
    ],
)
def test_wrong_options_are_named(
    tiny_checkpoint: Path, classes: int, options: dict[str, str], word: str
) -> None:
    with pytest.raises(UserError, match=word):
        load_recognizer("deft", classes, **{"checkpoint": str(tiny_checkpoint), **options})
